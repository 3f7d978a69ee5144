package main

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schema = `
CREATE TABLE IF NOT EXISTS coupons (
    code text PRIMARY KEY, kind text NOT NULL, value bigint NOT NULL, min_subtotal bigint NOT NULL,
    min_items bigint NOT NULL, valid_from timestamptz, valid_until timestamptz
);
CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY, user_id text NOT NULL, subtotal bigint NOT NULL, discounts bigint NOT NULL,
    total bigint NOT NULL, coupon_code text, status text NOT NULL, created_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS order_lines (
    order_id uuid REFERENCES orders, position integer, product_id bigint NOT NULL, name text NOT NULL,
    price bigint NOT NULL, category text NOT NULL, quantity integer NOT NULL, PRIMARY KEY (order_id, position)
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id text, key text, fingerprint bytea NOT NULL, order_id uuid NOT NULL, PRIMARY KEY (user_id, key)
);`

const poolSize = 20

type store struct{ pool *pgxpool.Pool }

func openStore(ctx context.Context, url string, coupons []coupon) (*store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, schema); err != nil {
		pool.Close()
		return nil, err
	}
	batch := &pgx.Batch{}
	for _, one := range coupons {
		batch.Queue(
			"INSERT INTO coupons VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
			one.code, one.kind, one.value, one.minSubtotal, one.minItems, one.validFrom, one.validUntil)
	}
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		pool.Close()
		return nil, err
	}
	return &store{pool}, nil
}

func (s *store) close() { s.pool.Close() }

func (s *store) coupon(ctx context.Context, code string) (coupon, error) {
	var found coupon
	err := s.pool.QueryRow(ctx,
		"SELECT code, kind, value, min_subtotal, min_items, valid_from, valid_until FROM coupons WHERE code = $1", code,
	).Scan(&found.code, &found.kind, &found.value, &found.minSubtotal, &found.minItems,
		&found.validFrom, &found.validUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return found, invalid("unknown coupon")
	}
	return found, err
}

// add stores an order and its lines. All that a batch holds is one transaction and one round trip.
func (s *store) add(ctx context.Context, made *order) error {
	return s.pool.SendBatch(ctx, inserts(made)).Close()
}

// addOnce does the same if the user has not used the key before; else it gives the order of that time.
func (s *store) addOnce(ctx context.Context, made *order, key string, fingerprint []byte) (first *order, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		taken, err := tx.Exec(ctx,
			"INSERT INTO idempotency_keys VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			made.user, key, fingerprint, [16]byte(made.id))
		if err != nil {
			return err
		}
		if taken.RowsAffected() == 1 {
			first = made
			return tx.SendBatch(ctx, inserts(made)).Close()
		}
		first, err = firstOrder(ctx, tx, made.user, key, fingerprint)
		return err
	})
	return first, err
}

func inserts(made *order) *pgx.Batch {
	batch := &pgx.Batch{}
	var code *string
	if made.couponCode != "" {
		code = &made.couponCode
	}
	batch.Queue("INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		[16]byte(made.id), made.user, int64(made.subtotal), int64(made.discounts), int64(made.total()), code,
		made.status, made.createdAt)
	for position, one := range made.lines {
		batch.Queue("INSERT INTO order_lines VALUES ($1, $2, $3, $4, $5, $6, $7)",
			[16]byte(made.id), position, one.id, one.name, int64(one.price), one.category, one.quantity)
	}
	return batch
}

func firstOrder(ctx context.Context, tx pgx.Tx, user, key string, fingerprint []byte) (*order, error) {
	found := &order{user: user}
	var id [16]byte
	var same bool
	var code *string
	err := tx.QueryRow(ctx,
		`SELECT id, fingerprint = $3, subtotal, discounts, coupon_code, status, created_at
		FROM idempotency_keys JOIN orders ON id = order_id WHERE idempotency_keys.user_id = $1 AND key = $2`,
		user, key, fingerprint,
	).Scan(&id, &same, &found.subtotal, &found.discounts, &code, &found.status, &found.createdAt)
	if err != nil {
		return nil, err
	}
	if !same {
		return nil, invalid("this Idempotency-Key was used with another request")
	}
	if code != nil {
		found.couponCode = *code
	}
	found.id = uuid.UUID(id)
	found.lines, err = linesOf(ctx, tx, id)
	return found, err
}

func linesOf(ctx context.Context, tx pgx.Tx, id [16]byte) ([]line, error) {
	rows, err := tx.Query(ctx,
		"SELECT product_id, product_id::text, name, price, category, quantity FROM order_lines WHERE order_id = $1 ORDER BY position", id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (line, error) {
		var one line
		err := row.Scan(&one.id, &one.text, &one.name, &one.price, &one.category, &one.quantity)
		return one, err
	})
}
