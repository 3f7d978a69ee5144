"""A storage in one SQLite file, in WAL mode: readers go on while the one writer commits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from storage.base import MIGRATION_TIMEOUT
from storage.catalogue_load import Load
from storage.errors import StorageError, StorageUnavailable
from storage.order_rules import NewOrder
from storage.records import (
    Actor,
    AppliedMigration,
    ArchivedOrder,
    Cursor,
    EventPage,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    LoadRun,
    Migration,
    Obstacle,
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
from storage.sql import SQLStorage
from storage.sqlite import (
    archive,
    catalogue,
    events,
    life,
    load_runs,
    obstacles,
    orders,
    schema,
    shop_state,
)
from storage.sqlite.connections import LOAD_LOCK_SECONDS, Connections, path_of, run
from storage.sqlite.times import current_time


class SQLiteStorage(SQLStorage):
    """One SQLite file, a writer for orders and a reader beside it, each on a thread of its own.

    Several processes may share the file. Loads and migrations open connections of their own: what
    they prepare must not hold up an order, and a migration can be interrupted.
    """

    backend = "sqlite"

    def __init__(self, url: str, *, wait_seconds: float = 30.0) -> None:
        super().__init__()
        self._file = Connections(path_of(url), wait_seconds)
        self._known = catalogue.known_catalogue()
        self._was_full = False
        """Whether the last order found no room: less than one has may still be there."""

    async def connect(self) -> None:
        if not self._file.are_open:
            self._accept_orders()
            await self._file.open()

    async def close(self) -> None:
        await self._finish_orders()
        await self._file.close()

    def connections(self) -> tuple[int, int]:
        return self._file.count()

    # --- schema ---

    async def list_migrations(self) -> list[AppliedMigration]:
        return await self._file.read(schema.list_migrations)

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        async with self._file.extra_writer(timeout) as connection:
            return await run(connection, schema.apply_migration, migration, timeout)

    # --- catalogue ---

    async def get_versions(self) -> Versions:
        self._file.check_identity()
        return await self._file.read(shop_state.versions)

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        return await self._file.read_in_steps(
            lambda db: catalogue.read_catalogue(db, coupons, self._known)
        )

    async def find_coupon(self, code: str) -> FoundCoupon:
        return await self._file.read(catalogue.find_coupon, code)

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return await self._file.read(orders.coupon_uses, code, user_id)

    async def _load(self, load: Load) -> LoadReport:
        async with self._file.extra_writer(LOAD_LOCK_SECONDS) as connection:
            load.watch("coupons", None)
            await run(connection, catalogue.create_stage)
            while chunk := await asyncio.to_thread(load.codes.next_chunk):
                await run(connection, catalogue.stage, chunk)
            return await run(connection, catalogue.replace_catalogue, load)

    async def record_load_run(self, run: LoadRun) -> None:
        await self._file.write(load_runs.record_load_run, run)

    async def list_load_runs(self, limit: int) -> list[LoadRun]:
        return await self._file.read(load_runs.list_load_runs, limit)

    # --- what the shop says of itself ---

    async def read_shop_state(self) -> ShopState:
        return await self._file.read(shop_state.read_shop_state)

    async def set_sold_out(self, product_id: int, until: datetime | None) -> None:
        await self._file.write(shop_state.set_sold_out, product_id, until)

    async def set_available(self, product_id: int) -> None:
        await self._file.write(shop_state.set_available, product_id)

    async def set_pause(self, pause: Pause | None) -> None:
        await self._file.write(shop_state.set_pause, pause)

    # --- orders ---

    async def _store(self, batch: list[NewOrder]) -> Sequence[Order | StorageError]:
        try:
            stored = await self._file.write(orders.add_orders, batch)
        except StorageUnavailable as error:
            self._was_full |= self._obstacle_of(error) is Obstacle.FULL
            raise
        self._was_full = False
        return stored

    async def find_obstacle(self) -> Obstacle | None:
        self._file.check_identity()
        try:
            await self._file.write(obstacles.store_nothing)
            if self._was_full:
                await self._file.write(obstacles.store_an_expired_key)
        except StorageUnavailable as error:
            obstacle = self._obstacle_of(error)
            if obstacle is None:
                raise
            return obstacle
        return None

    def _obstacle_of(self, error: StorageUnavailable) -> Obstacle | None:
        return obstacles.obstacle_of(error.__cause__, self._file.path)

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return await self._file.read(orders.find_order_by_key, user_id, key, current_time())

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._file.read(orders.get_order, user_id, order_id)

    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        return await self._file.read(orders.list_orders, user_id, limit, after)

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
        wish = life.Wish(order_id, change, by, at, expected_version, user_id)
        return await self._file.write(life.change_order, wish)

    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        return await self._file.write(life.blank_personal_data, before, limit)

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await self._file.write(orders.delete_expired_keys, limit)

    # --- orders, as the shop sees them ---

    async def list_shop_orders(
        self,
        statuses: Sequence[str],
        *,
        oldest_first: bool,
        limit: int,
        after: Cursor | None = None,
    ) -> ShopOrders:
        return await self._file.read(life.list_shop_orders, statuses, oldest_first, limit, after)

    async def get_order_history(self, order_id: UUID) -> tuple[Order, tuple[OrderEvent, ...]]:
        return await self._file.read(life.get_order_history, order_id)

    async def count_open_orders(self) -> OpenOrders:
        return await self._file.read(life.count_open_orders)

    async def count_open_orders_of(self, user_id: str) -> int:
        return await self._file.read(life.count_open_orders_of, user_id)

    # --- the event log ---

    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        return await self._file.read(events.read_page, after, limit, user_id, order_id)

    async def delete_events(self, before: datetime, limit: int) -> int:
        return await self._file.write(events.delete_events, before, limit)

    # --- the archive ---

    async def find_ended(self, before: datetime, since: datetime | None = None) -> datetime | None:
        return await self._file.read(archive.find_ended, before, since)

    async def read_ended(
        self, before: datetime, until: datetime, after: Cursor, limit: int
    ) -> list[ArchivedOrder]:
        return await self._file.read(archive.read_ended, before, until, after, limit)

    async def delete_archived(self, archived: Sequence[ArchivedOrder]) -> int:
        return await self._file.write(archive.delete_archived, archived)
