"""What no page may do: complain, break its policy, ask a foreign host, be answered by 5xx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Error,
    Request,
    Response,
    WebError,
)

EXPECTED = (r"status of (409|422) .*/api/order(/quote)?$",)
"""What is no complaint in any test: the browser itself logs an answer of 4xx, and an order or a
quote that cannot be fulfilled is no fault of a page."""

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.effectiveDirective} forbids ${event.blockedURI} ${event.sample}`);
});
"""
"""Run in every page before its own scripts: a violation says which directive and what."""


class Watch:
    """The complaints of all pages of a test."""

    def __init__(self) -> None:
        self._complaints: list[str] = []
        self._allowed = list(EXPECTED)
        self._contexts: list[BrowserContext] = []

    def allow(self, pattern: str) -> None:
        """For the whole of this test, a complaint in which the regular expression is found is
        none: such as ``net::ERR_`` where the server is killed."""
        self._allowed.append(pattern)

    def take(self) -> list[str]:
        """The complaints so far, which from now on count no more. It touches the pages, as
        ``read_untouched`` does not."""
        self.hear_all()
        taken, self._complaints = list(self._left()), []
        return taken

    def follow(self, context: BrowserContext, home: str) -> None:
        """Watches all pages of a context, now and later, whose host is that of ``home``."""
        host = urlsplit(home).netloc
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._hear_console)
        context.on("weberror", self._hear_error)
        context.on("request", lambda request: self._hear_request(request, host))
        context.on("response", self._hear_response)
        self._contexts.append(context)

    def _left(self) -> Iterator[str]:
        for complaint in self._complaints:
            if not any(re.search(pattern, complaint) for pattern in self._allowed):
                yield complaint

    def hear_all(self) -> None:
        """Returns when everything has been heard that pages have said until now."""
        for page in [page for context in self._contexts for page in context.pages]:
            with suppress(Error):
                page.evaluate("0")

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._complaints.append(f"{message.type}: {message.text} {message.location['url']}")

    def _hear_error(self, error: WebError) -> None:
        self._complaints.append(f"uncaught: {error.error}")

    def _hear_request(self, request: Request, home: str) -> None:
        if urlsplit(request.url).netloc not in ("", home):
            self._complaints.append(f"foreign: {request.method} {request.url}")

    def _hear_response(self, response: Response) -> None:
        if response.status >= 500:
            self._complaints.append(f"status {response.status}: {response.url}")
