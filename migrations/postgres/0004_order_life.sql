-- The life of an order: where it stands, what it is called out by, and the log of its events.
ALTER TABLE orders
    ADD COLUMN pickup_name text,
    ADD COLUMN pickup_note text,
    ADD COLUMN pickup_number smallint,
    ADD COLUMN ready_at timestamptz,
    ADD COLUMN cancelled_by text, -- 'customer' or 'shop'
    ADD COLUMN cancel_reason text,
    ADD COLUMN cancel_note text,
    ADD COLUMN last_event text NOT NULL DEFAULT 'placed',
    ADD COLUMN changed_at timestamptz; -- when that happened; NULL when the order was only placed

-- What the shop sees: the orders of a status, from either end.
CREATE INDEX orders_by_status ON orders (status, created_at, id);

-- Ended orders that still hold something personal.
CREATE INDEX orders_to_blank ON orders (coalesce(changed_at, created_at))
    WHERE status IN ('completed', 'cancelled')
        AND (pickup_name IS NOT NULL OR pickup_note IS NOT NULL OR cancel_note IS NOT NULL);

-- Whoever stores an order takes a number, even a role that was granted tables alone.
CREATE SEQUENCE pickup_numbers AS smallint MINVALUE 1 MAXVALUE 999 CYCLE;
GRANT USAGE ON SEQUENCE pickup_numbers TO PUBLIC;

-- An event is written here, in the transaction that changes its order, and stays until somebody reads
-- the log: who reads moves the events into order_events and numbers them (number_events), so that the
-- numbers follow the order of the commits. Few rows and no index: that is what an order pays.
CREATE TABLE unnumbered_events (
    order_id uuid NOT NULL,
    version integer NOT NULL, -- the order's, with this event
    user_id text COLLATE "C" NOT NULL, -- the order's
    type text NOT NULL,
    status text NOT NULL,
    ready_at timestamptz,
    reason text,
    staff_user text COLLATE "C", -- NULL: it was the customer
    staff_key text,
    at timestamptz NOT NULL -- never before that of the order's event before
);

-- The log.
CREATE TABLE order_events (
    seq bigint PRIMARY KEY,
    LIKE unnumbered_events,
    UNIQUE (order_id, version)
);

-- The last number that was given: none is given again, also when no event is left.
CREATE TABLE event_log (
    id integer PRIMARY KEY CHECK (id = 1),
    last bigint NOT NULL
);
INSERT INTO event_log (id, last) VALUES (1, 0);

-- Numbers up to so many events that are committed, oldest first, and returns how many. Numbers are
-- given under a lock of the readers, which is released after they can be seen: so whoever has seen
-- one has missed none before it. Writers never wait for it. Each statement must see what was committed
-- before it (READ COMMITTED): those behind the lock, what the one who had it before has given. A reader
-- that stands still with the lock must not have all others wait: they read what has a number.
CREATE FUNCTION number_events(portion integer) RETURNS integer
LANGUAGE plpgsql
SET lock_timeout = '1s'
AS $$
DECLARE
    given bigint;
    numbered integer;
BEGIN
    PERFORM pg_advisory_xact_lock(7305801003);
    SELECT last INTO STRICT given FROM event_log WHERE id = 1;
    WITH oldest AS (
        DELETE FROM unnumbered_events
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM unnumbered_events ORDER BY at, version LIMIT portion
        ))
        RETURNING *
    )
    INSERT INTO order_events (
        seq, order_id, version, user_id, type, status, ready_at, reason, staff_user, staff_key, at
    )
    SELECT
        given + row_number() OVER (ORDER BY at, version),
        order_id, version, user_id, type, status, ready_at, reason, staff_user, staff_key, at
    FROM oldest;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    IF numbered > 0 THEN
        UPDATE event_log SET last = given + numbered WHERE id = 1;
    END IF;
    RETURN numbered;
END
$$;

-- A replica of the version before knows no events and cancels all the same, until it is replaced.
CREATE FUNCTION tell_of_cancellation() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.last_event := 'cancelled';
    NEW.cancelled_by := 'customer';
    NEW.changed_at := greatest(clock_timestamp(), NEW.created_at, NEW.changed_at);
    INSERT INTO unnumbered_events (order_id, version, user_id, type, status, ready_at, at)
    VALUES (
        NEW.id, NEW.version, NEW.user_id, NEW.last_event, NEW.status, NEW.ready_at, NEW.changed_at
    );
    RETURN NEW;
END
$$;
CREATE TRIGGER orders_cancelled_without_event BEFORE UPDATE OF status ON orders
    FOR EACH ROW WHEN (NEW.status = 'cancelled' AND NEW.last_event = 'placed')
    EXECUTE FUNCTION tell_of_cancellation();

