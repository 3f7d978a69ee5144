"""A request's way from its head to its answer, on either HTTP server.

Each request has one :class:`RequestDelegate` (Tornado's HTTPMessageDelegate): it checks the head,
calls the route's endpoint, and gives every request its id, a line in the access log, its metrics,
a span, and a place among the requests in flight.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from orderfood.api.answers import Answer, head_of, request_id_of
from orderfood.api.context import Context
from orderfood.api.failures import MAX_BODY, BodyTooLarge, failure_answer, log_failure
from orderfood.api.head import (
    announced_length,
    authenticate,
    body_follows,
    check_head,
    check_host,
    client_waits,
    throttled,
)
from orderfood.api.pages import NoPages, PageExchange
from orderfood.api.repeats import Repeats
from orderfood.api.request import Request, Target
from orderfood.api.routing import Route, Router
from orderfood.observe.logs import request_id as logged_request_id
from orderfood.server.bodies import Fields
from orderfood.server.exchange import Application, Exchange
from orderfood.server.heads import RequestHeaders
from orderfood.shop.deadlines import begin_request
from orderfood.shop.observer import AnsweredRequest

if TYPE_CHECKING:
    from orderfood.observe.request_spans import RequestSpan, RequestTracer

MAX_KEPT_BODY = 64 * 1024
"""A refused request's body up to this size is read, so that its connection can be kept; and a
request whose body is that small is begun when it is whole."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "OTHER"
"""Stands for every other method, which may be any text, in logs, metrics and spans."""


class Api(Application):
    """Tornado's application: makes a RequestDelegate for each request. ``pages`` answers the routes
    of HTML pages."""

    def __init__(
        self,
        context: Context,
        router: Router,
        tracer: RequestTracer | None = None,
        pages: HTTPServerConnectionDelegate | None = None,
    ) -> None:
        self.context = context
        self.router = router
        self.tracer = tracer
        self.pages = pages or NoPages()
        self.repeats = Repeats(context, tracer)
        self.answer_to = self.repeats.answer_to  # a call less
        self._targets: dict[RequestStartLine, Target] = {}
        """Those of the table's own paths: there are few, whatever a client sends."""

    def start_request(  # type: ignore[override]  # both servers have exchanges
        self, server_conn: object, request_conn: Exchange
    ) -> HTTPMessageDelegate:
        return RequestDelegate(self, request_conn)

    def target_of(
        self, start_line: RequestStartLine, headers: HTTPHeaders, exchange: Exchange
    ) -> Target:
        """The routing result of a request line, cached for paths without parameters. Raises
        HTTPInputError when Host is not valid."""
        check_host(start_line, headers, exchange)
        known = self._targets.get(start_line)
        if known is None:
            known = self._make_target(start_line)
            if start_line.path in self.router.plain_paths and known.method != OTHER:
                self._targets[start_line] = known
        return known

    def _make_target(self, start_line: RequestStartLine) -> Target:
        method, target, version = start_line
        path, _, query = (target if target.startswith("/") else _path_of(target)).partition("?")
        resource, parameters = self.router.find(path)
        method = method if method in METHODS else OTHER
        route = resource.routes.get(method)
        kind = resource.kind(method)
        return Target(method, path, query, version, kind, resource, route, parameters)

    def on_close(self, server_conn: object) -> None:
        """Does nothing: there is no state per connection."""


