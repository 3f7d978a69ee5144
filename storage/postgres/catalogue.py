"""The reference data in Postgres: reading it, and replacing it in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from storage.catalogue_load import (
    CatalogueDifference,
    CodeReader,
    Difference,
    Load,
    compare,
    losses,
)
from storage.portions import PORTION_SIZE, KnownCatalogue, Portions
from storage.postgres.connect import Connection
from storage.postgres.connections import READ_ONLY_VALUE, Connections, transaction
from storage.postgres.notices import CHANNEL
from storage.records import (
    Catalogue,
    Change,
    Coupon,
    FoundCoupon,
    LoadReport,
    Order,
    Product,
    User,
    VersionedCatalogue,
    Versions,
)
from storage.rows import (
    COUPON_COLUMNS,
    LINE_COLUMNS,
    ORDER_COLUMNS,
    read_coupon,
    write_coupon,
    write_details,
    write_lines,
    write_order,
)

Record = TypeVar("Record")

LOAD_SECONDS = 600.0
"""How long a statement of a load may take: it may compare millions of codes."""

LOAD_LOCK = 7_305_801_002

BATCH_SIZE = 500
"""Rows that are read and made into records before others get their turn: about a millisecond."""

BATCH_SECONDS = 5.0
"""How long a batch may take before the server counts as gone."""

_PRODUCTS = f"""
SELECT coalesce(json_agg(json_build_array(id, name, price, category, details)), '[]')::text
FROM (SELECT * FROM products {{behind}} ORDER BY id LIMIT {PORTION_SIZE}) AS one
"""
_USERS = f"""
SELECT coalesce(json_agg(json_build_array(id, name, (
    SELECT coalesce(json_agg(json_build_array(position, hash, scopes, expires_at)), '[]')
    FROM api_keys WHERE user_id = one.id
))), '[]')::text
FROM (SELECT id, name FROM users {{behind}} ORDER BY id LIMIT {PORTION_SIZE}) AS one
"""
"""A text in place of rows: most of it has not changed, and is not taken apart again."""

NAMED_COLUMNS = ", ".join(f"named.{column}" for column in COUPON_COLUMNS.split(", "))

ORDER_PLACES = ", ".join(f"${n}" for n in range(1, len(ORDER_COLUMNS.split(",")) + 1))

FIND_COUPON = f"""
SELECT catalogue.version, file.code AS file_code, {NAMED_COLUMNS}
FROM catalogue
LEFT JOIN coupons AS named ON lower(named.code) = lower($1 COLLATE "C") AND named.code <> ''
LEFT JOIN LATERAL (
    SELECT code FROM coupon_codes WHERE lower(code) = lower($1 COLLATE "C") ORDER BY code LIMIT 1
) AS file ON named.code IS NULL
"""


VERSIONS = f"""
SELECT
    coalesce((SELECT version FROM catalogue), 0),
    coalesce((SELECT version FROM shop_state), 0),
    {READ_ONLY_VALUE}
"""


async def get_versions(connections: Connections) -> Versions:
    """The versions of the catalogue and of the shop's state. Looks for another server when this one
    takes no writes."""
    catalogue, shop, read_only = (await connections.fetch(VERSIONS))[0]
    if read_only:
        connections.look_elsewhere()
    return Versions(catalogue, shop)


def known_catalogue() -> KnownCatalogue:
    """Nothing is known yet."""
    return KnownCatalogue(_to_time)


def _to_time(text: str | None) -> datetime | None:
    """The time of a JSON text, which is in the time zone of the connection."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


async def read_catalogue(
    connections: Connections, named: bool, known: KnownCatalogue
) -> VersionedCatalogue:
    """The catalogue as one consistent view; unless ``named`` without the coupons of a name. What is
    ``known`` and the same is not made anew."""
    return await connections.retry_transaction(lambda: _read_catalogue(connections, named, known))


async def _read_catalogue(
    connections: Connections, named: bool, known: KnownCatalogue
) -> VersionedCatalogue:
    async with (
        connections.acquired() as connection,
        transaction(connection, "repeatable_read", readonly=True),
    ):
        row = await connection.fetchrow("SELECT version, loaded_at FROM catalogue")
        version, loaded_at = row or (0, None)
        catalogue = await _stored_catalogue(connection, named, known)
        return VersionedCatalogue(version, loaded_at, catalogue)