-- What the shop says of itself, which no load touches. Each change raises the version.
CREATE TABLE shop_state (
    id integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    paused boolean NOT NULL,
    paused_until timestamptz,
    message text
);
INSERT INTO shop_state (id, version, paused) VALUES (1, 0, false);

CREATE TABLE sold_out (
    product_id bigint PRIMARY KEY,
    until timestamptz -- NULL: until it is available again
);

DROP FUNCTION add_orders;

-- Stores a batch of new orders in one step, each with its first event. Each argument is a column, with
-- an element for each order or, from line_orders to line_details, for each line; line_orders holds the
-- position of the line's order. No user may have a key twice in one batch. Callers name the arguments,
-- so that a later version may have more of them, each with a default.
--
-- The outcome of each order, in order: 'stored' (under this number), 'replayed' (first_order was stored
-- under its key), 'conflict' (under its key, with another request) or 'used up' (no use of its coupon
-- is left, and nothing of it stays).
--
-- Every transaction locks in one order, so that none can wait for another in a circle: keys (sorted),
-- then coupons (sorted), then orders. A lock is held until the commit, and each statement below sees
-- what others committed before it.
CREATE FUNCTION add_orders(
    order_ids uuid[],
    order_users text[],
    order_subtotals bigint[],
    order_discounts bigint[],
    order_totals bigint[],
    order_times timestamptz[],
    order_codes text[],
    use_limits bigint[],
    user_use_limits bigint[],
    order_keys text[],
    order_fingerprints text[],
    key_expiries timestamptz[],
    line_orders integer[],
    line_positions integer[],
    line_products bigint[],
    line_names text[],
    line_prices bigint[],
    line_categories text[],
    line_quantities bigint[],
    line_details text[],
    pickup_names text[] DEFAULT NULL,
    pickup_notes text[] DEFAULT NULL
) RETURNS TABLE (outcome text, first_order uuid, number smallint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    outcomes text[] := array_fill('stored'::text, ARRAY[cardinality(order_ids)]);
    first_orders uuid[] := order_ids;
    batch_codes text[];
    code_uses bigint[];
    user_uses bigint[];
    numbers smallint[];
    wish record;
BEGIN
    IF array_remove(order_keys, NULL) <> '{}' THEN
        -- A key that another transaction is just storing makes this wait for its end.
        WITH taken AS (
            INSERT INTO idempotency_keys AS stored (user_id, key, fingerprint, expires_at, order_id)
            SELECT one.user_id, one.key, one.fingerprint, one.expires_at, one.order_id
            FROM unnest(order_users, order_keys, order_fingerprints, key_expiries, order_ids)
                AS one (user_id, key, fingerprint, expires_at, order_id)
            WHERE one.key IS NOT NULL
            ORDER BY one.user_id COLLATE "C", one.key COLLATE "C"
            ON CONFLICT (user_id, key) DO UPDATE
            SET fingerprint = excluded.fingerprint,
                expires_at = excluded.expires_at,
                order_id = excluded.order_id
            WHERE stored.expires_at <= clock_timestamp()
            RETURNING stored.user_id, stored.key
        )
        SELECT array_agg(
            CASE WHEN one.key IS NULL OR taken.key IS NOT NULL THEN 'stored' ELSE 'known' END
            ORDER BY one.position
        )
        INTO outcomes
        FROM unnest(order_users, order_keys) WITH ORDINALITY AS one (user_id, key, position)
        LEFT JOIN taken ON taken.user_id = one.user_id AND taken.key = one.key;

        IF 'known' = ANY (outcomes) THEN
            SELECT
                array_agg(
                    CASE
                        WHEN one.outcome = 'stored' THEN 'stored'
                        WHEN first.fingerprint = one.fingerprint THEN 'replayed'
                        ELSE 'conflict'
                    END
                    ORDER BY one.position
                ),
                array_agg(first.order_id ORDER BY one.position)
            INTO outcomes, first_orders
            FROM unnest(order_users, order_keys, order_fingerprints, outcomes) WITH ORDINALITY
                AS one (user_id, key, fingerprint, outcome, position)
            LEFT JOIN idempotency_keys AS first
                ON one.outcome = 'known' AND first.user_id = one.user_id AND first.key = one.key;
        END IF;
    END IF;

    IF array_remove(order_codes, NULL) <> '{}' THEN
        batch_codes := ARRAY(
            SELECT DISTINCT one.code COLLATE "C"
            FROM unnest(order_codes, outcomes) AS one (code, outcome)
            WHERE one.code IS NOT NULL AND one.outcome = 'stored'
            ORDER BY 1
        );
        INSERT INTO coupon_uses (code, uses)
        SELECT unnest(batch_codes), 0
        ON CONFLICT DO NOTHING;
        code_uses := ARRAY(
            SELECT uses FROM coupon_uses WHERE code = ANY (batch_codes) ORDER BY code FOR UPDATE
        );

        FOR wish IN
            SELECT
                one.position,
                one.use_limit,
                one.user_use_limit,
                coalesce(counted.uses, 0) AS uses,
                dense_rank() OVER (ORDER BY one.code COLLATE "C") AS code,
                dense_rank() OVER (ORDER BY one.code COLLATE "C", one.user_id COLLATE "C") AS pair
            FROM unnest(order_codes, order_users, use_limits, user_use_limits, outcomes)
                WITH ORDINALITY AS one (code, user_id, use_limit, user_use_limit, outcome, position)
            LEFT JOIN coupon_user_uses AS counted
                ON counted.code = one.code AND counted.user_id = one.user_id
            WHERE one.code IS NOT NULL AND one.outcome = 'stored'
            ORDER BY one.position
        LOOP
            user_uses[wish.pair] := coalesce(user_uses[wish.pair], wish.uses);
            -- A limit that is NULL does not limit: the comparison is then not true.
            IF code_uses[wish.code] >= wish.use_limit
                OR user_uses[wish.pair] >= wish.user_use_limit
            THEN
                outcomes[wish.position] := 'used up';
            ELSE
                code_uses[wish.code] := code_uses[wish.code] + 1;
                user_uses[wish.pair] := user_uses[wish.pair] + 1;
            END IF;
        END LOOP;

        UPDATE coupon_uses AS stored
        SET uses = counted.uses
        FROM unnest(batch_codes, code_uses) AS counted (code, uses)
        WHERE stored.code = counted.code AND stored.uses <> counted.uses;

        INSERT INTO coupon_user_uses AS stored (code, user_id, uses)
        SELECT one.code, one.user_id, count(*)
        FROM unnest(order_codes, order_users, outcomes) AS one (code, user_id, outcome)
        WHERE one.code IS NOT NULL AND one.outcome = 'stored'
        GROUP BY one.code, one.user_id
        ON CONFLICT (code, user_id) DO UPDATE SET uses = stored.uses + excluded.uses;

        IF 'used up' = ANY (outcomes) THEN
            DELETE FROM idempotency_keys AS stored
            USING unnest(order_users, order_keys, outcomes) AS refused (user_id, key, outcome)
            WHERE refused.outcome = 'used up'
                AND stored.user_id = refused.user_id
                AND stored.key = refused.key;
        END IF;
    END IF;

    numbers := ARRAY(
        SELECT CASE WHEN one.outcome = 'stored' THEN nextval('pickup_numbers') END
        FROM unnest(outcomes) AS one (outcome)
    );

    INSERT INTO orders (
        id, user_id, subtotal, discounts, total, created_at, coupon_code, counted, status, version,
        pickup_name, pickup_note, pickup_number
    )
    SELECT
        one.id,
        one.user_id,
        one.subtotal,
        one.discounts,
        one.total,
        one.created_at,
        one.code,
        one.code IS NOT NULL,
        'placed',
        1,
        one.pickup_name,
        one.pickup_note,
        one.number
    FROM unnest(
        order_ids, order_users, order_subtotals, order_discounts, order_totals, order_times,
        order_codes, pickup_names, pickup_notes, numbers
    ) AS one (
        id, user_id, subtotal, discounts, total, created_at, code, pickup_name, pickup_note, number
    )
    WHERE one.number IS NOT NULL;

    INSERT INTO unnumbered_events (order_id, version, user_id, type, status, at)
    SELECT one.id, 1, one.user_id, 'placed', 'placed', one.created_at
    FROM unnest(order_ids, order_users, order_times, numbers)
        AS one (id, user_id, created_at, number)
    WHERE one.number IS NOT NULL;

    INSERT INTO order_lines (
        order_id, position, product_id, name, price, category, quantity, details
    )
    SELECT
        order_ids[line.order_position],
        line.position,
        line.product_id,
        line.name,
        line.price,
        line.category,
        line.quantity,
        line.details
    FROM unnest(
        line_orders, line_positions, line_products, line_names, line_prices, line_categories,
        line_quantities, line_details
    ) AS line (order_position, position, product_id, name, price, category, quantity, details)
    WHERE outcomes[line.order_position] = 'stored';

    RETURN QUERY SELECT * FROM unnest(outcomes, first_orders, numbers);
END
$$;
