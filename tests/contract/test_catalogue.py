from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from storage import Storage
from storage.errors import ValueRejected
from storage.records import Catalogue, Change, Product, VersionedCatalogue
from tests.contract.database import NOW, Database, cancel, new_catalogue, new_order

NOTHING = {kind: Change() for kind in ("products", "users", "coupons", "coupon_codes", "orders")}


async def test_a_new_database_has_an_empty_catalogue(database: Database) -> None:
    async with database.open() as storage:
        assert (await storage.get_versions()).catalogue == 0
        assert await storage.read_catalogue() == VersionedCatalogue(0, None, Catalogue())
        assert (await storage.find_coupon("HAPPYHRS")).file_code is None


async def test_a_catalogue_reads_back_exactly(database: Database) -> None:
    catalogue = new_catalogue()
    started = datetime.now(UTC)
    async with database.open() as storage:
        report = await storage.replace_catalogue(catalogue, codes=["BIRTHDAY", "HAPPYHRS"])
        stored = await storage.read_catalogue()
        assert (await storage.get_versions()).catalogue == report.version == stored.version == 1
    assert stored.catalogue == catalogue
    assert stored.loaded_at is not None
    assert abs((stored.loaded_at - started).total_seconds()) < 60
    assert report.changes == NOTHING | {
        "products": Change(added=3),
        "users": Change(added=3),
        "coupons": Change(added=3),
        "coupon_codes": Change(added=2),
    }


async def test_a_catalogue_reads_back_ordered(database: Database) -> None:
    """Products by id as a number, users and coupons by code point, however they come."""
    catalogue = new_catalogue()
    mixed = replace(
        catalogue,
        products=catalogue.products[::-1],
        users=catalogue.users[::-1],
        coupons=catalogue.coupons[::-1],
    )
    async with database.open() as storage:
        await storage.replace_catalogue(mixed)
        assert (await storage.read_catalogue()).catalogue == catalogue
        assert (await storage.replace_catalogue(catalogue)).version == 1


async def test_an_equal_load_changes_nothing(database: Database) -> None:
    sample, codes = new_order(), ["BIRTHDAY", "HAPPYHRS"]
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=codes, sample_orders=[sample])
        before = await storage.read_catalogue()
        report = await storage.replace_catalogue(
            new_catalogue(), codes=iter(codes), sample_orders=[sample]
        )
        assert await storage.read_catalogue() == before
    assert report.version == before.version == 1
    assert report.changes == {
        "products": Change(unchanged=3),
        "users": Change(unchanged=3),
        "coupons": Change(unchanged=3),
        "coupon_codes": Change(unchanged=2),
        "orders": Change(unchanged=1),
    }


async def test_a_load_reports_what_differs(database: Database) -> None:
    old = new_catalogue()
    demo, guest, keyless = old.users
    new = replace(
        old,
        products=(replace(old.products[0], price=1), old.products[1], Product(11, "New", 5, "New")),
        users=(replace(demo, keys=demo.keys[::-1]), replace(keyless, keys=guest.keys)),
        coupons=(replace(old.coupons[1], code="save10"),),
    )
    async with database.open() as storage:
        await storage.replace_catalogue(old, codes=["A", "B", "C"])
        report = await storage.replace_catalogue(new, codes=["B", "C", "D", "E"])
        assert (await storage.read_catalogue()).catalogue == new
        assert (await storage.find_coupon("A")).file_code is None
        assert (await storage.find_coupon("E")).file_code == "E"
    assert report.changes == NOTHING | {
        "products": Change(added=1, changed=1, removed=1, unchanged=1),
        "users": Change(changed=2, removed=1),
        "coupons": Change(changed=1, removed=2),
        "coupon_codes": Change(added=2, removed=1, unchanged=2),
    }
    assert report.version == 2


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_load_tells_what_it_works_on(database: Database, dry_run: bool) -> None:
    told: list[tuple[str, Mapping[str, Change] | None]] = []
    async with database.open() as storage:
        report = await storage.replace_catalogue(
            new_catalogue(),
            codes=["BIRTHDAY", "HAPPYHRS"],
            sample_orders=[new_order()],
            dry_run=dry_run,
            watch=lambda part, changes: told.append((part, changes)),
        )
    parts = ["coupons", "products", "users", "orders"]
    assert [part for part, _ in told] == [part for part in parts for _ in range(2)]
    assert [changes for _, changes in told[::2]] == [None] * 4
    assert {k: v for _, changes in told[1::2] for k, v in (changes or {}).items()} == report.changes
    assert report.changes["coupon_codes"] == Change(added=2)
    assert report.changes["orders"] == Change(added=1)


async def test_a_load_that_fails_ends_no_part_that_it_began(database: Database) -> None:
    told: list[tuple[str, Mapping[str, Change] | None]] = []

    def broken() -> Iterator[str]:
        yield "BIRTHDAY"
        raise RuntimeError("the file is gone")

    async with database.open() as storage:
        with pytest.raises(RuntimeError, match="gone"):
            await storage.replace_catalogue(
                new_catalogue(),
                codes=broken(),
                watch=lambda part, changes: told.append((part, changes)),
            )
    assert told == [("coupons", None)]


