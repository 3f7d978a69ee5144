"""The hub: one reader for all, whatever they have missed and however slow they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from orderfood.api.events import ServerSentEvents
from orderfood.shop import feed, followers
from orderfood.shop.feed import Hub
from orderfood.shop.followers import Follower
from orderfood.shop.guests import guest_of
from orderfood.shop.observer import Observer
from orderfood.shop.order_ids import new_order_id
from orderfood.shop.refusals import FeedFull, TooManyRequests
from orderfood.shop.ring import BATCH_BYTES, Audience, Entry, Ring
from storage.errors import StorageUnavailable
from storage.memory.orders import Orders
from storage.memory.storage import MemoryStorage
from storage.records import EventPage, Order

ALL = Audience()


class Log(MemoryStorage):
    """A storage that counts the questions for its log, and may not answer them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.away = False

    async def read_events(
        self,
        after: int | None,
        limit: int,
        *,
        user_id: str | None = None,
        order_id: UUID | None = None,
    ) -> EventPage:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise StorageUnavailable("gone")
        return await super().read_events(after, limit, user_id=user_id, order_id=order_id)

    async def place(self, count: int = 1, user: str = "demo", at: datetime | None = None) -> Order:
        now = at or datetime.now(UTC)
        for _ in range(count):
            order = Order(new_order_id(now), user, (), 0, 0, 0, now)
            order = await self.add_order(order)
        return order

    def forget(self) -> None:
        """As a restored backup of the first day."""
        self._orders = Orders()


