"""Those who follow the feed: how many there may be, and what becomes of one that is idle, slow or
no longer allowed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from orderfood.shop.guests import is_guest_id
from orderfood.shop.observer import Observer
from orderfood.shop.refusals import FeedFull, TooManyRequests
from orderfood.shop.ring import Audience

logger = logging.getLogger(__name__)

STREAMS_OF_A_USER = 6
GUESTS_SHARE = 0.9
"""Of all streams, how many may be guests': the kitchen must still be able to follow."""

STREAM_KINDS = ("customer", "shop")
STREAM_ENDINGS = ("client", "slow", "revoked", "drain")
"""Who follows, and why a stream ends."""

RETRY_AFTER = 10
"""Seconds after which a user who has too many streams may try again."""

SWEEP_SECONDS = 0.5
"""Seconds between two checks of all followers."""

BEAT_SECONDS = 15.0
BLOCKED_SECONDS = 10.0
"""Seconds between two beats, and how long a follower may take nothing."""


class Sink(Protocol):
    """What a follower is served by: its connection."""

    @property
    def is_blocked(self) -> bool:
        """Whether more waits to be taken than should."""

    @property
    def progress(self) -> int:
        """A number that is another one whenever the client has taken something meanwhile."""

    def push(self, data: bytes) -> None:
        """Sends ``data``."""

    def finish(self) -> None:
        """Ends what is sent, properly."""

    def abort(self) -> None:
        """Ends the connection at once."""


class Server(Protocol):
    """What a follower is a follower of."""

    def add(self, follower: Follower) -> None:
        """Begins to serve a follower whose connection is ready."""

    def serve(self, follower: Follower) -> None:
        """Sends a follower what it has not seen, as far as its connection takes it."""

    def lose(self, follower: Follower) -> None:
        """Forgets a follower whose client has left."""


class Follower:
    """One stream. Its connection says when it begins, when it takes more again, and when the client
    has left."""

    __slots__ = (
        "_server", "audience", "beat_at", "began", "blocked_since", "catching_up", "is_valid",
        "position", "progress", "sink", "user_id",
    )  # fmt: skip

    def __init__(
        self,
        server: Server,
        user_id: str,
        audience: Audience,
        position: int | None,
        is_valid: Callable[[], bool],
    ) -> None:
        self._server = server
        self.user_id = user_id
        """Whose stream it is."""
        self.audience = audience
        self.position = position
        """It has everything up to here; None: it must be told that it misses something."""
        self.is_valid = is_valid
        """Whether its key still allows it."""
        self.sink: Sink | None = None
        """None before it begins, and when it has ended."""
        self.catching_up = False
        self.blocked_since: float | None = None
        """Since when it has taken nothing of what waits for it."""
        self.progress = 0
        self.began = self.beat_at = 0.0

    def begin(self, sink: Sink) -> None:
        """The connection is ready."""
        self.sink = sink
        self._server.add(self)

    def resume(self) -> None:
        """The connection takes more again."""
        self.blocked_since = None
        self._server.serve(self)

    def lose(self) -> None:
        """The client has left."""
        self._server.lose(self)

    @property
    def kind(self) -> str:
        """The label of its metrics."""
        return "shop" if self.audience.user_id is None else "customer"


class Followers:
    """All of them, by the user whose events they see."""

    def __init__(self, most: int, observer: Observer) -> None:
        self._most = most
        self._observer = observer
        self._by_user: dict[str | None, set[Follower]] = {}
        self._streams: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def check_room(self, user_id: str) -> None:
        """Raises TooManyRequests when the user has enough streams, FeedFull when this process
        has: for guests, who may be anybody, before the last tenth of it."""
        if self._streams[user_id] >= STREAMS_OF_A_USER:
            message = f"a user may have {STREAMS_OF_A_USER} streams"
            raise TooManyRequests("streams", message, RETRY_AFTER)
        if self._count >= (self._most * GUESTS_SHARE if is_guest_id(user_id) else self._most):
            raise FeedFull("feed_full", "too many follow the feed already; try again")

    def add(self, follower: Follower) -> None:
        """Adds one that begins."""
        self._by_user.setdefault(follower.audience.user_id, set()).add(follower)
        self._streams[follower.user_id] += 1
        self._count += 1
        follower.began = time.monotonic()
        self._observer.stream_began(follower.kind)

    def remove(self, follower: Follower, reason: str) -> Sink | None:
        """Forgets one; returns its connection, or None when it was forgotten before."""
        sink, follower.sink = follower.sink, None
        if sink is None:
            return None
        alike = self._by_user[follower.audience.user_id]
        alike.discard(follower)
        if not alike:
            del self._by_user[follower.audience.user_id]
        self._streams[follower.user_id] -= 1
        if not self._streams[follower.user_id]:
            del self._streams[follower.user_id]
        self._count -= 1
        self._observer.stream_ended(follower.kind, reason)
        return sink

    def everybody(self) -> list[Follower]:
        """All of them."""
        return [follower for alike in self._by_user.values() for follower in alike]

    def of(self, users: Iterable[str]) -> list[Follower]:
        """Those who see the events of these users."""
        seen = {None, *users}
        return [follower for user in seen for follower in self._by_user.get(user, ())]


class Sweep:
    """Looks after all followers twice a second: beats, and the ends of those that take nothing, or
    whose key no longer allows it."""

    def __init__(
        self,
        followers: Followers,
        serve: Callable[[Follower], None],
        beat: Callable[[int], bytes],
        beat_seconds: float = BEAT_SECONDS,
        blocked_seconds: float = BLOCKED_SECONDS,
    ) -> None:
        self._followers = followers
        self._serve = serve
        self._beat = beat
        self._beat_seconds = beat_seconds
        self._blocked_seconds = blocked_seconds

    def begin(self, follower: Follower) -> None:
        """Sets the time of a follower's first beat: not the same for all that came at once."""
        phase = random.uniform(0.5, 1)  # noqa: S311
        follower.beat_at = follower.began + self._beat_seconds * phase

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._sweep(time.monotonic())

    def _sweep(self, now: float) -> None:
        for follower in self._followers.everybody():
            try:
                self._check(follower, now)
            except Exception:
                logger.exception("a stream could not be looked after")

    def _check(self, follower: Follower, now: float) -> None:
        sink = follower.sink
        if sink is None:
            return
        if not follower.is_valid():
            self._followers.remove(follower, "revoked")
            sink.finish()
        elif sink.is_blocked:
            self._check_blocked(follower, sink, now)
        elif now >= follower.beat_at:
            self._send_beat(follower, sink, now)

    def _check_blocked(self, follower: Follower, sink: Sink, now: float) -> None:
        if follower.blocked_since is None or sink.progress != follower.progress:
            follower.blocked_since, follower.progress = now, sink.progress
        elif now - follower.blocked_since >= self._blocked_seconds:
            self._followers.remove(follower, "slow")
            sink.abort()

    def _send_beat(self, follower: Follower, sink: Sink, now: float) -> None:
        self._serve(follower)
        if follower.position is not None and follower.sink is not None and not sink.is_blocked:
            sink.push(self._beat(follower.position))
            follower.beat_at = max(follower.beat_at + self._beat_seconds, now)