async def test_each_kind_of_change_raises_the_version(database: Database) -> None:
    catalogue = new_catalogue()
    steps = [
        (catalogue, []),
        (catalogue, ["A"]),
        (replace(catalogue, file_coupon=None), ["A"]),
        (replace(catalogue, file_coupon=None, users=()), ["A"]),
        (replace(catalogue, file_coupon=None, users=(), coupons=()), ["A"]),
        (replace(catalogue, file_coupon=None, users=(), coupons=()), []),
        (Catalogue(), []),
    ]
    async with database.open() as storage:
        for number, (wanted, codes) in enumerate(steps, start=1):
            assert (await storage.replace_catalogue(wanted, codes=codes)).version == number
            assert (await storage.read_catalogue()).catalogue == wanted


async def test_codes_have_changed_when_their_worth_has(database: Database) -> None:
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=["A", "B"])
        report = await storage.replace_catalogue(
            replace(new_catalogue(), file_coupon=None), codes=["B", "C"]
        )
    assert report.changes["coupon_codes"] == Change(added=1, changed=1, removed=1)


async def test_an_entry_that_stands_twice_is_refused(database: Database) -> None:
    catalogue = new_catalogue()
    demo = catalogue.users[0]
    wrong = [
        replace(catalogue, products=(*catalogue.products, catalogue.products[0])),
        replace(catalogue, users=(demo, replace(demo, keys=()))),
        replace(catalogue, users=(demo, replace(demo, id="other"))),
        replace(
            catalogue, coupons=(*catalogue.coupons, replace(catalogue.coupons[0], code="Five"))
        ),
    ]
    async with database.open() as storage:
        for one in wrong:
            with pytest.raises(ValueRejected):
                await storage.replace_catalogue(one)
        assert (await storage.get_versions()).catalogue == 0


async def test_a_dry_run_reports_and_writes_nothing(database: Database) -> None:
    order = new_order()
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=["A"])
        before = await storage.read_catalogue()
        rehearsed = await storage.replace_catalogue(
            new_catalogue(price=1), codes=["B"], sample_orders=[order], dry_run=True
        )
        assert await storage.read_catalogue() == before
        assert (await storage.find_coupon("B")).file_code is None
        assert await storage.list_orders("demo", limit=10) == []
        assert rehearsed.version == 1
        loaded = await storage.replace_catalogue(
            new_catalogue(price=1), codes=["B"], sample_orders=[order]
        )
    assert loaded.changes == rehearsed.changes
    assert loaded.version == 2


async def test_sample_orders_are_inserted_once_and_never_changed(database: Database) -> None:
    sample = new_order(coupon_code="SAVE10")
    async with database.open() as storage:
        report = await storage.replace_catalogue(Catalogue(), sample_orders=[sample])
        assert report.changes == NOTHING | {"orders": Change(added=1)}
        assert report.version == 0
        assert await storage.get_order("demo", sample.id) == sample
        cancelled = await cancel(storage, "demo", sample.id)
        other = new_order()
        await storage.replace_catalogue(
            Catalogue(), sample_orders=[replace(sample, total=1), other]
        )
        assert await storage.get_order("demo", sample.id) == cancelled
        assert await storage.get_order("demo", other.id) == other
        await storage.replace_catalogue(Catalogue())
        assert len(await storage.list_orders("demo", limit=10)) == 2


async def test_file_codes_compare_without_ascii_case_and_no_other(database: Database) -> None:
    codes = sorted(["HappyHrs", "ÄPFELUND", "BIRNEN\u212a1", "aaaaaaaa", "AAAAAAAA"])
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=codes)
        for asked, found in [
            ("HAPPYHRS", "HappyHrs"),
            ("happyhrs", "HappyHrs"),
            ("ÄpfelUnd", "ÄPFELUND"),
            ("äPFELUND", None),
            ("birnen\u212a1", "BIRNEN\u212a1"),
            ("birnenk1", None),
            ("AaAaAaAa", "AAAAAAAA"),
            (" HAPPYHRS", None),
            ("HAPPYHR%", None),
            ("", None),
        ]:
            assert (await storage.find_coupon(asked)).file_code == found


async def test_many_codes_are_streamed(database: Database) -> None:
    def numbered(start: int, stop: int) -> Iterator[str]:
        return (f"{number:08}" for number in range(start, stop))

    async with database.open() as storage:
        await storage.replace_catalogue(Catalogue(), codes=numbered(0, 50_000))
        report = await storage.replace_catalogue(Catalogue(), codes=numbered(1, 50_003))
        assert report.changes["coupon_codes"] == Change(added=3, removed=1, unchanged=49_999)
        assert (await storage.find_coupon("00050002")).file_code == "00050002"
        assert (await storage.find_coupon("00000000")).file_code is None


