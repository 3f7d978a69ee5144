-- Money is integer cents. Times are integer microseconds since 1970, in UTC: exact and sortable.

CREATE TABLE catalogue (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    loaded_at INTEGER
);
INSERT INTO catalogue (id, version) VALUES (1, 0);

CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    price INTEGER NOT NULL,
    category TEXT NOT NULL,
    details TEXT -- a JSON object of what else the menu says: description, image, allergens
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_keys (
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- among the user's keys
    scopes TEXT NOT NULL, -- a JSON array
    expires_at INTEGER
) WITHOUT ROWID;

-- NOCASE folds ASCII and nothing else. The row whose code is empty says what a code out of the
-- coupon files is worth.
CREATE TABLE coupons (
    code TEXT COLLATE NOCASE PRIMARY KEY,
    kind TEXT NOT NULL,
    value INTEGER NOT NULL,
    min_subtotal INTEGER NOT NULL,
    min_items INTEGER NOT NULL,
    max_discount INTEGER,
    valid_from INTEGER,
    valid_until INTEGER,
    max_uses INTEGER,
    max_uses_per_user INTEGER
) WITHOUT ROWID;

-- The codes of the coupon files: there may be millions.
CREATE TABLE coupon_codes (
    code TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE orders (
    number INTEGER PRIMARY KEY, -- in the order of storing
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    subtotal INTEGER NOT NULL,
    discounts INTEGER NOT NULL,
    total INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    coupon_code TEXT,
    counted INTEGER NOT NULL, -- whether it holds a use of its coupon; a sample order does not
    status TEXT NOT NULL,
    version INTEGER NOT NULL
);

-- Copies, not references: a receipt survives whatever becomes of the product.
CREATE TABLE order_lines (
    order_number INTEGER NOT NULL REFERENCES orders (number),
    position INTEGER NOT NULL,
    product_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    price INTEGER NOT NULL,
    category TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    details TEXT, -- as the product's
    PRIMARY KEY (order_number, position)
) WITHOUT ROWID;

-- No load touches the counts: they outlive the coupon and count on when its code returns.
CREATE TABLE coupon_uses (
    code TEXT PRIMARY KEY,
    uses INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE coupon_user_uses (
    code TEXT NOT NULL,
    user_id TEXT NOT NULL,
    uses INTEGER NOT NULL,
    PRIMARY KEY (code, user_id)
) WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    order_id TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
