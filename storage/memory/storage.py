"""A storage that survives nothing: everything is in this process's memory, and ends with it.

For tests and demonstrations. Each method is one synchronous step of the event loop, which is what
makes it atomic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from storage.base import MIGRATION_TIMEOUT, SCHEMA_VERSION, Approve, Storage, Watch
from storage.catalogue_load import compare, fold_ascii, losses, normalized, unapproved, unwatched
from storage.errors import InvalidStorageURL
from storage.memory.orders import Orders
from storage.order_rules import NO_LIMITS, NewOrder
from storage.records import (
    KEPT_LOAD_RUNS,
    Actor,
    AppliedMigration,
    Catalogue,
    Change,
    Coupon,
    CouponLimits,
    Cursor,
    EventPage,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    LoadRun,
    Migration,
    OpenOrders,
    Order,
    OrderChange,
    OrderEvent,
    Pause,
    ShopOrders,
    ShopState,
    VersionedCatalogue,
    Versions,
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
        self._orders = Orders()
        self._shop = ShopState()
        self._load_runs: list[LoadRun] = []
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

    async def get_versions(self) -> Versions:
        return Versions(self._stored.version, self._shop.version)

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        if coupons:
            return self._stored
        return replace(self._stored, catalogue=replace(self._stored.catalogue, coupons=()))

    async def find_coupon(self, code: str) -> FoundCoupon:
        folded, version = fold_ascii(code), self._stored.version
        coupon = self._coupons.get(folded)
        return FoundCoupon(version, coupon, None if coupon else self._spellings.get(folded))

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return self._orders.coupon_uses(code, user_id)

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
            self._orders.insert(order)
        watch("orders", {"orders": changes["orders"]})
        return LoadReport(self._stored.version, changes)

    def _swap(self, catalogue: Catalogue, codes: tuple[str, ...]) -> None:
        self._stored = VersionedCatalogue(self._stored.version + 1, datetime.now(UTC), catalogue)
        self._codes = codes
        self._coupons = {fold_ascii(coupon.code): coupon for coupon in catalogue.coupons}
        self._spellings = {fold_ascii(code): code for code in reversed(codes)}
        self._notice.set()

    async def record_load_run(self, run: LoadRun) -> None:
        runs = [run, *(each for each in self._load_runs if each.id != run.id)]
        runs.sort(key=lambda each: each.began_at, reverse=True)
        self._load_runs = runs[:KEPT_LOAD_RUNS]

    async def list_load_runs(self, limit: int) -> list[LoadRun]:
        return self._load_runs[:limit]

    async def wait_for_notice(self) -> None:
        await self._notice.wait()
        self._notice.clear()

    async def read_shop_state(self) -> ShopState:
        return self._shop

    async def set_sold_out(self, product_id: int, until: datetime | None) -> None:
        self._say(replace(self._shop, sold_out={**self._shop.sold_out, product_id: until}))

    async def set_available(self, product_id: int) -> None:
        left = {id_: until for id_, until in self._shop.sold_out.items() if id_ != product_id}
        self._say(replace(self._shop, sold_out=left))

    async def set_pause(self, pause: Pause | None) -> None:
        self._say(replace(self._shop, pause=pause))

    def _say(self, state: ShopState) -> None:
        if state == self._shop:
            return
        self._shop = replace(state, version=self._shop.version + 1)
        self._notice.set()

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        return self._orders.add(NewOrder(order, key, limits or NO_LIMITS))

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return self._orders.find_by_key(user_id, key)

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return self._orders.find(order_id, user_id)

    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        return self._orders.page_of_user(user_id, limit, after)

    async def change_order(
        self,
        order_id: UUID,
        change: OrderChange,
        by: Actor,
        at: datetime,
        *,
        expected_version: int | None = None,
        user_id: str | None = None,
    ) -> tuple[Order, bool]:
        order = self._orders.find(order_id, user_id)
        return self._orders.change(order, change, by, at, expected_version)

    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        return self._orders.blank_personal_data(before, limit)

    async def list_shop_orders(
        self,
        statuses: Sequence[str],
        *,
        oldest_first: bool,
        limit: int,
        after: Cursor | None = None,
    ) -> ShopOrders:
        return self._orders.page_of_shop(statuses, oldest_first, limit, after)

    async def get_order_history(self, order_id: UUID) -> tuple[Order, tuple[OrderEvent, ...]]:
        return self._orders.find(order_id), self._orders.log.of(order_id)

    async def count_open_orders(self) -> OpenOrders:
        return self._orders.count_open()

    async def count_open_orders_of(self, user_id: str) -> int:
        return self._orders.count_open_of(user_id)

    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        return self._orders.log.page(after, limit, user_id, order_id)

    async def delete_events(self, before: datetime, limit: int) -> int:
        return self._orders.log.delete(before, limit)

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return self._orders.delete_expired_keys(limit)


def _code_change(old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    before, after = set(old), set(new)
    return Change(
        added=len(after - before),
        removed=len(before - after),
        unchanged=len(before & after),
    )
