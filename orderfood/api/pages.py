"""Pages behind the front door: a Tornado application answers, and its answer gets what all get."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from orderfood.api.answers import Answer, browser_headers, http_date
from orderfood.api.failures import NotFound
from orderfood.api.request import Request
from orderfood.server.bodies import Headers
from orderfood.server.exchange import Exchange

_OF_A_BODY = ("content-type", "content-length", "content-encoding", "transfer-encoding", "expect")
"""Headers that no page sees: it gets no body, and Tornado would look for one."""


class NoPages(HTTPServerConnectionDelegate):
    """For a front door without pages: the router knows none, so nothing is asked of it."""


class PageFailed(Exception):
    """A page was answered with a status that says that the server has failed."""


class PageExchange(HTTPConnection):
    """What the application sees of an exchange. It adds what every answer carries, and takes note
    of what is sent; an answer that is an error it does not send, but raises."""

    def __init__(self, exchange: Exchange, request: Request) -> None:
        self._exchange = exchange
        self._request = request
        self._sent: Answer | None = None
        self._length = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refused = False
        self.context = getattr(exchange, "context", None)

    async def answered_by(self, application: HTTPServerConnectionDelegate) -> Answer:
        """Has the application answer, and returns what it has sent. Raises NotFound, PageFailed."""
        request = self._request
        if any("\0" in value for value in request.parameters.values()):
            raise NotFound  # Tornado's StaticFileHandler would ask the system for such a file
        headers = HTTPHeaders()
        for name, value in request.headers.items():
            if name.lower() not in _OF_A_BODY:
                headers.add(name, value)
        delegate: HTTPMessageDelegate = application.start_request(self, self)
        target = request.target
        # no query: no page has parameters, and Tornado refuses one of many fields
        delegate.headers_received(
            RequestStartLine(request.method, target.path, target.version), headers
        )
        delegate.finish()
        self._exchange.set_close_callback(self._client_left)
        await self._done
        assert self._sent is not None
        return self._sent._replace(streamed=self._length)

    def _client_left(self) -> None:
        if not self._done.done():
            self._sent = self._sent or Answer(b"", 499)
            self._done.set_result(None)

    # --- from the application ---

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Does nothing: a page waits for nothing but its client, whose leaving ends its writes."""

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code >= 400 and start_line.code != 416:  # a range that is none of the file's
            return self._refuse(start_line.code)
        self._sent = Answer(b"", start_line.code, Headers(tuple(headers.get_all())))
        self._add_headers(headers)
        self._length += len(chunk or b"")
        return self._exchange.write_headers(start_line, headers, chunk)

    def _add_headers(self, headers: HTTPHeaders) -> None:
        request = self._request
        settings, left = request.context.settings, request.allowance
        origins, origin = settings.cors_allowed_origins, request.headers.get("origin")
        for name, value in browser_headers(origins, origin if origin in origins else None):
            headers.add(name, value)
        for name, value in () if left is None else left.headers().items():
            headers.add(name, value)
        headers["Date"], headers["X-Request-ID"] = http_date(), request.id
        if request.context.traffic.draining:
            headers["Connection"] = "close"
            self._exchange.end_behind()

    def _refuse(self, status: int) -> asyncio.Future[None]:
        self._refused = True
        # method, rate and host are judged before: what a page refuses is that there is such a page
        error = PageFailed(f"a page was answered with {status}") if status >= 500 else NotFound()
        if not self._done.done():  # the client may have left meanwhile
            self._done.set_exception(error)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        self._length += len(chunk)
        return self._exchange.write(chunk)

    def finish(self) -> None:
        if self._refused:
            return
        self._exchange.finish()
        if not self._done.done():
            self._done.set_result(None)
