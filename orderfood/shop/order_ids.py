"""Ids of orders: UUIDs of version 7, which begin with the time (RFC 9562, 5.7 and 6.2, method 3).

Random ones would put each order on a page of its own of every index; these come to lie side by
side. What an id tells, the time of the order to a few microseconds, its createdAt tells as well.
"""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_UNUSED_BITS = 64 - 62
_DRAWN = struct.Struct(">256Q")
"""How much of the random source is drawn at once: asking the system costs more than all the rest of
an id."""

_drawn: list[int] = []


def new_order_id(now: datetime) -> UUID:
    """A new id for what happens at this aware time: 48 bits of milliseconds, 12 of their fraction,
    62 from the system's random source."""
    milliseconds, microseconds = divmod((now - _EPOCH) // _MICROSECOND, 1000)
    fraction = microseconds * 4096 // 1000
    if not _drawn:
        _drawn.extend(_DRAWN.unpack(os.urandom(_DRAWN.size)))
    random = _drawn.pop() >> _UNUSED_BITS
    return UUID(int=milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | random)
