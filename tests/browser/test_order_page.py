"""An order's page: the number, how far it is, live, and what cannot be shown."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer
from tests.browser.accessible import assert_accessible
from tests.browser.conftest import TABLET, Visit
from tests.browser.people import CLOCK
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch


def order_one(page: Page) -> str:
    """A guest orders; the order's id."""
    page.goto("/")
    page.get_by_role("button", name="Add Chicken Waffle").click()
    page.get_by_label("Name for pick-up").fill("<b>\u05d0da</b>")
    page.get_by_role("button", name="Place order").click()
    expect(page).to_have_url(re.compile("/orders/"))
    expect(page.get_by_role("status")).to_have_text("Placed: waiting for the kitchen")
    return page.url.rpartition("/")[2]


def expect_step(page: Page, name: str) -> None:
    expect(page.locator("[aria-current=step]")).to_have_text(name)


def test_it_is_live(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    page = visit(server.url)
    order: Any = {"id": order_one(page)}
    number = api.orders()[0]["number"]
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Order {number}")
    expect(page.get_by_text("<b>\u05d0da</b>")).to_be_visible()
    state = page.get_by_role("status")
    expect_step(page, "Placed")
    api.act(order, "accept", {"minutes": 10})
    expect(state).to_have_text(re.compile(f"^In the kitchen, ready about {CLOCK}$"))
    expect_step(page, "Accepted")
    expect(page.get_by_role("button", name="Cancel order")).to_be_hidden()
    api.act(order, "ready")
    expect(state).to_have_text("Ready: please collect")
    expect_step(page, "Ready")
    expect(page).to_have_title(f"Order {number}: Ready")
    api.act(order, "recall")
    expect_step(page, "Accepted")
    api.act(order, "complete")
    expect_step(page, "Completed")


def test_an_older_version_that_comes_late_is_not_shown(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    order: Any = {"id": order_one(page)}
    [placed] = api.orders()
    api.act(order, "accept")
    expect_step(page, "Accepted")
    page.route(f"**/api/order/{order['id']}", lambda route: route.fulfill(json=placed))
    with page.expect_response(f"**/api/order/{order['id']}"):
        page.evaluate("dispatchEvent(new Event('online'))")
    page.evaluate("new Promise(requestAnimationFrame)")
    expect_step(page, "Accepted")


def test_cancelled_by_the_shop_with_its_reason(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    order = {"id": order_one(page)}
    api.act(order, "cancel", {"reason": "sold_out", "note": "<i>sorry</i>"})
    expect(page.get_by_role("status")).to_have_text(
        "Cancelled by the shop: something is sold out: \u2068<i>sorry</i>\u2069"
    )


def test_a_cancel_that_comes_too_late(
    server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow(r"status of 409 .*/cancel$")
    page = visit(server.url)
    order = {"id": order_one(page)}
    page.route("**/cancel", lambda route: (api.act(order, "accept"), route.continue_()))
    page.get_by_role("button", name="Cancel order").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile("It is too late to cancel"))
    expect_step(page, "Accepted")


def test_orders_that_are_not_here(
    server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow(r"status of 404 .*/api/order/")
    stranger, guest = visit(server.url), visit(server.url)
    order_one(guest)
    for page in (stranger, guest):
        page.goto(f"/orders/{api.place()['id']}")
        expect(page.get_by_role("heading", level=1)).to_have_text("There is no such order here")
        assert_accessible(page)


def test_seven_tabs_are_live(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    first = visit(server.url)
    order: Any = {"id": order_one(first)}
    tabs = [first, *(first.context.new_page() for _ in range(6))]
    for tab in tabs[1:]:
        tab.goto(first.url)
        expect(tab.get_by_role("status")).to_have_text("Placed: waiting for the kitchen")
    api.act(order, "accept")
    for tab in tabs:
        expect_step(tab, "Accepted")


def test_it_comes_back_after_a_killed_server(
    serve: Callable[..., RunningServer], watch: Watch, visit: Visit
) -> None:
    server = serve()
    watch.allow("net::ERR_")
    page = visit(server.url)
    order: Any = {"id": order_one(page)}
    server.stop(signal.SIGKILL)
    api = ShopApi(serve(PORT=server.port).url)
    api.act(order, "accept")
    expect_step(page, "Accepted")


def test_it_says_when_it_is_not_live(
    server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow("net::ERR_")
    page = visit(server.url)
    order: Any = {"id": order_one(page)}
    page.context.set_offline(True)
    expect(page.get_by_text(re.compile(f"^Not live since {CLOCK}; trying again"))).to_be_visible()
    api.act(order, "accept")
    page.context.set_offline(False)
    expect_step(page, "Accepted")
    expect(page.get_by_text("Not live since")).to_be_hidden()


@pytest.mark.one_backend
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, server: RunningServer, visit: Visit) -> None:
    page = visit(server.url, color_scheme=scheme)
    order_one(page)
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.set_viewport_size(TABLET)
    assert_accessible(page)
