"""A guest whose shop does not answer, or with nonsense; and what a keyboard and a glance need."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer
from tests.browser.conftest import Visit
from tests.browser.kitchen import button
from tests.browser.people import Guest
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch

NONSENSE = ["", "null", "{}", "[]", "[{}]", '"x"', "<p>Welcome</p>"]


@pytest.fixture
def database(sqlite_database: str) -> str:
    """One backend: what is tried is the page's own."""
    return sqlite_database


def look_again(page: Page) -> None:
    page.evaluate("dispatchEvent(new Event('focus'))")


def test_an_order_whose_stream_is_lost_is_asked_for(
    serve: Callable[..., RunningServer], watch: Watch, visit: Visit
) -> None:
    server = serve()
    watch.allow(r"net::ERR_|status (of )?503.*/api/event")
    page = visit(server.url)
    page.clock.install()
    guest = Guest(page)
    guest.choose("Chicken Waffle")
    page.clock.run_for(1000)
    button(page, "Place order").click()
    with page.expect_request("**/api/event*"):
        guest.number()
    page.clock.run_for(1000)
    page.route("**/api/event*", lambda route: route.fulfill(status=503))
    server.stop(signal.SIGKILL)
    api = ShopApi(serve(PORT=server.port).url)
    order: Any = {"id": guest.order_id}
    page.clock.run_for(45_000)
    for action, state in (("accept", "Accepted"), ("ready", "Ready")):
        api.act(order, action)
        page.clock.run_for(6_000)
        expect(page.locator("[aria-current=step]")).to_have_text(state)
    expect(page.get_by_text("Not live since")).to_be_hidden()


def test_a_shop_that_does_not_answer_is_not_open(
    server: RunningServer, watch: Watch, visit: Visit
) -> None:
    watch.allow("net::ERR_")
    page = visit(server.url)
    Guest(page).choose("Chicken Waffle")
    expect(page.get_by_text("Open", exact=True)).to_be_visible()
    page.route("**/api/shop", lambda route: route.abort())
    look_again(page)
    expect(page.get_by_text("No answer at the moment")).to_be_visible()
    expect(page.get_by_text("Open", exact=True)).to_be_hidden()
    expect(button(page, "Place order")).to_be_enabled()
    page.unroute("**/api/shop")
    look_again(page)
    expect(page.get_by_text("Open", exact=True)).to_be_visible()


