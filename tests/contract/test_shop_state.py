"""What the shop says of itself: what is sold out, and whether it is paused."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from storage.errors import ValueRejected
from storage.records import Catalogue, Pause, ShopState, Versions
from tests.contract.database import NOW, Database, add, new_catalogue

LATER = NOW + timedelta(hours=2)


async def test_a_new_shop_is_open_and_has_everything(database: Database) -> None:
    async with database.open() as storage:
        assert await storage.read_shop_state() == ShopState()
        assert await storage.get_versions() == Versions(0, 0)


async def test_what_is_sold_out_reads_back_and_others_see_it(database: Database) -> None:
    marks: list[tuple[int, datetime | None]] = [(1, None), (2, LATER), (999, None), (1, LATER)]
    marks += [(2, None), (2**63 - 1, LATER)]
    sold_out: dict[int, datetime | None] = {}
    async with database.open_two() as (one, two):
        for product_id, until in marks:
            before = await two.get_versions()
            await one.set_sold_out(product_id, until)
            sold_out[product_id] = until
            state = await two.read_shop_state()
            assert state == ShopState(state.version, sold_out)
            assert await two.get_versions() == Versions(0, state.version)
            assert state.version > before.shop
        for product_id in list(sold_out):
            before = await one.get_versions()
            await two.set_available(product_id)
            del sold_out[product_id]
            state = await one.read_shop_state()
            assert state.sold_out == sold_out
            assert state.version > before.shop
        state = await one.read_shop_state()
        await two.set_available(5)
        assert await one.read_shop_state() == state


async def test_a_pause_reads_back_and_others_see_it(database: Database) -> None:
    pauses = [
        Pause(),
        Pause(LATER),
        Pause(LATER, "Zurück um \U0001f355 'drei' \"Uhr\""),
        Pause(None, "until it resumes"),
        None,
        Pause(NOW),
        None,
    ]
    async with database.open_two() as (one, two):
        await one.set_sold_out(1, None)
        for pause in pauses:
            before = await two.get_versions()
            await one.set_pause(pause)
            state = await two.read_shop_state()
            assert state == ShopState(state.version, {1: None}, pause)
            assert (await two.get_versions()).shop == state.version > before.shop


async def test_no_load_touches_it(database: Database) -> None:
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue())
        await storage.set_sold_out(1, LATER)
        await storage.set_pause(Pause(LATER, "closed"))
        state = await storage.read_shop_state()
        assert (await storage.get_versions()).catalogue == 1
        await storage.replace_catalogue(new_catalogue(price=7))
        await storage.replace_catalogue(Catalogue())
        assert await storage.read_shop_state() == state
        assert await storage.get_versions() == Versions(3, state.version)
        assert (await add(storage)).number == 1


async def test_it_survives_closing(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        await storage.set_sold_out(7, LATER)
        await storage.set_pause(Pause(None, "closed"))
        state = await storage.read_shop_state()
    async with shared_database.open() as storage:
        assert await storage.read_shop_state() == state
        assert (await storage.get_versions()).shop == state.version


async def test_what_was_said_already_changes_nothing(database: Database) -> None:
    """Each version is a menu that every replica renders anew."""
    async with database.open() as storage:
        for until in (LATER, None):
            await storage.set_sold_out(7, until)
            said = await storage.get_versions()
            await storage.set_sold_out(7, until)
            assert await storage.get_versions() == said
        for pause in (Pause(LATER, "closed"), Pause(), None):
            await storage.set_pause(pause)
            said = await storage.get_versions()
            await storage.set_pause(pause)
            assert await storage.get_versions() == said


async def test_many_at_once_lose_nothing(database: Database) -> None:
    async with database.open_two() as (one, two):
        pairs = [(peer, number) for number, peer in enumerate([one, two] * 15)]
        await asyncio.gather(*(peer.set_sold_out(number, LATER) for peer, number in pairs))
        state = await one.read_shop_state()
        assert state.sold_out == dict.fromkeys(range(30), LATER)
        assert state.version >= 30
        await asyncio.gather(
            *(peer.set_available(number) for peer, number in pairs[::2]),
            *(peer.set_pause(Pause(None, str(number))) for peer, number in pairs),
            *(peer.set_sold_out(3, None) for peer, _ in pairs),
        )
        after = await two.read_shop_state()
        expected: dict[int, datetime | None] = dict.fromkeys(range(1, 30, 2), LATER)
        assert after.sold_out == expected | {3: None}
        assert after.pause is not None
        assert after.version > state.version


async def test_what_cannot_be_stored_is_refused(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        await storage.set_sold_out(1, None)
        before = await storage.read_shop_state()
        for call in (
            storage.set_sold_out(2**63, None),
            storage.set_available(2**63),
            storage.set_pause(Pause(None, "\ud800")),
        ):
            with pytest.raises(ValueRejected):
                await call
        assert await storage.read_shop_state() == before
