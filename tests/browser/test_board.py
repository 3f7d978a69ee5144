"""A cook at the kitchen's board, with a tablet: what is shown, what is pressed, what is heard."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer
from tests.browser.accessible import assert_accessible
from tests.browser.conftest import PHONE, TABLET, Visit
from tests.browser.kitchen import COUNT_TONES, button, expect_chosen, order, region, sign_in
from tests.browser.shop_api import CUSTOMER, ShopApi
from tests.browser.watching import Watch

TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def board(server: RunningServer, visit: Visit) -> Page:
    page = visit(server.url, viewport=TABLET)
    page.context.add_init_script(COUNT_TONES)
    page.clock.install()
    sign_in(page)
    expect(region(page, "New")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("")
    return page


def test_an_order_is_there_without_a_press(board: Page, api: ShopApi) -> None:
    note = {"name": "Ann", "note": "no sugar"}
    placed = api.place(("1", 2), ("3", 1), pickup=note)
    shown = order(region(board, "New"), placed)
    expect(shown).to_be_visible()
    for text in (f"2 {TIMES} Chicken Waffle", f"1 {TIMES} Blueberry Pancakes", "Ann", "no sugar"):
        expect(shown).to_contain_text(text)
    api.place(("1", 3))
    expect(region(board, "All day").get_by_role("listitem").first).to_have_text(
        f"5 {TIMES} Chicken Waffle"
    )


def test_the_oldest_comes_first(board: Page, api: ShopApi) -> None:
    numbers = [api.place()["number"] for _ in range(3)]
    articles = region(board, "New").get_by_role("article")
    expect(articles.get_by_role("heading")).to_have_text([f"Order {n}" for n in numbers])
    board.reload()
    expect(articles.get_by_role("heading")).to_have_text([f"Order {n}" for n in numbers])


def test_the_whole_life_by_buttons(board: Page, api: ShopApi) -> None:
    placed = api.place()
    shown = order(region(board, "New"), placed)
    shown.get_by_role("radio", name="20", exact=True).check(force=True)
    button(shown, "Accept").click()
    button(order(region(board, "In the kitchen"), placed), "Ready").click()
    button(order(region(board, "Ready"), placed), "Complete").click()
    done = region(board, "Last completed")
    expect(order(done, placed)).to_be_visible()
    expect(order(region(board, "Ready"), placed)).to_have_count(0)
    button(done, "Recall").click()
    button(order(region(board, "Ready"), placed), "Recall").click()
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    types = [event["type"] for event in api.order(placed["id"])["events"]]
    recalled = ["order.recalled", "order.recalled"]
    assert types[1:4] == ["order.accepted", "order.ready", "order.completed"]
    assert types[4:] == recalled


@pytest.mark.one_backend
def test_the_whole_life_by_keys(board: Page, api: ShopApi) -> None:
    first, second = api.place(), api.place()
    expect(order(board, second)).to_be_visible()
    board.keyboard.press("2")
    expect(order(board, second)).to_be_focused()
    board.keyboard.press("Enter")
    expect_chosen(order(region(board, "In the kitchen"), second))
    board.keyboard.press("Enter")
    expect_chosen(order(region(board, "Ready"), second))
    board.keyboard.press("r")
    expect_chosen(order(region(board, "In the kitchen"), second))
    board.keyboard.press("Enter")
    expect_chosen(order(region(board, "Ready"), second))
    board.keyboard.press("Enter")
    expect(order(region(board, "Last completed"), second)).to_be_visible()
    expect(order(region(board, "New"), first)).to_be_focused()
    board.keyboard.press("m")
    expect(button(board, "Mute")).to_have_attribute("aria-pressed", "true")
    board.keyboard.press("?")
    expect(board.get_by_role("dialog", name="Help")).to_be_visible()


def test_the_news_comes_before_the_answer(board: Page, api: ShopApi) -> None:
    placed, held = api.place(), []
    board.route("**/ready", lambda route: held.append((route, route.fetch())))
    api.act(placed, "accept")
    button(order(board, placed), "Ready").click()
    expect(order(region(board, "Ready"), placed)).to_be_visible()
    expect(button(board, "Undo")).to_be_visible()
    button(order(board, placed), "Complete").click()
    expect(order(region(board, "Last completed"), placed)).to_be_visible()
    route, answer = held[0]
    route.fulfill(response=answer)
    expect(button(board, "Undo")).to_have_count(1)
    assert api.order(placed["id"])["status"] == "completed"


def test_a_step_is_undone(board: Page, api: ShopApi) -> None:
    placed = api.act(api.place(), "accept")
    button(order(board, placed), "Ready").click()
    button(board, "Undo").click()
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    expect(button(board, "Undo")).to_have_count(0)
    button(order(board, placed), "Ready").click()
    expect(button(board, "Undo")).to_be_visible()
    board.clock.fast_forward(11_000)
    expect(button(board, "Undo")).to_have_count(0)


def cancel(board: Page, placed: Any, reason: str = "Sold out") -> None:
    button(order(board, placed), "Cancel").click()
    dialog = board.get_by_role("dialog", name=f"Cancel order {placed['number']}?")
    dialog.get_by_label("Note to the guest").fill("sorry")
    button(dialog, reason).click()


def test_a_cancel_is_held_until_it_cannot_be_undone(board: Page, api: ShopApi) -> None:
    placed = api.place()
    cancel(board, placed)
    expect(order(board, placed)).to_contain_text("unless it is undone")
    button(board, "Undo").click()
    board.clock.fast_forward(11_000)
    expect(order(board, placed)).not_to_contain_text("unless")
    assert api.order(placed["id"])["status"] == "placed"
    cancel(board, placed)
    board.clock.fast_forward(11_000)
    expect(order(board, placed)).to_contain_text("Cancelled: Sold out")
    ended = {"by": "shop", "reason": "sold_out", "note": "sorry"}
    assert api.order(placed["id"])["cancellation"] == ended


def test_a_held_cancel_goes_out_with_the_page(board: Page, api: ShopApi) -> None:
    placed = api.place()
    bystander = board.context.new_page()
    bystander.goto("/kitchen")
    cancel(board, placed)
    board.close()
    expect(order(bystander, placed)).to_contain_text("Cancelled: Sold out")


def test_what_a_guest_cancels_stays_until_it_is_seen(board: Page, api: ShopApi) -> None:
    placed = api.place()
    shown = order(board, placed)
    expect(shown).to_be_visible()
    api.send("POST", f"/api/order/{placed['id']}/cancel", None, CUSTOMER)
    expect(shown).to_contain_text("Cancelled by the guest")
    expect(shown.get_by_role("list")).to_have_css("text-decoration-line", "line-through")
    expect(region(board, "All day").get_by_role("listitem")).to_have_count(0)
    button(shown, "Seen").click()
    expect(shown).to_have_count(0)


def test_an_order_that_somebody_else_has_moved(board: Page, api: ShopApi, watch: Watch) -> None:
    watch.allow("status of (409|412)")
    placed = api.place()
    expect(order(board, placed)).to_be_visible()
    # a press that was made before the news came
    board.route("**/accept", lambda route: (api.act(placed, "cancel"), route.continue_())[1])
    button(order(board, placed), "Accept").click()
    expect(board.get_by_role("status")).to_contain_text(
        f"Accept was not done: order {placed['number']} is cancelled now."
    )
    expect(button(order(board, placed), "Seen")).to_be_visible()


def test_the_menu_and_the_shop(board: Page, api: ShopApi) -> None:
    menu = region(board, "Menu")
    button(menu, "Chicken Waffle: sold out").click()
    button(menu, "Chicken Waffle: available").wait_for()
    assert api.send("GET", "/api/product/1").json["available"] is False
    button(menu, "Chicken Waffle: available").click()
    button(menu, "Chicken Waffle: sold out").wait_for()
    button(menu, "Pause the shop").click()
    board.get_by_label("Message to the guests").fill("Back at six")
    button(board, "30 minutes").click()
    expect(menu).to_contain_text(re.compile(r"paused until .*: Back at six"))
    assert api.send("GET", "/api/shop").json["message"] == "Back at six"
    button(menu, "Resume").click()
    button(menu, "Pause the shop").wait_for()
    assert api.send("GET", "/api/shop").json == {"open": True}


@pytest.mark.one_backend
def test_what_is_late_says_so(board: Page, api: ShopApi) -> None:
    placed = api.place()
    expect(order(board, placed)).to_contain_text("0 min")
    board.clock.fast_forward(4 * 60_000)
    expect(order(board, placed)).to_contain_text("4 min · waiting")
    board.clock.fast_forward(3 * 60_000)
    expect(order(board, placed)).to_contain_text("7 min · late")


@pytest.mark.one_backend
def test_new_orders_ring_until_they_are_accepted(board: Page, api: ShopApi) -> None:
    assert board.evaluate("tones") == 0
    placed = api.place()
    board.wait_for_function("() => tones >= 2")
    rung = board.evaluate("tones")
    board.clock.fast_forward(4_000)
    board.wait_for_function(f"() => tones >= {rung + 2}")
    button(board, "Mute").click()
    rung = board.evaluate("tones")
    board.clock.fast_forward(4_000)
    assert board.evaluate("tones") == rung
    button(board, "Mute").click()
    api.act(placed, "accept")
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    rung = board.evaluate("tones")
    board.clock.fast_forward(20_000)
    assert board.evaluate("tones") == rung


@pytest.mark.one_backend
def test_old_orders_are_silent(board: Page, api: ShopApi) -> None:
    placed = api.place()
    expect(order(board, placed)).to_be_visible()
    board.reload()
    expect(order(board, placed)).to_be_visible()
    board.mouse.click(5, 5)
    start = button(board, "Start shift")
    if start.is_visible():
        start.click()
    expect(start).to_be_hidden()
    board.clock.fast_forward(20_000)
    assert board.evaluate("tones") == 0
    api.place()
    board.wait_for_function("() => tones >= 2")


def test_keys_that_open_nothing(
    server: RunningServer, api: ShopApi, visit: Visit, watch: Watch
) -> None:
    watch.allow("status of 403 .*/api/session")
    page = sign_in(visit(server.url, viewport=TABLET), "nonsense")
    expect(page.get_by_role("alert")).to_have_text("This key is not valid.")
    expect(page.get_by_label("Staff key")).to_have_attribute("aria-invalid", "true")
    sign_in(page, "apitest")
    expect(page.get_by_role("alert")).to_have_text("This key may not run the kitchen.")
    expect(region(page, "New")).to_have_count(0)
    sign_in(page)
    expect(region(page, "New")).to_be_visible()
    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert "apikitchen" not in page.evaluate(stored)
    button(page, "End shift").click()
    expect(page.get_by_label("Staff key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Staff key")).to_be_visible()


@pytest.mark.one_backend
def test_names_are_nothing_but_text(board: Page, api: ShopApi) -> None:
    name = "<img src=x onerror=alert(1)>"
    hebrew = "\u05d3\u05e0\u05d9"
    placed = api.place(pickup={"name": name, "note": f"{hebrew} 12"})
    expect(order(board, placed)).to_contain_text(name)
    assert board.locator("main img").count() == 0
    isolated = board.locator("bdi", has_text=hebrew)
    expect(isolated).to_have_css("unicode-bidi", "isolate")


@pytest.mark.one_backend
def test_in_german(serve: Any, visit: Visit) -> None:
    server = serve(SHOP_LOCALE="de-DE")
    page = visit(server.url, viewport=TABLET)
    page.goto("/kitchen")
    page.get_by_label("Personalschlüssel").fill("apikitchen")
    button(page, "Schicht beginnen").click()
    placed = ShopApi(server.url).place()
    shown = region(page, "Neu").get_by_role("article", name=f"Bestellung {placed['number']}")
    button(shown, "Annehmen").click()
    expect(region(page, "In der Küche").get_by_role("article")).to_contain_text("fertig um")


@pytest.mark.one_backend
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [TABLET, PHONE], ids=["tablet", "phone"])
def test_it_is_accessible(
    server: RunningServer, api: ShopApi, visit: Visit, scheme: str, viewport: Any
) -> None:
    page = visit(server.url, viewport=viewport, color_scheme=scheme)
    page.goto("/kitchen")
    expect(page.get_by_label("Staff key")).to_be_visible()
    assert_accessible(page)
    page.clock.install()
    sign_in(page)
    gone, *others = [api.place(("1", 2), pickup={"name": "Ann", "note": "no"}) for _ in range(4)]
    expect(order(page, others[2])).to_be_visible()
    api.act(gone, "cancel")
    api.act(others[0], "accept")
    api.act(api.act(api.act(others[1], "accept"), "ready"), "complete")
    api.sell_out("2")
    page.clock.fast_forward(7 * 60_000)
    expect(order(region(page, "Last completed"), others[1])).to_be_visible()
    expect(button(order(page, gone), "Seen")).to_be_visible()
    assert_accessible(page)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    button(order(page, others[0]), "Cancel").click()
    assert_accessible(page)
