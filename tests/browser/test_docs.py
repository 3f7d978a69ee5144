"""The page at /docs in a real browser: it is read, and an order is tried on it."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rig.processes import RunningServer, serving
from tests.browser.conftest import TABLET, Visit


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving("memory://") as running:
        yield running


@pytest.fixture
def page(visit: Visit, server: RunningServer) -> Page:
    """The page when it is shown."""
    opened = visit(server.url, viewport=TABLET)
    opened.goto("/docs")
    expect(opened.get_by_role("heading", name=re.compile("orderfood"))).to_be_visible()
    return opened


def test_it_shows_every_operation(page: Page, server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))


def test_an_order_can_be_tried_on_it(page: Page) -> None:
    page.get_by_role("button", name="Authorize", exact=True).first.click()
    dialog = page.locator(".modal-ux")
    dialog.locator("input").first.fill("apitest")
    dialog.get_by_role("button", name="Apply credentials").first.click()
    dialog.get_by_role("button", name="Close", exact=True).first.click()
    operation = page.locator("#operations-orders-placeOrder")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").nth(1)).to_contain_text("200")
    expect(answer.locator(".response-col_description").nth(1)).to_contain_text('"total": 32.37')
