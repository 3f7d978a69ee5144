"""A large catalogue is read and built beside whatever else the event loop has to do."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from orderfood.api import menu
from orderfood.observe.instrumented_storage import InstrumentedStorage
from orderfood.shop.catalogue import CatalogueCache, Snapshot
from orderfood.shop.orders import Shop, quote
from orderfood.shop.pricing import Basket, Item
from storage import Storage
from storage.records import (
    ApiKey,
    Catalogue,
    Coupon,
    CouponKind,
    FoundCoupon,
    Product,
    User,
    VersionedCatalogue,
)
from tests.contract.database import NOW, Database

PRODUCTS, USERS, COUPONS = 6_000, 3_000, 20_000


def large_catalogue(price: int = 500) -> Catalogue:
    return Catalogue(
        products=tuple(
            Product(n, f"Dish number {n}", price, f"Kind {n % 40}") for n in range(1, PRODUCTS + 1)
        ),
        users=tuple(
            User(
                f"user{n:05}", f"User {n}", (ApiKey(f"sha256:{n:064}", frozenset({"read_order"})),)
            )
            for n in range(USERS)
        ),
        coupons=tuple(
            Coupon(f"PERSONAL-{n:07}", CouponKind.PERCENT, 1000, valid_until=NOW)
            for n in range(COUPONS)
        ),
        file_coupon=Coupon("", CouponKind.PERCENT, 1000),
    )


async def slices_during(cache: CatalogueCache) -> list[float]:
    """Refreshes, and returns the processor time that each piece of the work took from others."""
    slices: list[float] = []

    async def watch() -> None:
        while True:
            begins = time.thread_time()
            await asyncio.sleep(0)
            slices.append(time.thread_time() - begins)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    slices.clear()
    await cache.refresh()
    watching.cancel()
    idle = min(slices)
    return [one for one in slices if one > 10 * idle]


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """Python's garbage collection has its own time, which a server sets."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
async def test_no_piece_of_a_refresh_is_long(database: Database) -> None:
    async with database.open() as storage:
        cache, shares = CatalogueCache(InstrumentedStorage(storage), render=menu.render), []
        for price in (500, 600, 700, 800):
            await storage.replace_catalogue(large_catalogue(price))
            slices = await slices_during(cache)
            shares.append(max(slices) / sum(slices))
            assert cache.newest is not None
            assert cache.newest.products["6000"].price == price
        assert min(shares) < 0.3  # the longest piece, as a share of all of the work


async def test_what_has_not_changed_is_not_made_anew(database: Database) -> None:
    """Nothing to make is nothing to collect and nothing to free, each of which stops the loop."""
    wanted = replace(large_catalogue(), coupons=())
    dearer = replace(wanted.products[700], price=600)
    async with database.open() as storage:
        cache = CatalogueCache(InstrumentedStorage(storage), render=menu.render)
        await storage.replace_catalogue(wanted)
        before = await cache.refresh()
        products = (*wanted.products[:700], dearer, *wanted.products[701:])
        await storage.replace_catalogue(replace(wanted, products=products))
        after = await cache.refresh()
        await storage.replace_catalogue(replace(wanted, products=products, users=wanted.users[1:]))
        last = await cache.refresh()
    anew = [id_ for id_, product in after.products.items() if product is not before.products[id_]]
    assert (anew, after.products["701"]) == (["701"], dearer)
    assert after.keys is before.keys
    pieces = zip(before.rendered.pieces, after.rendered.pieces, strict=True)
    assert [number for number, (old, new) in enumerate(pieces) if old is not new] == [3]
    assert after.rendered.all.etag == (await menu.render(products)).all.etag
    assert last.rendered is after.rendered
    assert last.keys.keys() == before.keys.keys() - {wanted.users[0].keys[0].hash}


async def test_what_is_read_in_portions_is_all_there(database: Database) -> None:
    async with database.open() as storage:
        for cut in (0, 1, 199, 200, 201, 499, 500, 501, 1000):
            wanted = large_catalogue()
            wanted = Catalogue(
                wanted.products[:cut], wanted.users[:cut], wanted.coupons[:cut], wanted.file_coupon
            )
            await storage.replace_catalogue(wanted)
            assert (await storage.read_catalogue()).catalogue == wanted
            named = (await storage.read_catalogue(coupons=False)).catalogue
            assert named == replace(wanted, coupons=())


async def test_coupons_are_found_without_case_and_with_their_version(database: Database) -> None:
    async with database.open() as storage:
        report = await storage.replace_catalogue(large_catalogue(), codes=["ABCDEFGH"])
        found = await storage.find_coupon("personal-0000007")
        assert found.coupon == large_catalogue().coupons[7]
        assert (found.version, found.file_code) == (report.version, None)
        version = report.version
        assert await storage.find_coupon("abcdefgh") == FoundCoupon(version, None, "ABCDEFGH")
        for unknown in ("", "nothing", "PERSONAL-9999999", "x" * 100, "PERSONAL%", "%"):
            assert await storage.find_coupon(unknown) == FoundCoupon(version)


def price_of(snapshot: Snapshot | None) -> int | None:
    return None if snapshot is None else snapshot.products["1"].price


class Slow(InstrumentedStorage):
    """Takes as long to read as somebody says."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        stored = await super().read_catalogue(coupons=coupons)
        await self.may_read.wait()
        return stored


async def test_the_old_one_is_served_while_the_new_one_is_read(database: Database) -> None:
    now = 100.0
    async with database.open() as inner:
        storage = Slow(inner)
        cache = CatalogueCache(storage, clock=lambda: now)
        await inner.replace_catalogue(large_catalogue(500))
        await cache.refresh()
        storage.may_read.clear()
        await inner.replace_catalogue(large_catalogue(600))
        now += 0.9
        reading = asyncio.create_task(cache.refresh())
        async with asyncio.timeout(20):
            while cache._probed_at != now:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        now += 0.9  # the probe before this one is over a second old
        assert price_of(cache.fresh) == 500
        now += 0.2  # and now the one that found the new version is, too
        assert price_of(cache.fresh) is None
        waiting = asyncio.create_task(cache.get())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        storage.may_read.set()
        assert (await waiting).products["1"].price == 600
        await reading


@pytest.mark.parametrize("named", [True, False])
async def test_a_coupon_and_the_prices_are_of_one_version(database: Database, named: bool) -> None:
    code = "PERSONAL-0000003" if named else "ABCDEFGH"

    def worth(catalogue: Catalogue, value: int) -> Catalogue:
        lasting = NOW + timedelta(days=36500)
        coupon = Coupon(code if named else "", CouponKind.PERCENT, value, valid_until=lasting)
        if named:
            return replace(catalogue, coupons=(coupon,))
        return replace(catalogue, coupons=(), file_coupon=coupon)

    async with database.open() as inner:
        storage = InstrumentedStorage(inner)
        shop = Shop(storage, CatalogueCache(storage))
        basket = Basket((Item("1", 1),), code)
        for price, value in ((1000, 5000), (3000, 1000), (7000, 2500)):
            wanted = worth(large_catalogue(price), value)
            before: Snapshot | None = shop.catalogue.newest
            await inner.replace_catalogue(wanted, codes=["ABCDEFGH"])
            prices = (await quote(shop, basket)).prices
            if before is not None and before is shop.catalogue.newest:
                continue  # all of the old one: the coupon was known
            assert prices.discounts == price * value // 10_000
            assert prices.subtotal == price
            await shop.catalogue.refresh()
            assert (await quote(shop, basket)).prices == prices
