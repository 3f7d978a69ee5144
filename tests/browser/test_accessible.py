"""What axe-core finds where both pages meet: orders in every state, and all that opens."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer
from tests.browser.accessible import assert_accessible
from tests.browser.conftest import PHONE, TABLET, Visit
from tests.browser.kitchen import button
from tests.browser.people import Guest, Kitchen, open_kitchen
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch

SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
STATES: dict[str, list[str]] = {
    "Placed: waiting": [],
    "In the kitchen": ["accept"],
    "Ready: please": ["ready"],
    "Completed": ["complete"],
}
"""What the page of an order says, and the actions that lead there from the state before."""


@pytest.fixture
def database() -> str:
    """The least of them: no backend has pages of its own."""
    return "memory://"


def assert_sound(page: Page) -> None:
    """Nothing to find, and nothing that is wider than the window."""
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@SCHEMES
def test_an_order_in_every_state(
    scheme: str, server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow("net::ERR_")
    guest = Guest(visit(server.url, color_scheme=scheme))
    guest.order("Chicken Waffle", name="Ada", note="no nuts")
    order: Any = {"id": guest.order_id}
    for text, actions in STATES.items():
        for action in actions:
            api.act(order, action)
        expect(guest.state).to_contain_text(text)
        assert_sound(guest.page)
    guest.order("Greek Salad")
    api.act({"id": guest.order_id}, "cancel")
    expect(guest.state).to_contain_text("Cancelled by the shop")
    assert_sound(guest.page)
    guest.page.context.set_offline(True)
    expect(guest.page.get_by_text("Not live since")).to_be_visible()
    assert_sound(guest.page)


@SCHEMES
def test_a_storefront_that_is_paused(
    scheme: str, server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    """Below a cart whose coupon is refused stand orders in several states."""
    guest = Guest(visit(server.url, color_scheme=scheme))
    for actions in (["cancel"], ["accept", "complete"], ["accept", "ready"], []):
        guest.order()
        for action in actions:
            api.act({"id": guest.order_id}, action)
    guest.choose("Chicken Waffle")
    guest.page.get_by_label("Coupon").fill("NOSUCH")
    expect(guest.page.get_by_text("Unknown coupon.")).to_be_visible()
    api.pause(minutes=30, message="Back soon")
    guest.page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(guest.page.get_by_text("Back soon")).to_be_visible()
    for state in ("Cancelled", "Completed", "Ready", "Placed"):
        expect(guest.page.get_by_role("listitem").filter(has_text=state)).to_be_visible()
    assert_sound(guest.page)
    guest.page.set_viewport_size(TABLET)
    assert_sound(guest.page)


@SCHEMES
@pytest.mark.parametrize("viewport", [TABLET, PHONE], ids=["tablet", "phone"])
def test_a_board_with_everything(
    scheme: str, viewport: Any, server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow("net::ERR_")
    kitchen = open_kitchen(visit, server.url, viewport=viewport, color_scheme=scheme)
    placed, accepted, ready, done = [api.place(pickup={"name": "Ada"}) for _ in range(4)]
    for order in (accepted, ready, done):
        api.act(order, "accept")
    api.act(done, "complete")
    api.act(ready, "ready")
    expect(kitchen.card(str(ready["number"]), "Ready")).to_be_visible()
    kitchen.press(str(accepted["number"]), "Ready")
    expect(button(kitchen.page, "Undo")).to_be_visible()
    expect(kitchen.card(str(placed["number"]), "New")).to_be_visible()
    assert_sound(kitchen.page)
    open_and_close(kitchen, "Help", "Help")
    open_and_close(kitchen, "Pause the shop", "Pause the shop")
    api.pause(message="Back soon")
    button(kitchen.page, "Chicken Waffle: sold out").click()
    kitchen.page.reload()
    expect(kitchen.column("Menu")).to_contain_text("Back soon")
    kitchen.page.context.set_offline(True)
    expect(kitchen.page.get_by_role("alert").filter(has_text="Not live")).to_be_visible()
    kitchen.press(str(placed["number"]), "Accept")
    expect(kitchen.card(str(placed["number"]))).to_contain_text("waits until")
    assert_sound(kitchen.page)


def open_and_close(kitchen: Kitchen, name: str, dialog: str) -> None:
    button(kitchen.page, name).click()
    expect(kitchen.page.get_by_role("dialog", name=dialog)).to_be_visible()
    assert_sound(kitchen.page)
    kitchen.page.keyboard.press("Escape")
    expect(kitchen.page.get_by_role("dialog")).to_be_hidden()
