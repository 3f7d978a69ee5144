"""The standby that must have each commit is away: what it lacks is gone when it takes the lead.

A statement that is given up while it waits for the standby is stored here all the same, and is read
here. To tell somebody of it would be a promise that the next leader does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest

from rig.postgres import NamedServer, StartedServer, execute, run
from storage import Storage, open_storage
from storage.errors import StorageUnavailable
from storage.postgres import connect
from tests.contract.database import Database, act, add, new_key, new_order

SECONDS = 0.2
"""How long a statement may take that waits for the standby."""


class Standby:
    """The one that each commit waits for."""

    def __init__(self, url: str) -> None:
        self._url = url

    def leave(self) -> None:
        self._wait_for("nobody")
        while run(self._commits()):
            pass

    def come_back(self) -> None:
        self._wait_for("")

    def _wait_for(self, name: str) -> None:
        run(execute(self._url, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'"))
        run(execute(self._url, "SELECT pg_reload_conf()"))

    async def _commits(self) -> bool:
        """Whether a transaction that writes commits without the standby."""
        probe = asyncio.create_task(
            execute(self._url, "SELECT pg_logical_emit_message(true, 'probe', '')")
        )
        while not probe.done() and not await self._one_waits():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        committed = probe.done()
        probe.cancel()
        await asyncio.wait([probe])
        return committed

    async def _one_waits(self) -> bool:
        connection = await asyncpg.connect(self._url, statement_cache_size=0, timeout=10)
        try:
            waiting: bool = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"
            )
            return waiting
        finally:
            await connection.close()


@pytest.fixture
def standby(postgres_server: NamedServer, postgres_url: str) -> Iterator[Standby]:
    if not isinstance(postgres_server, StartedServer):
        pytest.skip("others may use a server that is not ours")
    standby = Standby(postgres_server.url)
    yield standby
    standby.come_back()


async def assert_untold(storage: Storage, call: Callable[[Storage], Awaitable[object]]) -> None:
    """Neither the first attempt, which is given up, nor the next ones are answered."""
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await call(storage)


async def test_nobody_is_told_what_the_standby_does_not_have(
    postgres_url: str, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(postgres_url).open() as storage:
        known, order, key = await add(storage), new_order(), new_key()
        calls: list[Callable[[Storage], Awaitable[object]]] = [
            lambda store: store.add_order(order, key=key),
            lambda store: store.find_order_by_key(order.user_id, key),
            lambda store: act(store, known.id, "accept"),
            lambda store: store.read_events(0, 10),
            lambda store: store.list_shop_orders(["placed"], oldest_first=True, limit=10),
        ]
        await storage.number_events()
        standby.leave()
        monkeypatch.setattr(connect, "COMMAND_SECONDS", SECONDS)
        async with open_storage(postgres_url) as hasty:
            for call in calls:
                await assert_untold(hasty, call)
        assert await storage.get_order(known.user_id, known.id)  # what is read promises nothing
        standby.come_back()
        await assert_told(storage, calls)


async def assert_told(
    storage: Storage, calls: list[Callable[[Storage], Awaitable[object]]]
) -> None:
    """When it is back all are answered, and nothing has happened twice."""
    await asyncio.gather(*(call(storage) for call in calls))
    page = await storage.read_events(0, 10)
    assert [(event.type, event.order.version) for event in page.events] == [
        ("placed", 1), ("placed", 1), ("accepted", 2),
    ]  # fmt: skip
