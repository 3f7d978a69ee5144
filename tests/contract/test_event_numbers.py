"""How Postgres numbers events: once a number can be seen, no smaller one appears. And why not more
simply: what else was tried loses events, or hides them."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest

from rig.postgres import NamedServer, StartedServer, execute
from storage import Storage, open_storage
from storage.errors import StorageUnavailable
from storage.records import Obstacle, Order, OrderEvent
from tests.contract.database import NOW, Database, act, add, new_order, read_all_events
from tests.contract.test_durability import child

WRITERS = 4
KILLS = 6
BETWEEN_KILLS = 1500
"""How many events a reader gets between two of them."""

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]
else:
    Session = asyncpg.Connection  # which takes a parameter in its stubs alone


@pytest.fixture
def postgres_database(postgres_url: str) -> Database:
    return Database(postgres_url)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Session]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        connection.terminate()


# --- nothing is missed ---


async def test_a_reader_misses_nothing(
    postgres_database: Database, postgres_server: NamedServer
) -> None:
    """Four processes write, one of them is killed now and then; a load goes on all the time, and a
    long transaction in another database."""
    elsewhere = postgres_server.create_database()
    try:
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(postgres_database.open())
            reader = await stack.enter_async_context(postgres_database.open())
            await stack.enter_async_context(child("load", postgres_database.url))
            long = await stack.enter_async_context(session(elsewhere))
            await long.execute("BEGIN; CREATE TABLE long (i integer)")
            acknowledged, read = await follow(postgres_database.url, reader)
            read += await read_all_events(reader, read[-1].seq, 500)
            assert await writer.number_events() == 0
            await check_nothing_is_missing(writer, acknowledged, read)
    finally:
        postgres_server.drop_database(elsewhere)


class Writers:
    """Processes that store orders and change them; what they were told of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._running: list[tuple[Process, asyncio.Task[None]]] = []
        self.acknowledged: set[tuple[UUID, int]] = set()

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.child", "lives", self._url, stdout=PIPE
        )
        self._running.append((process, asyncio.create_task(self._note(process))))

    async def _note(self, process: Process) -> None:
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):
            order_id, version = line.decode().split()
            self.acknowledged.add((UUID(order_id), int(version)))

    async def kill_one(self) -> None:
        process, noting = self._running.pop(random.randrange(len(self._running)))
        process.kill()
        await noting
        await process.wait()

    async def kill_all(self) -> None:
        while self._running:
            await self.kill_one()


async def follow(url: str, reader: Storage) -> tuple[set[tuple[UUID, int]], list[OrderEvent]]:
    """What writers were told that they did, and what a reader read meanwhile."""
    writers, read, killed, position = Writers(url), list[OrderEvent](), 0, 0
    try:
        for _ in range(WRITERS):
            await writers.start()
        while killed < KILLS:
            page = await reader.read_events(position, 500)
            read += page.events
            assert all(event.seq > position for event in page.events)
            assert position <= page.position <= page.last
            position = page.position
            if len(read) >= (killed + 1) * BETWEEN_KILLS:
                await writers.kill_one()
                await writers.start()
                killed += 1
    finally:
        await writers.kill_all()
    return writers.acknowledged, read


async def check_nothing_is_missing(
    storage: Storage, acknowledged: set[tuple[UUID, int]], read: list[OrderEvent]
) -> None:
    numbers = [event.seq for event in read]
    assert numbers == list(range(1, len(read) + 1))
    versions: Counter[UUID] = Counter()
    for event in read:
        versions[event.order.id] += 1
        assert event.order.version == versions[event.order.id]
    assert acknowledged <= {(event.order.id, event.order.version) for event in read}
    assert len(acknowledged) > KILLS * BETWEEN_KILLS / 2
    stored = await storage.list_orders("demo", limit=1_000_000)
    assert {order.id: order.version for order in stored} == versions


async def test_readers_at_once_give_each_number_once(postgres_database: Database) -> None:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(postgres_database.open()) for _ in range(3)]

        async def write() -> None:
            for _ in range(40):
                await asyncio.gather(*(readers[0].add_order(new_order()) for _ in range(25)))

        async def follow_log(storage: Storage) -> list[tuple[int, UUID]]:
            read: list[tuple[int, UUID]] = []
            while len(read) < 1000:
                page = await storage.read_events(read[-1][0] if read else 0, 100)
                read += [(event.seq, event.order.id) for event in page.events]
            return read

        writing = asyncio.create_task(write())
        read = await asyncio.gather(*(follow_log(one) for one in readers * 2))
        await writing
        assert all(one == read[0] for one in read)
        assert [number for number, _ in read[0]] == list(range(1, 1001))
        assert len({order_id for _, order_id in read[0]}) == 1000