class Client:
    """A connection that takes ``room`` bytes."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.text = ""
        self.pushed = 0
        self.end: str | None = None

    @property
    def progress(self) -> int:
        return 0

    @property
    def is_blocked(self) -> bool:
        return self.pushed > self.room

    def push(self, data: bytes) -> None:
        assert self.end is None
        self.pushed += len(data)
        self.text += data.decode()

    def finish(self) -> None:
        self.end = "finished"

    def abort(self) -> None:
        self.end = "aborted"

    @property
    def ids(self) -> list[int]:
        return [int(part.split("\n")[0]) for part in self.text.split("id: ")[1:]]


class Ends(Observer):
    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.open = 0
        self.lags: list[float] = []

    def stream_began(self, kind: str) -> None:
        self.open += 1

    def stream_ended(self, kind: str, reason: str) -> None:
        self.open -= 1
        self.reasons.append(reason)

    def events_delivered(self, lags: Iterable[float], written: int) -> None:
        self.lags += lags


class Running:
    """A hub that runs, and its log."""

    def __init__(self, **options: Any) -> None:
        self.log, self.ends = Log(), Ends()
        most = options.pop("most", 1000)
        self.hub = Hub(self.log, ServerSentEvents(), most, self.ends, **options)
        self.valid = True

    async def follow(
        self, after: int | None = None, audience: Audience = ALL, client: Client | None = None,
        user: str = "kitchen",
    ) -> Client:  # fmt: skip
        _, client = await self.follower(after, audience, client, user)
        return client

    async def follower(
        self, after: int | None = None, audience: Audience = ALL, client: Client | None = None,
        user: str = "kitchen",
    ) -> tuple[Follower, Client]:  # fmt: skip
        client = client or Client()
        self.hub.check_room(user)
        place = await self.hub.find_place(after)
        follower = Follower(self.hub, user, audience, place, lambda: self.valid)
        follower.begin(client)
        return follower, client

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.hub.wake()
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    made = Running(**options)
    task = asyncio.create_task(made.hub.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert made.ends.open == made.hub.clients


async def test_guests_leave_room_for_the_kitchen() -> None:
    async with running(most=10) as it:
        guests = [guest_of(str(number)).id for number in range(10)]
        for guest in guests[:9]:
            await it.follow(user=guest)
        with pytest.raises(FeedFull):
            await it.follow(user=guests[9])
        await it.follow(user="kitchen")
        with pytest.raises(FeedFull):
            await it.follow(user="kitchen")


async def test_nobody_follows_and_nothing_is_read() -> None:
    async with running() as it:
        await it.log.place(3)
        for _ in range(5):
            it.hub.wake()
            await asyncio.sleep(0.01)
        assert it.log.reads == 0


async def test_who_begins_now_sees_what_comes() -> None:
    async with running() as it:
        await it.log.place(3)
        client = await it.follow()
        await it.log.place(2)
        await it.until(lambda: client.ids == [4, 5])
        assert client.text.startswith("retry: 2000\n\nid: 4\nevent: order\ndata: {")
        assert len(it.ends.lags) == 2


async def test_list_then_follow_misses_nothing() -> None:
    async with running() as it:
        await it.log.place(3)
        client = await it.follow(1)
        await it.log.place()
        await it.until(lambda: client.ids == [2, 3, 4])
        assert (await it.follow(4)).ids == []
        from_the_start = await it.follow(0)
        await it.until(lambda: from_the_start.ids == [1, 2, 3, 4])


@pytest.mark.parametrize("after", [9, 2**63 - 1])
async def test_beyond_the_newest_is_a_reset(after: int) -> None:
    async with running() as it:
        await it.log.place(3)
        client = await it.follow(after)
        await it.log.place()
        await it.until(lambda: client.ids == [3, 4])
        assert client.text.count("event: reset") == 1


async def test_older_than_what_is_kept_is_a_reset() -> None:
    async with running() as it:
        await it.log.place(3, at=datetime.now(UTC) - timedelta(days=40))
        await it.log.place(2)
        assert await it.log.delete_events(datetime.now(UTC) - timedelta(days=30), 100) == 3
        client = await it.follow(2)
        await it.log.place()
        await it.until(lambda: client.ids == [5, 6])
        assert "event: reset" in client.text
        on_the_edge = await it.follow(3)
        await it.until(lambda: on_the_edge.ids == [4, 5, 6])


async def test_a_long_rest_is_no_other_log(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as it:
        follower, _ = await it.follower()
        follower.lose()
        await asyncio.sleep(0.3)  # it rests
        await it.log.place(3, at=datetime.now(UTC) - timedelta(days=40))
        await it.log.place(3)
        await it.log.delete_events(datetime.now(UTC) - timedelta(days=30), 100)
        early, kept, late = await it.follow(0), await it.follow(4), await it.follow()
        mine = await it.follow(3, Audience("demo"), user="demo")
        await it.until(lambda: mine.ids == [4, 5, 6])  # before anything new happens
        await it.log.place()
        await it.until(lambda: late.ids == [7])
        await it.until(lambda: kept.ids == [5, 6, 7])
        await it.until(lambda: early.ids == [6, 7])
        assert "event: reset" in early.text
        assert not caplog.records


async def test_a_log_that_is_not_read_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CALL_SECONDS", 0.05)
    hub = Hub(Log(), ServerSentEvents(), 10)  # nobody runs it
    with pytest.raises(StorageUnavailable):
        await hub.find_place(None)


async def test_users_see_their_own_and_of_one_order_that_alone() -> None:
    async with running() as it:
        mine = await it.follow(audience=Audience("demo"))
        order = await it.log.place()
        one = await it.follow(0, Audience("demo", order.id))
        await it.log.place(3, "other")
        await it.log.place(1)
        await it.until(lambda: mine.ids == [1, 5])
        assert one.ids == [1]
        theirs = await it.follow(0, Audience("other"))
        await it.until(lambda: theirs.ids == [2, 3, 4])


async def test_the_storm_after_a_deploy_costs_few_queries() -> None:
    async with running() as it:
        await it.log.place(600)
        clients = [
            await it.follow(after, Audience("demo"), user=str(after)) for after in range(300, 600)
        ]
        await it.until(lambda: all(client.ids[-1:] == [600] for client in clients))
        assert [len(client.ids) for client in clients] == list(range(300, 0, -1))
        assert it.log.reads < 20


async def test_one_query_for_all_who_follow() -> None:
    async with running() as it:
        clients = [await it.follow(user=str(number)) for number in range(100)]
        before = it.log.reads
        await it.log.place(10)
        await it.until(lambda: all(len(client.ids) == 10 for client in clients))
        assert it.log.reads - before < 10


async def test_what_is_older_than_the_ring_comes_from_the_storage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as it:
        ring = Ring(100)
        monkeypatch.setattr(it.hub, "_ring", ring)
        monkeypatch.setattr(it.hub._catch_up, "_ring", ring)
        await it.log.place(500)
        await it.log.place(50, "other")
        everything = await it.follow(3)
        mine = await it.follow(0, Audience("demo"))
        await it.until(lambda: everything.ids[-1:] == [550] and mine.ids[-1:] == [500])
        assert everything.ids == list(range(4, 551))
        assert mine.ids == list(range(1, 501))
        await it.log.place(2)
        await it.until(lambda: everything.ids[-1] == mine.ids[-1] == 552)
        assert everything.ids[-2:] == [551, 552]


async def test_a_slow_client_gets_everything_and_holds_little() -> None:
    async with running() as it:
        follower, client = await it.follower(0, client=Client(1000))
        await it.log.place(5000)
        await it.until(lambda: client.is_blocked)
        largest = 0
        while client.ids[-1:] != [5000]:
            largest = max(largest, client.pushed)
            client.pushed = 0
            follower.resume()
            await asyncio.sleep(0)
        assert client.ids == list(range(1, 5001))
        assert largest <= 1000 + BATCH_BYTES


async def test_a_client_that_takes_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SWEEP_SECONDS", 0.01)
    async with running(blocked_seconds=0.05) as it:
        client = await it.follow(client=Client(10))
        await it.until(lambda: client.end is not None)
        assert (client.end, it.ends.reasons, it.hub.clients) == ("aborted", ["slow"], 0)


async def test_beats_say_how_far_everything_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SWEEP_SECONDS", 0.01)
    async with running(beat_seconds=0.1) as it:
        client = await it.follow(audience=Audience("demo"))
        await it.log.place(3, "other")
        await it.until(lambda: 'id: 3\nevent: beat\ndata: {"position":3}\n\n' in client.text)
        it.log.away = True
        before = client.text.count("beat")
        await it.until(lambda: client.text.count("beat") > before + 2)


async def test_a_store_that_goes_away_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as it:
        client = await it.follow()
        it.log.away = True
        await it.log.place(2)
        await it.until(lambda: "cannot be read" in caplog.text)
        with pytest.raises(StorageUnavailable):
            await it.follow()
        assert client.end is None
        it.log.away = False
        await it.until(lambda: client.ids == [1, 2])
        assert caplog.text.count("cannot be read") == 1


async def test_a_restored_backup_resets_everybody() -> None:
    async with running() as it:
        await it.log.place(9)
        clients = [await it.follow(5), await it.follow(9), await it.follow(client=Client(10))]
        it.log.forget()
        await it.log.place(4)
        await it.until(lambda: clients[1].ids == [4])
        assert "event: reset" in clients[0].text
        await it.log.place()
        await it.until(lambda: clients[0].ids == [6, 7, 8, 9, 4, 5])
        assert clients[2].ids == []


async def test_a_key_that_is_taken_away_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SWEEP_SECONDS", 0.01)
    async with running() as it:
        client = await it.follow()
        it.valid = False
        await it.until(lambda: client.end == "finished")
        assert it.ends.reasons == ["revoked"]


async def test_the_drain_ends_every_stream_and_those_that_come_then() -> None:
    async with running() as it:
        clients = [await it.follow(user=str(number)) for number in range(50)]
        it.hub.end_all()
        clients.append(await it.follow())
        assert {client.end for client in clients} == {"finished"}
        retries = [int(client.text.split("retry: ")[-1]) for client in clients]
        assert all(500 <= retry <= 3000 for retry in retries)
        assert len(set(retries)) > 10
        assert it.ends.reasons == ["drain"] * 50


async def test_so_many_streams_and_no_more() -> None:
    async with running() as it:
        some = [await it.follower(user="kitchen") for _ in range(6)]
        with pytest.raises(TooManyRequests):
            await it.follow(user="kitchen")
        some[0][0].lose()
        await it.follow(user="kitchen")
        it.hub._followers._most = 6
        with pytest.raises(FeedFull):
            await it.follow(user="other")


async def test_the_ring_is_bounded_in_events_in_bytes_and_in_age() -> None:
    def entries(first: int, count: int, size: int = 10) -> list[Entry]:
        now, order = datetime.now(UTC), new_order_id(datetime.now(UTC))
        return [Entry(first + n, "demo", order, now, b"x" * size) for n in range(count)]

    ring = Ring(100, 5000)
    ring.append(entries(1, 150))
    assert (len(ring), ring.floor) == (100, 50)
    ring.append(entries(151, 1, 4500))
    assert (len(ring), ring.floor) == (51, 100)
    ring.drop_before(datetime.now(UTC))
    assert (len(ring), ring.floor, ring.batch(151, Audience("demo"))) == (0, 151, None)


async def test_what_is_older_than_a_day_is_not_kept_in_memory() -> None:
    async with running() as it:
        await it.log.place(300, at=datetime.now(UTC) - timedelta(days=2))
        await it.log.place(20)
        clients = [await it.follow(after) for after in (0, 299, 310)]
        await it.until(lambda: all(client.ids[-1:] == [320] for client in clients))
        assert [len(client.ids) for client in clients] == [320, 21, 10]
        assert len(it.hub._ring) <= 20


class Sipper(Client):
    """One that takes a little of what waits for it whenever somebody looks."""

    taken = 0

    @property
    def progress(self) -> int:
        self.taken += 1
        return self.taken


async def test_who_takes_a_little_is_not_ended_however_long_it_takes() -> None:
    async with running(blocked_seconds=0.9) as it:
        await it.log.place(3)
        idle = await it.follow(0, client=Client(room=10))
        sipper = await it.follow(0, client=Sipper(room=10), user="other")
        await it.until(lambda: idle.end == "aborted")
        await asyncio.sleep(1.0)
        assert sipper.end is None
        assert it.ends.reasons == ["slow"]
