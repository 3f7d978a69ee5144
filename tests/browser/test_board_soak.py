"""A whole shift on one board: what is done is gone, from the page and from memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer, serving
from tests.api.client import connect
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import order, region, sign_in
from tests.browser.shop_api import CUSTOMER, KITCHEN, ShopApi

AT_ONCE = 4


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with serving("memory://") as running:
        yield running


def serve_orders(url: str, number: int) -> None:
    """So many orders are placed, accepted and completed, one after the other."""
    with connect(url) as client:
        for _ in range(number):
            body = {"items": [{"productId": "1", "quantity": 1}], "pickup": {"name": "Ann"}}
            placed = client.send("POST", "/api/order", body, CUSTOMER).json
            for action in ("accept", "complete"):
                path = f"/api/shop/order/{placed['id']}/{action}"
                assert client.send("POST", path, {}, KITCHEN).status == 200


def serve_many(page: Page, server: RunningServer, number: int) -> None:
    """Those of several hands at once; the page has drawn them all when it returns."""
    with ThreadPoolExecutor(AT_ONCE) as hands:
        list(hands.map(serve_orders, [server.url] * AT_ONCE, [number // AT_ONCE] * AT_ONCE))
    api = ShopApi(server.url)
    last = api.place()
    expect(order(region(page, "New"), last)).to_be_visible()
    api.act(api.act(last, "accept"), "complete")
    expect(order(region(page, "Last completed"), last)).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(20)


def size(page: Page) -> tuple[int, int]:
    """DOM nodes, those that are kept without being shown included, and bytes of the heap."""
    session = page.context.new_cdp_session(page)
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    nodes = session.send("Memory.getDOMCounters")["nodes"]
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return int(nodes), int(used)


def test_five_thousand_orders(server: RunningServer, visit: Visit) -> None:
    page = sign_in(visit(server.url, viewport=TABLET))
    expect(region(page, "New")).to_be_visible()
    serve_many(page, server, 1_000)
    nodes, used = size(page)
    serve_many(page, server, 4_000)
    nodes_after, used_after = size(page)
    assert nodes_after < nodes * 1.2, (nodes, nodes_after)
    assert used_after < used * 1.2, (used, used_after)
