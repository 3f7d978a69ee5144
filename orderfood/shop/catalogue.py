"""The catalogue cache: one snapshot per version, never served when older than a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import is_
from typing import Any, TypeVar

from orderfood.shop.deadlines import CALL_SECONDS, Deadlines, leave_request
from orderfood.shop.observer import NULL_OBSERVER, Observer
from storage import Storage
from storage.errors import StorageError
from storage.records import (
    ApiKey,
    Coupon,
    Pause,
    Product,
    ShopState,
    User,
    VersionedCatalogue,
    Versions,
)

Entry = TypeVar("Entry")

logger = logging.getLogger(__name__)

MAX_AGE = 1.0
"""Seconds after which a snapshot is no longer served without a new probe."""

PROBE_INTERVAL = 0.4
"""Seconds between two probes: one may fail or be late and nothing served is too old."""

REASON_SECONDS = 5.0
"""The least time between two log lines of one outage, for a reason that comes and goes."""

BATCH_SIZE = 1_000
"""Entries that are indexed in one turn of the event loop: less than half a millisecond."""

KEPT_COUPONS = 10_000
"""Coupons in the cache of one snapshot."""


@dataclass(frozen=True)
class Snapshot:
    """One version of the catalogue and of the shop's state, with the indexes that requests use."""

    version: int
    loaded_at: datetime | None
    products: Mapping[str, Product]
    keys: Mapping[str, tuple[User, ApiKey]]
    file_coupon: Coupon | None
    users: Sequence[User] = ()
    """Whose keys ``keys`` holds."""
    rendered: Any = None
    """What ``render`` has made of the products."""
    sold_out: Collection[int] = ()
    """The ids of the products that were rendered as sold out."""
    state: ShopState = field(default_factory=ShopState)
    changes_at: datetime | None = None
    """When the first product that is sold out until then is available again."""
    coupons: dict[bytes, Coupon] = field(default_factory=dict)
    """Cache of coupons by folded code: all of them may be too many for memory."""

    def keep_coupon(self, folded: bytes, coupon: Coupon) -> None:
        """Adds a coupon to the cache; evicts the oldest entry when it is full."""
        if len(self.coupons) >= KEPT_COUPONS:
            del self.coupons[next(iter(self.coupons))]
        self.coupons[folded] = coupon

    def is_sold_out(self, product: Product, now: datetime) -> bool:
        """Whether the product cannot be ordered now."""
        return product.id in self.state.sold_out and not _is_over(
            self.state.sold_out[product.id], now
        )

    def pause(self, now: datetime) -> Pause | None:
        """The pause of the shop; None while it takes orders."""
        pause = self.state.pause
        return None if pause is None or _is_over(pause.until, now) else pause


def _is_over(until: datetime | None, now: datetime) -> bool:
    return until is not None and until <= now


Render = Callable[[Sequence[Product], Collection[int], Any], Awaitable[Any]]
"""Renders the products of a version, and the ids of those that are sold out, once, before the
version is served; the third is what it has made of the version before, or None."""


async def render_nothing(
    products: Sequence[Product], sold_out: Collection[int], known: Any
) -> None:
    """Renders nothing: for a cache without an API in front."""


async def build_snapshot(
    stored: VersionedCatalogue,
    render: Render = render_nothing,
    state: ShopState | None = None,
    now: datetime | None = None,
    known: Snapshot | None = None,
) -> Snapshot:
    """The snapshot of a stored catalogue and the shop's state; products keep their order by id.
    What is the same in the ``known`` one is taken from there.

    It is built in batches, between which the event loop runs: a second thread would hold up
    requests for longer, by the GIL.
    """
    catalogue = stored.catalogue
    snapshot = Snapshot(
        version=stored.version,
        loaded_at=stored.loaded_at,
        products=await _products_by_id(catalogue.products, known),
        keys=await _keys_by_hash(catalogue.users, known),
        file_coupon=catalogue.file_coupon,
        users=catalogue.users,
    )
    if known is not None and snapshot.products is known.products:
        snapshot = replace(snapshot, rendered=known.rendered, sold_out=known.sold_out)
    rendered = known.rendered if known else None
    return await with_state(snapshot, state or ShopState(), now or utc_now(), render, rendered)


async def _products_by_id(
    products: Sequence[Product], known: Snapshot | None
) -> Mapping[str, Product]:
    if known is not None and _are_same(products, tuple(known.products.values())):
        return known.products
    found: dict[str, Product] = {}
    async for batch in batches(products):
        found.update((str(product.id), product) for product in batch)
    return found


async def _keys_by_hash(
    users: Sequence[User], known: Snapshot | None
) -> Mapping[str, tuple[User, ApiKey]]:
    if known is not None and _are_same(users, known.users):
        return known.keys
    found: dict[str, tuple[User, ApiKey]] = {}
    async for batch in batches(users):
        found.update((key.hash, (user, key)) for user in batch for key in user.keys)
    return found