class RequestDelegate(HTTPMessageDelegate):
    """Handles one request: from its head to its answer and its end."""

    # until something else is known; in the class, for most requests are answered before that
    _request: Request
    _began = 0.0
    _body: bytes | bytearray = b""
    _received = 0
    _body_came: asyncio.Future[None] | None = None
    """Done when the body has come, or never will; None where the request came whole."""
    _answer: Answer | None = None
    """The answer that was sent; None before that."""
    _whole = False
    _ended = True
    _span: RequestSpan | None = None

    def __init__(self, api: Api, exchange: Exchange) -> None:
        self._api = api
        self._exchange = exchange

    # --- from the server ---

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        self._began = time.perf_counter()
        target = self._api.target_of(start_line, headers, self._exchange)
        # look-ups alone, which are those of a plain dict on our own server
        found: Mapping[str, str] = (
            headers.lowered if isinstance(headers, RequestHeaders) else headers
        )
        id_ = request_id_of(found.get("x-request-id"))
        request = Request(self._api.context, target, found, id_, self._exchange.remote_ip)
        self._request = request
        self._begin(request)
        if self._exchange.is_whole(MAX_KEPT_BODY):
            return None
        loop = asyncio.get_running_loop()
        self._body_came, head_checked = loop.create_future(), loop.create_future()
        _start(self._handle_in_parts(request, head_checked))
        return head_checked

    def _begin(self, request: Request) -> None:
        context = self._api.context
        self._ended = False
        context.traffic.in_flight += 1
        target = request.target
        context.observer.request_began(target.kind)
        if self._api.tracer is not None:
            self._span = self._api.tracer.begin(
                target.kind, target.path, request.id, request.headers, request.peer
            )

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._received += len(chunk)
        if self._answer is not None or self._ended:
            return None
        route = self._request.target.route
        if route is not None and route.reads_body:
            self._keep(chunk)
        if self._received > MAX_BODY:
            self._refuse(self._request, self._failure(self._request, BodyTooLarge()))
        return None

    def _keep(self, chunk: bytes) -> None:
        """Most bodies are one chunk; of many, each is added without a copy of those before it."""
        if not self._body:
            self._body = chunk
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += chunk

    def finish(self) -> None:
        self._whole = True
        request = self._request
        if self._ended:  # a refusal that closes the connection has ended it already
            return
        if self._answer is not None:
            self._exchange.finish()
            self._end(request, self._answer)
        elif self._body_came is not None:
            self._body_came.set_result(None)
        elif not self._answered_from_catalogue(request):
            _start(self._handle(request))

    def on_connection_close(self) -> None:
        """The client has left. A whole request is answered, whether its client stays or not."""
        if not (self._ended or self._whole):
            self._end(self._request, self._answer or _CLIENT_CLOSED)

    # --- from the head to the answer ---

    async def _handle(self, request: Request) -> None:
        """Answers a request whose body has been received."""
        logged_request_id.set(request.id)
        begin_request()
        self._send(request, await self._check_and_answer(request))

    def _answered_from_catalogue(self, request: Request) -> bool:
        """Answers without a task when the route has a catalogue endpoint, the snapshot is fresh and
        there is no rate limit to count; returns whether it did."""
        route, context = request.target.route, request.context
        if route is None or route.catalogue_endpoint is None or context.limiter is not None:
            return False
        snapshot = context.shop.catalogue.fresh
        if snapshot is None:
            return False
        try:
            answer = route.catalogue_endpoint(request, snapshot)
        except Exception as error:
            answer = self._failure(request, error)
        self._send(request, answer)
        data = self._exchange.repeatable
        if data is not None and answer.status == 200 and request.method == "GET":
            made_of, head = (snapshot, int(time.time())), partial(self._head_of, request, answer)
            self._api.repeats.keep(data, made_of, request, head, answer.body)
        return True

    async def _check_and_answer(self, request: Request) -> Answer:
        request.body = bytes(self._body)
        try:
            return await self._answer_by(await check_head(request), request)
        except Exception as error:
            return self._failure(request, error)

    def _answer_by(self, route: Route, request: Request) -> Awaitable[Answer]:
        if route.endpoint is not None:
            return route.endpoint(request)
        return self._answer_otherwise(route, request)

    async def _answer_otherwise(self, route: Route, request: Request) -> Answer:
        if route.catalogue_endpoint is not None:
            return route.catalogue_endpoint(request, await request.shop.catalogue.get())
        return await PageExchange(self._exchange, request).answered_by(self._api.pages)

    async def _handle_in_parts(self, request: Request, head_checked: asyncio.Future[None]) -> None:
        """Checks the head first, so that the body of a refused request need not be sent, and
        answers when the body has come. ``head_checked`` ends when the server may go on reading. The
        key is checked again then, for it may have expired meanwhile."""
        logged_request_id.set(request.id)
        begin_request()
        try:
            route = await check_head(request)
        except Exception as error:
            answer = self._failure(request, error)
            if body_follows(request):
                self._refuse(request, answer)
                head_checked.set_result(None)
            else:
                await self._wait_for_body(head_checked)
                self._send(request, answer)
            return
        await self._wait_for_body(head_checked)
        if not self._ended and self._answer is None:
            self._send(request, await self._answer_late(route, request))

    async def _wait_for_body(self, head_checked: asyncio.Future[None]) -> None:
        assert self._body_came is not None
        head_checked.set_result(None)
        await self._body_came

    async def _answer_late(self, route: Route, request: Request) -> Answer:
        request.body = bytes(self._body)
        try:
            if route.scope is not None and body_follows(request):
                await authenticate(request, route.scope)
            return await self._answer_by(route, request)
        except Exception as error:
            return self._failure(request, error)

    def _failure(self, request: Request, error: Exception) -> Answer:
        answered = throttled(request, error)
        log_failure(answered, request.id, request.resource.label)
        answer = failure_answer(answered, request.id)
        if self._span is not None and answer.status >= 500:
            self._span.fail(answered)
        return answer

    def _refuse(self, request: Request, answer: Answer) -> None:
        """Answers before the body has come. A body that is still to come is discarded: a small one
        to its end, so that the connection can be kept alive; of a large one what comes during the
        lingering close."""
        self._body = b""
        if self._ended:  # the client has left meanwhile
            return
        if self._whole:
            self._send(request, answer)
        elif client_waits(request):
            self._send(request, answer, close=True)
        elif 0 < announced_length(request) <= MAX_KEPT_BODY:
            self._write(request, answer, finish=False)
        else:
            self._write(request, answer, close=True, finish=False)
            self._exchange.lingering_close()
            self._end(request, answer)

    # --- the answer ---

    def _send(self, request: Request, answer: Answer, *, close: bool = False) -> None:
        if self._ended:
            return
        if answer.stream is not None and request.method != "HEAD":
            self._exchange.start_stream(self._head_of(request, answer), answer.stream)
        elif answer.streamed is None:
            self._write(request, answer, close=close)
        self._end(request, answer)  # of a stream that is its beginning

    def _write(
        self, request: Request, answer: Answer, *, close: bool = False, finish: bool = True
    ) -> None:
        self._answer = answer
        head = self._head_of(request, answer)
        body = b"" if request.method == "HEAD" else answer.body
        close = close or request.context.traffic.draining
        self._exchange.send(head, body, close=close, finish=finish)

    def _head_of(self, request: Request, answer: Answer) -> bytes:
        left = request.allowance
        more: Fields = () if left is None else tuple(left.headers().items())
        origins = request.context.settings.cors_allowed_origins
        return head_of(answer, request.id, origins, request.headers.get("origin"), more)

    def _end(self, request: Request, answer: Answer) -> None:
        """Reports the end of the request to observer and span: once for each that began."""
        self._ended = True
        if self._body_came is not None and not self._body_came.done():
            self._body_came.set_result(None)
        context = request.context
        context.traffic.in_flight -= 1
        seconds = time.perf_counter() - self._began
        ended = AnsweredRequest(
            request.target.kind,
            answer.status,
            seconds,
            request.id,
            request.user.id if request.user else None,
            answer.reason,
            self._received,
            0 if request.method == "HEAD" else answer.length,
        )
        if self._span is None:
            context.observer.request_ended(ended)
            return
        with self._span.entered():
            context.observer.request_ended(ended)
        self._span.end(answer.status, answer.reason, (*answer.headers.fields, *answer.more))


_CLIENT_CLOSED = Answer(b"", 499)
"""Recorded in logs, metrics and spans for a client that closed the connection before its request
was complete (nginx's status 499)."""


def _path_of(target: str) -> str:
    """The path of http://host/path, which RFC 9112, 3.2.2, wants taken."""
    absolute = re.match(r"https?://[^/?#]+", target, re.IGNORECASE)
    if absolute is None:
        return target
    path = target[absolute.end() :]
    return path if path.startswith("/") else f"/{path}"


def _start(work: Coroutine[Any, Any, None]) -> None:
    running = asyncio.get_running_loop().create_task(work)
    _running.add(running)
    running.add_done_callback(_running.discard)


_running: set[asyncio.Task[None]] = set()
"""Strong references: the event loop holds its tasks only weakly. What one raises the loop's
exception handler logs when it is let go."""
