"""LISTEN: notifications that another program has changed the catalogue or the shop's state."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg

from storage.errors import StorageError
from storage.postgres.connect import CONNECT_SECONDS, Connector

CHANNEL = "orderfood_catalogue"
"""The channel on which a load notifies that it has changed the catalogue, and everyone that the
shop says something else of itself."""


class Listener:
    """A connection outside the pool that listens for notices: it needs a session of its own.

    Behind a transaction pooler it receives none, which only makes probes later. It is opened when
    first needed, and again after it was lost.
    """

    PING_SECONDS = 30.0
    RETRY_SECONDS = 5.0

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._heard = asyncio.Event()
        self._opening = asyncio.Lock()

    async def wait(self) -> None:
        """Returns after a notice, and after the connection was lost: one may have been missed."""
        while not self._heard.is_set():
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, StorageError):
                await asyncio.sleep(self.RETRY_SECONDS)
        self._heard.clear()

    async def _listen(self) -> None:
        """Until a notice comes or the connection is lost."""
        connection = await self._opened()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), self.PING_SECONDS)
        if not self._heard.is_set():
            await connection.execute("SELECT 1")

    async def _opened(self) -> asyncpg.Connection[asyncpg.Record]:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connector.connect()
                self._connection.add_termination_listener(self._hear)
                await self._connection.add_listener(CHANNEL, self._hear)
            return self._connection

    def _hear(self, *_: object) -> None:
        self._heard.set()

    async def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=CONNECT_SECONDS)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
