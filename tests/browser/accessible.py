"""What axe-core finds on a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""WCAG 2.2 AA, which holds those before it, and what axe-core thinks good besides."""

# preload would fetch the stylesheets anew, for rules that are not under these tags
OPTIONS = {"runOnly": {"type": "tag", "values": TAGS}, "preload": False}


def assert_accessible(page: Page) -> None:
    """Fails with all that axe-core finds on the page as it stands, under its own policy."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    assert not found, "\n".join(["axe-core finds:", *_described(found)])


def _described(found: list[dict[str, Any]]) -> Iterator[str]:
    for violation in found:
        yield f"- {violation['id']} ({violation['impact']}): {violation['help']}"
        for node in violation["nodes"]:
            yield f"    {node['html'][:200]}"
            yield f"      {node['failureSummary']}".replace("\n", "\n      ")