async def find_coupon(connections: Connections, code: str) -> FoundCoupon:
    """What a code stands for, as one consistent view."""
    rows = await connections.fetch(FIND_COUPON, code)
    version, file_code, *coupon = rows[0]
    return FoundCoupon(version, read_coupon(coupon) if coupon[0] else None, file_code)


async def replace_catalogue(connections: Connections, load: Load) -> LoadReport:
    """Runs a load in one transaction. Raises CodesFailed."""
    report: list[LoadReport] = []
    with suppress(_Rehearsed):
        async with connections.exclusive(LOAD_LOCK, LOAD_SECONDS) as connection:
            report.append(await _replace(connection, load))
            if load.dry_run:
                raise _Rehearsed
    return report[0]


class _Rehearsed(Exception):
    """Rolls a dry run back."""


async def _replace(connection: Connection, load: Load) -> LoadReport:
    """Part by part, within a transaction."""
    before, watch = await _version(connection), load.watch
    watch("coupons", None)
    await _stage(connection, load.codes)
    stored = await _stored_catalogue(connection, True, known_catalogue())
    codes = await _swap_codes(connection)
    load.approve(losses(stored, load.wanted, codes))
    differs = compare(stored, load.wanted)
    await _write_coupons(connection, differs, load.wanted)
    watch("coupons", differs.coupon_changes(codes))
    watch("products", None)
    await _write_products(connection, differs.products)
    watch("products", {"products": differs.products.change})
    watch("users", None)
    await _write_users(connection, differs.users)
    watch("users", {"users": differs.users.change})
    watch("orders", None)
    orders = await _insert_samples(connection, load.sample_orders)
    watch("orders", {"orders": orders})
    if not differs.empty or codes.added or codes.removed:
        await _announce(connection)
    version = before if load.dry_run else await _version(connection)
    return LoadReport(version, differs.changes(codes, orders))


