"""The pages' feed: one stream for all tabs of a browser, and nothing is missed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from rig.processes import RunningServer
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import order, region, sign_in
from tests.browser.shop_api import ShopApi

FOLLOW = """async (after) => {
  const { follow } = await import("/static/shared/feed.js");
  window.heard = [];
  window.lives = [];
  window.resets = 0;
  const onOrder = (order) => heard.push(`${order.number} ${order.status}`);
  const onReset = () => { resets += 1; };
  const onLive = (live) => lives.push(live);
  const told = { onOrder, onReset, onLive };
  window.feed = follow({ url: "/api/shop/event", after: after ?? undefined, ...told });
}"""

SIGN_IN = """() => fetch("/api/session", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ key: "apikitchen" }),
})"""

NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })"

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def database(sqlite_database: str) -> str:
    """One backend: what is tried is the page's own."""
    return sqlite_database


def streams(api: ShopApi) -> int:
    """How many streams the server has."""
    metrics = api.send("GET", "/metrics").body.decode()
    return sum(int(float(n)) for n in re.findall(r"^\w*feed_clients\{[^}]*\} (\S+)", metrics, re.M))


def wait_for_streams(page: Page, api: ShopApi, number: int) -> None:
    for _ in range(150):
        if streams(api) == number:
            return
        page.wait_for_timeout(100)
    assert streams(api) == number


@pytest.fixture
def context(server: RunningServer, visit: Visit) -> BrowserContext:
    """A browser that is signed in, and shows nothing yet."""
    page = visit(server.url, viewport=TABLET)
    page.goto("/kitchen")
    page.evaluate(SIGN_IN)
    page.close()
    return page.context


def new_tab(context: BrowserContext, after: int | None = None, follows: bool = True) -> Page:
    """A tab of the storefront, which follows all orders."""
    page = context.new_page()
    page.goto("/")
    if follows:
        page.evaluate(FOLLOW, after)
    return page


def heard(page: Page, *placed: Any, status: str = "placed") -> None:
    """All of these are heard, in whatever order and number."""
    for each in placed:
        page.wait_for_function("what => heard.includes(what)", arg=f"{each['number']} {status}")


def test_seven_tabs_hold_one_stream(context: BrowserContext, api: ShopApi) -> None:
    tabs = [context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.goto("/kitchen")
        expect(region(tab, "New")).to_be_visible()
    wait_for_streams(tabs[0], api, 1)
    placed = api.place()
    for tab in tabs:
        expect(order(region(tab, "New"), placed)).to_be_visible()
    while len(tabs) > 1:
        tabs.pop(0).close()
        api.place()
        last = api.place()
        for tab in tabs:
            expect(order(region(tab, "New"), last)).to_be_visible()
            expect(region(tab, "New").get_by_role("article")).to_have_count(last["number"])
    wait_for_streams(tabs[0], api, 1)


def test_a_tab_that_comes_later_reads_what_it_lacks(context: BrowserContext, api: ShopApi) -> None:
    leader = new_tab(context, 0)
    before = [api.place() for _ in range(3)]
    heard(leader, *before)
    late = new_tab(context, 0)
    heard(late, *before)
    after = api.place()
    heard(late, after)
    wait_for_streams(late, api, 1)
    assert leader.evaluate("heard.length") == len(before) + 1


def test_a_tab_without_a_position_begins_now(context: BrowserContext, api: ShopApi) -> None:
    api.place()
    tab = new_tab(context)
    tab.wait_for_function("() => lives.at(-1) === true")
    placed = api.place()
    heard(tab, placed)
    assert tab.evaluate("heard.length") == 1


def test_a_frozen_leader_is_replaced(context: BrowserContext, api: ShopApi) -> None:
    frozen = new_tab(context, follows=False)
    take = "navigator.locks.request('feed /api/shop/event', () => new Promise(() => {}))"
    frozen.evaluate(f"() => {{ {take}.catch(() => {{}}) }}")
    tab = new_tab(context, 0)
    tab.wait_for_function("() => lives.at(-1) === true")
    heard(tab, api.place())


def test_a_page_that_is_kept_for_back(context: BrowserContext, api: ShopApi) -> None:
    tab, other = new_tab(context, 0), new_tab(context, 0)
    first = api.place()
    heard(other, first)
    heard(tab, first)
    turn = "name => window.dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"
    tab.evaluate(turn, "pagehide")
    second = api.place()
    heard(other, second)
    assert f"{second['number']} placed" not in tab.evaluate("heard")
    tab.evaluate(turn, "pageshow")
    heard(tab, second, api.place())
    wait_for_streams(tab, api, 1)


def test_where_there_are_no_locks(context: BrowserContext, api: ShopApi) -> None:
    context.add_init_script(NO_LOCKS)
    tab = new_tab(context, 0)
    heard(tab, api.place())
    tab.evaluate(HIDE, True)
    wait_for_streams(tab, api, 0)
    missed = api.place()
    tab.evaluate(HIDE, False)
    heard(tab, missed)
    wait_for_streams(tab, api, 1)
    tab.evaluate("feed.stop()")
    wait_for_streams(tab, api, 0)


def test_a_reset_is_told(context: BrowserContext, api: ShopApi) -> None:
    tab = new_tab(context, 1_000_000)
    tab.wait_for_function("() => resets === 1")
    heard(tab, api.place())
    follower = new_tab(context, 2_000_000)
    follower.wait_for_function("() => lives.at(-1) === true")
    heard(follower, api.place())


def test_it_comes_back_after_a_refusal(
    server: RunningServer, visit: Visit, api: ShopApi, watch: Any
) -> None:
    watch.allow("status of 429")
    page = visit(server.url, viewport=TABLET)
    refusals = [0]

    def refuse(route: Any) -> None:
        refusals[0] += 1
        if refusals[0] <= 2:
            route.fulfill(status=429, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route("**/api/shop/event?*", refuse)
    sign_in(page)
    expect(region(page, "New")).to_be_visible()
    for _ in range(100):
        page.wait_for_timeout(100 if refusals[0] < 3 else 0)
    expect(order(region(page, "New"), api.place())).to_be_visible()