class SpoolError(OSError):
    """An error that a backend might mistake for one of its database."""


def failing_codes(count: int = 45_000) -> Iterator[str]:
    yield from (f"{number:08}" for number in range(count))
    raise SpoolError("no space left on device")


async def test_codes_that_fail_leave_the_old(database: Database) -> None:
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=["A"])
        before = await storage.read_catalogue()
        for count in (0, 45_000):
            with pytest.raises(SpoolError, match="no space left"):
                await storage.replace_catalogue(
                    new_catalogue(price=1), codes=failing_codes(count), sample_orders=[new_order()]
                )
        assert await storage.read_catalogue() == before
        assert (await storage.find_coupon("A")).file_code == "A"
        assert await storage.list_orders("demo", limit=10) == []
        assert (await storage.replace_catalogue(new_catalogue(price=1))).version == 2


async def test_two_loads_at_once_run_one_after_the_other(database: Database) -> None:
    async with database.open_two() as (one, two):
        reports = await asyncio.gather(
            *(
                peer.replace_catalogue(new_catalogue(price), codes=[f"CODE {price}"])
                for price, peer in enumerate([one, two] * 4, start=1)
            )
        )
        stored = await one.read_catalogue()
        last = max(range(8), key=lambda number: reports[number].version)
        assert sorted(report.version for report in reports) == list(range(1, 9))
        assert stored.catalogue == new_catalogue(last + 1)
        assert (await two.find_coupon(f"code {last + 1}")).file_code == f"CODE {last + 1}"
        assert sum(report.changes["products"] == Change(added=3) for report in reports) == 1


async def test_readers_see_the_old_or_the_new_catalogue(database: Database) -> None:
    """All prices of one version are equal, and the version tells which."""

    async def load(peer: Storage) -> None:
        for price in range(1, 40):
            await peer.replace_catalogue(new_catalogue(price), codes=[f"CODE {price}"])

    async with database.open_two() as (one, two):
        loading = asyncio.create_task(load(one))
        seen = set()
        while not loading.done():
            stored = await two.read_catalogue()
            prices = {product.price for product in stored.catalogue.products}
            assert prices == ({stored.version} if stored.version else set())
            seen.add(stored.version)
            await asyncio.sleep(0)
        await loading
        assert (await two.read_catalogue()).version == 39
    if one is not two:
        assert len(seen) > 2


async def test_orders_go_on_while_a_load_reads_its_codes(shared_database: Database) -> None:
    """Reading the coupon files takes a minute; nobody may wait for it."""
    started, released = threading.Event(), threading.Event()

    def slow_codes() -> Iterator[str]:
        yield from (f"{number:08}" for number in range(30_000))
        started.set()
        assert released.wait(60)
        yield "LAST"

    async with shared_database.open_two() as (one, two):
        await one.replace_catalogue(new_catalogue())
        loading = asyncio.create_task(
            one.replace_catalogue(new_catalogue(price=7), codes=slow_codes())
        )
        await asyncio.to_thread(started.wait, 60)
        for peer in (one, two):
            order = await peer.add_order(new_order(coupon_code="SAVE10"))
            await cancel(peer, "demo", order.id)
            assert (await peer.read_catalogue()).version == 1
        assert not loading.done()
        released.set()
        assert (await loading).version == 2


async def test_a_cancelled_load_leaves_the_old(shared_database: Database) -> None:
    started, released = threading.Event(), threading.Event()

    def stuck_codes() -> Iterator[str]:
        started.set()
        assert released.wait(60)
        yield "LAST"

    async with shared_database.open_two() as (one, two):
        loading = asyncio.create_task(one.replace_catalogue(new_catalogue(), codes=stuck_codes()))
        await asyncio.to_thread(started.wait, 60)
        loading.cancel()
        released.set()
        with suppress(asyncio.CancelledError):
            await loading
        assert (await two.get_versions()).catalogue == 0
        assert (await two.replace_catalogue(new_catalogue())).version == 1


async def test_a_notice_comes_with_a_change(database: Database) -> None:
    async with database.open_two() as (one, two):
        if one.backend == "sqlite":
            pytest.skip("SQLite hears no notices")
        waiting = asyncio.create_task(two.wait_for_notice())
        async with asyncio.timeout(30):
            price = 0
            while not waiting.done():
                price += 1
                await one.replace_catalogue(new_catalogue(price))
                await asyncio.sleep(0.01)
        await waiting


async def test_a_backend_without_notices_never_returns(sqlite_url: str) -> None:
    async with Database(sqlite_url).open() as storage:
        waiting = asyncio.create_task(storage.wait_for_notice())
        await storage.replace_catalogue(new_catalogue())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        waiting.cancel()


async def test_an_expiry_keeps_its_microseconds(database: Database) -> None:
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue())
        (key,) = (await storage.read_catalogue()).catalogue.users[1].keys
    assert key.expires_at == NOW
