"""Where the pages meet: a guest orders with a phone, and the kitchen serves it with a tablet."""

from __future__ import annotations

import re
import statistics
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from rig.processes import RunningServer
from tests.browser.conftest import Visit
from tests.browser.kitchen import button, expect_chosen
from tests.browser.people import CLOCK, Guest, Kitchen, open_kitchen
from tests.browser.shop_api import ShopApi

AT_ONCE = 1.0
"""Seconds in which the kitchen sees what a guest has pressed."""

HOSTILE = "<img src=x onerror=alert(1)>"
NOTE = """"no" 'nuts' & </li><script>alert(1)</script> 🌶️ שלום"""


def line(quantity: int, dish: str) -> str:
    """How the kitchen reads it."""
    return f"{quantity} \u00d7 {dish}"


def test_a_guest_orders_and_the_kitchen_serves(server: RunningServer, visit: Visit) -> None:
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    guest.choose("Chicken Waffle", "Chicken Waffle", "Greek Salad")
    guest.page.get_by_label("Name for pick-up").fill("Ada")
    guest.page.get_by_label("Note for the kitchen").fill("no nuts")
    with guest.page.expect_response("**/api/order") as answered:
        button(guest.page, "Place order").click()
    assert answered.value.status == 200
    new = kitchen.column("New").get_by_role("article")
    expect(new).to_contain_text(line(2, "Chicken Waffle"))
    number = guest.number()
    expect(new).to_have_accessible_name(f"Order {number}")
    for text in (line(1, "Greek Salad"), "Ada", "no nuts"):
        expect(new).to_contain_text(text)
    expect(guest.state).to_have_text("Placed: waiting for the kitchen")
    new.get_by_role("radio", name="20").check()
    kitchen.press(number, "Accept")
    expect(kitchen.card(number, "In the kitchen")).to_be_visible()
    expect(guest.state).to_have_text(re.compile(f"^In the kitchen, ready about {CLOCK}$"))
    due = guest.state.inner_text().partition(" about ")[2]
    expect(kitchen.card(number)).to_contain_text(f"due at {due}")
    kitchen.press(number, "Ready")
    expect(kitchen.card(number, "Ready")).to_be_visible()
    expect(guest.state).to_have_text("Ready: please collect")
    kitchen.press(number, "Complete")
    expect(guest.state).to_have_text("Completed: enjoy your meal")
    expect(kitchen.card(number, "Ready")).to_be_hidden()
    expect(kitchen.card(number, "Last completed")).to_contain_text("Ada")


def test_the_kitchen_sees_an_order_a_second_after_the_press(
    server: RunningServer, visit: Visit
) -> None:
    """The median of three: a machine that stands still for a moment makes one late."""
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    new = kitchen.column("New").get_by_role("article")
    waited = []
    for placed in (1, 2, 3):
        guest.choose("Chicken Waffle")
        button(guest.page, "Place order").click()
        pressed = time.monotonic()
        expect(new).to_have_count(placed)
        waited.append(time.monotonic() - pressed)
        guest.number()
    assert statistics.median(waited) < AT_ONCE, waited


def test_an_undo_reaches_the_guest(server: RunningServer, visit: Visit) -> None:
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    number = guest.order()
    for action in ("Accept", "Ready"):
        kitchen.press(number, action)
    expect(guest.state).to_have_text("Ready: please collect")
    button(kitchen.page, "Undo").click()
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))
    expect(kitchen.card(number, "In the kitchen")).to_be_visible()


def test_a_guest_cancels_and_the_kitchen_sees_it_until_it_has(
    server: RunningServer, visit: Visit
) -> None:
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    number = guest.order()
    card = kitchen.card(number, "New")
    expect(card).to_be_visible()
    button(guest.page, "Cancel order").click()
    expect(guest.state).to_have_text("Cancelled by you")
    expect(card).to_contain_text("Cancelled by the guest")
    assert is_struck_through(card)
    button(card, "Seen").click()
    expect(card).to_be_hidden()


def is_struck_through(card: Locator) -> bool:
    """Whether a line goes through the dish: the decoration is an ancestor's, too."""
    lines: bool = card.get_by_text("Chicken Waffle").evaluate(
        """(element) => {
          for (let each = element; each; each = each.parentElement) {
            if (getComputedStyle(each).textDecorationLine.includes("line-through")) return true;
          }
          return false;
        }"""
    )
    return lines


def test_the_kitchen_cancels_with_a_reason(server: RunningServer, visit: Visit) -> None:
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    kitchen.page.clock.install()
    number = guest.order()
    kitchen.press(number, "Cancel")
    dialog = kitchen.page.get_by_role("dialog", name=f"Cancel order {number}?")
    dialog.get_by_label("Note to the guest").fill(HOSTILE)
    button(dialog, "Sold out").click()
    expect(button(kitchen.page, "Undo")).to_be_visible()
    expect(guest.state).to_have_text("Placed: waiting for the kitchen")
    kitchen.page.clock.fast_forward(10_000)
    expect(guest.state).to_contain_text("Cancelled by the shop: something is sold out")
    expect(guest.state).to_contain_text(HOSTILE)


