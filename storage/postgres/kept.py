"""A connection that is kept out of the pool for as long as orders follow each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from storage.postgres.connect import Connection

KEPT_SECONDS = 1.0
"""How long at least a connection is kept that nobody takes. It is not for longer, as the pool is
who closes what is idle before a firewall on the way forgets it."""


class Kept:
    """At most one connection of a pool, between one batch of orders and the next. To take one out
    of the pool and to put it back costs a fifth of all that storage does for an order alone.

    ``give_back`` returns a connection to the pool, in the background.
    """

    def __init__(self, give_back: Callable[[Connection], None]) -> None:
        self._give_back = give_back
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._was_taken = False

    @property
    def count(self) -> int:
        """How many connections are kept, and so are in nobody's use."""
        return int(self._connection is not None)

    def take(self) -> Connection | None:
        """The connection, unless there is none, or it has been closed."""
        connection, self._connection = self._connection, None
        if connection is None or _is_open(connection):
            self._was_taken = True
            return connection
        self._give_back(connection)
        return None

    def put(self, connection: Connection) -> None:
        """Keeps a connection that works, for the next."""
        if self._connection is not None:
            self._give_back(connection)
            return
        self._connection = connection
        if self._timer is None:
            self._look_again()

    def empty(self) -> None:
        """Gives the connection back to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._give_back(connection)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._was_taken = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(KEPT_SECONDS, self._give_back_what_rests)

    def _give_back_what_rests(self) -> None:
        if self._was_taken:
            self._look_again()
        else:
            self.empty()


def _is_open(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has it back already, as it was lost
        return False