async def test_many_that_wait_are_numbered_in_portions(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.events.PORTION", 7)
    monkeypatch.setattr("storage.postgres.events.MOST_PORTIONS", 3)
    async with postgres_database.open() as storage:
        orders = [await add(storage) for _ in range(20)]
        for order in orders:
            await act(storage, order.id, "cancel")
        assert await storage.number_events() == 21
        page = await storage.read_events(0, 100)
        assert (len(page.events), page.position, page.last) == (40, 40, 40)
        assert await storage.number_events() == 0
        for order in orders:
            versions = [one.order.version for one in page.events if one.order.id == order.id]
            assert versions == [1, 2]


# --- when nothing can be numbered, what has a number is read ---


async def numbered_and_not(storage: Storage) -> tuple[Order, Order]:
    """Two orders, of which the event of the first has a number."""
    first = await add(storage)
    await storage.number_events()
    return first, await add(storage)


async def check_one_is_read(storage: Storage, first: Order, second: Order) -> None:
    page = await storage.read_events(0, 10)
    assert [event.order for event in page.events] == [first]
    assert (page.position, page.last) == (1, 1)
    listed = await storage.list_shop_orders(["placed"], oldest_first=True, limit=10)
    assert (set(listed.orders), listed.position) == ({first, second}, 1)
    for order, events in ((first, 1), (second, 0)):
        stored, history = await storage.get_order_history(order.id)
        assert (stored, len(history)) == (order, events)


async def check_both_are_read(storage: Storage, first: Order, second: Order) -> None:
    assert [event.order for event in await read_all_events(storage)] == [first, second]


async def test_a_server_that_takes_no_writes(postgres_url: str) -> None:
    async with Database(postgres_url).open() as storage:
        orders = await numbered_and_not(storage)
        name = urlsplit(postgres_url).path[1:]
        await execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        async with open_storage(postgres_url) as reader:
            await check_one_is_read(reader, *orders)
            with pytest.raises(StorageUnavailable):
                await reader.number_events()
        await check_both_are_read(storage, *orders)


async def test_a_role_that_may_only_read(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    role = f"reader_{parts.path[-12:]}"
    url = parts._replace(netloc=f"{role}:pass@{parts.hostname}:{parts.port}").geturl()
    async with Database(postgres_url).open() as storage:
        orders = await numbered_and_not(storage)
        await execute(postgres_url, f"CREATE ROLE {role} LOGIN PASSWORD 'pass'")
        await execute(postgres_url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            async with open_storage(url) as reader:
                await check_one_is_read(reader, *orders)
                assert await reader.find_obstacle() is Obstacle.NOT_PERMITTED
        finally:
            await execute(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")
        await check_both_are_read(storage, *orders)


async def test_a_reader_that_stands_still_while_it_numbers(postgres_database: Database) -> None:
    async with postgres_database.open() as storage, session(postgres_database.url) as stuck:
        orders = await numbered_and_not(storage)
        await stuck.execute("BEGIN; SELECT number_events(100)")
        await check_one_is_read(storage, *orders)
        await stuck.execute("ROLLBACK")
        await check_both_are_read(storage, *orders)


# --- a server that is killed ---


async def test_a_number_that_was_never_committed_was_never_given(
    own_server: StartedServer,
) -> None:
    database = Database(own_server.create_database())
    async with database.open() as storage:
        orders = [await add(storage) for _ in range(3)]
        await storage.number_events()
        orders += [await add(storage) for _ in range(3)]
    async with session(database.url) as numbering:
        await numbering.execute("BEGIN")
        assert await numbering.fetchval("SELECT number_events(100)") == 3
        await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)
    async with database.open() as storage:
        events = await read_all_events(storage)
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
        assert {event.order.id for event in events} == {order.id for order in orders}


async def test_a_number_that_was_seen_survives(own_server: StartedServer) -> None:
    """Also where transactions need not be on disk by default, and are not for long."""
    database = Database(own_server.create_database())
    async with database.open():
        name = urlsplit(database.url).path[1:]
        await execute(database.url, f"ALTER DATABASE {name} SET synchronous_commit = off")
        await execute(database.url, "ALTER SYSTEM SET wal_writer_delay = '10s'")
        await execute(database.url, "SELECT pg_reload_conf()")
    try:
        async with database.open() as storage:
            await add(storage)
            before = await read_all_events(storage)
            await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
        async with database.open() as storage:
            await add(storage, new_order(created_at=NOW - timedelta(days=1)))
            after = await read_all_events(storage)
    finally:
        await asyncio.to_thread(own_server.start)
        await execute(own_server.url, "ALTER SYSTEM RESET wal_writer_delay")
        await execute(own_server.url, "SELECT pg_reload_conf()")
    assert [event.seq for event in before] == [1]
    assert [event.seq for event in after] == [1, 2]
    assert after[:1] == before


# --- what else was tried ---


PLACE = """
SELECT outcome FROM add_orders(
    order_ids => ARRAY[gen_random_uuid()], order_users => ARRAY['demo'],
    order_subtotals => ARRAY[1], order_discounts => ARRAY[0], order_totals => ARRAY[1],
    order_times => $1, order_codes => ARRAY[NULL::text], use_limits => ARRAY[NULL::bigint],
    user_use_limits => ARRAY[NULL::bigint], order_keys => ARRAY[NULL::text],
    order_fingerprints => ARRAY[NULL::text], key_expiries => ARRAY[NULL::timestamptz],
    line_orders => '{}', line_positions => '{}', line_products => '{}', line_names => '{}',
    line_prices => '{}', line_categories => '{}', line_quantities => '{}', line_details => '{}'
)
"""


async def place(transaction: Session) -> None:
    assert await transaction.fetchval(PLACE, [NOW]) == "stored"


async def test_a_sequence_loses_an_event(postgres_url: str) -> None:
    """The order in which numbers are taken is not the order of the commits."""
    await execute(postgres_url, "CREATE TABLE log (seq bigserial PRIMARY KEY, what text)")
    async with (
        session(postgres_url) as slow,
        session(postgres_url) as quick,
        session(postgres_url) as reader,
    ):
        behind = "SELECT seq, what FROM log WHERE seq > $1 ORDER BY seq"
        await slow.execute("BEGIN; INSERT INTO log (what) VALUES ('slow')")
        await quick.execute("INSERT INTO log (what) VALUES ('quick')")
        (seen,) = await reader.fetch(behind, 0)
        await slow.execute("COMMIT")
        assert (seen["seq"], seen["what"]) == (2, "quick")
        assert await reader.fetch(behind, seen["seq"]) == []  # nobody ever sees the slow one


async def test_numbering_loses_none(postgres_database: Database) -> None:
    """The same, but that the events are numbered when they are read."""
    async with (
        postgres_database.open() as storage,
        session(postgres_database.url) as slow,
        session(postgres_database.url) as quick,
    ):
        await slow.execute("BEGIN")
        await place(slow)
        await place(quick)
        (seen,) = (await storage.read_events(0, 10)).events
        await slow.execute("COMMIT")
        (late,) = (await storage.read_events(seen.seq, 10)).events
        assert (seen.seq, late.seq) == (1, 2)
        assert seen.order.id != late.order.id


BELOW_XMIN = """
SELECT what FROM log WHERE written_by < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY seq
"""


async def test_reading_below_what_runs_blinds_beside_a_long_transaction(
    postgres_url: str, postgres_server: NamedServer
) -> None:
    """Even one in another database of the server."""
    elsewhere = postgres_server.create_database()
    await execute(
        postgres_url,
        "CREATE TABLE log (seq bigserial PRIMARY KEY, what text,"
        " written_by xid8 DEFAULT pg_current_xact_id())",
    )
    try:
        async with session(elsewhere) as long, session(postgres_url) as reader:
            await long.execute("BEGIN; CREATE TABLE long (i integer)")
            await reader.execute("INSERT INTO log (what) VALUES ('order')")
            assert await reader.fetch(BELOW_XMIN) == []
            await long.execute("ROLLBACK")
            await gone(postgres_url)
            assert [row["what"] for row in await reader.fetch(BELOW_XMIN)] == ["order"]
    finally:
        postgres_server.drop_database(elsewhere)


async def gone(url: str) -> None:
    """Other tests may have transactions on this server, which end."""
    while True:
        async with session(url) as connection:
            if await connection.fetch(BELOW_XMIN):
                return
        await asyncio.sleep(0.05)


async def test_numbering_sees_all_beside_a_long_transaction(
    postgres_database: Database, postgres_server: NamedServer
) -> None:
    elsewhere = postgres_server.create_database()
    try:
        async with (
            postgres_database.open() as storage,
            session(elsewhere) as long,
            session(postgres_database.url) as load,
        ):
            await long.execute("BEGIN; CREATE TABLE long (i integer)")
            await load.execute("BEGIN; UPDATE catalogue SET version = version + 1")
            order = await add(storage, new_order(created_at=datetime.now(UTC)))
            (event,) = (await storage.read_events(0, 10)).events
            assert event.order == order
    finally:
        postgres_server.drop_database(elsewhere)
