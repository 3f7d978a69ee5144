"""The menu is rendered when it changes, and not for what it does not show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from orderfood.shop.catalogue import CatalogueCache
from storage.memory.storage import MemoryStorage
from storage.records import Catalogue, Pause, Product

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Kitchen:
    """A shop of two dishes, its clock, and what was rendered."""

    def __init__(self) -> None:
        self.now = NOW
        self.rendered: list[set[int]] = []
        self.storage = MemoryStorage("memory://")
        self.cache = CatalogueCache(self.storage, render=self.render, now=lambda: self.now)

    async def render(
        self, products: Sequence[Product], sold_out: Collection[int], known: object
    ) -> object:
        self.rendered.append(set(sold_out))
        return len(self.rendered)

    async def load(self, price: int) -> None:
        dishes = tuple(Product(id_, "Waffle", price, "Waffle") for id_ in (1, 2))
        await self.storage.replace_catalogue(Catalogue(products=dishes))


async def test_the_menu_is_rendered_for_what_it_shows() -> None:
    shop = Kitchen()
    await shop.load(100)
    await shop.cache.refresh()
    await shop.storage.set_pause(Pause(None, "closed"))
    paused = await shop.cache.refresh()
    assert paused.pause(NOW) == Pause(None, "closed")
    assert shop.rendered == [set()], "a pause is not on the menu"
    await shop.storage.set_sold_out(2, NOW + timedelta(minutes=5))
    await shop.cache.refresh()
    await shop.storage.set_sold_out(2, NOW + timedelta(minutes=9))
    later = await shop.cache.refresh()
    assert later.changes_at == NOW + timedelta(minutes=9)
    assert shop.rendered == [set(), {2}], "until when is not on the menu"
    await shop.load(200)
    assert (await shop.cache.refresh()).rendered == 3
    shop.now += timedelta(minutes=9)
    assert (await shop.cache.refresh()).changes_at is None
    assert shop.rendered == [set(), {2}, {2}, set()]
    await shop.cache.refresh()
    assert len(shop.rendered) == 4
