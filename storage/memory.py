"""A storage that survives nothing: everything is in this process's memory, and ends with it.

For tests and demonstrations. Each method is one synchronous step of the event loop, which is what
makes it atomic.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from storage.base import MIGRATION_TIMEOUT, SCHEMA_VERSION, Approve, Storage, Watch
from storage.catalogue_load import compare, fold_ascii, losses, normalized, unapproved, unwatched
from storage.errors import (
    InvalidStorageURL,
    OrderExists,
    OrderNotCancellable,
    OrderNotFound,
)
from storage.order_rules import NO_LIMITS, as_placed, check_fingerprint, check_uses
from storage.records import (
    AppliedMigration,
    Catalogue,
    Change,
    Coupon,
    CouponLimits,
    Cursor,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    Migration,
    Order,
    OrderStatus,
    VersionedCatalogue,
)


class MemoryStorage(Storage):
    """Dictionaries behind the Storage interface; every instance has its own."""

    backend = "memory"

    def __init__(self, url: str = "memory://") -> None:
        if url != "memory://":
            raise InvalidStorageURL("memory:// takes no host, path or options")
        self._stored = VersionedCatalogue(0, None, Catalogue())
        self._codes: tuple[str, ...] = ()
        self._coupons: dict[str, Coupon] = {}
        self._spellings: dict[str, str] = {}
        self._orders: dict[UUID, Order] = {}
        self._orders_by_user: dict[str, list[tuple[datetime, UUID]]] = defaultdict(list)
        self._keys: dict[tuple[str, str], tuple[IdempotencyKey, UUID]] = {}
        self._uses: Counter[str] = Counter()
        self._uses_by_user: Counter[tuple[str, str]] = Counter()
        self._counted: set[UUID] = set()
        self._notice = asyncio.Event()

    async def connect(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def list_migrations(self) -> list[AppliedMigration]:
        return []

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        return False

    async def get_schema_version(self) -> int:
        return SCHEMA_VERSION

    async def get_catalogue_version(self) -> int:
        return self._stored.version

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        if coupons:
            return self._stored
        return replace(self._stored, catalogue=replace(self._stored.catalogue, coupons=()))

    async def find_coupon(self, code: str) -> FoundCoupon:
        folded, version = fold_ascii(code), self._stored.version
        coupon = self._coupons.get(folded)
        return FoundCoupon(version, coupon, None if coupon else self._spellings.get(folded))

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return self._uses[code], self._uses_by_user[code, user_id]

    async def replace_catalogue(
        self,
        catalogue: Catalogue,
        *,
        codes: Iterable[str] = (),
        sample_orders: Sequence[Order] = (),
        dry_run: bool = False,
        watch: Watch | None = None,
        approve: Approve | None = None,
    ) -> LoadReport:
        watch = watch or unwatched
        watch("coupons", None)
        catalogue, new_codes = normalized(catalogue), tuple(codes)
        differs = compare(self._stored.catalogue, catalogue)
        code_change = _code_change(self._codes, new_codes)
        (approve or unapproved)(losses(self._stored.catalogue, catalogue, code_change))
        missing = [order for order in sample_orders if order.id not in self._orders]
        changes = differs.changes(
            code_change, Change(added=len(missing), unchanged=len(sample_orders) - len(missing))
        )
        watch("coupons", differs.coupon_changes(code_change))
        if not dry_run and (not differs.empty or code_change.added or code_change.removed):
            self._swap(catalogue, new_codes)
        for part in ("products", "users"):  # swapped already, in the one step that there is
            watch(part, None)
            watch(part, {part: changes[part]})
        watch("orders", None)
        for order in () if dry_run else missing:
            self._insert(order)
        watch("orders", {"orders": changes["orders"]})
        return LoadReport(self._stored.version, changes)

    def _swap(self, catalogue: Catalogue, codes: tuple[str, ...]) -> None:
        self._stored = VersionedCatalogue(self._stored.version + 1, datetime.now(UTC), catalogue)
        self._codes = codes
        self._coupons = {fold_ascii(coupon.code): coupon for coupon in catalogue.coupons}
        self._spellings = {fold_ascii(code): code for code in reversed(codes)}
        self._notice.set()

    async def wait_for_notice(self) -> None:
        await self._notice.wait()
        self._notice.clear()

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        if key and (first := await self.find_order_by_key(order.user_id, key)):
            return first
        if order.coupon_code is not None:
            uses = await self.get_coupon_uses(order.coupon_code, order.user_id)
            check_uses(order.coupon_code, limits or NO_LIMITS, *uses)
        self._insert(order)
        if order.coupon_code is not None:
            self._counted.add(order.id)
            self._count(order, order.coupon_code, 1)
        if key:
            self._keys[order.user_id, key.key] = (key, order.id)
        return order

    def _insert(self, order: Order) -> None:
        if order.id in self._orders:
            raise OrderExists(f"an order {order.id} is stored already")
        self._orders[order.id] = order
        insort(self._orders_by_user[order.user_id], (order.created_at, order.id))

    def _count(self, order: Order, code: str, uses: int) -> None:
        self._uses[code] += uses
        self._uses_by_user[code, order.user_id] += uses

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        stored, order_id = self._keys.get((user_id, key.key), (None, None))
        if stored is None or order_id is None or stored.expires_at <= datetime.now(UTC):
            return None
        check_fingerprint(key, stored.fingerprint)
        return as_placed(self._orders[order_id])

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        order = self._orders.get(order_id)
        if order is None or order.user_id != user_id:
            raise OrderNotFound(f"the user has no order {order_id}")
        return order

    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        oldest_first = self._orders_by_user.get(user_id, [])
        end = bisect_left(oldest_first, (after.created_at, after.id)) if after else None
        page = oldest_first[:end][: -limit - 1 : -1] if limit else []
        return [self._orders[order_id] for _, order_id in page]

    async def cancel_order(self, user_id: str, order_id: UUID) -> Order:
        order = await self.get_order(user_id, order_id)
        if order.status is not OrderStatus.PLACED:
            raise OrderNotCancellable(f"the order {order_id} is cancelled already")
        cancelled = replace(order, status=OrderStatus.CANCELLED, version=order.version + 1)
        self._orders[order_id] = cancelled
        if order_id in self._counted and order.coupon_code is not None:
            self._counted.remove(order_id)
            self._count(order, order.coupon_code, -1)
        return cancelled

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        now = datetime.now(UTC)
        expired = [name for name, (key, _) in self._keys.items() if key.expires_at <= now][:limit]
        for name in expired:
            del self._keys[name]
        return len(expired)


def _code_change(old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    before, after = set(old), set(new)
    return Change(
        added=len(after - before),
        removed=len(before - after),
        unchanged=len(before & after),
    )
