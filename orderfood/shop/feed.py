"""The feed: one reader of the event log for all who follow it in this process; without HTTP or SQL.

A follower is a position in the log and no more. What it has not seen yet comes from the ring of the
newest events, each of them encoded once; what is older than the ring, from the storage, page by
page. Nothing is written that its connection does not take.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from orderfood.shop.catch_up import CatchUp
from orderfood.shop.deadlines import CALL_SECONDS
from orderfood.shop.followers import (
    BEAT_SECONDS,
    BLOCKED_SECONDS,
    Follower,
    Followers,
    Sink,
    Sweep,
)
from orderfood.shop.observer import NULL_OBSERVER, Observer
from orderfood.shop.ring import Entry, Ring
from storage import Storage
from storage.errors import StorageError, StorageUnavailable
from storage.records import EventPage, OrderEvent

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""Seconds between two looks at the log while somebody follows and nothing wakes the reader."""

LEAST_PAUSE = 0.01
MOST_PAUSE = 0.1
"""The pause after a look, in seconds: a quarter of what the look itself took, within these. What is
committed meanwhile is read together."""

PORTION = 250
"""Events that one look reads."""

RING_AGE = timedelta(days=1)
"""How long an event is kept in memory: what is blanked in the storage must not live on here."""

AT_ONCE = 50
"""Events that are encoded, and followers that are served, in one turn of the event loop: about a
millisecond."""

BREATH = 0.001
"""The pause after that, in seconds: nothing would give SQLite's threads a turn, which wait for five
milliseconds each time that they want Python's lock while this thread is busy."""

END_SECONDS = 1.0
"""How long a follower gets to take what is before the end when the server drains."""

RETRY_MS = 2000
"""Milliseconds after which a follower comes back that has lost its connection."""

DRAIN_RETRY_MS = (500, 3000)
"""The same when the server drains, at random: not all at once."""


class Encoding(Protocol):
    """How the feed is written down."""

    def event(self, event: OrderEvent) -> bytes:
        """An event of the log."""

    def beat(self, position: int) -> bytes:
        """A sign of life of a feed of which this follower has all up to ``position``."""

    def reset(self, position: int) -> bytes:
        """Says that events are missing, and that it goes on behind ``position``."""

    def retry(self, milliseconds: int) -> bytes:
        """Says when to come back."""


class Feed:
    """The feed as use cases know it, and the null object: nobody follows."""

    def wake(self) -> None:
        """Says that an event was committed."""


NULL_FEED = Feed()


