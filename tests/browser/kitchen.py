"""The kitchen's board, as a test finds its way on it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

COUNT_TONES = """
window.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...at) { window.tones += 1; start.apply(this, at); };
"""
"""A script that counts what is heard."""


def button(place: Page | Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def order(place: Page | Locator, placed: Any) -> Locator:
    """The article of an order."""
    return place.get_by_role("article", name=f"Order {placed['number']}", exact=True)


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def expect_chosen(card: Locator) -> None:
    """The card has the focus and no press on its way, so that it hears the next key."""
    expect(card).to_be_focused()
    expect(card).not_to_have_attribute("aria-busy", "true")


def sign_in(page: Page, key: str = "apikitchen") -> Page:
    page.goto("/kitchen")
    page.get_by_label("Staff key").fill(key)
    button(page, "Start shift").click()
    return page