@pytest.mark.parametrize("body", NONSENSE)
def test_what_is_no_answer_is_asked_again(body: str, server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    for path in ("product", "shop", "session", "order/quote"):
        if (path, body) not in (("product", "[]"), ("session", "{}")):
            page.route(f"**/api/{path}", lambda route: route.fulfill(body=body))
    page.goto("/")
    expect(page.get_by_text("No answer at the moment")).to_be_visible()
    page.unroute_all()
    button(page, "Add Chicken Waffle").click(timeout=20_000)
    expect(Guest(page).cart.locator(".total")).to_contain_text("€12.99")
    look_again(page)
    expect(page.get_by_text("Open", exact=True)).to_be_visible()


@pytest.mark.parametrize("body", NONSENSE)
def test_an_order_that_is_no_answer_is_asked_again(
    body: str, server: RunningServer, visit: Visit
) -> None:
    page = visit(server.url)
    number = Guest(page).order()
    page.route("**/api/order/*", lambda route: route.fulfill(body=body), times=1)
    page.reload()
    assert Guest(page).number() == number


def test_a_quote_that_is_not_found_is_asked_again(
    server: RunningServer, watch: Watch, visit: Visit
) -> None:
    watch.allow(r"status of 404 .*/api/order/quote$")
    page = visit(server.url)
    missing = {"status": 404, "json": {"reason": "not_found", "message": "no route"}}
    page.route("**/api/order/quote", lambda route: route.fulfill(**missing), times=1)
    Guest(page).choose("Chicken Waffle")


def test_a_menu_of_nothing_says_so(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    page.route("**/api/product", lambda route: route.fulfill(json=[]), times=1)
    page.goto("/")
    expect(page.get_by_text("There is nothing on the menu yet.")).to_be_visible()
    look_again(page)
    expect(button(page, "Add Chicken Waffle")).to_be_visible()
    expect(page.get_by_text("There is nothing on the menu yet.")).to_be_hidden()


@pytest.mark.parametrize("at", [1e300, 9e15, -9e15])
def test_an_order_of_no_time_is_not_waited_for(
    at: float, server: RunningServer, visit: Visit
) -> None:
    page = visit(server.url)
    Guest(page).choose("Chicken Waffle")
    pending = {"key": "0" * 32, "body": {}, "at": at, "attempts": 1, "guest": None}
    keep(page, "pending", pending)
    page.reload()
    expect(button(page, "Place order")).to_be_enabled()


@pytest.mark.parametrize("key", ["ä" * 32, "a" * 300], ids=["no ASCII", "long"])
def test_a_key_that_was_not_made_here_is_not_used(
    key: str, server: RunningServer, visit: Visit
) -> None:
    page = visit(server.url)
    guest = Guest(page)
    guest.choose("Chicken Waffle")
    lines = [{"productId": "1", "quantity": 2, "name": "Chicken Waffle"}]
    keep(page, "cart", {"key": key, "lines": lines})
    page.reload()
    expect(guest.cart.locator(".total")).to_contain_text("€25.98")
    button(page, "Place order").click()
    guest.number()


def keep(page: Page, name: str, value: object) -> None:
    page.evaluate(
        "([name, value]) => localStorage.setItem(name, value)",
        [f"orderfood.{name}", json.dumps(value)],
    )


COVERED = """() => {
  const focused = document.activeElement.getBoundingClientRect();
  const bar = document.querySelector(".shortcut").getBoundingClientRect();
  return bar.height > 0 && focused.bottom > bar.top && focused.top < bar.bottom;
}"""


def test_what_has_the_focus_is_seen(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url, reduced_motion="reduce")
    Guest(page).choose("Chicken Waffle")
    page.evaluate("scrollTo(0, 0)")
    page.reload()
    expect(button(page, "Add Chicken Waffle")).to_be_visible()
    expect(page.locator(".shortcut")).to_be_visible()
    focused = page.locator(":focus")
    for _ in range(12):
        page.keyboard.press("Tab")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        assert not page.evaluate(COVERED), focused.get_attribute("aria-label")


def test_the_keyboard_skips_the_menu(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url, reduced_motion="reduce")
    Guest(page).choose("Chicken Waffle")
    page.reload()
    expect(button(page, "Add Chicken Waffle")).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="To your order")
    expect(skip).to_be_focused()
    expect(skip).to_have_css("clip-path", "none")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(button(page, "One less Chicken Waffle")).to_be_focused()


PLACE = """(element) => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return [x, y + scrollY, width, height];
}"""


def test_how_many_are_chosen_and_what_each_costs(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    guest = Guest(page)
    guest.choose("Greek Salad", "Chicken Waffle")
    dish = page.locator(".dish", has_text="Chicken Waffle")
    place = dish.evaluate(PLACE)
    expect(dish).to_contain_text("1 chosen")
    button(page, "Add Chicken Waffle").click()
    expect(dish).to_contain_text("2 chosen")
    expect(guest.cart.locator(".total")).to_contain_text("€35.47")
    button(page, "Remove Greek Salad").click()
    expect(page.locator(".dish", has_text="Greek Salad")).not_to_contain_text("chosen")
    assert dish.evaluate(PLACE) == place
    button(page, "Add Greek Salad").click()
    expect(guest.cart.locator(".total")).to_contain_text("€35.47")
    button(page, "Place order").click()
    guest.number()
    lines = page.locator(".lines")
    expect(lines.locator("li", has_text="Chicken Waffle")).to_have_text(
        "2 \u00d7 Chicken Waffle€12.99 each"
    )
    expect(lines.locator("li", has_text="Greek Salad")).to_have_text("1 \u00d7 Greek Salad€9.49")


def test_accents_that_pile_up_stay_off_the_price(server: RunningServer, visit: Visit) -> None:
    pictures = []
    for name in ("a", "a" + "\u0302" * 59):
        page = visit(server.url)
        Guest(page).order(name=name)
        pictures.append(page.locator(".prices").screenshot())
    assert pictures[0] == pictures[1]
