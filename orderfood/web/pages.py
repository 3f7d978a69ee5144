"""The pages: ordinary handlers of a Tornado application, behind the same front door as the API.

What surrounds every request (an id, the log, metrics, who may read it) is added there; here is only
what a page is. Each has its template in PAGES, by which logs, metrics and spans name it.
"""

from __future__ import annotations

from tornado.web import Application, RequestHandler

from orderfood.web import docs

PAGES: dict[str, type[RequestHandler]] = {
    "/docs": docs.DocsHandler,
    "/docs/{file}": docs.AssetHandler,
}
"""The one table of pages, by path template."""


def pages_application() -> Application:
    """The application that answers for PAGES."""
    return Application(
        [(template.replace("{file}", "([^/]+)"), handler) for template, handler in PAGES.items()],
        log_function=_nothing,
    )


def _nothing(handler: RequestHandler) -> None:
    """Does nothing: the access log is the front door's."""
