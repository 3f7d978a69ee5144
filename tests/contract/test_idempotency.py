from __future__ import annotations

import asyncio

import pytest

from storage.errors import CouponUsedUp, IdempotencyConflict
from storage.records import CouponLimits, Order, OrderStatus
from tests.contract.database import Database, add, as_new, cancel, new_key, new_order

ONE_USE = CouponLimits(max_uses=1)


async def test_a_key_replays_its_first_order(database: Database) -> None:
    async with database.open_two() as (one, two):
        assert await one.find_order_by_key("demo", new_key()) is None
        first = await add(one, key=new_key())
        assert await two.add_order(new_order(), key=new_key()) == first
        assert await two.find_order_by_key("demo", new_key()) == first
        assert await one.list_orders("demo", limit=10) == [first]


async def test_a_replay_is_the_first_answer_whatever_happened_since(database: Database) -> None:
    async with database.open() as storage:
        first = await add(storage, key=new_key())
        await cancel(storage, "demo", first.id)
        assert await storage.add_order(new_order(), key=new_key()) == first
        assert await storage.find_order_by_key("demo", new_key()) == first
        assert (await storage.get_order("demo", first.id)).status is OrderStatus.CANCELLED


async def test_the_same_order_again_under_its_key_is_a_replay(database: Database) -> None:
    """After an outcome that nobody knows the caller may send the very same order."""
    order = new_order(coupon_code="ONCE")
    async with database.open() as storage:
        first = await add(storage, order, key=new_key(), limits=ONE_USE)
        for _ in range(2):
            assert await storage.add_order(order, key=new_key(), limits=ONE_USE) == first
        again = [storage.add_order(order, key=new_key(), limits=ONE_USE) for _ in range(3)]
        assert await asyncio.gather(*again) == [first] * 3
        assert await storage.list_orders("demo", limit=10) == [first]


async def test_another_request_under_a_key_is_a_conflict(database: Database) -> None:
    async with database.open() as storage:
        first = await add(storage, key=new_key(fingerprint="one"))
        with pytest.raises(IdempotencyConflict):
            await storage.add_order(new_order(), key=new_key(fingerprint="two"))
        with pytest.raises(IdempotencyConflict):
            await storage.find_order_by_key("demo", new_key(fingerprint="two"))
        assert await storage.list_orders("demo", limit=10) == [first]


async def test_keys_belong_to_their_user(database: Database) -> None:
    theirs, ours = new_order("guest"), new_order("demo")
    async with database.open() as storage:
        await add(storage, theirs, key=new_key(fingerprint="theirs"))
        await add(storage, ours, key=new_key(fingerprint="ours"))
        assert await storage.find_order_by_key("nobody", new_key()) is None


async def test_fifty_at_once_store_one_order_and_all_get_it(database: Database) -> None:
    orders = [new_order() for _ in range(50)]
    async with database.open_two() as peers:
        answers = await asyncio.gather(
            *(peers[n % 2].add_order(order, key=new_key()) for n, order in enumerate(orders))
        )
        stored = await peers[0].list_orders("demo", limit=100)
    assert len(stored) == 1
    assert answers == stored * 50


async def test_many_keys_at_once_from_two_sides(database: Database) -> None:
    """The same keys in opposite orders: neither side may wait for the other in a circle."""
    keys = [new_key(f"key {number}") for number in range(40)]
    async with database.open_two() as (one, two):
        forth = [one.add_order(new_order(coupon_code="A"), key=key) for key in keys]
        back = [two.add_order(new_order(coupon_code="B"), key=key) for key in keys[::-1]]
        answers = await asyncio.gather(*forth, *back)
        stored = await one.list_orders("demo", limit=100)
    assert answers[:40] == answers[:39:-1]
    assert {order.id for order in answers} == {order.id for order in stored}
    assert len(stored) == 40


async def test_of_two_requests_at_once_under_a_key_one_conflicts(database: Database) -> None:
    async with database.open_two() as (one, two):
        results = await asyncio.gather(
            *(
                peer.add_order(new_order(), key=new_key(fingerprint=f"{n % 3}"))
                for n, peer in enumerate([one, two] * 6)
            ),
            return_exceptions=True,
        )
        stored = await one.list_orders("demo", limit=100)
    assert len(stored) == 1
    assert sum(result == stored[0] for result in results) == 4
    assert sum(isinstance(result, IdempotencyConflict) for result in results) == 8


async def test_a_refused_order_leaves_no_key(database: Database) -> None:
    async with database.open() as storage:
        await storage.add_order(new_order(coupon_code="ONCE"), limits=ONE_USE)
        with pytest.raises(CouponUsedUp):
            await storage.add_order(
                new_order(coupon_code="ONCE"), key=new_key(fingerprint="a"), limits=ONE_USE
            )
        assert await storage.find_order_by_key("demo", new_key(fingerprint="b")) is None
        await add(storage, key=new_key(fingerprint="b"))


