-- What the customer says of fetching the order, and where the order stands. Sample orders, and those
-- that are older than this, have no number to be called out and no event.
ALTER TABLE orders ADD COLUMN pickup_name TEXT;
ALTER TABLE orders ADD COLUMN pickup_note TEXT;
ALTER TABLE orders ADD COLUMN pickup_number INTEGER;
ALTER TABLE orders ADD COLUMN ready_at INTEGER;
ALTER TABLE orders ADD COLUMN cancelled_by TEXT; -- customer or shop
ALTER TABLE orders ADD COLUMN cancel_reason TEXT;
ALTER TABLE orders ADD COLUMN cancel_note TEXT;
ALTER TABLE orders ADD COLUMN last_event TEXT NOT NULL DEFAULT 'placed'; -- its type
ALTER TABLE orders ADD COLUMN changed_at INTEGER; -- when that was, unless the order was only placed

-- The number that was dealt last, from 1 to 999; 0 before the first.
CREATE TABLE order_numbers (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
);
INSERT INTO order_numbers (id, last) VALUES (1, 0);

-- The event log, as small as can be, for every order writes to it. AUTOINCREMENT gives no number twice, and the one writer gives them in the order of
-- the commits. What was ordered stands in orders: with an event's status, version and ready_at it is
-- the order as it was then.
CREATE TABLE order_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    user_id TEXT NOT NULL, -- the order's
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    ready_at INTEGER,
    reason TEXT,
    staff_user TEXT, -- NULL when it was the customer
    staff_key TEXT,
    at INTEGER NOT NULL,
    UNIQUE (order_number, version)
);

-- What the shop says of itself: no load touches it, and products that are gone may stand in it.
CREATE TABLE sold_out (
    product_id INTEGER PRIMARY KEY,
    until INTEGER -- NULL: until it is available again
);

CREATE TABLE shop_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL, -- grows with every change of sold_out, too
    paused INTEGER NOT NULL,
    paused_until INTEGER,
    message TEXT
);
INSERT INTO shop_state (id, version, paused) VALUES (1, 0, 0);

-- The shop's orders, by where they stand. Few are of one moment: those are sorted when they are read.
CREATE INDEX orders_by_status ON orders (status, created_at);

-- Orders that have ended and still tell of somebody: those to be blanked, and no others.
CREATE INDEX orders_to_blank ON orders (coalesce(changed_at, created_at))
WHERE status IN ('completed', 'cancelled')
    AND (pickup_name IS NOT NULL OR pickup_note IS NOT NULL OR cancel_note IS NOT NULL);