def test_strangers_text_is_text(server: RunningServer, visit: Visit) -> None:
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    number = guest.order(name=HOSTILE, note=NOTE)
    for page in (guest.page, kitchen.page):
        expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()
        expect(page.get_by_text(NOTE, exact=True)).to_be_visible()
        expect(page.locator("img")).to_have_count(0)
    for action in ("Accept", "Ready", "Complete"):
        kitchen.press(number, action)
    expect(kitchen.card(number, "Last completed")).to_contain_text(HOSTILE)


def test_the_kitchen_sells_out_and_pauses_while_a_cart_is_open(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    """The guest only looks: the page asks by itself, every twelve seconds."""
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    guest.page.clock.install()
    guest.choose("Chicken Waffle", "Greek Salad")
    press_in_the_menu(kitchen, "Greek Salad: sold out")
    expect(button(kitchen.page, "Greek Salad: available")).to_be_visible()
    look_after_a_while(guest.page)
    expect(button(guest.page, "Add Greek Salad")).to_be_disabled()
    expect(button(guest.page, "Place order")).to_be_disabled()
    press_in_the_menu(kitchen, "Greek Salad: available")
    press_in_the_menu(kitchen, "Pause the shop")
    dialog = kitchen.page.get_by_role("dialog", name="Pause the shop")
    dialog.get_by_label("Message to the guests").fill("Back at six")
    button(dialog, "Until further notice").click()
    expect(kitchen.column("Menu")).to_contain_text("The shop is paused: Back at six")
    look_after_a_while(guest.page)
    expect(guest.page.get_by_text("Paused: Back at six")).to_be_visible()
    expect(button(guest.page, "Place order")).to_be_disabled()
    press_in_the_menu(kitchen, "Resume")
    expect(button(kitchen.page, "Pause the shop")).to_be_visible()
    look_after_a_while(guest.page)
    expect(button(guest.page, "Place order")).to_be_enabled()
    button(guest.page, "Place order").click()
    expect(kitchen.card(guest.number(), "New")).to_contain_text(line(1, "Greek Salad"))
    assert len(api.orders()) == 1


def press_in_the_menu(kitchen: Kitchen, name: str) -> None:
    button(kitchen.column("Menu"), name).click()


def look_after_a_while(page: Page) -> None:
    page.clock.fast_forward(12_000)


@pytest.mark.one_backend
def test_by_keyboard_alone(server: RunningServer, visit: Visit) -> None:
    """Both pages, from their first to their last press; what is said is how far it is."""
    kitchen, guest = visit(server.url), Guest(visit(server.url))
    kitchen.goto("/kitchen")
    expect(kitchen.get_by_label("Staff key")).to_be_focused()
    type_keys(kitchen, *"apikitchen", "Enter")
    board = Kitchen(kitchen)
    expect(board.column("New")).to_be_visible()
    guest.page.goto("/")
    reach(guest.page, button(guest.page, "Add Chicken Waffle"))
    type_keys(guest.page, "Enter", "Enter")
    reach(guest.page, guest.page.get_by_label("Name for pick-up"))
    type_keys(guest.page, *"Ada")
    expect(button(guest.page, "Place order")).to_be_enabled()
    reach(guest.page, button(guest.page, "Place order"))
    type_keys(guest.page, "Enter")
    number = guest.number()
    expect(board.card(number, "New")).to_contain_text(line(2, "Chicken Waffle"))
    type_keys(kitchen, "1", "Enter")
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))
    expect_chosen(board.card(number, "In the kitchen"))
    type_keys(kitchen, "Enter")
    expect(guest.state).to_have_text("Ready: please collect")
    expect_chosen(board.card(number, "Ready"))
    type_keys(kitchen, "r")
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))
    expect_chosen(board.card(number, "In the kitchen"))
    type_keys(kitchen, "Enter")
    expect_chosen(board.card(number, "Ready"))
    type_keys(kitchen, "Enter")
    expect(guest.state).to_have_text("Completed: enjoy your meal")
    expect(board.card(number, "Last completed")).to_be_visible()
    type_keys(kitchen, "?")
    dialog = kitchen.get_by_role("dialog", name="Help")
    expect(dialog).to_be_visible()
    type_keys(kitchen, "Escape")
    expect(dialog).to_be_hidden()
    type_keys(kitchen, "r")
    expect(board.card(number, "Ready")).to_be_visible()
    reach(guest.page, guest.page.get_by_role("link", name="To the menu"))
    type_keys(guest.page, "Enter")
    expect(guest.page.get_by_role("link", name=f"Order {number}")).to_be_visible()


def type_keys(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def reach(page: Page, target: Locator) -> None:
    """Presses Tab until the element has the focus."""
    expect(target).to_be_visible()
    for _ in range(60):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the keyboard does not get there")
