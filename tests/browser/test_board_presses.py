"""Presses on the board that come too fast, or before the shift ends; what is shown when nothing
answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import button, expect_chosen, order, region, sign_in
from tests.browser.shop_api import CUSTOMER, ShopApi
from tests.browser.watching import Watch


@pytest.fixture
def database(sqlite_database: str) -> str:
    """One backend: what is tried is the page's own."""
    return sqlite_database


@pytest.fixture
def board(server: RunningServer, visit: Visit) -> Page:
    page = sign_in(visit(server.url, viewport=TABLET))
    expect(page.get_by_role("status").first).to_have_text("")
    return page


def remembered(page: Page, count: int) -> None:
    """Returns when the tablet has kept which orders it shows."""
    kept = "JSON.parse(localStorage.getItem('orderfood.board') ?? '[]').length"
    while page.evaluate(kept) != count:
        page.wait_for_timeout(50)


def test_a_double_press_accepts_one_order(board: Page, api: ShopApi) -> None:
    placed = [api.place() for _ in range(3)]
    accept = button(order(region(board, "New"), placed[0]), "Accept")
    expect(order(board, placed[2])).to_be_visible()
    box = accept.bounding_box()
    assert box
    spot = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    board.mouse.dblclick(*spot, delay=150)
    expect(order(region(board, "In the kitchen"), placed[0])).to_be_visible()
    assert [each["status"] for each in api.orders()] == ["accepted", "placed", "placed"]


def test_enter_again_and_again_is_for_one_order(board: Page, api: ShopApi) -> None:
    placed = [api.place() for _ in range(2)]
    expect(order(board, placed[1])).to_be_visible()
    board.keyboard.press("1")
    for column in ("In the kitchen", "Ready"):
        board.keyboard.press("Enter")
        expect_chosen(order(region(board, column), placed[0]))
    at_once = datetime.now(UTC)
    board.clock.set_fixed_time(at_once)  # as long as this test needs to see that it is done
    board.keyboard.press("Enter")
    expect(order(region(board, "Last completed"), placed[0])).to_be_visible()
    for _ in range(5):
        board.keyboard.press("Enter")
        board.wait_for_timeout(40)
    assert api.order(placed[1]["id"])["status"] == "placed"
    board.clock.set_fixed_time(at_once + timedelta(seconds=1))
    board.keyboard.press("1")
    board.keyboard.press("Enter")
    expect(order(region(board, "In the kitchen"), placed[1])).to_be_visible()


def test_what_was_pressed_is_done_before_the_shift_ends(board: Page, api: ShopApi) -> None:
    placed = api.place()
    button(order(board, placed), "Cancel").click()
    button(board.get_by_role("dialog"), "Sold out").click()
    button(board, "End shift").click()
    expect(board.get_by_label("Staff key")).to_be_visible()
    assert api.order(placed["id"])["status"] == "cancelled"


@pytest.mark.parametrize("leaves", ["reload", "shift"])
def test_what_is_cancelled_meanwhile_stays_until_it_is_seen(
    board: Page, api: ShopApi, leaves: str
) -> None:
    placed = api.place()
    expect(order(board, placed)).to_be_visible()
    remembered(board, 1)
    if leaves == "shift":
        button(board, "End shift").click()
        expect(board.get_by_label("Staff key")).to_be_visible()
    else:
        board.goto("about:blank")
    assert api.send("POST", f"/api/order/{placed['id']}/cancel", None, CUSTOMER).status == 200
    if leaves == "shift":
        board.get_by_label("Staff key").fill("apikitchen")
        button(board, "Start shift").click()
    else:
        board.goto("/kitchen")
    expect(order(board, placed)).to_contain_text("Cancelled by the guest")
    button(order(board, placed), "Seen").click()
    expect(order(board, placed)).to_have_count(0)
    board.reload()
    expect(region(board, "New")).to_be_visible()
    expect(order(board, placed)).to_have_count(0)


def test_a_stream_that_is_refused_from_the_start(
    server: RunningServer, visit: Visit, api: ShopApi, watch: Watch
) -> None:
    watch.allow("429")
    page = visit(server.url, viewport=TABLET)
    page.route("**/api/shop/event*", lambda route: route.fulfill(status=429, body="{}"))
    sign_in(page)
    expect(page.get_by_role("alert").filter(has_text="Not live")).to_be_visible()
    placed = api.place()
    button(order(region(page, "New"), placed), "Accept").click()
    expect(order(region(page, "In the kitchen"), placed)).to_be_visible()
    page.unroute("**/api/shop/event*")
    expect(page.get_by_role("alert").filter(has_text="Not live")).to_have_count(0)


def test_before_the_service_answers_it_says_so(
    server: RunningServer, visit: Visit, watch: Watch
) -> None:
    watch.allow("503")
    page = visit(server.url, viewport=TABLET)
    page.route("**/api/session", lambda route: route.fulfill(status=503, body="{}"))
    page.goto("/kitchen")
    expect(page.get_by_role("status").first).to_have_text("The service does not answer. Try again.")
    page.unroute("**/api/session")
    expect(page.get_by_label("Staff key")).to_be_visible()
