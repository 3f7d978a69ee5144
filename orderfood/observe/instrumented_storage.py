"""A decorator around a storage: a deadline, metrics and a span for every call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime
from time import perf_counter
from typing import TypeVar
from uuid import UUID

from orderfood.observe import tracing as telemetry
from orderfood.observe.tracing import SpanKind
from orderfood.shop.deadlines import CALL_SECONDS, Deadlines
from orderfood.shop.observer import NULL_OBSERVER, Observer, StorageCall
from orderfood.shop.order_health import OrderHealth
from storage import MIGRATION_TIMEOUT, Storage
from storage.base import Approve, Watch
from storage.errors import Conflict, NotFound, StorageError, StorageUnavailable
from storage.records import (
    Actor,
    AppliedMigration,
    Catalogue,
    CouponLimits,
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

T = TypeVar("T")

READ_CALLS = 12
"""The deadline of reading the catalogue, as a multiple of a call's: it reads many batches. A
request that waits for it still has its own deadline."""

OUTCOMES = (NotFound, Conflict)
"""Errors that are answers of the storage, and no failures."""


class InstrumentedStorage(Storage):
    """Delegates every call to ``inner``, with a deadline. The outcome of a write that exceeds it is
    unknown: a retry under its idempotency key is safe.

    A call is a span when the request around it is one: what happens beside the requests, such as
    asking for the catalogue's version twice a second, would only bury the traces that matter.
    """

    def __init__(
        self, inner: Storage, call_seconds: float = CALL_SECONDS, observer: Observer = NULL_OBSERVER
    ) -> None:
        self._inner = inner
        self.deadlines = Deadlines(call_seconds)
        """The deadlines of all calls; the catalogue cache uses them, too."""
        self._reads = Deadlines(call_seconds * READ_CALLS)
        self._observer = observer
        self.backend = inner.backend
        self.order_health = OrderHealth(self)
        """The health of the write path, updated with each order."""
        inner.around_commit = self._around_commit

    def _call(
        self, operation: str, call: Awaitable[T], deadlines: Deadlines | None = None
    ) -> Awaitable[T]:
        deadlines = deadlines or self.deadlines
        if telemetry.is_untraced() or not telemetry.current_span().is_recording():
            return self._measured(operation, call, deadlines)
        return self._traced(operation, call, deadlines)

    async def _traced(self, operation: str, call: Awaitable[T], deadlines: Deadlines) -> T:
        with telemetry.span(
            f"storage.{operation}",
            {"db.system.name": self.backend, "db.operation.name": operation},
            kind=SpanKind.CLIENT,
            harmless=OUTCOMES,
        ):
            return await self._measured(operation, call, deadlines)

    async def _measured(self, operation: str, call: Awaitable[T], deadlines: Deadlines) -> T:
        began = perf_counter()
        failed = True
        try:
            result = await deadlines.bound(operation, call)
            failed = False
            return result
        except (*OUTCOMES, asyncio.CancelledError):
            failed = False
            raise
        finally:
            self._observer.storage_called(StorageCall(operation, perf_counter() - began, failed))

    @contextmanager
    def _around_commit(
        self, callers: Sequence[Context]
    ) -> Iterator[Callable[[Sequence[object]], None]]:
        """A shared commit: counted, and one span. Of the requests that it serves and that are
        traced it belongs to the first, and is linked to the others, as they are to it. (A link to
        its own parent makes Jaeger forget the parent.)"""
        self._observer.orders_committed(len(callers))
        served = telemetry.recorded_in(callers)
        if not served:
            yield _ignore
            return
        attributes: telemetry.Attributes = {
            "db.system.name": self.backend,
            "orderfood.commit.orders": len(callers),
        }
        commit = telemetry.start_span(
            "storage.commit", attributes, parent=served[0], links=served[1:], kind=SpanKind.CLIENT
        )
        for span in served[1:]:
            span.add_link(commit.get_span_context())
        try:
            yield lambda results: _record_failure(commit, results)
        finally:
            commit.end()

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

    async def get_versions(self) -> Versions:
        return await self._call("get_versions", self._inner.get_versions())

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        reading = self._inner.read_catalogue(coupons=coupons)
        return await self._call("read_catalogue", reading, self._reads)

    async def find_coupon(self, code: str) -> FoundCoupon:
        return await self._call("find_coupon", self._inner.find_coupon(code))

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return await self._call("get_coupon_uses", self._inner.get_coupon_uses(code, user_id))

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
        return await self._inner.replace_catalogue(
            catalogue,
            codes=codes,
            sample_orders=sample_orders,
            dry_run=dry_run,
            watch=watch,
            approve=approve,
        )

    async def record_load_run(self, run: LoadRun) -> None:
        await self._inner.record_load_run(run)

    async def list_load_runs(self, limit: int) -> list[LoadRun]:
        return await self._inner.list_load_runs(limit)

    async def wait_for_notice(self) -> None:
        await self._inner.wait_for_notice()

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        adding = self._inner.add_order(order, key=key, limits=limits)
        try:
            stored = await self._call("add_order", adding)
        except StorageUnavailable:
            self.order_health.order_failed()
            raise
        self.order_health.order_stored()
        return stored

    async def find_obstacle(self) -> Obstacle | None:
        return await self._call("find_obstacle", self._inner.find_obstacle())

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return await self._call("find_order_by_key", self._inner.find_order_by_key(user_id, key))

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._call("get_order", self._inner.get_order(user_id, order_id))

    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        orders = self._inner.list_orders(user_id, limit=limit, after=after)
        return await self._call("list_orders", orders)

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
        changing = self._inner.change_order(
            order_id, change, by, at, expected_version=expected_version, user_id=user_id
        )
        order, is_new = await self._call("change_order", changing)
        telemetry.current_span().set_attributes(
            {"orderfood.order.status": order.status, "orderfood.order.event": order.last_event}
        )
        return order, is_new

    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        blanking = self._inner.blank_personal_data(before, limit)
        return await self._call("blank_personal_data", blanking)

    async def list_shop_orders(
        self,
        statuses: Sequence[str],
        *,
        oldest_first: bool,
        limit: int,
        after: Cursor | None = None,
    ) -> ShopOrders:
        listing = self._inner.list_shop_orders(
            statuses, oldest_first=oldest_first, limit=limit, after=after
        )
        return await self._call("list_shop_orders", listing)

    async def get_order_history(self, order_id: UUID) -> tuple[Order, tuple[OrderEvent, ...]]:
        return await self._call("get_order_history", self._inner.get_order_history(order_id))

    async def count_open_orders(self) -> OpenOrders:
        return await self._call("count_open_orders", self._inner.count_open_orders())

    async def count_open_orders_of(self, user_id: str) -> int:
        counting = self._inner.count_open_orders_of(user_id)
        return await self._call("count_open_orders_of", counting)

    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        reading = self._inner.read_events(after, limit, user_id=user_id, order_id=order_id)
        return await self._call("read_events", reading)

    async def number_events(self) -> int:
        return await self._call("number_events", self._inner.number_events())

    async def delete_events(self, before: datetime, limit: int) -> int:
        return await self._call("delete_events", self._inner.delete_events(before, limit))

    async def read_shop_state(self) -> ShopState:
        return await self._call("read_shop_state", self._inner.read_shop_state())

    async def set_sold_out(self, product_id: int, until: datetime | None) -> None:
        await self._call("set_sold_out", self._inner.set_sold_out(product_id, until))

    async def set_available(self, product_id: int) -> None:
        await self._call("set_available", self._inner.set_available(product_id))

    async def set_pause(self, pause: Pause | None) -> None:
        await self._call("set_pause", self._inner.set_pause(pause))

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await self._call("delete_expired_keys", self._inner.delete_expired_keys(limit))


def _ignore(results: Sequence[object]) -> None:
    """Does nothing with the results: no request of the commit is traced."""


def _record_failure(commit: telemetry.Span, results: Sequence[object]) -> None:
    """A commit fails as a whole or not at all; orders that are refused have not made it fail."""
    for result in results:
        if isinstance(result, StorageError) and not isinstance(result, OUTCOMES):
            telemetry.fail(commit, result)
            return
