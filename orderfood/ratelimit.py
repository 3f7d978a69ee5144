"""How many requests a client may send: counted by the library `limits`, per process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

Network = IPv4Network | IPv6Network


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


class RateLimiter:
    """Counts requests by client, in fixed windows."""

    def __init__(self, limit: RateLimitItem) -> None:
        self._limit = limit
        self._windows = FixedWindowRateLimiter(MemoryStorage())

    def count(self, client: str) -> Allowance:
        """Counts one request of this client."""
        return self._allowance(client, self._windows.hit(self._limit, client))

    def look(self, client: str) -> Allowance:
        """What is left to this client, without counting anything."""
        return self._allowance(client, self._windows.test(self._limit, client))

    def _allowance(self, client: str, allowed: bool) -> Allowance:
        stats = self._windows.get_window_stats(self._limit, client)
        reset = max(1, math.ceil(stats.reset_time - time.time()))
        return Allowance(allowed, self._limit.amount, max(0, stats.remaining), reset)


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address that a request came from. X-Forwarded-For counts only as far as proxies that are
    trusted have written it: from the right, the first address that is none of them."""
    address = peer
    hops = [] if forwarded_for is None else forwarded_for.split(",")
    while hops and _is_trusted(address, trusted):
        address = hops.pop().strip()
    return address if _is_address(address) else peer


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