class Hub(Feed):
    """Reads the log while somebody follows, and serves the followers."""

    def __init__(
        self,
        storage: Storage,
        encoding: Encoding,
        most_clients: int,
        observer: Observer = NULL_OBSERVER,
        *,
        beat_seconds: float = BEAT_SECONDS,
        blocked_seconds: float = BLOCKED_SECONDS,
    ) -> None:
        self._storage = storage
        self._encoding = encoding
        self._observer = observer
        self._ring = Ring()
        self._followers = Followers(most_clients, observer)
        self._sweep = Sweep(
            self._followers, self.serve, encoding.beat, beat_seconds, blocked_seconds
        )
        self._catch_up = CatchUp(storage, self._ring, encoding.event, self.serve)
        self._position: int | None = None
        """The log was read up to here; None before the first look."""
        self._first = self._last = 0
        """Where the log begins and where it ends."""
        self._behind: set[Follower] = set()
        """Those who wait for the ring to begin earlier."""
        self._waiting: list[asyncio.Future[None]] = []
        self._awake = asyncio.Event()
        self._rested = True
        self._away = False
        self._ended = False
        self._written = 0

    @property
    def clients(self) -> int:
        """How many streams there are."""
        return len(self._followers)

    def wake(self) -> None:
        if self._followers:
            self._awake.set()

    # --- followers ---

    def check_room(self, user_id: str) -> None:
        """Raises TooManyRequests when the user has enough streams, FeedFull when this process
        has."""
        self._followers.check_room(user_id)

    async def find_place(self, after: int | None) -> int | None:
        """Where a follower begins who has all events up to ``after`` (None: who wants those from
        now on); None when it cannot go on from there. Raises StorageError."""
        if after is None or self._position is None or after > self._last:
            await self._look()
        if after is None:
            return self._last
        return after if self._first - 1 <= after <= self._last else None

    async def _look(self) -> None:
        """Returns when the log was read by a look that began after this call."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._awake.set()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await done
        except TimeoutError:
            raise StorageUnavailable("the event log could not be read in time") from None

    def add(self, follower: Follower) -> None:
        """Begins to serve a follower whose connection is ready."""
        sink = follower.sink
        assert sink is not None
        if self._ended:
            follower.sink = None
            self._send_off(sink)
            return
        self._followers.add(follower)
        self._sweep.begin(follower)
        sink.push(self._encoding.retry(RETRY_MS))
        self._awake.set()
        self.serve(follower)

    def lose(self, follower: Follower) -> None:
        """Forgets a follower whose client has left."""
        self._followers.remove(follower, "client")

    def serve(self, follower: Follower) -> None:
        """Sends a follower what it has not seen, as far as its connection takes it."""
        sink = follower.sink
        if sink is None or self._position is None or follower.catching_up:
            return
        while follower.sink is not None and not sink.is_blocked:
            if follower.position is None:
                follower.position = self._position
                sink.push(self._encoding.reset(self._position))
            if follower.position < self._ring.floor:
                self._fall_behind(follower, follower.position)
                return
            batch = self._ring.batch(follower.position, follower.audience)
            if batch is None:
                follower.position = max(follower.position, self._position)
                return
            follower.position = batch.position
            self._written += batch.events
            sink.push(batch.data)

    def _fall_behind(self, follower: Follower, position: int) -> None:
        missing = self._ring.floor - position
        if self._ring.has_room(missing + PORTION):
            self._behind.add(follower)
            self._awake.set()
        else:
            self._catch_up.start(follower)

    def end_all(self) -> None:
        """Ends every stream, and each that begins from now on, properly: the server drains."""
        self._ended = True
        for follower in self._followers.everybody():
            sink = self._followers.remove(follower, "drain")
            if sink is not None:
                self._send_off(sink)

    def _send_off(self, sink: Sink) -> None:
        blocked = sink.is_blocked
        sink.push(self._encoding.retry(random.randint(*DRAIN_RETRY_MS)))  # noqa: S311
        sink.finish()
        if blocked:
            asyncio.get_running_loop().call_later(END_SECONDS, sink.abort)

    # --- the one reader ---

    async def run(self) -> None:
        """Reads, and looks after the followers, until it is cancelled."""
        sweeping = asyncio.create_task(self._sweep.run(), name="feed sweep")
        try:
            while True:
                await self._wait()
                if self._followers or self._waiting:
                    await self._try_look()
                else:
                    self._rested = True
        finally:
            sweeping.cancel()
            self._catch_up.cancel()

    async def _wait(self) -> None:
        """Waits until it is woken, and no longer than POLL_SECONDS while somebody follows."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS if self._followers else None):
                await self._awake.wait()
        self._awake.clear()

    async def _try_look(self) -> None:
        """Looks at the log once, and pauses. Logs once when it cannot be read, and once when it can
        again."""
        began = time.monotonic()
        waiting, self._waiting = self._waiting, []
        try:
            await self._read()
        except Exception as error:
            self._report(error)
            _tell(waiting, error)
            await asyncio.sleep(POLL_SECONDS)
            return
        if self._away:
            logger.info("the event log is read again")
        self._away = False
        _tell(waiting, None)
        took = time.monotonic() - began
        await asyncio.sleep(min(max(took / 4, LEAST_PAUSE), MOST_PAUSE))

    def _report(self, error: Exception) -> None:
        if not self._away:
            defect = None if isinstance(error, StorageError) else error
            logger.warning("the event log cannot be read: %s", error, exc_info=defect)
        self._away = True

    async def _read(self) -> None:
        page = await self._storage.read_events(self._position, PORTION)
        self._ring.drop_before(_too_old())
        rested, self._rested = self._rested, False
        self._first, self._last = page.first, page.last
        if self._position is None or (rested and _is_long_ago(self._position, page)):
            self._ring.clear(page.last)  # what is in between is read for those who want it
            self._position = page.last
            await self._serve(self._followers.everybody())
        elif not page.follows(self._position):
            await self._begin_anew(page)
        else:
            await self._take(page)
        if self._behind:
            await self._read_older()
        if self._position < page.last or self._behind:
            self._awake.set()

    async def _begin_anew(self, page: EventPage) -> None:
        """Another log is in the place of the one that was read, such as a restored backup's."""
        logger.warning("the event log has %d to %d: it is another one", page.first, page.last)
        self._ring.clear(page.last)
        self._position = page.last
        self._behind.clear()
        everybody = self._followers.everybody()
        for follower in everybody:
            follower.position = None
        await self._serve(everybody)

    async def _take(self, page: EventPage) -> None:
        entries = await _encoded(self._encoding, page.events)
        self._ring.append(entries)
        self._position = page.position
        if not entries:
            return
        self._written = 0
        await self._serve(self._followers.of(entry.user_id for entry in entries))
        now = datetime.now(UTC)
        lags = [max(0.0, (now - event.at).total_seconds()) for event in page.events]
        self._observer.events_delivered(lags, self._written)

    async def _read_older(self) -> None:
        """Has the ring begin a portion earlier, for all who wait for that: they are many after a
        deploy, and most of them have missed the same few events."""
        floor = max(self._ring.floor - PORTION, self._first - 1)
        page = await self._storage.read_events(floor, PORTION)
        self._first = page.first
        older = [event for event in page.events if event.seq <= self._ring.floor]
        behind, self._behind = self._behind, set()
        if older and older[0].at < _too_old():
            for follower in behind:
                self._catch_up.start(follower)
            return
        if page.first - 1 <= floor:
            self._ring.prepend(await _encoded(self._encoding, older), floor)
        for follower in behind:
            if follower.position is not None and follower.position < page.first - 1:
                follower.position = None
        await self._serve(behind)

    async def _serve(self, followers: Iterable[Follower]) -> None:
        for number, follower in enumerate(followers, 1):
            self.serve(follower)
            if number % AT_ONCE == 0:
                await asyncio.sleep(BREATH)


async def _encoded(encoding: Encoding, events: Iterable[OrderEvent]) -> list[Entry]:
    entries: list[Entry] = []
    for event in events:
        order = event.order
        data = encoding.event(event)
        entries.append(Entry(event.seq, order.user_id, order.id, event.at, data))
        if len(entries) % AT_ONCE == 0:
            await asyncio.sleep(BREATH)
    return entries


def _is_long_ago(position: int, page: EventPage) -> bool:
    """Whether more has happened since than one look reads, or some of it is kept no more."""
    return position < page.last and (page.position < page.last or position < page.first - 1)


def _too_old() -> datetime:
    return datetime.now(UTC) - RING_AGE


def _tell(waiting: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    """Has those who wait go on, or fail."""
    for done in waiting:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
