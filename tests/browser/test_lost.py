"""Both pages when the server is killed, and when the network is lost: honest meanwhile, and whole
again afterwards."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from rig.processes import RunningServer, serving
from tests.browser.conftest import Visit
from tests.browser.kitchen import button
from tests.browser.people import CLOCK, Guest, Kitchen, open_kitchen
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch
from tests.proxy import Proxy, proxy_before

MINUTE = 60_000
NOT_LIVE = re.compile(f"^Not live since {CLOCK}")


def expect_not_live(kitchen: Kitchen, guest: Guest) -> None:
    """Both pages say that they know nothing new."""
    expect(kitchen.page.get_by_role("alert").filter(has_text=NOT_LIVE)).to_be_visible()
    expect(guest.page.get_by_text(NOT_LIVE)).to_be_visible()


def expect_live(kitchen: Kitchen, guest: Guest) -> None:
    for page in (kitchen.page, guest.page):
        expect(page.get_by_text(NOT_LIVE)).to_be_hidden()


def events_of(api: ShopApi, order_id: str) -> list[str]:
    return [event["type"] for event in api.order(order_id)["events"]]


def numbers_in(kitchen: Kitchen, column: str) -> list[str]:
    titles = kitchen.column(column).get_by_role("article").get_by_role("heading")
    return [title.removeprefix("Order ") for title in titles.all_inner_texts()]


def test_a_server_that_is_killed_in_mid_checkout(
    serve: Callable[..., RunningServer], watch: Watch, visit: Visit
) -> None:
    """The order was stored and not answered: the guest finds it, and the kitchen has it once."""
    watch.allow("net::ERR_")
    server = serve()
    kitchen, guest = open_kitchen(visit, server.url), Guest(visit(server.url))
    guest.choose("Chicken Waffle")

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        server.stop(signal.SIGKILL)
        route.abort()

    guest.page.route("**/api/order", lose_the_answer, times=1)
    button(guest.page, "Place order").click()
    expect(guest.page.get_by_text("We are checking your order…")).to_be_visible()
    api = ShopApi(serve(PORT=server.port).url)
    number = guest.number()
    expect(kitchen.card(number, "New")).to_be_visible()
    assert len(api.orders()) == 1
    assert numbers_in(kitchen, "New") == [number]
    kitchen.press(number, "Accept")
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))


def test_offline_for_a_minute(
    server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    """The browsers are offline, and know it; a minute passes on their clocks alone."""
    watch.allow(r"net::ERR_|status of 412 .*/accept$")
    kitchen, guest, other = a_kitchen_and_guests(visit, server.url)
    number, lost = guest.order(name="Ada"), other.order(name="Bob")
    hungry = Guest(guest.page.context.new_page())
    hungry.choose("Greek Salad")
    expect(kitchen.card(lost, "New")).to_be_visible()
    for page in (kitchen.page, guest.page):
        page.context.set_offline(True)
    expect_not_live(kitchen, guest)
    kitchen.press(number, "Accept")
    kitchen.press(lost, "Accept")
    expect(kitchen.card(number)).to_contain_text("Accept: waits until the service answers")
    button(hungry.page, "Place order").click()
    expect(hungry.page.get_by_text("We are checking your order…")).to_be_visible()
    button(other.page, "Cancel order").click()
    missed = [str(api.place()["number"]) for _ in range(3)]
    pass_a_minute(kitchen.page, guest.page)
    expect_not_live(kitchen, guest)
    assert events_of(api, guest.order_id) == ["order.placed"]
    for page in (kitchen.page, guest.page):
        page.context.set_offline(False)
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))
    expect_live(kitchen, guest)
    found = hungry.number()
    expect(kitchen.card(found, "New")).to_be_visible()
    expect(kitchen.card(number, "In the kitchen")).to_be_visible()
    assert sorted(numbers_in(kitchen, "New")) == sorted([lost, *missed, found])
    expect(kitchen.card(lost)).to_contain_text("Cancelled by the guest")
    expect(kitchen.page.get_by_role("status")).to_contain_text("Accept was not done")
    assert events_of(api, guest.order_id) == ["order.placed", "order.accepted"]
    assert events_of(api, hungry.order_id) == ["order.placed"]


def a_kitchen_and_guests(visit: Visit, url: str) -> tuple[Kitchen, Guest, Guest]:
    guest, other = (Guest(visit(url)) for _ in range(2))
    guest.page.clock.install()
    kitchen = open_kitchen(visit, url)
    kitchen.page.clock.install()
    return kitchen, guest, other


def pass_a_minute(*pages: Page) -> None:
    for page in pages:
        page.clock.fast_forward(MINUTE)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """What stands before a server, and can fall silent."""
    with serving("memory://") as running, proxy_before(running.url) as proxy:
        yield proxy


def test_a_network_that_falls_silent(proxy: Proxy, visit: Visit) -> None:
    """Nothing ends and nothing comes, as when a phone leaves its network: no browser says so."""
    port = urlsplit(proxy.url).port
    host, behind = proxy.target
    api, url = ShopApi(f"http://{host}:{behind}"), f"http://127.0.0.1:{port}"
    kitchen, guest, _ = a_kitchen_and_guests(visit, url)
    number = guest.order(name="Ada")
    expect(kitchen.card(number, "New")).to_be_visible()
    proxy.stalls = True
    pass_a_minute(kitchen.page, guest.page)
    expect_not_live(kitchen, guest)
    kitchen.press(number, "Accept")
    expect(kitchen.card(number)).to_contain_text("Accept: waits until the service answers")
    missed = str(api.place()["number"])
    proxy.stalls = False
    expect(kitchen.card(missed, "New")).to_be_visible()
    expect(guest.state).to_have_text(re.compile("^In the kitchen"))
    expect_live(kitchen, guest)
    expect(kitchen.card(number, "In the kitchen")).to_be_visible()
    assert numbers_in(kitchen, "New") == [missed]
    assert events_of(api, guest.order_id) == ["order.placed", "order.accepted"]