async def test_a_refused_order_leaves_no_key_to_its_neighbours(database: Database) -> None:
    """In one batch: the first under the key is refused, so the second is judged afresh."""
    async with database.open() as storage:
        await storage.add_order(new_order(coupon_code="ONCE"), limits=ONE_USE)
        fine = new_order()
        refused, stored, replayed = await asyncio.gather(
            storage.add_order(
                new_order(coupon_code="ONCE"), key=new_key(fingerprint="a"), limits=ONE_USE
            ),
            storage.add_order(fine, key=new_key(fingerprint="b")),
            storage.add_order(new_order(), key=new_key(fingerprint="b")),
            return_exceptions=True,
        )
    assert isinstance(refused, CouponUsedUp)
    assert isinstance(stored, Order)
    assert stored == replayed
    assert as_new(stored) == fine


async def test_a_replay_uses_no_coupon(database: Database) -> None:
    order = new_order(coupon_code="TWICE")
    limits = CouponLimits(max_uses=2)
    async with database.open() as storage:
        first = await add(storage, order, key=new_key(), limits=limits)
        for _ in range(4):
            assert await storage.add_order(order, key=new_key(), limits=limits) == first
        await storage.add_order(new_order(coupon_code="TWICE"), limits=limits)
        with pytest.raises(CouponUsedUp):
            await storage.add_order(new_order(coupon_code="TWICE"), limits=limits)


async def test_an_expired_key_is_as_good_as_none(database: Database) -> None:
    async with database.open() as storage:
        old = await add(storage, key=new_key(fingerprint="old", seconds=-1))
        assert await storage.find_order_by_key("demo", new_key(fingerprint="new")) is None
        new = await add(storage, key=new_key(fingerprint="new"))
        assert await storage.add_order(new_order(), key=new_key(fingerprint="new")) == new
        assert await storage.get_order("demo", old.id) == old


async def test_an_expired_key_is_replaced_once(database: Database) -> None:
    async with database.open_two() as (one, two):
        old = await one.add_order(new_order(), key=new_key(seconds=-1))
        answers = await asyncio.gather(
            *(peer.add_order(new_order(), key=new_key()) for peer in [one, two] * 10)
        )
        stored = await one.list_orders("demo", limit=100)
    assert len({answer.id for answer in answers}) == 1
    assert {order.id for order in stored} == {old.id, answers[0].id}


async def test_a_key_that_expires_within_its_batch(database: Database) -> None:
    """The second under the key finds an expired one and is stored, and the third is a replay."""
    before, old, new = new_order(), new_order(), new_order()
    async with database.open() as storage:
        await storage.add_order(before, key=new_key(seconds=-1))
        first, second, third = await asyncio.gather(
            storage.add_order(old, key=new_key(fingerprint="old", seconds=-1)),
            storage.add_order(new, key=new_key()),
            storage.add_order(new_order(), key=new_key()),
        )
        stored = await storage.list_orders("demo", limit=100)
        assert await storage.find_order_by_key("demo", new_key()) == second == third
    assert (as_new(first), as_new(second)) == (old, new)
    assert {order.id for order in stored} == {before.id, old.id, new.id}


async def test_expired_keys_are_deleted_and_no_others(database: Database) -> None:
    async with database.open() as storage:
        kept = await add(storage, key=new_key("kept"))
        for number in range(5):
            await storage.add_order(new_order(), key=new_key(f"old {number}", seconds=-1))
        assert await storage.delete_expired_keys(limit=3) == 3
        assert await storage.delete_expired_keys() == 2
        assert await storage.delete_expired_keys() == 0
        assert await storage.find_order_by_key("demo", new_key("kept")) == kept
        assert len(await storage.list_orders("demo", limit=10)) == 6


async def test_keys_are_deleted_while_orders_arrive(database: Database) -> None:
    async with database.open_two() as (one, two):
        adding = [
            peer.add_order(new_order(), key=new_key(f"{n % 7}", seconds=-1))
            for n, peer in enumerate([one, two] * 30)
        ]
        deleting = [peer.delete_expired_keys(limit=5) for peer in [one, two] * 10]
        answers = await asyncio.gather(*adding, *deleting)
        assert all(isinstance(answer, Order) for answer in answers[:60])
        assert len(await one.list_orders("demo", limit=100)) == 60


async def test_a_key_survives_loads_and_reopening(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        first = await add(storage, new_order(coupon_code="SAVE10"), key=new_key())
    async with shared_database.open() as storage:
        assert await storage.add_order(new_order(), key=new_key()) == first
