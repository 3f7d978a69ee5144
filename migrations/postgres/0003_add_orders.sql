-- Stores a batch of new orders in one step. Each argument is a column, with an element for each order
-- or, from line_orders on, for each line; line_orders holds the position of the line's order. No user
-- may have a key twice in one batch. Callers name the arguments, so that a later version may have
-- more of them, each with a default.
--
-- The outcome of each order, in order: 'stored', 'replayed' (first_order was stored under its key),
-- 'conflict' (under its key, with another request) or 'used up' (no use of its coupon is left, and
-- nothing of it stays).
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
    line_details text[]
) RETURNS TABLE (outcome text, first_order uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    outcomes text[] := array_fill('stored'::text, ARRAY[cardinality(order_ids)]);
    first_orders uuid[] := order_ids;
    batch_codes text[];
    code_uses bigint[];
    user_uses bigint[];
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

    INSERT INTO orders (
        id, user_id, subtotal, discounts, total, created_at, coupon_code, counted, status, version
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
        1
    FROM unnest(
        order_ids, order_users, order_subtotals, order_discounts, order_totals, order_times,
        order_codes, outcomes
    ) AS one (id, user_id, subtotal, discounts, total, created_at, code, outcome)
    WHERE one.outcome = 'stored';

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

    RETURN QUERY SELECT * FROM unnest(outcomes, first_orders);
END
$$;
