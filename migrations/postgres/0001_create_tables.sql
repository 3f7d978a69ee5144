-- Money is integer cents. COLLATE "C" compares text by code point, as Python and SQLite do.

CREATE TABLE catalogue (
    id integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    loaded_at timestamptz
);
INSERT INTO catalogue (id, version) VALUES (1, 0);

CREATE TABLE products (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    price bigint NOT NULL,
    category text NOT NULL,
    details text -- a JSON object of what else the menu says: description, image, allergens
);

CREATE TABLE users (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE api_keys (
    hash text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    position integer NOT NULL, -- among the user's keys
    scopes text[] NOT NULL,
    expires_at timestamptz
);

-- The row whose code is empty says what a code out of the coupon files is worth.
CREATE TABLE coupons (
    code text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    value bigint NOT NULL,
    min_subtotal bigint NOT NULL,
    min_items bigint NOT NULL,
    max_discount bigint,
    valid_from timestamptz,
    valid_until timestamptz,
    max_uses bigint,
    max_uses_per_user bigint
);

-- The codes of the coupon files: there may be millions.
CREATE TABLE coupon_codes (
    code text COLLATE "C" PRIMARY KEY
);

CREATE TABLE orders (
    id uuid PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL,
    subtotal bigint NOT NULL,
    discounts bigint NOT NULL,
    total bigint NOT NULL,
    created_at timestamptz NOT NULL,
    coupon_code text COLLATE "C",
    counted boolean NOT NULL, -- whether it holds a use of its coupon; a sample order does not
    status text NOT NULL,
    version integer NOT NULL
);

-- Copies, not references: a receipt survives whatever becomes of the product. No foreign key to
-- orders either: both are inserted by one statement and nothing deletes them.
CREATE TABLE order_lines (
    order_id uuid NOT NULL,
    position integer NOT NULL,
    product_id bigint NOT NULL,
    name text NOT NULL,
    price bigint NOT NULL,
    category text NOT NULL,
    quantity bigint NOT NULL,
    details text, -- as the product's
    PRIMARY KEY (order_id, position)
);

-- No load touches the counts: they outlive the coupon and count on when its code returns. Whoever
-- writes a row of coupon_user_uses holds the lock of the code's row in coupon_uses.
CREATE TABLE coupon_uses (
    code text COLLATE "C" PRIMARY KEY,
    uses bigint NOT NULL
);

CREATE TABLE coupon_user_uses (
    code text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    uses bigint NOT NULL,
    PRIMARY KEY (code, user_id)
);

CREATE TABLE idempotency_keys (
    user_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    expires_at timestamptz NOT NULL,
    order_id uuid NOT NULL,
    PRIMARY KEY (user_id, key)
);
