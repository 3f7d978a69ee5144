"""A browser with more tabs than it has connections to a host, and than a user has streams."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from rig.processes import PATIENCE, RunningServer
from tests.api.client import connect
from tests.browser.conftest import Visit
from tests.browser.kitchen import button
from tests.browser.people import Guest, sign_in

STREAMS = re.compile(r'^feed_clients\{kind="(\w+)"\} (\d+)', re.M)


def streams(server: RunningServer) -> dict[str, int]:
    """How many streams there are of each kind."""
    with connect(server.url) as client:
        metrics = client.get("/metrics").body.decode()
    return {kind: int(number) for kind, number in STREAMS.findall(metrics) if int(number)}


def test_eight_tabs_of_all_pages_are_live(server: RunningServer, visit: Visit) -> None:
    """Somebody of the staff orders, too: storefront, order and board, at once."""
    guest = Guest(visit(server.url))
    number, context = guest.order(name="Ada"), guest.page.context
    orders = [guest, *(Guest(context.new_page()) for _ in range(4))]
    for tab in orders[1:]:
        tab.page.goto(guest.page.url)
        expect(tab.state).to_have_text("Placed: waiting for the kitchen")
    menus = [context.new_page() for _ in range(2)]
    for menu in menus:
        menu.goto("/")
        expect(menu.get_by_role("link", name=f"Order {number}")).to_be_visible()
    kitchen = sign_in(context.new_page())
    assert len(context.pages) == 8
    kitchen.press(number, "Accept")
    for tab in orders:
        expect(tab.state).to_have_text(re.compile("^In the kitchen"))
    for menu in menus:
        row = menu.get_by_role("listitem").filter(has_text=f"Order {number}")
        expect(row).to_contain_text("Accepted")
    deadline = time.monotonic() + PATIENCE
    while streams(server) != {"customer": 1, "shop": 1}:  # a leader that stands still is replaced
        assert time.monotonic() < deadline
    button(menus[0], "Add Greek Salad").click()
    button(menus[0], "Place order").click()
    expect(kitchen.card(Guest(menus[0]).number(), "New")).to_be_visible()
    guest.page.close()  # whoever held the stream, another tab goes on
    menus[0].close()
    kitchen.press(number, "Ready")
    for tab in orders[1:]:
        expect(tab.state).to_have_text("Ready: please collect")
