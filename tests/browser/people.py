"""Who meets in a shop: a guest with a phone, and the kitchen with a tablet."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser import kitchen
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import button

CLOCK = r"(?:[A-Z][a-z]{2} \d{1,2}, )?\d\d:\d\d"
"""A time as pages show it: with the date where that is another one than today's."""


class Guest:
    """Somebody on the storefront, who then is on the page of an order."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def choose(self, *dishes: str) -> None:
        """Goes to the storefront and puts dishes into the cart, whose price then is known."""
        self.page.goto("/")
        for dish in dishes:
            button(self.page, f"Add {dish}").click()
        expect(self.cart.locator(".total")).to_contain_text("€")

    def order(self, *dishes: str, name: str = "", note: str = "") -> str:
        """Orders; the number of the order, whose page is shown."""
        self.choose(*dishes or ["Chicken Waffle"])
        self.page.get_by_label("Name for pick-up").fill(name)
        self.page.get_by_label("Note for the kitchen").fill(note)
        button(self.page, "Place order").click()
        return self.number()

    def number(self) -> str:
        """What is called out, once the page of the order is shown."""
        expect(self.page).to_have_url(re.compile("/orders/"))
        title = self.page.get_by_role("heading", level=1)
        expect(title).to_have_text(re.compile(r"^Order \d+$"))
        return title.inner_text().removeprefix("Order ")

    @property
    def cart(self) -> Locator:
        return self.page.get_by_role("region", name="Your order")

    @property
    def state(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def order_id(self) -> str:
        return self.page.url.rpartition("/")[2]


class Kitchen:
    """The board, of somebody who has signed in."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def column(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=name, exact=True)

    def card(self, number: str, column: str | None = None) -> Locator:
        """An order, wherever it stands or in a column."""
        place = self.page if column is None else self.column(column)
        return place.get_by_role("article", name=f"Order {number}", exact=True)

    def press(self, number: str, action: str) -> None:
        button(self.card(number), action).click()


def sign_in(page: Page) -> Kitchen:
    """The board behind the door."""
    kitchen.sign_in(page)
    expect(page.get_by_role("region", name="New", exact=True)).to_be_visible()
    expect(page.get_by_text("Loading the orders…")).to_be_hidden()
    return Kitchen(page)


def open_kitchen(visit: Visit, url: str, **options: Any) -> Kitchen:
    """A tablet in the kitchen."""
    return sign_in(visit(url, **{"viewport": TABLET, **options}))
