"""A guest at the storefront, with a phone: what is shown, what it costs, and one order of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Locator, Page, Route, expect

from rig.processes import ROOT, RunningServer, run
from tests.browser.accessible import assert_accessible
from tests.browser.conftest import TABLET, Visit
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch

Serve = Callable[..., RunningServer]


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def order_of(page: Page) -> Locator:
    return page.get_by_role("region", name="Your order")


def total_of(page: Page) -> Locator:
    return order_of(page).locator(".total")


def choose(page: Page, *names: str) -> None:
    """Goes to the storefront and puts dishes into the cart."""
    page.goto("/")
    for name in names:
        button(page, f"Add {name}").click()


def place(page: Page) -> None:
    button(page, "Place order").click()


def expect_order(page: Page) -> None:
    """The page of an order is shown."""
    expect(page).to_have_url(re.compile("/orders/"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Order \d+"))


def change_fixtures(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """A copy of the fixtures with another menu."""
    shutil.copytree(ROOT / "fixtures", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    products = json.loads((folder / "products.json").read_text())
    change(products)
    (folder / "products.json").write_text(json.dumps(products))
    return folder


def load(database: str, fixtures: Path) -> None:
    done = run("database-load", STORAGE_URL=database, FIXTURES_DIR=fixtures)
    assert done.returncode == 0, done.stderr


def test_a_guest_orders(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle", "Chicken Waffle", "Greek Salad")
    page.get_by_label("Coupon").fill("SAVE10")
    page.get_by_label("Name for pick-up").fill("Ada")
    page.get_by_label("Note for the kitchen").fill("no nuts")
    expect(total_of(page)).to_contain_text("€31.92")
    expect(page.get_by_text("Pay at the counter.")).to_be_visible()
    place(page)
    expect_order(page)
    [order] = api.orders()
    assert order["pickup"] == {"name": "Ada", "note": "no nuts"}
    assert [line["quantity"] for line in order["items"]] == [2, 1]
    assert order["total"] == 31.92
    page.goto("/")
    expect(order_of(page).get_by_text("Nothing chosen yet.")).to_be_visible()
    link = page.get_by_role("link", name=f"Order {order['number']}")
    expect(link).to_be_visible()
    api.act(order, "accept")
    expect(link.locator("..")).to_contain_text("Accepted")
    link.click()
    expect_order(page)


def test_a_coupon_is_refused_beside_its_field(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    coupon = page.get_by_label("Coupon")
    coupon.fill("NOSUCH")
    expect(coupon).to_have_accessible_description("Unknown coupon.")
    expect(button(page, "Place order")).to_be_disabled()
    coupon.fill("BUYGETONE")
    expect(coupon).to_have_accessible_description("The coupon needs at least 2 units.")
    button(page, "One more Chicken Waffle").click()
    expect(coupon).to_have_accessible_description("")
    expect(total_of(page)).to_contain_text("€12.99")


@pytest.mark.one_backend
def test_nonsense_is_refused_beside_its_field(
    server: RunningServer, watch: Watch, visit: Visit
) -> None:
    watch.allow(r"status of 400 .*/api/order/quote$")
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    for label, most in (("Name for pick-up", 60), ("Note for the kitchen", 200)):
        field = page.get_by_label(label)
        for nonsense in ("x" * (most + 1), "\u202eabc"):
            field.fill(nonsense)
            expect(field).to_have_accessible_description(
                f"At most {most} characters, in plain text."
            )
        field.fill("")
        expect(field).to_have_accessible_description("")
    expect(total_of(page)).to_contain_text("€12.99")


def test_a_quote_that_comes_late_is_not_shown(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        held.append(route)

    page.route("**/api/order/quote", hold_the_first)
    page.goto("/")
    with page.expect_request("**/api/order/quote"):
        button(page, "Add Chicken Waffle").click()
    button(page, "Add Greek Salad").click()
    expect(total_of(page)).to_contain_text("€22.48")
    with page.expect_response("**/api/order/quote"):
        held[0].continue_()
    expect(total_of(page)).to_contain_text("€22.48")


def test_a_price_that_rises_is_shown_before_it_is_paid(
    server: RunningServer, api: ShopApi, database: str, tmp_path: Path, visit: Visit
) -> None:
    page = visit(server.url)
    page.clock.install()
    choose(page, "Chicken Waffle")
    page.clock.run_for(1000)
    expect(total_of(page)).to_contain_text("€12.99")

    def dearer(products: list[dict[str, Any]]) -> None:
        products[0]["price"] = 14.5

    load(database, change_fixtures(tmp_path / "fixtures", dearer))
    while api.send("GET", "/api/product/1").json["price"] != 14.5:
        time.sleep(0.05)
    place(page)
    expect(page.get_by_role("alert")).to_contain_text("it is now €14.50")
    expect(total_of(page)).to_contain_text("€14.50")
    assert api.orders() == []
    place(page)
    expect_order(page)
    assert [order["total"] for order in api.orders()] == [14.5]


def test_sold_out_and_paused_while_the_cart_is_open(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle", "Greek Salad")
    expect(total_of(page)).to_contain_text("€22.48")
    api.sell_out("6")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(button(page, "Add Greek Salad")).to_be_disabled()
    expect(button(page, "Add Greek Salad")).to_have_accessible_description("Sold out")
    expect(order_of(page).locator("li", has_text="Greek Salad")).to_contain_text("Sold out")
    expect(button(page, "Place order")).to_be_disabled()
    button(page, "Remove Greek Salad").click()
    expect(total_of(page)).to_contain_text("€12.99")
    api.pause(message="Back at six")
    place(page)
    expect(page.get_by_text("Paused: Back at six")).to_be_visible()
    expect(button(page, "Place order")).to_be_disabled()
    api.resume()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.get_by_text("Open", exact=True)).to_be_visible()
    place(page)
    expect_order(page)
    assert len(api.orders()) == 1


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_server_that_is_killed_in_mid_checkout(
    is_stored: bool, serve: Serve, watch: Watch, visit: Visit
) -> None:
    server = serve()
    watch.allow("net::ERR_")
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    expect(total_of(page)).to_contain_text("€12.99")
    kill_during_the_order(page, server, is_stored=is_stored)
    expect(page.get_by_text("We are checking your order…")).to_be_visible()
    expect(button(page, "Place order")).to_be_disabled()
    api = ShopApi(serve(PORT=server.port).url)
    expect_order(page)
    assert len(api.orders()) == 1


def kill_during_the_order(page: Page, server: RunningServer, *, is_stored: bool) -> None:
    """Presses, and kills the server: when it has stored the order but not answered, or before."""

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        server.stop(signal.SIGKILL)
        route.abort()

    if is_stored:
        page.route("**/api/order", lose_the_answer, times=1)
        place(page)
        return
    server.process.send_signal(signal.SIGSTOP)
    with page.expect_request("**/api/order"):
        place(page)
    server.stop(signal.SIGKILL)


def test_a_reload_in_mid_checkout(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    server.process.send_signal(signal.SIGSTOP)
    with page.expect_request("**/api/order"):
        server.process.send_signal(signal.SIGCONT)
        expect(total_of(page)).to_contain_text("€12.99")
        server.process.send_signal(signal.SIGSTOP)
        place(page)
    page.evaluate("setTimeout(() => location.reload())")
    server.process.send_signal(signal.SIGCONT)
    expect_order(page)
    assert len(api.orders()) == 1


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("status", "reason"), [(409, "in_progress"), (429, "guest_rate_limit"), (502, "")]
)
def test_an_answer_that_says_later(
    status: int, reason: str, server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow(rf"(status of |status ){status}")
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    expect(total_of(page)).to_contain_text("€12.99")
    later = json.dumps({"reason": reason}) if reason else "<h1>Bad Gateway</h1>"
    page.route("**/api/order", lambda route: route.fulfill(status=status, body=later), times=2)
    place(page)
    expect(page.get_by_text("We are checking your order…")).to_be_visible()
    expect_order(page)
    assert len(api.orders()) == 1


def test_two_tabs_share_the_cart_and_order_once(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    other = page.context.new_page()
    other.goto("/")
    button(other, "Add Greek Salad").click()
    for tab in (page, other):
        expect(total_of(tab)).to_contain_text("€22.48")
    press = "document.querySelector('.cart .main').click()"
    page.evaluate(f"setTimeout(() => {press}, 100)")
    other.evaluate(f"setTimeout(() => {press}, 100)")
    expect_order(page)
    assert len(api.orders()) == 1
    with suppress(Error):  # if it is on its way to the order's page by itself
        other.goto("/")
    other.goto("/")
    expect(order_of(other).get_by_text("Nothing chosen yet.")).to_be_visible()


def test_a_cookie_that_is_lost_in_mid_checkout(
    server: RunningServer, api: ShopApi, watch: Watch, visit: Visit
) -> None:
    watch.allow(r"net::ERR_|status of 401 .*/api/order$")
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    expect(total_of(page)).to_contain_text("€12.99")

    def lose_both(route: Route) -> None:
        route.fetch()
        page.context.clear_cookies()
        route.abort()

    page.route("**/api/order", lose_both, times=1)
    place(page)
    expect(page.get_by_text("this browser has lost its session")).to_be_visible()
    assert len(api.orders()) == 1
    button(page, "Give it up").click()
    place(page)
    expect_order(page)


def test_an_order_of_yesterday_is_not_sent_unasked(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    expect(total_of(page)).to_contain_text("€12.99")
    page.evaluate(FREEZE_OLD)
    page.reload()
    expect(page.get_by_text("We could not find out whether your order of")).to_be_visible()
    assert_accessible(page)
    assert api.orders() == []
    button(page, "Try again").click()
    expect_order(page)
    assert len(api.orders()) == 1


FREEZE_OLD = """() => {
  const { key, lines } = JSON.parse(localStorage.getItem("orderfood.cart"));
  const items = lines.map(({ productId, quantity }) => ({ productId, quantity }));
  const guest = JSON.parse(localStorage.getItem("orderfood.guest"));
  const at = Date.now() - 24 * 3600 * 1000;
  const pending = { key, at, guest, attempts: 1, body: { items, expectedTotal: 12.99 } };
  localStorage.setItem("orderfood.pending", JSON.stringify(pending));
}"""


def test_back_to_the_menu_shows_the_cart_as_it_is(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    choose(page, "Chicken Waffle")
    place(page)
    expect_order(page)
    page.go_back()
    expect(order_of(page).get_by_text("Nothing chosen yet.")).to_be_visible()
    # a page that was kept meanwhile, as playwright's Chromium keeps none: it is told nothing
    button(page, "Add Chicken Waffle").click()
    expect(total_of(page)).to_contain_text("€12.99")
    page.evaluate("localStorage.clear()")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(order_of(page).get_by_text("Nothing chosen yet.")).to_be_visible()


def test_too_many_orders_at_once(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    page = visit(server.url)
    for _ in range(3):
        choose(page, "Chicken Waffle")
        place(page)
        expect_order(page)
    choose(page, "Chicken Waffle")
    place(page)
    expect(page.get_by_role("alert")).to_contain_text("Three of your orders are waiting already.")
    api.act(api.orders()[0], "cancel")
    place(page)
    expect_order(page)


def test_a_browser_that_has_neither_locks_nor_a_storage(
    server: RunningServer, api: ShopApi, visit: Visit
) -> None:
    page = visit(server.url)
    page.add_init_script(
        "delete Navigator.prototype.locks; delete Crypto.prototype.randomUUID;"
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }});"
    )
    choose(page, "Chicken Waffle")
    place(page)
    expect_order(page)
    api.act(api.orders()[0], "accept")
    expect(page.get_by_role("status")).to_contain_text("In the kitchen")


def test_no_guests(serve: Serve, watch: Watch, visit: Visit) -> None:
    watch.allow(r"status of 403 .*/api/session$")
    page = visit(serve(GUEST_ORDERS="false").url)
    choose(page, "Chicken Waffle")
    expect(page.get_by_text("This shop takes no orders from this page.")).to_be_visible()
    expect(button(page, "Place order")).to_be_disabled()


@pytest.mark.one_backend
def test_by_keyboard_alone(server: RunningServer, api: ShopApi, visit: Visit) -> None:
    page = visit(server.url)
    page.goto("/")
    expect(button(page, "Add Chicken Waffle")).to_be_visible()

    def tab_to(target: Locator) -> None:
        for _ in range(60):
            if target.evaluate("(element) => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError("the keyboard does not get there")

    tab_to(button(page, "Add Chicken Waffle"))
    page.keyboard.press("Enter")
    tab_to(page.get_by_label("Name for pick-up"))
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")  # in a field, it orders nothing
    expect(button(page, "Place order")).to_be_enabled()
    tab_to(button(page, "Place order"))
    assert api.orders() == []
    page.keyboard.press("Enter")
    expect_order(page)
    tab_to(button(page, "Cancel order"))
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Cancelled by you")


HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_menu_that_says_everything(
    serve: Serve, database: str, tmp_path: Path, watch: Watch, visit: Visit
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(ROOT / "orderfood/web/static/shared/icon.svg", images / "waffle.svg")

    def fuller(products: list[dict[str, Any]]) -> None:
        products[0] |= {"image": "/images/waffle.svg", "allergens": ["gluten", "milk"]}
        products[1] |= {"image": "https://elsewhere.example/a.png", "allergens": []}
        products[2] |= {"image": "/images/none.png", "description": f"{HOSTILE} \u05d0\u05d1"}
        products[3]["name"] = HOSTILE
        products[4]["category"] = HOSTILE

    load(database, change_fixtures(tmp_path / "fixtures", fuller))
    watch.allow(r"status of 404 .*/images/none.png$")
    page = visit(serve(IMAGES_DIR=images).url)
    choose(page, HOSTILE)
    expect(page.locator("img")).to_have_count(2)
    expect(page.locator("img.broken")).to_have_count(1)
    expect(page.locator("img:not(.broken)")).to_have_js_property("naturalWidth", 150)
    expect(page.get_by_text("Contains gluten and milk")).to_be_visible()
    expect(page.get_by_text("Contains none of the 14 allergens")).to_be_visible()
    expect(page.get_by_role("heading", name=HOSTILE)).to_have_count(2)
    expect(order_of(page)).to_contain_text(HOSTILE)
    assert_accessible(page)


@pytest.mark.one_backend
def test_german(serve: Serve, visit: Visit) -> None:
    page = visit(serve(SHOP_LOCALE="de").url)
    page.goto("/")
    button(page, "Chicken Waffle hinzufügen").click()
    page.get_by_label("Gutschein").fill("NOSUCH")
    expect(page.get_by_text("Diesen Gutschein gibt es nicht.")).to_be_visible()
    page.get_by_label("Gutschein").fill("SAVE10")
    expect(page.get_by_role("region", name="Ihre Bestellung")).to_contain_text("11,69\u00a0€")
    button(page, "Bestellen").click()
    expect(page.get_by_role("status")).to_have_text("Aufgegeben: wartet auf die Küche")


@pytest.mark.one_backend
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, server: RunningServer, api: ShopApi, visit: Visit) -> None:
    api.sell_out("6")
    page = visit(server.url, color_scheme=scheme)
    choose(page, "Chicken Waffle")
    page.get_by_label("Coupon").fill("NOSUCH")
    expect(page.get_by_text("Unknown coupon.")).to_be_visible()
    assert_accessible(page)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 360
    page.set_viewport_size(TABLET)
    assert_accessible(page)


@pytest.mark.one_backend
def test_what_is_kept_may_be_nonsense(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    page.goto("/")
    for name in ("cart", "pending", "guest", "placed"):
        for nonsense in ("{", "null", "[]", '"x"', '{"lines": [null, {}], "key": 5, "body": null}'):
            page.evaluate(f"localStorage.setItem('orderfood.{name}', {json.dumps(nonsense)})")
            page.reload()
            expect(button(page, "Add Chicken Waffle")).to_be_enabled()
            expect(order_of(page).get_by_text("Nothing chosen yet.")).to_be_visible()


def test_nothing_shifts_and_the_files_are_small(server: RunningServer, visit: Visit) -> None:
    page = visit(server.url)
    page.add_init_script(
        "window.shifts = 0; new PerformanceObserver((list) => {"
        " for (const each of list.getEntries()) window.shifts += each.value; "
        "}).observe({type: 'layout-shift', buffered: true});"
    )
    page.goto("/", wait_until="networkidle")
    assert page.evaluate("window.shifts") == 0
    sizes = (
        "performance.getEntries().filter((each) => each.transferSize !== undefined)"
        ".reduce((sum, each) => sum + each.encodedBodySize, 0)"
    )
    assert 0 < page.evaluate(sizes) < 60 * 1024
