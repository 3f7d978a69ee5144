from __future__ import annotations

import asyncio

import pytest

from storage import Storage
from storage.errors import CouponUsedUp
from storage.records import Catalogue, CouponLimits, Order
from tests.contract.database import Database, cancel, new_catalogue, new_key, new_order


async def uses_left(
    storage: Storage, code: str, limits: CouponLimits, user_id: str = "demo"
) -> int:
    """How many more orders with the coupon are accepted; it uses them up."""
    accepted = 0
    while accepted < 1000:
        try:
            await storage.add_order(new_order(user_id, coupon_code=code), limits=limits)
        except CouponUsedUp:
            break
        accepted += 1
    return accepted


async def order_all(peers: list[Storage], code: str, limits: CouponLimits) -> list[Order]:
    """What was accepted of an order by each peer, all at once; the rest must be used up."""
    results = await asyncio.gather(
        *(
            peer.add_order(new_order(f"user {n}", coupon_code=code), limits=limits)
            for n, peer in enumerate(peers)
        ),
        return_exceptions=True,
    )
    accepted = [result for result in results if isinstance(result, Order)]
    refused = [result for result in results if isinstance(result, CouponUsedUp)]
    assert len(accepted) + len(refused) == len(peers)
    return accepted


async def test_a_limit_is_exact(database: Database) -> None:
    async with database.open() as storage:
        assert await uses_left(storage, "THREE", CouponLimits(max_uses=3)) == 3
        assert await uses_left(storage, "NONE", CouponLimits(max_uses=0)) == 0
        assert await uses_left(storage, "THREE", CouponLimits(max_uses=5)) == 2
        await storage.add_order(new_order(coupon_code="THREE"))
        assert len(await storage.list_orders("demo", limit=100)) == 6


async def test_a_limit_per_user_is_exact(database: Database) -> None:
    per_user = CouponLimits(max_uses_per_user=2)
    async with database.open() as storage:
        assert await uses_left(storage, "TWO", per_user, "a") == 2
        assert await uses_left(storage, "TWO", per_user, "b") == 2
        both = CouponLimits(max_uses=5, max_uses_per_user=3)
        assert await uses_left(storage, "TWO", both, "c") == 1
        assert await uses_left(storage, "TWO", both, "a") == 0


async def test_uses_can_be_read(database: Database) -> None:
    async with database.open() as storage:
        assert await storage.get_coupon_uses("SEEN", "a") == (0, 0)
        first = await storage.add_order(new_order("a", coupon_code="SEEN"))
        for user in ("a", "b"):
            await storage.add_order(new_order(user, coupon_code="SEEN"))
        assert await storage.get_coupon_uses("SEEN", "a") == (3, 2)
        assert await storage.get_coupon_uses("seen", "a") == (0, 0)
        await cancel(storage, "a", first.id)
        assert await storage.get_coupon_uses("SEEN", "a") == (2, 1)
        assert await storage.get_coupon_uses("SEEN", "c") == (2, 0)


async def test_uses_without_a_limit_count_too(database: Database) -> None:
    async with database.open() as storage:
        for _ in range(3):
            await storage.add_order(new_order(coupon_code="SAVE10"))
        assert await uses_left(storage, "SAVE10", CouponLimits(max_uses=4)) == 1
        assert await uses_left(storage, "save10", CouponLimits(max_uses=4)) == 4


async def test_twelve_clients_eight_rounds_one_use(database: Database) -> None:
    async with database.open_two() as (one, two):
        for number in range(8):
            once = CouponLimits(max_uses=1)
            accepted = await order_all([one, two] * 6, f"ROUND {number}", once)
            assert len(accepted) == 1


async def test_a_hundred_clients_thirty_uses(database: Database) -> None:
    limits = CouponLimits(max_uses=30, max_uses_per_user=1)
    async with database.open_two() as (one, two):
        assert len(await order_all([one, two] * 50, "THIRTY", limits)) == 30


