"""A storage seen from the server: every call has a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from storage import MIGRATION_TIMEOUT, Storage
from storage.errors import StorageUnavailable
from storage.records import (
    AppliedMigration,
    Catalogue,
    CouponLimits,
    IdempotencyKey,
    LoadReport,
    Migration,
    Order,
    Page,
    VersionedCatalogue,
)

T = TypeVar("T")

CALL_SECONDS = 5.0
"""How long a request waits for one storage call before it is answered with 503."""


class ObservedStorage(Storage):
    """Passes every call on to ``inner`` and bounds it. What a write did that took too long is
    unknown: a retry under its idempotency key is safe."""

    def __init__(self, inner: Storage, call_seconds: float = CALL_SECONDS) -> None:
        self._inner = inner
        self._call_seconds = call_seconds
        self.backend = inner.backend

    async def _call(self, operation: str, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._call_seconds):
                return await call
        except TimeoutError as error:
            raise StorageUnavailable(f"{operation} took over {self._call_seconds} s") from error

    async def connect(self) -> None:
        await self._inner.connect()

    async def close(self) -> None:
        await self._inner.close()

    def connections(self) -> tuple[int, int]:
        return self._inner.connections()

    async def list_migrations(self) -> list[AppliedMigration]:
        return await self._call("list_migrations", self._inner.list_migrations())

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        return await self._inner.apply_migration(migration, timeout)

    async def get_schema_version(self) -> int:
        return await self._call("get_schema_version", self._inner.get_schema_version())

    async def get_catalogue_version(self) -> int:
        return await self._call("get_catalogue_version", self._inner.get_catalogue_version())

    async def read_catalogue(self) -> VersionedCatalogue:
        return await self._call("read_catalogue", self._inner.read_catalogue())

    async def find_file_code(self, code: str) -> str | None:
        return await self._call("find_file_code", self._inner.find_file_code(code))

    async def replace_catalogue(
        self,
        catalogue: Catalogue,
        *,
        codes: Iterable[str] = (),
        sample_orders: Sequence[Order] = (),
        dry_run: bool = False,
    ) -> LoadReport:
        return await self._inner.replace_catalogue(
            catalogue, codes=codes, sample_orders=sample_orders, dry_run=dry_run
        )

    async def wait_for_notice(self) -> None:
        await self._inner.wait_for_notice()

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        return await self._call("add_order", self._inner.add_order(order, key=key, limits=limits))

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return await self._call("find_order_by_key", self._inner.find_order_by_key(user_id, key))

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._call("get_order", self._inner.get_order(user_id, order_id))

    async def list_orders(
        self, user_id: str, *, limit: int, after: Page | None = None
    ) -> list[Order]:
        orders = self._inner.list_orders(user_id, limit=limit, after=after)
        return await self._call("list_orders", orders)

    async def cancel_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._call("cancel_order", self._inner.cancel_order(user_id, order_id))

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await self._call("delete_expired_keys", self._inner.delete_expired_keys(limit))
