"""Orders that follow each other keep their connection, and nobody else misses it."""

from __future__ import annotations

import asyncio

import pytest

from rig.postgres import execute
from storage.postgres import kept
from storage.postgres.connections import Connections
from storage.postgres.errors import TimedOut
from tests.contract.database import Database, new_order, open_connections

SESSION = "SELECT pg_backend_pid()"
END_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(autouse=True)
def _kept_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.05)


async def session(connections: Connections, *, keep: bool) -> int:
    async with connections.acquired(keep=keep) as connection:
        number: int = await connection.fetchval(SESSION)
        return number


async def test_it_is_kept_and_counts_as_free_until_it_rests(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 1)
    async with open_connections(postgres_url, 2) as connections:
        first = await session(connections, keep=True)
        async with connections.acquired() as other:
            assert await other.fetchval(SESSION) != first
            assert connections.count() == (1, 2)
            assert await session(connections, keep=True) == first
            async with asyncio.timeout(20), connections.acquired() as rested:
                assert await rested.fetchval(SESSION) == first


async def test_a_pool_of_one_keeps_none(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 60)
    async with open_connections(postgres_url, 1) as connections:
        assert await session(connections, keep=True) == await session(connections, keep=False)


async def test_an_order_after_its_session_was_ended_is_stored(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 60)
    async with Database(postgres_url).open() as storage:
        await storage.add_order(new_order())
        await execute(postgres_url, END_SESSIONS)
        await asyncio.sleep(0.1)  # the end of the stream is on its way
        placed = await storage.add_order(new_order())
        assert await storage.get_order("demo", placed.id) == placed


async def test_what_the_pool_throws_away_is_not_kept(postgres_url: str) -> None:
    """As when another statement was given up, or the server has become read-only."""
    async with open_connections(postgres_url, 2) as connections:
        async with connections.acquired(keep=True) as connection:
            first = await connection.fetchval(SESSION)
            with pytest.raises(TimedOut):
                async with connections.acquired():
                    raise TimeoutError
        assert await session(connections, keep=True) != first
