-- A user's orders, newest first.
CREATE INDEX orders_by_user ON orders (user_id, created_at DESC, id DESC);

-- Keys that have expired are found without reading the others.
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE INDEX api_keys_by_user ON api_keys (user_id, position);

-- Codes are looked up without ASCII case.
CREATE INDEX coupon_codes_by_folded_code ON coupon_codes (code COLLATE NOCASE);
