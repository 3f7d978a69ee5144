"""Fills a database that is migrated and loaded with years of orders, by SQL.

Orders come evenly over DAYS, the newest an hour ago, from one customer with a key (every tenth)
and from guests. The newest OPEN of them wait; the others are completed, every twentieth is
cancelled. As in a shop that has run for so long there are events and names of the last KEPT_DAYS
alone, and keys of the last day. Which of 30 baskets an order has depends on its number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import asyncpg

from rig.postgres import run

DAYS = 1000
KEPT_DAYS = 30
OPEN = 40
PORTION = 500_000
COUPON = "SAVE10"

BASKETS = """
CREATE TEMPORARY TABLE basket_lines AS
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 29)
SELECT
    basket.n AS basket, line.n AS position, product.id AS product_id, product.name, product.price,
    product.category, product.details, 1 + (basket.n + line.n) % 3 AS quantity
FROM numbers AS basket
JOIN numbers AS line ON line.n <= basket.n % 3
JOIN products AS product ON product.id = 1 + (basket.n + 3 * line.n) % 10;

CREATE TEMPORARY TABLE baskets AS
SELECT basket, count(*) AS lines, sum(price * quantity) AS subtotal
FROM basket_lines GROUP BY basket;

CREATE TEMPORARY TABLE steps (reached text, version integer, type text, seconds integer);
INSERT INTO steps VALUES
    ('placed', 1, 'placed', 0),
    ('accepted', 1, 'placed', 0), ('accepted', 2, 'accepted', 30),
    ('ready', 1, 'placed', 0), ('ready', 2, 'accepted', 30), ('ready', 3, 'ready', 600),
    ('completed', 1, 'placed', 0), ('completed', 2, 'accepted', 30), ('completed', 3, 'ready', 600),
    ('completed', 4, 'completed', 900),
    ('cancelled', 1, 'placed', 0), ('cancelled', 2, 'cancelled', 60);
CREATE TEMPORARY TABLE ends AS
SELECT DISTINCT reached, version, seconds FROM steps AS step
WHERE version = (SELECT max(version) FROM steps WHERE reached = step.reached);
"""
"""The same to both databases."""

STATUS = f"""
CASE
    WHEN n > {{orders}} - {OPEN} AND n % 3 = 0 THEN 'placed'
    WHEN n > {{orders}} - {OPEN} AND n % 3 = 1 THEN 'accepted'
    WHEN n > {{orders}} - {OPEN} THEN 'ready'
    WHEN n % 20 = 0 THEN 'cancelled'
    ELSE 'completed'
END
"""

ORDERS = f"""
{{made}}
INSERT INTO orders (
    {{number}} id, user_id, subtotal, discounts, total, created_at, coupon_code, counted, status,
    version, pickup_name, pickup_number, ready_at, cancelled_by, last_event, changed_at
)
SELECT
    {{n}}
    {{id}},
    CASE WHEN n % 10 = 0 THEN 'demo' ELSE {{guest}} END,
    subtotal,
    CASE WHEN n % 7 = 0 THEN (subtotal + 5) / 10 ELSE 0 END,
    subtotal - CASE WHEN n % 7 = 0 THEN (subtotal + 5) / 10 ELSE 0 END,
    created_at,
    CASE WHEN n % 7 = 0 THEN '{COUPON}' END,
    {{counted}},
    status,
    version,
    CASE WHEN created_at > {{kept_since}} THEN 'Ada' END,
    1 + n % 999,
    CASE WHEN status IN ('accepted', 'ready', 'completed') THEN created_at + {{ready_after}} END,
    CASE WHEN status = 'cancelled' THEN 'customer' END,
    status,
    CASE WHEN version > 1 THEN created_at + {{seconds}} END
FROM made JOIN baskets ON baskets.basket = n % 30 JOIN ends ON ends.reached = status;
"""

LINES = """
{made}
INSERT INTO order_lines (
    {order}, position, product_id, name, price, category, quantity, details
)
SELECT {value}, position, product_id, name, price, category, quantity, details
FROM made JOIN basket_lines ON basket_lines.basket = n % 30;
"""

EVENTS = """
INSERT INTO order_events (
    {seq} {order}, version, user_id, type, status, ready_at, staff_user, staff_key, at
)
SELECT
    {number} {value}, steps.version, user_id, type, type,
    CASE WHEN type IN ('accepted', 'ready', 'completed') THEN ready_at END,
    CASE WHEN type IN ('accepted', 'ready', 'completed') THEN 'kitchen' END,
    CASE WHEN type IN ('accepted', 'ready', 'completed') THEN '6104ac75' END,
    created_at + {seconds}
