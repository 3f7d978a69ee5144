"""The README's two pictures: they can be taken, and they are there. ``make screenshots`` takes them
anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from rig.processes import ROOT, RunningServer, serving
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import button
from tests.browser.people import sign_in
from tests.browser.shop_api import ShopApi

IS_ASKED = bool(os.environ.get("ORDERFOOD_SCREENSHOTS"))
MOST = 200 * 1024
PICTURES = ("storefront.png", "kitchen.png")

NOON = datetime(2026, 5, 8, 12, 30, tzinfo=UTC)

# lines, name, note, minutes since, actions
ORDERS: list[tuple[list[tuple[str, int]], str, str, int, list[str]]] = [
    ([("7", 1), ("5", 1)], "Grace", "", 22, ["accept", "complete"]),
    ([("9", 2)], "Linus", "", 19, ["accept", "complete"]),
    ([("1", 2), ("6", 1)], "Margaret", "", 16, ["accept", "ready"]),
    ([("8", 1)], "Edsger", "cut in eight", 14, ["accept", "ready"]),
    ([("9", 1), ("10", 1)], "Radia", "no onions, please", 9, ["accept"]),
    ([("3", 2)], "Alan", "", 7, ["accept"]),
    ([("2", 1), ("4", 1)], "Ada", "no nuts", 4, []),
    ([("10", 3)], "Katherine", "", 1, []),
]
MINUTES_TO_READY = 12


@pytest.fixture
def database() -> str:
    """Nothing is kept."""
    return "memory://"


@pytest.fixture
def server(database: str) -> Iterator[RunningServer]:
    with serving(database, SHOP_NAME="Corner Kitchen") as running:
        yield running


def visit_at_noon(visit: Visit, url: str, **options: Any) -> Page:
    page = visit(url, locale="en-GB", timezone_id="UTC", **options)
    page.clock.set_fixed_time(NOON)
    return page


def take(page: Page, folder: Path, name: str) -> None:
    """A picture of the window as it stands, small enough; it becomes the README's where that is
    asked for."""
    page.screenshot(path=folder / name, animations="disabled", caret="hide")
    assert (folder / name).stat().st_size <= MOST
    if IS_ASKED:
        shutil.copy(folder / name, ROOT / "docs" / name)


def test_the_storefront(server: RunningServer, visit: Visit, tmp_path: Path) -> None:
    window = {"width": 390, "height": 780}
    page = visit_at_noon(visit, server.url, viewport=window, device_scale_factor=2)
    page.goto("/")
    for dish in ("Chicken Waffle", "Chicken Waffle", "Greek Salad"):
        button(page, f"Add {dish}").click()
    to_the_cart = page.get_by_role("link", name="€35.47")
    expect(to_the_cart).to_be_visible()
    assert to_the_cart.evaluate("(element) => element.offsetWidth") > 300
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    take(page, tmp_path, "storefront.png")


def test_the_kitchen(server: RunningServer, api: ShopApi, visit: Visit, tmp_path: Path) -> None:
    minutes = dict(place_all(api))
    page = visit_at_noon(visit, server.url, viewport=TABLET)
    page.route("**/api/shop/order**", lambda route: answer_as_of_noon(route, minutes))
    kitchen = sign_in(page)
    expect(kitchen.column("Last completed").get_by_role("article")).to_have_count(2)
    expect(kitchen.column("Ready").get_by_role("article")).to_have_count(2)
    expect(button(page, "Chicken Waffle: sold out")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    take(page, tmp_path, "kitchen.png")


def place_all(api: ShopApi) -> Iterator[tuple[str, int]]:
    """The ids of the orders, and how many minutes ago each is to have been placed."""
    for items, name, note, minutes, actions in ORDERS:
        order = api.place(*items, pickup={"name": name, "note": note})
        for action in actions:
            api.act(order, action)
        yield order["id"], minutes


def answer_as_of_noon(route: Route, minutes: dict[str, int]) -> None:
    """What the server says of these orders, at other times; the sample orders are left out."""
    answer = route.fetch()
    body = answer.json()
    if "orders" in body:
        body["orders"] = [order for order in body["orders"] if order["id"] in minutes]
    for order in body.get("orders", [body]):
        placed = NOON - timedelta(minutes=minutes[order["id"]])
        order["createdAt"] = placed.isoformat()
        if "readyAt" in order:
            order["readyAt"] = (placed + timedelta(minutes=MINUTES_TO_READY)).isoformat()
    route.fulfill(response=answer, body=json.dumps(body))


@pytest.mark.parametrize("name", PICTURES)
def test_the_readme_shows_them(name: str) -> None:
    assert 0 < (ROOT / "docs" / name).stat().st_size <= MOST
    [shown] = [each for each in (ROOT / "README.md").read_text().splitlines() if name in each]
    assert f'src="docs/{name}"' in shown
    assert 'alt="' in shown
