"""The newest events of the log, encoded: what most followers of the feed are served from."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

RING_EVENTS = 10_000
"""Events that are kept."""

RING_BYTES = 32 * 1024 * 1024
"""Bytes that they may have together: an order of a hundred lines is a large one."""

BATCH_BYTES = 16 * 1024
"""Bytes that are written to a follower at once, or else one event."""


SHARED_BATCHES = 64
"""Batches that are kept for the next follower who has come as far."""


class Entry(NamedTuple):
    """One event, ready to send."""

    seq: int
    user_id: str
    order_id: UUID
    at: datetime
    data: bytes


class Audience(NamedTuple):
    """Whose events a follower sees: everybody's, one user's, or of these one order's."""

    user_id: str | None = None
    order_id: UUID | None = None


class Batch(NamedTuple):
    """Events that are written at once."""

    data: bytes
    position: int
    """The number of the last of them."""
    events: int
    """How many they are."""


_seq = attrgetter("seq")


class Ring:
    """Every event whose number is greater than ``floor``, up to the log's end; by user as well, so
    that who follows one user need not look through the others' events."""

    def __init__(self, most: int = RING_EVENTS, most_bytes: int = RING_BYTES) -> None:
        self.floor = 0
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._all: deque[Entry] = deque()
        self._of_user: dict[str, deque[Entry]] = {}
        self._shared: dict[int, Batch | None] = {}
        """By their beginnings, the batches of those who follow everything."""

    def __len__(self) -> int:
        return len(self._all)

    def clear(self, floor: int) -> None:
        """Empties the ring; what it gets from here on follows ``floor``."""
        self.floor, self._bytes = floor, 0
        self._all.clear()
        self._of_user.clear()
        self._shared.clear()

    def append(self, entries: Iterable[Entry]) -> None:
        """Adds newer events, in their order; the oldest make room for them."""
        self._shared.clear()
        for entry in entries:
            self._all.append(entry)
            self._of_user.setdefault(entry.user_id, deque()).append(entry)
            self._bytes += len(entry.data)
        while len(self._all) > self._most or self._bytes > self._most_bytes:
            self._drop_oldest()

    def drop_before(self, moment: datetime) -> None:
        """Drops what is older."""
        while self._all and self._all[0].at < moment:
            self._drop_oldest()

    def prepend(self, entries: Iterable[Entry], floor: int) -> None:
        """Adds the events between ``floor`` and the present one, in their order."""
        older = list(entries)
        for entry in reversed(older):
            self._all.appendleft(entry)
            self._of_user.setdefault(entry.user_id, deque()).appendleft(entry)
            self._bytes += len(entry.data)
        self.floor = floor

    def has_room(self, events: int) -> bool:
        """Whether so many older events still fit, if they are as large as those it has."""
        after = len(self._all) + events
        return after <= self._most and self._bytes * after <= self._most_bytes * len(self)

    def _drop_oldest(self) -> None:
        entry = self._all.popleft()
        self.floor = entry.seq
        self._bytes -= len(entry.data)
        of_user = self._of_user[entry.user_id]
        of_user.popleft()
        if not of_user:
            del self._of_user[entry.user_id]

    def batch(self, after: int, audience: Audience) -> Batch | None:
        """The next events behind ``after``, which is not below ``floor``; None when there are no
        more."""
        if audience.user_id is not None:
            of_user = self._of_user.get(audience.user_id)
            return _batch(of_user, after, audience.order_id) if of_user else None
        if after not in self._shared:
            if len(self._shared) >= SHARED_BATCHES:
                self._shared.clear()
            self._shared[after] = _batch(self._all, after, None)
        return self._shared[after]


def _batch(entries: deque[Entry], after: int, order_id: UUID | None) -> Batch | None:
    if not entries or entries[-1].seq <= after:
        return None
    start = bisect_right(entries, after, key=_seq)
    chosen: list[bytes] = []
    size, position = 0, after
    for entry in islice(entries, start, None):
        if order_id in (None, entry.order_id):
            size += len(entry.data)
            if chosen and size > BATCH_BYTES:
                break
            chosen.append(entry.data)
            position = entry.seq
    return Batch(b"".join(chosen), position, len(chosen)) if chosen else None
