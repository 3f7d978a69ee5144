"""The interface of every storage backend, and its contract, which tests/contract/ verifies."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from storage.records import (
    Actor,
    AppliedMigration,
    Catalogue,
    Change,
    CouponLimits,
    Cursor,
    EventPage,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    LoadRun,
    Losses,
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

SCHEMA_VERSION = 6
"""The newest migration that this code relies on; a test holds it against migrations/."""

MIGRATION_TIMEOUT = 60.0
"""Seconds after which a migration gives up, waits for locks and pauses between tries included."""

MOST_LINES = 2500
"""Lines of all orders of one listing. An order has at most 100: a page of 500 such orders would
hold up everybody else for a second."""

ReportOutcomes = Callable[[Sequence[object]], None]
AroundCommit = Callable[[Sequence[Context]], AbstractContextManager[ReportOutcomes]]
"""From the contexts of the callers whose orders share a commit to the context manager around that
commit. It yields a function that is called with the outcome of each order."""

Approve = Callable[[Losses], object]
"""Called within a load's transaction with the losses that the load would cause, perhaps on another
thread. An exception aborts the load, is raised to the caller, and nothing is written."""


Watch = Callable[[str, Mapping[str, Change] | None], object]
"""Progress of a load, called for each part (coupons, products, users, orders) in turn: when it
begins (None) and when it ends (its changes by kind, as in a LoadReport; the codes of the coupon
files belong to the coupons). Perhaps called on another thread."""


class ShopStateStorage(abc.ABC):
    """The part of a storage that keeps what the shop says of itself."""

    @abc.abstractmethod
    async def read_shop_state(self) -> ShopState:
        """What is sold out, and whether the shop is paused, as one consistent view."""

    @abc.abstractmethod
    async def set_sold_out(self, product_id: int, until: datetime | None) -> None:
        """Marks a product as sold out until a moment, or until :meth:`set_available`."""

    @abc.abstractmethod
    async def set_available(self, product_id: int) -> None:
        """Takes that mark away; without one it does nothing."""

    @abc.abstractmethod
    async def set_pause(self, pause: Pause | None) -> None:
        """Pauses the shop, or with None resumes it."""


class LoadRunStorage(abc.ABC):
    """The part of a storage that remembers what became of the last runs of database-load."""

    @abc.abstractmethod
    async def record_load_run(self, run: LoadRun) -> None:
        """Keeps a run that begins, or by its id what has become of it; forgets all runs but the
        newest KEPT_LOAD_RUNS."""

    @abc.abstractmethod
    async def list_load_runs(self, limit: int) -> list[LoadRun]:
        """The newest ``limit`` runs, by when they began, newest first."""


class OrderLifeStorage(abc.ABC):
    """The part of a storage that changes orders, and shows them to the shop."""

    @abc.abstractmethod
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
        """Changes where an order stands, raises its version by one and appends the event; a
        cancellation gives the use of its coupon back unless ``keeps_use``. All or nothing, and of
        two at once from one version only one. The event's time is ``at``, or that of the order's
        last event when that is later.

        Returns the order and whether it was changed: staff's repeat (order_rules.is_repeat) changes
        nothing. With ``user_id`` other users' orders do not exist. Raises OrderNotFound,
        OrderVersionChanged, OrderNotChangeable.
        """

    @abc.abstractmethod
    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        """Blanks pickup and the cancellation's note of up to ``limit`` completed or cancelled
        orders whose last event was before this moment; returns how many."""

    @abc.abstractmethod
    async def list_shop_orders(
        self,
        statuses: Sequence[str],
        *,
        oldest_first: bool,
        limit: int,
        after: Cursor | None = None,
    ) -> ShopOrders:
        """At most ``limit`` orders of all users that have one of these statuses, by created_at and
        id, that follow the cursor ``after`` in that direction: less, and ``more``, when together
        they have over MOST_LINES lines."""

    @abc.abstractmethod
    async def get_order_history(self, order_id: UUID) -> tuple[Order, tuple[OrderEvent, ...]]:
        """Any user's order and those of its events that are kept, oldest first, as one consistent
        view. Raises OrderNotFound."""

    @abc.abstractmethod
    async def count_open_orders(self) -> OpenOrders:
        """How many orders wait. Every open status has a count."""

    @abc.abstractmethod
    async def count_open_orders_of(self, user_id: str) -> int:
        """How many orders of one user wait."""


class EventLogStorage(abc.ABC):
    """The part of a storage that reads the log of what has become of orders."""

    @abc.abstractmethod
    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        """At most ``limit`` events whose numbers are greater than ``after`` (None: none, only where
        the log ends), of all orders, of one user's or of one order. It looks through a bounded part
        of the log: the page's position says how far, and may be beyond its last event. Whether
        the log follows ``after`` (EventPage.follows) is for the caller to see."""

    async def number_events(self) -> int:
        """Numbers the events that wait for it and returns how many, on a backend that numbers them
        when they are read: so that a first reader finds few."""
        return 0

    @abc.abstractmethod
    async def delete_events(self, before: datetime, limit: int) -> int:
        """Deletes up to ``limit`` events from the log's beginning, as long as they are older than
        this moment; returns how many. Numbers are never given again."""


class Storage(ShopStateStorage, LoadRunStorage, OrderLifeStorage, EventLogStorage):
    """Stores catalogue and orders. One method is one atomic, durable step.

    No connection, session or transaction crosses this interface, and how many orders share a
    commit is the backend's own business. A use case that needs two writes together gets a method.

    - **Durable.** When :meth:`add_order` returns, the order survives ``kill -9`` of this process
      and of the database server. (memory:// survives nothing.)
    - **Idempotent.** The first order under a key is stored; later ones with that key and request
      get that first order; another request under it is a conflict. A refused order leaves no key.
    - **Neighbours.** Orders that share a commit fail alone.
    - **Limited coupons** are counted in the step that stores the order; counts survive every load.
    - **Whole catalogue.** Readers see all of the old reference data or all of the new. A load that
      fails leaves the old; loads run one after the other; an equal load changes nothing.
    - **Receipts.** An order reads back exactly as it was stored, after any number of loads and
      changes of its status: but for what :meth:`blank_personal_data` blanks.
    - **Event log.** What changes an order appends an event in the same step. Whoever has seen an
      event has missed none of a smaller number; within an order numbers follow versions.
    - **Migrations** run under a lock, each in one transaction with its record.
    - **Errors.** Only the tree in :mod:`storage.errors` comes out.

    A storage is safe to share among the tasks of one event loop. Cancelling a call never cancels
    another's; a write that was cancelled may still happen.
    """

    backend: str
    """``memory``, ``sqlite`` or ``postgresql``: db.system.name in the OpenTelemetry conventions."""

    around_commit: AroundCommit | None = None
    """Entered around each commit with the contexts of the callers whose orders it stores, so that
    instrumentation can count them or link spans. What it yields is called with the result of
    each: an order or an error. memory:// never commits."""

    @abc.abstractmethod
    async def connect(self) -> None:
        """Opens what the URL names, waiting as long as ``wait_seconds`` for a database that is not
        up yet. Raises StorageUnavailable when that is over."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Cancels running calls and closes every connection; a second call does nothing."""

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def connections(self) -> tuple[int, int]:
        """How many connections are in use, and how many there may be."""
        return (0, 0)

    # --- schema ---

    @abc.abstractmethod
    async def list_migrations(self) -> list[AppliedMigration]:
        """The applied migrations, in order; empty on a new database."""

    @abc.abstractmethod
    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        """Applies one migration with its record, in one transaction and under a lock that all
        programs on this database share. False when it was applied already, by whomever. It waits
        for no lock for so long that orders fail, and tries again until ``timeout`` seconds are
        over.

        Raises MigrationChanged, MigrationFailed, MigrationTimeout; then nothing of it stays.
        """

    @abc.abstractmethod
    async def get_schema_version(self) -> int:
        """The version of the newest applied migration; 0 on a database that is new."""

    # --- catalogue ---

    @abc.abstractmethod
    async def get_versions(self) -> Versions:
        """The versions of the catalogue, 0 before the first load, and of the shop's state. Must be
        cheap: it is the probe of the catalogue cache, several times a second."""

    @abc.abstractmethod
    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        """The whole catalogue and its version, as one consistent view; without ``coupons`` without
        those that have a name, which may be many and are looked up one by one. It is read in
        batches, so that whatever else runs on this event loop goes on meanwhile."""

    @abc.abstractmethod
    async def find_coupon(self, code: str) -> FoundCoupon:
        """What a code stands for, compared without ASCII case, and in which version of the
        catalogue: as one consistent view."""

    @abc.abstractmethod
    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        """How often the coupon of this spelling was used, in all and by this user: as it stands,
        while others may be using it. Only add_order decides."""

    @abc.abstractmethod
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
        """Swaps all reference data in one transaction, and inserts those sample orders whose ids
        are not stored yet (sample orders count no coupon uses).

        ``codes`` are the codes of the coupon files, in ascending order and without repeats; they
        are consumed once and may be too many for memory. Loads wait for each other. When nothing
        differs nothing is written and the version stays. With ``dry_run`` nothing is written, and
        the report is what a load would say. Whatever iterating ``codes`` raises passes through.
        ``watch`` reports progress; ``approve`` may abort the load. Raises ValueRejected,
        StorageUnavailable.
        """

    async def wait_for_notice(self) -> None:
        """Returns when another program notifies that it has changed the catalogue or the shop's
        state. It only makes the next probe sooner: a backend without notices never returns."""
        await asyncio.Event().wait()

    # --- orders ---

    @abc.abstractmethod
    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        """Stores a new order (status placed, version 1) with a number and its first event, and
        counts a use of its coupon; all or nothing. Numbers are dealt in turn, from 1 to 999, by all
        processes together; after 999 comes 1 again, and a refused order may use one up.

        Returns the order with its number, or the first order under ``key`` as it was when it was
        placed (status placed, version 1, no ready_at). Of two at once under one key one stores and
        both get it. An expired key is as good as none. An order with a coupon always counts one use
        of it for its user, under the code's spelling in the order; ``limits`` refuse a use too
        many.

        Raises CouponUsedUp, IdempotencyConflict, OrderExists, ValueRejected, StorageBusy,
        StorageUnavailable.
        """

    async def find_obstacle(self) -> Obstacle | None:
        """What keeps orders from being stored although the store answers; None when nothing is
        known to. Must be cheap and store no order: while no order comes it is called every other
        second. Raises StorageUnavailable when the store does not answer."""
        return None

    @abc.abstractmethod
    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        """The first order under an unexpired key, as it was when it was placed; None when the key
        is new or expired. Raises IdempotencyConflict when it was sent with another request."""

    @abc.abstractmethod
    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        """The user's own order. Raises OrderNotFound."""

    @abc.abstractmethod
    async def list_orders(
        self, user_id: str, *, limit: int, after: Cursor | None = None
    ) -> list[Order]:
        """At most ``limit`` of the user's orders, newest first (by created_at, then id, both
        descending), that follow the cursor ``after``; from the newest on without one."""

    @abc.abstractmethod
    async def delete_expired_keys(self, limit: int = 1000) -> int:
        """Deletes up to ``limit`` expired idempotency keys without blocking orders for long;
        returns how many it deleted."""
