"""What both SQL backends do alike: orders that arrive together share a commit."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from datetime import datetime

from storage.base import Approve, Storage, Watch
from storage.batches import Batcher, together_or_alone
from storage.catalogue_load import CodeReader, CodesFailed, Load, normalized, unapproved, unwatched
from storage.errors import StorageError
from storage.order_rules import NO_LIMITS, NewOrder
from storage.records import (
    ArchivedOrder,
    Catalogue,
    CouponLimits,
    Cursor,
    IdempotencyKey,
    LoadReport,
    Order,
)


class SQLStorage(Storage):
    """A storage whose orders wait for the commit that is running and share the next one.

    A backend calls :meth:`_accept_orders` when it has connected and :meth:`_finish_orders` before
    it closes.
    """

    another_process = False
    """Whether another process does the work of a commit."""

    def __init__(self) -> None:
        self._accept_orders()

    def _accept_orders(self) -> None:
        self._orders: Batcher[NewOrder, Order] = Batcher(
            self._store_batch,
            name_of=lambda new: new.key_name,
            around=lambda: self.around_commit,
            halves=self.another_process,
        )

    async def _finish_orders(self) -> None:
        """Takes no more orders and returns when all that wait are stored or refused."""
        await self._orders.close()

    async def _store_batch(self, batch: list[NewOrder]) -> Sequence[Order | StorageError]:
        return await together_or_alone(self._store, batch)

    @abc.abstractmethod
    async def _store(self, batch: list[NewOrder]) -> Sequence[Order | StorageError]:
        """Stores a batch in one transaction and returns what each order gets, in order; no two of
        them have the same key. Raises what all of them get; ValueRejected or OrderExists when one
        of them is at fault."""

    @abc.abstractmethod
    async def _load(self, load: Load) -> LoadReport:
        """Runs a load in one transaction. Raises CodesFailed when its codes cannot be read."""

    # --- the archive ---

    @abc.abstractmethod
    async def find_ended(self, before: datetime, since: datetime | None = None) -> datetime | None:
        """When the first order was placed that was placed from ``since`` on, and whose last event
        was before ``before`` and leads nowhere; None when there is none."""

    @abc.abstractmethod
    async def read_ended(
        self, before: datetime, until: datetime, after: Cursor, limit: int
    ) -> list[ArchivedOrder]:
        """At most ``limit`` such orders that were placed before ``until`` and follow the cursor, by
        created_at and id, oldest first."""

    @abc.abstractmethod
    async def delete_archived(self, archived: Sequence[ArchivedOrder]) -> int:
        """Deletes, in one transaction, those of these orders that are stored just as they are here,
        with their lines and events, and returns how many. Counts of coupons stay as they are. To
        whoever follows the log from before such an event it has begun behind it."""

    async def get_schema_version(self) -> int:
        applied = await self.list_migrations()
        return applied[-1].version if applied else 0

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
        load = Load(
            normalized(catalogue),
            CodeReader(codes),
            sample_orders,
            watch or unwatched,
            approve or unapproved,
            dry_run,
        )
        try:
            return await self._load(load)
        except CodesFailed as failed:
            raise failed.error from failed.error.__cause__

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        return await self._orders.submit(NewOrder(order, key, limits or NO_LIMITS))