FROM orders JOIN steps ON steps.reached = orders.status
WHERE pickup_name IS NOT NULL
ORDER BY created_at + {seconds}, steps.version;
"""
"""Of the orders that still have a name: those are as old."""

KEYS = """
INSERT INTO idempotency_keys (user_id, key, fingerprint, expires_at, order_id)
SELECT user_id, 'filled-' || id, 'filled', created_at + {day}, id FROM orders
WHERE created_at > {now} - {day};
"""

USES = f"""
INSERT INTO coupon_uses (code, uses)
SELECT '{COUPON}', count(*) FROM orders
WHERE coupon_code = '{COUPON}' AND counted AND status <> 'cancelled' HAVING count(*) > 0;
INSERT INTO coupon_user_uses (code, user_id, uses)
SELECT '{COUPON}', user_id, count(*) FROM orders
WHERE coupon_code = '{COUPON}' AND counted AND status <> 'cancelled' GROUP BY user_id;
"""

Progress = Callable[[str], object]


def fill(url: str, orders: int, progress: Progress = lambda line: None) -> None:
    """Fills a database, which holds no orders yet but the samples of the fixtures."""
    if url.startswith("sqlite"):
        fill_sqlite(url.removeprefix("sqlite:///"), orders, progress)
    else:
        run(fill_postgres(url, orders, progress))


def portions(orders: int) -> Iterator[tuple[int, int]]:
    """The first and the last number of each portion."""
    for first in range(1, orders + 1, PORTION):
        yield first, min(orders, first + PORTION - 1)


# --- Postgres ---

INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename = 'orders' AND indexname NOT LIKE '%_pkey'
"""

POSTGRES_MADE = f"""
WITH made AS (
    SELECT n, now() - interval '1 hour' - interval '{DAYS} days' * (1 - n / {{orders}}::float8)
        AS created_at, {STATUS} AS status
    FROM generate_series({{first}}, {{last}}) AS n
)
"""
POSTGRES_ID = (
    "(lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0')"
    " || '70008' || lpad(to_hex(n), 15, '0'))::uuid"
)


async def fill_postgres(url: str, orders: int, progress: Progress) -> None:
    """Makes the orders' other indexes after the rows, which takes a third of the time."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        await connection.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'")
        await connection.execute(BASKETS)
        indexes = await connection.fetch(INDEXES)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for first, last in portions(orders):
            await connection.execute(postgres_portion(orders, first, last))
            progress(f"{last:,} orders")
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute(postgres_rest(orders))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def postgres_portion(orders: int, first: int, last: int) -> str:
    """The script that inserts orders and their lines; now() is the same to both."""
    made = POSTGRES_MADE.format(orders=orders, first=first, last=last)
    stored = ORDERS.format(
        made=made,
        number="",
        n="",
        id=POSTGRES_ID,
        guest=f"'guest ' || lpad(to_hex(n % {max(1, orders // 20)}), 32, '0')",
        counted="n % 7 = 0",
        kept_since=f"now() - interval '{KEPT_DAYS} days'",
        ready_after="interval '930 s'",
        seconds="seconds * interval '1 s'",
    )
    return f"BEGIN; {stored} {LINES.format(made=made, order='order_id', value=POSTGRES_ID)} COMMIT;"


def postgres_rest(orders: int) -> str:
    seconds = "seconds * interval '1 s'"
    number = f"row_number() OVER (ORDER BY created_at + {seconds}, steps.version),"
    events = EVENTS.format(seq="seq,", order="order_id", number=number, value="id", seconds=seconds)
    keys = KEYS.format(now="now()", day="interval '1 day'")
    return f"""
        {events} {keys} {USES}
        UPDATE event_log SET last = (SELECT count(*) FROM order_events);
        SELECT setval('pickup_numbers', 1 + {orders} % 999);
    """


# --- SQLite ---

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
NOW = f"(CAST(unixepoch() AS INTEGER) * {MICROSECONDS})"

SQLITE_MADE = f"""
WITH RECURSIVE numbers (n) AS (
    SELECT {{first}} UNION ALL SELECT n + 1 FROM numbers WHERE n < {{last}}
), made AS (
    SELECT n, {{now}} - 3600 * {MICROSECONDS} - ({{orders}} - n) * ({DAYS} * {DAY} / {{orders}})
        AS created_at, {STATUS} AS status
    FROM numbers
)
"""
SQLITE_ID = (
    "printf('%08x-%04x-7000-8000-%012x', created_at / 1000 >> 16, created_at / 1000 & 65535, n)"
)


def fill_sqlite(path: str, orders: int, progress: Progress) -> None:
    """One transaction for each portion. Rows are numbered behind the samples."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA cache_size = -262144; PRAGMA synchronous = OFF;" + BASKETS)
        (now,) = db.execute(f"SELECT {NOW}").fetchone()
        (samples,) = db.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()
        for first, last in portions(orders):
            db.executescript(sqlite_portion(orders, first, last, now, samples))
            progress(f"{last:,} orders")
        db.executescript(sqlite_rest(orders, now))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def sqlite_portion(orders: int, first: int, last: int, now: int, samples: int) -> str:
    made = SQLITE_MADE.format(orders=orders, first=first, last=last, now=now)
    stored = ORDERS.format(
        made=made,
        number="number,",
        n=f"n + {samples},",
        id=SQLITE_ID,
        guest=f"printf('guest %032x', n % {max(1, orders // 20)})",
        counted="n % 7 = 0 AND status <> 'cancelled'",
        kept_since=now - KEPT_DAYS * DAY,
        ready_after=930 * MICROSECONDS,
        seconds=f"seconds * {MICROSECONDS}",
    )
    lines = LINES.format(made=made, order="order_number", value=f"n + {samples}")
    return f"BEGIN IMMEDIATE; {stored} {lines} COMMIT;"


def sqlite_rest(orders: int, now: int) -> str:
    events = EVENTS.format(
        seq="", order="order_number", number="", value="number", seconds=f"seconds * {MICROSECONDS}"
    )
    keys = KEYS.format(now=now, day=DAY)
    return f"""
        BEGIN IMMEDIATE; {events} {keys} {USES}
        UPDATE order_numbers SET last = 1 + {orders} % 999;
        COMMIT;
    """