async def _version(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT version FROM catalogue") or 0)


async def _stored_catalogue(
    connection: Connection, named: bool, known: KnownCatalogue
) -> Catalogue:
    products = await _portions(connection, _PRODUCTS, known.products)
    coupons = await _stored_coupons(connection, named)
    users = await _portions(connection, _USERS, known.users)
    return Catalogue(
        products=tuple(products),
        users=tuple(users),
        coupons=tuple(coupon for coupon in coupons if coupon.code),
        file_coupon=next((coupon for coupon in coupons if not coupon.code), None),
    )


async def _portions(connection: Connection, query: str, known: Portions[Record]) -> list[Record]:
    """The records of a table, portion by portion, by its key. A cursor would need a named
    statement, which a transaction pooler may show to others."""
    reading = known.begin()
    while not reading.is_done:
        sql = query.format(behind="WHERE id > $1" if reading.behind else "")
        reading.take(await connection.fetchval(sql, *reading.behind, timeout=BATCH_SECONDS))
    return reading.records


async def _stored_coupons(connection: Connection, named: bool) -> list[Coupon]:
    coupons: list[Coupon] = []
    where, behind = "" if named else "WHERE code = ''", list[str]()
    while True:
        rows = await connection.fetch(
            f"SELECT {COUPON_COLUMNS} FROM coupons {where} ORDER BY code LIMIT {BATCH_SIZE}",
            *behind,
            timeout=BATCH_SECONDS,
        )
        coupons += (read_coupon(row) for row in rows)
        if len(rows) < BATCH_SIZE:
            return coupons
        where, behind = "WHERE code > $1", [coupons[-1].code]


async def _stage(connection: Connection, codes: CodeReader) -> None:
    await connection.execute(
        'CREATE TEMP TABLE stage (code text COLLATE "C" NOT NULL) ON COMMIT DROP'
    )
    while chunk := await asyncio.to_thread(codes.next_chunk):
        await connection.fetch(
            "INSERT INTO stage SELECT unnest($1::text[])", chunk, timeout=LOAD_SECONDS
        )
    await connection.execute("ANALYZE stage", timeout=LOAD_SECONDS)


async def _announce(connection: Connection) -> None:
    """A new version of the catalogue, as soon as this commits."""
    await connection.execute(
        "UPDATE catalogue SET version = version + 1, loaded_at = clock_timestamp()"
    )
    await connection.fetch("SELECT pg_notify($1, '')", CHANNEL)


async def _swap_codes(connection: Connection) -> Change:
    """Writes only what differs: the load of yesterday's codes touches no page."""
    kept = await connection.fetchval("SELECT count(*) FROM coupon_codes", timeout=LOAD_SECONDS)
    removed = await _count(
        connection,
        "DELETE FROM coupon_codes AS old"
        " WHERE NOT EXISTS (SELECT FROM stage WHERE stage.code = old.code) RETURNING 1",
    )
    added = await _count(
        connection,
        "INSERT INTO coupon_codes (code) SELECT code FROM stage AS new"
        " WHERE NOT EXISTS (SELECT FROM coupon_codes AS old WHERE old.code = new.code) RETURNING 1",
    )
    return Change(added=added, removed=removed, unchanged=kept - removed)


async def _count(connection: Connection, statement: str) -> int:
    return int(
        await connection.fetchval(
            f"WITH touched AS ({statement}) SELECT count(*) FROM touched", timeout=LOAD_SECONDS
        )
    )


async def _insert_samples(connection: Connection, orders: Sequence[Order]) -> Change:
    added = 0
    for order in orders:
        stored = await connection.fetchval(
            f"INSERT INTO orders ({ORDER_COLUMNS}, counted) VALUES ({ORDER_PLACES}, false)"
            " ON CONFLICT DO NOTHING RETURNING 1",
            *write_order(order),
        )
        if stored:
            added += 1
            await _insert_lines(connection, order)
    return Change(added=added, unchanged=len(orders) - added)


async def _insert_lines(connection: Connection, order: Order) -> None:
    await connection.executemany(
        f"INSERT INTO order_lines (order_id, position, {LINE_COLUMNS})"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [(order.id, *line) for line in write_lines(order)],
    )


async def _write_products(connection: Connection, products: Difference[Product]) -> None:
    outdated = [one.id for one in products.outdated]
    await connection.fetch(
        "DELETE FROM products WHERE id = ANY ($1)", outdated, timeout=LOAD_SECONDS
    )
    await connection.executemany(
        "INSERT INTO products (id, name, price, category, details) VALUES ($1, $2, $3, $4, $5)",
        [(one.id, one.name, one.price, one.category, write_details(one)) for one in products.fresh],
        timeout=LOAD_SECONDS,
    )


async def _write_users(connection: Connection, users: Difference[User]) -> None:
    outdated = [one.id for one in users.outdated]
    await connection.fetch("DELETE FROM users WHERE id = ANY ($1)", outdated, timeout=LOAD_SECONDS)
    await _insert_users(connection, users.fresh)


async def _write_coupons(
    connection: Connection, differs: CatalogueDifference, wanted: Catalogue
) -> None:
    outdated = [one.code for one in differs.coupons.outdated]
    fresh = list(differs.coupons.fresh)
    if differs.file_coupon_differs:
        outdated.append("")
        fresh += [wanted.file_coupon] if wanted.file_coupon else []
    await connection.fetch(
        "DELETE FROM coupons WHERE code = ANY ($1)", outdated, timeout=LOAD_SECONDS
    )
    await connection.executemany(
        f"INSERT INTO coupons ({COUPON_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [write_coupon(coupon) for coupon in fresh],
        timeout=LOAD_SECONDS,
    )


async def _insert_users(connection: Connection, users: Sequence[User]) -> None:
    await connection.executemany(
        "INSERT INTO users (id, name) VALUES ($1, $2)",
        [(user.id, user.name) for user in users],
        timeout=LOAD_SECONDS,
    )
    await connection.executemany(
        "INSERT INTO api_keys (hash, user_id, position, scopes, expires_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        [
            (key.hash, user.id, position, sorted(key.scopes), key.expires_at)
            for user in users
            for position, key in enumerate(user.keys)
        ],
        timeout=LOAD_SECONDS,
    )
