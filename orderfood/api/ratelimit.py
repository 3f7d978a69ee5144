"""Rate limits by client: fixed windows, counted in memory, per process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from orderfood.settings.values import Rate

MAX_CLIENTS = 50_000
"""How many clients are counted at once: with one more, whose window began first begins anew. About
15 MB, for an address costs who has a network of them nothing."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a client: ``limit`` requests a window, ``remaining`` of them, and ``reset``
    seconds to the window's end."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-05 names them."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


@dataclass(slots=True)
class _Window:
    ends: float
    count: int = 0


class RateLimiter:
    """Counts requests by client. A window begins with a client's first request."""

    def __init__(
        self,
        limit: Rate,
        most: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._clock = clock
        self._limit, self._seconds = limit
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # all as long: by their end, too

    def count(self, client: str) -> Allowance:
        """Counts one request of this client."""
        now = self._clock()
        self._forget_ended(now)
        window = self._windows.get(client)
        if window is None:
            window = self._open(client, now)
        window.count += 1
        return self._allowance(window, window.count <= self._limit, now)

    def peek(self, client: str) -> Allowance:
        """What is left to this client, without counting anything."""
        now = self._clock()
        self._forget_ended(now)
        window = self._windows.get(client) or _Window(now + self._seconds)
        return self._allowance(window, window.count < self._limit, now)

    def _open(self, client: str, now: float) -> _Window:
        if len(self._windows) >= self._most:
            self._windows.popitem(last=False)
        window = self._windows[client] = _Window(now + self._seconds)
        return window

    def _forget_ended(self, now: float) -> None:
        while self._windows and next(iter(self._windows.values())).ends <= now:
            self._windows.popitem(last=False)

    def _allowance(self, window: _Window, allowed: bool, now: float) -> Allowance:
        left = math.ceil(window.ends - now)  # which floats may make a trifle more than all of it
        reset = min(max(1, left), self._seconds)
        return Allowance(allowed, self._limit, max(0, self._limit - window.count), reset)
