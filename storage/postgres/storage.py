"""A storage in Postgres, through a pool of asyncpg that also works behind a transaction pooler."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from storage.base import MIGRATION_TIMEOUT
from storage.catalogue_load import Load
from storage.errors import StorageError
from storage.order_rules import NewOrder
from storage.postgres import (
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
from storage.postgres.connections import Connections
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


class PostgresStorage(SQLStorage):
    """One Postgres database, shared by any number of processes."""

    backend = "postgresql"
    another_process = True

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        wait_seconds: float = 30.0,
        url_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._database = Connections(url, pool_size, wait_seconds, url_file)
        self._known = catalogue.known_catalogue()

    async def connect(self) -> None:
        if not self._database.are_open:
            await self._database.open()
            self._accept_orders()

    async def close(self) -> None:
        await self._finish_orders()
        await self._database.close()

    def connections(self) -> tuple[int, int]:
        return self._database.count()

    # --- schema ---

    async def list_migrations(self) -> list[AppliedMigration]:
        return await schema.list_migrations(self._database)

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        return await schema.apply_migration(self._database, migration, timeout)

    # --- catalogue ---

    async def get_versions(self) -> Versions:
        return await catalogue.get_versions(self._database)

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        return await catalogue.read_catalogue(self._database, coupons, self._known)

    async def find_coupon(self, code: str) -> FoundCoupon:
        return await catalogue.find_coupon(self._database, code)

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return await orders.coupon_uses(self._database, code, user_id)

    async def _load(self, load: Load) -> LoadReport:
        return await catalogue.replace_catalogue(self._database, load)

    async def record_load_run(self, run: LoadRun) -> None:
        await load_runs.record_load_run(self._database, run)

    async def list_load_runs(self, limit: int) -> list[LoadRun]:
        return await load_runs.list_load_runs(self._database, limit)

    async def wait_for_notice(self) -> None:
        await self._database.listener.wait()

    # --- orders ---

    async def _store(self, batch: list[NewOrder]) -> Sequence[Order | StorageError]:
        return await orders.add_orders(self._database, batch)

    async def find_obstacle(self) -> Obstacle | None:
        return await obstacles.find_obstacle(self._database)

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return await orders.find_order_by_key(self._database, user_id, key)

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return await orders.get_order(self._database, user_id, order_id)

    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        return await orders.list_orders(self._database, user_id, limit, after)

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await orders.delete_expired_keys(self._database, limit)

    # --- the life of an order ---

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
        return await life.change_order(
            self._database, order_id, change, by, at, expected_version, user_id
        )

    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        return await life.blank_personal_data(self._database, before, limit)

    async def list_shop_orders(
        self,
        statuses: Sequence[str],
        *,
        oldest_first: bool,
        limit: int,
        after: Cursor | None = None,
    ) -> ShopOrders:
        return await life.list_shop_orders(self._database, statuses, oldest_first, limit, after)

    async def get_order_history(self, order_id: UUID) -> tuple[Order, tuple[OrderEvent, ...]]:
        return await life.get_order_history(self._database, order_id)

    async def count_open_orders(self) -> OpenOrders:
        return await life.count_open_orders(self._database)

    async def count_open_orders_of(self, user_id: str) -> int:
        return await life.count_open_orders_of(self._database, user_id)

    # --- the event log ---

    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        return await events.read_events(self._database, after, limit, user_id, order_id)

    async def number_events(self) -> int:
        return await events.number_events(self._database)

    async def delete_events(self, before: datetime, limit: int) -> int:
        return await events.delete_events(self._database, before, limit)

    # --- what the shop says of itself ---

    async def read_shop_state(self) -> ShopState:
        return await shop_state.read_state(self._database)

    async def set_sold_out(self, product_id: int, until: datetime | None) -> None:
        await shop_state.set_sold_out(self._database, product_id, until)

    async def set_available(self, product_id: int) -> None:
        await shop_state.set_available(self._database, product_id)

    async def set_pause(self, pause: Pause | None) -> None:
        await shop_state.set_pause(self._database, pause)

    # --- the archive ---

    async def find_ended(self, before: datetime, since: datetime | None = None) -> datetime | None:
        return await archive.find_ended(self._database, before, since)

    async def read_ended(
        self, before: datetime, until: datetime, after: Cursor, limit: int
    ) -> list[ArchivedOrder]:
        return await archive.read_ended(self._database, before, until, after, limit)

    async def delete_archived(self, archived: Sequence[ArchivedOrder]) -> int:
        return await archive.delete_archived(self._database, archived)
