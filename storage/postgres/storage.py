"""A storage in Postgres, through a pool of asyncpg that also works behind a transaction pooler."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from storage.base import MIGRATION_TIMEOUT
from storage.catalogue_load import Load
from storage.errors import StorageError
from storage.order_rules import NewOrder
from storage.postgres import catalogue, obstacles, orders, schema
from storage.postgres.connections import Connections
from storage.records import (
    AppliedMigration,
    Cursor,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    Migration,
    Obstacle,
    Order,
    VersionedCatalogue,
)
from storage.sql import SQLStorage


class PostgresStorage(SQLStorage):
    """One Postgres database, shared by any number of processes."""

    backend = "postgresql"

    def __init__(self, url: str, *, pool_size: int = 10, wait_seconds: float = 30.0) -> None:
        super().__init__()
        self._database = Connections(url, pool_size, wait_seconds)

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

    async def get_catalogue_version(self) -> int:
        return await catalogue.get_version(self._database)

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        return await catalogue.read_catalogue(self._database, coupons)

    async def find_coupon(self, code: str) -> FoundCoupon:
        return await catalogue.find_coupon(self._database, code)

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return await orders.coupon_uses(self._database, code, user_id)

    async def _load(self, load: Load) -> LoadReport:
        return await catalogue.replace_catalogue(self._database, load)

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

    async def cancel_order(self, user_id: str, order_id: UUID) -> Order:
        return await orders.cancel_order(self._database, user_id, order_id)

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await orders.delete_expired_keys(self._database, limit)
