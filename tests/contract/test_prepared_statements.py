"""Statements are kept prepared on Postgres, until a pooler shows that they do not last."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from rig.postgres import execute
from storage import Storage
from storage.postgres.connections import Connections
from tests.contract.database import Database, new_catalogue, new_key, new_order, open_connections

CLIENTS = 64
PREPARED = "SELECT name, statement FROM pg_prepared_statements"


async def names_prepared(connections: Connections) -> set[str]:
    return {row[0] for row in await connections.fetch(PREPARED)}


async def place(storage: Storage, client: int) -> str:
    """Places an order, and once more under the same key."""
    user, key = f"client {client}", new_key(str(client))
    placed = await storage.add_order(new_order(user), key=key)
    assert await storage.add_order(new_order(user), key=key) == placed
    assert await storage.get_order(user, placed.id) == placed
    return str(placed.id)


async def test_a_statement_is_prepared_once_under_a_name_that_no_other_connection_has(
    postgres_url: str,
) -> None:
    async with open_connections(postgres_url, 1) as one, open_connections(postgres_url, 1) as other:
        names = await names_prepared(one)
        assert names
        assert names == await names_prepared(one)
        assert names.isdisjoint(await names_prepared(other))
        assert all(name.startswith("orderfood_") and len(name) < 64 for name in names)


async def test_a_url_that_names_a_pooler_has_none_prepared(postgres_url: str) -> None:
    async with open_connections(f"{postgres_url}?pgbouncer=true", 1) as connections:
        assert await names_prepared(connections) == set()


async def test_orders_go_on_when_a_pooler_shows_itself(
    pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two storages, as two processes have, share two sessions of the server."""
    database = Database(f"{pooled_url}?pgbouncer=true")
    async with database.open() as reader, AsyncExitStack() as stack:
        storages = [await stack.enter_async_context(Database(pooled_url).open()) for _ in range(2)]
        placed = await asyncio.gather(
            *(place(storages[client % 2], client) for client in range(CLIENTS))
        )
        stored = [await reader.list_orders(f"client {n}", limit=9) for n in range(CLIENTS)]
    assert [[str(order.id) for order in orders] for orders in stored] == [[id_] for id_ in placed]
    said = [record.message for record in caplog.records if "do not last" in record.message]
    # which of them meets a session of the other's is chance; each says it once
    assert 1 <= len(said) <= len(storages)


async def test_a_session_that_was_emptied_by_others_is_noticed(
    pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A load cannot be repeated, and so relies on nothing that was prepared before it."""
    async with Database(pooled_url).open() as storage:
        await execute(pooled_url, "DISCARD ALL")
        await storage.replace_catalogue(new_catalogue())
        for client in range(3):
            await execute(pooled_url, "DISCARD ALL")
            await place(storage, client)
    assert "do not last" in caplog.text


async def test_a_column_of_another_type_spares_what_is_prepared(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A migration beside a process that runs; also for what stands in a transaction of its own."""
    async with (
        Database(postgres_url).open() as storage,
        open_connections(postgres_url, 1) as connections,
    ):
        placed = await storage.add_order(new_order(), key=new_key())
        await storage.get_order("demo", placed.id)
        await connections.fetch("SELECT total FROM orders")
        await execute(postgres_url, "ALTER TABLE orders ALTER COLUMN total TYPE numeric")
        assert await storage.get_order("demo", placed.id) == placed
        await connections.retry_transaction(lambda: read_total(connections))
        assert await names_prepared(connections)
    assert not caplog.records


async def read_total(connections: Connections) -> None:
    async with connections.acquired() as connection, connection.transaction():
        await connection.fetch("SELECT total FROM orders")


async def test_a_plan_that_a_pooler_keeps_is_not_asked_for_again(postgres_url: str) -> None:
    """As PgBouncer does that prepares an equal statement once for all connections."""
    async with open_connections(postgres_url, 1) as connections:
        assert await names_prepared(connections)
        left = [asyncpg.InvalidCachedStatementError("cached plan must not change result type")] * 2

        async def step() -> list[asyncpg.Record]:
            async with connections.acquired():
                if left:
                    raise left.pop()
            return await connections.fetch(PREPARED)

        assert await connections.retry_transaction(step) == []
