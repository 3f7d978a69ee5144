"""The page at /docs in a real browser: it is read, and an order is tried on it."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rig.processes import RunningServer, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(autouse=True)
def _fresh_loop() -> None:
    """None: playwright's loop is its own."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving("memory://") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    """The page when it is shown; neither a foreign host nor its own policy may be in its way."""
    complaints: list[str] = []
    hosts: set[str] = set()
    opened = browser.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    opened.goto(f"{server.url}/docs")
    expect(opened.get_by_role("heading", name=re.compile("orderfood"))).to_be_visible()
    yield opened
    opened.close()
    assert complaints == []
    assert hosts <= {urlsplit(server.url).netloc, ""}


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