async def test_cancels_give_uses_back_exactly_once(database: Database) -> None:
    """Clients that order and cancel at once never hold more uses than there are, and lose none."""
    limits = CouponLimits(max_uses=10)
    async with database.open_two() as (one, two):
        accepted = await order_all([one, two] * 10, "TEN", limits)
        for _ in range(4):
            cancelling = [
                cancel(peer, order.user_id, order.id)
                for order in accepted[:5]
                for peer in (one, two)
            ]
            cancelled, fresh = await asyncio.gather(
                asyncio.gather(*cancelling, return_exceptions=True),
                order_all([one, two] * 10, "TEN", limits),
            )
            assert sum(isinstance(result, Order) for result in cancelled) == 5
            accepted = accepted[5:] + fresh
            assert len(accepted) <= 10
            accepted += await order_all([one, two] * 10, "TEN", limits)
            assert len(accepted) == 10


async def test_limits_per_user_and_in_all_in_one_batch(database: Database) -> None:
    """A use that the limit per user refuses is not counted against the limit in all."""
    limits = CouponLimits(max_uses=4, max_uses_per_user=2)
    async with database.open() as storage:
        results = await asyncio.gather(
            *(
                storage.add_order(new_order(user, coupon_code="FOUR"), limits=limits)
                for user in "aaaaabbccc"
            ),
            return_exceptions=True,
        )
        accepted = [result.user_id for result in results if isinstance(result, Order)]
    assert accepted == list("aabb")


async def test_a_refused_order_leaves_nothing(database: Database) -> None:
    per_user = CouponLimits(max_uses=2, max_uses_per_user=1)
    async with database.open() as storage:
        await storage.add_order(new_order("a", coupon_code="TWO"), limits=per_user)
        with pytest.raises(CouponUsedUp):
            await storage.add_order(new_order("a", coupon_code="TWO"), limits=per_user)
        assert len(await storage.list_orders("a", limit=10)) == 1
        assert await uses_left(storage, "TWO", CouponLimits(max_uses=2), "b") == 1


async def test_counts_survive_loads_and_the_return_of_a_code(database: Database) -> None:
    limits = CouponLimits(max_uses=3)
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue())
        await storage.add_order(new_order(coupon_code="SAVE10"), limits=limits)
        await storage.replace_catalogue(Catalogue())
        await storage.replace_catalogue(new_catalogue())
        assert await uses_left(storage, "SAVE10", limits) == 2


async def test_sample_orders_use_no_coupon(database: Database) -> None:
    """So cancelling one gives none back."""
    sample = new_order(coupon_code="ONCE")
    once = CouponLimits(max_uses=1)
    async with database.open() as storage:
        await storage.replace_catalogue(Catalogue(), sample_orders=[sample])
        await storage.add_order(new_order(coupon_code="ONCE"), limits=once)
        await cancel(storage, "demo", sample.id)
        assert await uses_left(storage, "ONCE", once) == 0


async def test_many_coupons_and_keys_from_two_sides(database: Database) -> None:
    """Coupons in opposite orders, with keys and cancels between: nobody waits in a circle."""
    codes = [f"CODE {number}" for number in range(20)]
    limits = CouponLimits(max_uses=3)

    async def shop(peer: Storage, code: str, number: int) -> bool:
        order = new_order(f"user {number}", coupon_code=code)
        try:
            await peer.add_order(order, key=new_key(f"{code} {number}"), limits=limits)
        except CouponUsedUp:
            return False
        await cancel(peer, order.user_id, order.id)
        await peer.add_order(new_order(order.user_id, coupon_code=code), limits=limits)
        return True

    async with database.open_two() as (one, two):
        await asyncio.gather(
            *(shop(one, code, 1) for code in codes), *(shop(two, code, 2) for code in codes[::-1])
        )
        for code in codes:
            assert await uses_left(one, code, limits) == 1