def _are_same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether both are of the same objects: comparing values would hold up the event loop."""
    return len(some) == len(others) and all(map(is_, some, others))


async def with_state(
    snapshot: Snapshot, state: ShopState, now: datetime, render: Render, known: Any = None
) -> Snapshot:
    """The snapshot of the same catalogue with another state of the shop. It is rendered anew only
    where the menu shows it, from what is ``known`` of another version or its own."""
    untils = {id_: until for id_, until in state.sold_out.items() if not _is_over(until, now)}
    changes_at = min((until for until in untils.values() if until is not None), default=None)
    rendered, sold_out = snapshot.rendered, frozenset(untils)
    if rendered is None or sold_out != snapshot.sold_out:
        products = tuple(snapshot.products.values())
        rendered = await render(products, sold_out, known or rendered)
    return replace(
        snapshot, rendered=rendered, sold_out=sold_out, state=state, changes_at=changes_at
    )


def utc_now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)


async def batches(entries: Sequence[Entry]) -> AsyncIterator[Sequence[Entry]]:
    """The entries in batches of BATCH_SIZE; the event loop runs after each."""
    for begin in range(0, len(entries), BATCH_SIZE):
        yield entries[begin : begin + BATCH_SIZE]
        await asyncio.sleep(0)


def _retrieve_exception(probe: asyncio.Task[Snapshot]) -> None:
    """Marks the exception as retrieved: every caller may have been cancelled meanwhile."""
    if not probe.cancelled():
        probe.exception()


class Outage:
    """What is logged of a store that does not answer: each reason when it begins, but at most one
    line in REASON_SECONDS, and the end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reason: str | None = None
        self._logged_at = float("-inf")

    def goes_on(self, error: StorageError) -> None:
        """A probe has failed with this error."""
        reason, now = error.reason, self._clock()
        is_early = self._reason is not None and now - self._logged_at < REASON_SECONDS
        if reason == self._reason or is_early:
            return
        self._reason, self._logged_at = reason, now
        logger.warning("the store does not answer: %s", error)

    def ends(self) -> None:
        """A probe was answered."""
        if self._reason is not None:
            logger.info("the store answers again")
        self._reason = None


class CatalogueCache:
    """Holds the newest snapshot, and probes the storage's version to know that it is the newest.

    A request uses :attr:`fresh` when it is not None, and else awaits :meth:`get`: a store that
    does not answer is an error within a second, and never an old price.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = NULL_OBSERVER,
        deadlines: Deadlines | None = None,
        render: Render = render_nothing,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._storage = storage
        self._deadlines = deadlines or Deadlines(CALL_SECONDS)
        self._clock = clock
        self._observer = observer
        self._render = render
        self._now = now
        self._snapshot: Snapshot | None = None
        self._probed_at = float("-inf")
        self._probe: asyncio.Task[Snapshot] | None = None

    @property
    def fresh(self) -> Snapshot | None:
        """The newest snapshot if a probe that began less than MAX_AGE ago confirmed it; else
        None."""
        if self._clock() - self._probed_at < MAX_AGE:
            return self._snapshot
        return None

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot, of any age; None before the first."""
        return self._snapshot

    async def get(self) -> Snapshot:
        """A snapshot that is fresh. Raises StorageError when the store does not give one."""
        return self.fresh or await self.refresh()

    async def refresh(self) -> Snapshot:
        """Probes the storage, or joins the probe under way (single flight). Each caller waits as
        long as a request waits for the store. Raises StorageError."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._refresh())
            self._probe.add_done_callback(_retrieve_exception)
        return await self._deadlines.bound("catalogue", asyncio.shield(self._probe))

    async def _refresh(self) -> Snapshot:
        leave_request()
        began = self._clock()
        versions = await self._storage.get_versions()
        snapshot = self._snapshot
        if snapshot is None or not self._is_newest(snapshot, versions):
            # until the new version is there the old one counts as confirmed by this probe
            self._probed_at = began
            snapshot = await self._read(snapshot, versions)
        self._snapshot, self._probed_at = snapshot, began
        return snapshot

    def _is_newest(self, snapshot: Snapshot, versions: Versions) -> bool:
        return Versions(snapshot.version, snapshot.state.version) == versions and not (
            snapshot.changes_at is not None and _is_over(snapshot.changes_at, self._now())
        )

    async def _read(self, known: Snapshot | None, versions: Versions) -> Snapshot:
        state = await self._storage.read_shop_state()
        if known is not None and known.version == versions.catalogue:
            return await with_state(known, state, self._now(), self._render)
        stored = await self._storage.read_catalogue(coupons=False)
        snapshot = await build_snapshot(stored, self._render, state, self._now(), known)
        logger.info("catalogue version %d", snapshot.version)
        self._observer.catalogue_changed(snapshot)
        return snapshot

    async def reread(self) -> None:
        """Returns when what this process has just written is served by it, or the store has failed
        meanwhile: then the next probe will see."""
        with suppress(StorageError):
            if self._probe is not None and not self._probe.done():
                await self.refresh()  # one that may have asked before
            await self.refresh()

    async def run(self) -> None:
        """Probes until it is cancelled. Logs when the store stops answering, when the reason is
        another one, and when it answers again."""
        outage = Outage(self._clock)
        while True:
            try:
                await self.refresh()
            except StorageError as error:
                outage.goes_on(error)
            else:
                outage.ends()
            await self._pause()

    async def _pause(self) -> None:
        """Waits for a notice, or until the next probe is due. A failure of notices only makes the
        probe later: it must not end the probing."""
        try:
            async with asyncio.timeout(PROBE_INTERVAL):
                await self._storage.wait_for_notice()
        except TimeoutError:
            return
        except Exception:
            logger.debug("no notices", exc_info=True)
            await asyncio.sleep(PROBE_INTERVAL)
