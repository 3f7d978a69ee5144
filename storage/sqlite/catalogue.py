"""The reference data in an SQLite file: reading it, and replacing it in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from storage.catalogue_load import CatalogueDifference, Difference, Load, compare, losses
from storage.portions import PORTION_SIZE, KnownCatalogue, Portions
from storage.records import (
    Catalogue,
    Change,
    Coupon,
    FoundCoupon,
    LoadReport,
    Losses,
    Order,
    Product,
    User,
    VersionedCatalogue,
)
from storage.rows import COUPON_COLUMNS, read_coupon, write_coupon, write_details
from storage.sqlite.connections import LOAD_LOCK_SECONDS, reading, rehearsing, value, writing
from storage.sqlite.orders import insert_orders
from storage.sqlite.times import current_time, from_time, to_time

Result = TypeVar("Result")

BATCH_SIZE = 200
"""Rows that are made into records before the event loop gets its turn: what Python does on another
thread holds it up as well."""

_PRODUCTS = f"""
SELECT json_group_array(json_array(id, name, price, category, details))
FROM (SELECT * FROM products {{behind}} ORDER BY id LIMIT {PORTION_SIZE})
"""
_USERS = f"""
SELECT json_group_array(json_array(id, name, json((
    SELECT json_group_array(json_array(position, hash, json(scopes), expires_at))
    FROM api_keys WHERE user_id = one.id
))))
FROM (SELECT id, name FROM users {{behind}} ORDER BY id LIMIT {PORTION_SIZE}) AS one
"""
"""What Python reads row by row takes its lock again for each of them."""


def catalogue_version(db: sqlite3.Connection) -> int:
    """The version of the catalogue."""
    return int(value(db, "SELECT version FROM catalogue"))


def known_catalogue() -> KnownCatalogue:
    """Nothing is known yet."""
    return KnownCatalogue(to_time)


def read_catalogue(
    db: sqlite3.Connection, coupons: bool, known: KnownCatalogue
) -> Generator[None, None, VersionedCatalogue]:
    """The catalogue as one consistent view, with a pause after each batch; without
    ``coupons`` without those that have a name. What is ``known`` and the same is not made anew.
    """
    with reading(db):
        version, loaded_at = db.execute("SELECT version, loaded_at FROM catalogue").fetchone()
        catalogue = yield from _stored_catalogue(db, coupons, known)
        return VersionedCatalogue(version, to_time(loaded_at), catalogue)


def _stored_catalogue(
    db: sqlite3.Connection, named: bool, known: KnownCatalogue
) -> Generator[None, None, Catalogue]:
    """The catalogue, with a pause after each batch."""
    products = yield from _portions(db, _PRODUCTS, known.products)
    coupons = yield from _stored_coupons(db, "" if named else "WHERE code = ''")
    users = yield from _portions(db, _USERS, known.users)
    return Catalogue(
        products=tuple(products),
        users=tuple(users),
        coupons=tuple(coupon for coupon in coupons if coupon.code),
        file_coupon=next((coupon for coupon in coupons if not coupon.code), None),
    )


def _portions(
    db: sqlite3.Connection, query: str, known: Portions[Result]
) -> Generator[None, None, list[Result]]:
    """The records of a table, with a pause after each portion."""
    reading = known.begin()
    while not reading.is_done:
        behind = "WHERE id > ?" if reading.behind else ""
        reading.take(value(db, query.format(behind=behind), reading.behind))
        yield
    return reading.records


def _stored_coupons(db: sqlite3.Connection, some: str) -> Generator[None, None, list[Coupon]]:
    rows = db.execute(f"SELECT {COUPON_COLUMNS} FROM coupons {some} ORDER BY code COLLATE BINARY")
    coupons: list[Coupon] = []
    while batch := rows.fetchmany(BATCH_SIZE):
        coupons += (read_coupon(row, to_time) for row in batch)
        yield
    return coupons


def _at_once(steps: Generator[None, None, Result]) -> Result:
    """What comes of it, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result


def find_coupon(db: sqlite3.Connection, code: str) -> FoundCoupon:
    """What a code stands for, as one consistent view."""
    with reading(db):
        version = catalogue_version(db)
        row = db.execute(
            f"SELECT {COUPON_COLUMNS} FROM coupons WHERE code = ? AND code <> ''", (code,)
        ).fetchone()
        if row is not None:
            return FoundCoupon(version, read_coupon(row, to_time))
        file_code = value(
            db,
            "SELECT code FROM coupon_codes WHERE code = ? COLLATE NOCASE"
            " ORDER BY code COLLATE BINARY LIMIT 1",
            (code,),
        )
        return FoundCoupon(version, None, file_code)


def create_stage(db: sqlite3.Connection) -> None:
    """Temporary tables lie in a file of their own: filling them needs no lock on the database."""
    for table in ("stage", "added", "removed"):
        db.execute(f"CREATE TEMP TABLE {table} (code TEXT PRIMARY KEY) WITHOUT ROWID")


def stage(db: sqlite3.Connection, codes: list[str]) -> None:
    """Adds codes of the coupon files to those that a load wants."""
    db.execute("BEGIN")
    db.executemany("INSERT INTO stage VALUES (?)", ((code,) for code in codes))
    db.execute("COMMIT")


class _Comparison(NamedTuple):
    """What differs from ``version``, and what of it would be lost."""

    version: int
    differs: CatalogueDifference
    codes: Change
    lost: Losses


def replace_catalogue(db: sqlite3.Connection, load: Load) -> LoadReport:
    """Runs a load whose codes are staged."""
    transaction = rehearsing if load.dry_run else writing
    with reading(db):
        found = _compare(db, load.wanted)
    with transaction(db, LOAD_LOCK_SECONDS):
        if catalogue_version(db) != found.version:  # another load was faster
            found = _compare(db, load.wanted)
        changes = _swap_catalogue(db, load, found)
        version = catalogue_version(db)
    if load.dry_run:
        version = catalogue_version(db)
    return LoadReport(version, changes)


def _compare(db: sqlite3.Connection, wanted: Catalogue) -> _Comparison:
    """It takes long when the catalogue is large, so it is done before the write lock is taken, for
    which orders would wait."""
    version, codes = _compare_codes(db)
    stored = _at_once(_stored_catalogue(db, True, known_catalogue()))
    return _Comparison(version, compare(stored, wanted), codes, losses(stored, wanted, codes))


def _swap_catalogue(db: sqlite3.Connection, load: Load, found: _Comparison) -> Mapping[str, Change]:
    """Part by part, within a transaction. The coupons' has begun with the staging of the codes."""
    watch, differs, codes = load.watch, found.differs, found.codes
    load.approve(found.lost)
    _swap_codes(db)
    _write_coupons(db, differs, load.wanted)
    watch("coupons", differs.coupon_changes(codes))
    watch("products", None)
    _write_products(db, differs.products)
    watch("products", {"products": differs.products.change})
    watch("users", None)
    _write_users(db, differs.users)
    watch("users", {"users": differs.users.change})
    watch("orders", None)
    orders = _insert_samples(db, load.sample_orders)
    watch("orders", {"orders": orders})
    if not differs.empty or codes.added or codes.removed:
        db.execute("UPDATE catalogue SET version = version + 1, loaded_at = ?", (current_time(),))
    return differs.changes(codes, orders)


def _compare_codes(db: sqlite3.Connection) -> tuple[int, Change]:
    """Finds what differs in the codes of the version that it returns."""
    version = catalogue_version(db)
    db.execute("DELETE FROM added")
    db.execute("DELETE FROM removed")
    added = db.execute(
        "INSERT INTO added SELECT code FROM stage WHERE code NOT IN (SELECT code FROM coupon_codes)"
    ).rowcount
    removed = db.execute(
        "INSERT INTO removed SELECT code FROM coupon_codes"
        " WHERE code NOT IN (SELECT code FROM stage)"
    ).rowcount
    staged = value(db, "SELECT count(*) FROM stage")
    return version, Change(added=added, removed=removed, unchanged=staged - added)


def _swap_codes(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM coupon_codes WHERE code IN (SELECT code FROM removed)")
    db.execute("INSERT INTO coupon_codes (code) SELECT code FROM added")


def _insert_samples(db: sqlite3.Connection, orders: Sequence[Order]) -> Change:
    missing = [
        order
        for order in orders
        if value(db, "SELECT 1 FROM orders WHERE id = ?", (str(order.id),)) is None
    ]
    insert_orders(db, missing, samples=True)
    return Change(added=len(missing), unchanged=len(orders) - len(missing))


def _write_products(db: sqlite3.Connection, products: Difference[Product]) -> None:
    db.executemany("DELETE FROM products WHERE id = ?", ((one.id,) for one in products.outdated))
    db.executemany(
        "INSERT INTO products (id, name, price, category, details) VALUES (?, ?, ?, ?, ?)",
        ((one.id, one.name, one.price, one.category, write_details(one)) for one in products.fresh),
    )


def _write_users(db: sqlite3.Connection, users: Difference[User]) -> None:
    db.executemany("DELETE FROM users WHERE id = ?", ((one.id,) for one in users.outdated))
    _insert_users(db, users.fresh)


def _write_coupons(db: sqlite3.Connection, differs: CatalogueDifference, wanted: Catalogue) -> None:
    outdated = (one.code for one in differs.coupons.outdated)
    db.executemany("DELETE FROM coupons WHERE code = ?", ((code,) for code in outdated))
    coupons = list(differs.coupons.fresh)
    if differs.file_coupon_differs:
        db.execute("DELETE FROM coupons WHERE code = ''")
        coupons += [wanted.file_coupon] if wanted.file_coupon else []
    db.executemany(
        f"INSERT INTO coupons ({COUPON_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (write_coupon(coupon, from_time) for coupon in coupons),
    )


def _insert_users(db: sqlite3.Connection, users: Iterable[User]) -> None:
    for user in users:
        db.execute("INSERT INTO users (id, name) VALUES (?, ?)", (user.id, user.name))
        db.executemany(
            "INSERT INTO api_keys (hash, user_id, position, scopes, expires_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (
                    key.hash,
                    user.id,
                    position,
                    json.dumps(sorted(key.scopes)),
                    from_time(key.expires_at),
                )
                for position, key in enumerate(user.keys)
            ),
        )
