"""HTTP: each handler parses, calls one use case and writes.

The order of checks is the contract's: route and method (404, 405), key (401, 403), rate (429; what
has no good key is counted first of all), media type (415), size (413), Idempotency-Key (400), the
body's form (400), what it asks for (422). All up to the size are judged before the body is read,
and a refusal goes out at once.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import ClassVar, cast
from urllib.parse import unquote_plus

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from orderfood.api import contract, wire
from orderfood.api.addresses import client_address
from orderfood.api.answer_headers import AnswerHeaders, spelling
from orderfood.api.answers import (
    common_headers,
    has_current,
    http_date,
    negotiate,
    read_headers,
    request_id,
)
from orderfood.api.media import check_media
from orderfood.api.ratelimit import Allowance, RateLimiter
from orderfood.api.wire import Encoded
from orderfood.observe.logs import request_id as logged_request_id
from orderfood.observe.requests import RequestObserver
from orderfood.observe.shared import Shared
from orderfood.server.connection import SLICE, Exchange
from orderfood.settings import Settings
from orderfood.shop import errors
from orderfood.shop import orders as service
from orderfood.shop.deadlines import begin_request
from orderfood.shop.errors import FieldError, InvalidRequest, Refusal, TooManyRequests
from orderfood.shop.orders import CREATE_ORDER, READ_ORDER, Shop
from orderfood.shop.orderwatch import OrderWatch
from orderfood.shop.pricing import parse_product_id
from storage import SCHEMA_VERSION
from storage import errors as stored
from storage.records import User

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
"""Bytes of a request's body; one more is 413."""

MAX_KEPT_BODY = 64 * 1024
"""A refused request's body up to this size is read, so that its connection can be kept."""

WARN_SECONDS = 5.0
"""How often the same failure of the store is logged."""

PROBES = 2
"""How often a second the store is asked whether it answers, however many want to know."""

MAX_WARNED = 100
"""How many different failures are remembered for that."""

RETRY_AFTER = "1"
"""Seconds after which a client may try again what was answered with 503 or 409."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(slots=True)
class Context:
    """What the handlers share: the shop, the settings, and whether the server drains."""

    shop: Shop
    settings: Settings
    limiter: RateLimiter | None = None
    guesses: RateLimiter | None = None
    """Counts wrong keys and unknown coupons by address; None when nobody limits them."""
    observer: RequestObserver = field(default_factory=RequestObserver)
    """Told of each request when it begins and when it has ended."""
    watch: OrderWatch | None = None
    """Knows whether orders can be stored."""
    readiness: Shared[str | None] = field(default_factory=lambda: Shared(PROBES))
    """What a probe of the store has found."""
    draining: bool = False
    active: int = 0
    """Requests in flight."""


# --- from an exception to an answer ---

STATUS: dict[type, int] = {
    errors.KeyMissing: 401,
    errors.KeyRefused: 403,
    errors.InvalidRequest: 400,
    errors.UnsupportedMedia: 415,
    errors.Unprocessable: 422,
    errors.PriceChanged: 409,
    errors.StillInProgress: 409,
    errors.TooManyRequests: 429,
    stored.OrderNotFound: 404,
    stored.IdempotencyConflict: 422,
    stored.CouponUsedUp: 422,
    stored.OrderNotCancellable: 409,
    stored.ValueRejected: 422,
    stored.StorageError: 503,
}
"""The one table from what went wrong to a status; the nearest base class counts."""

MESSAGES: dict[int, str] = {
    400: "the request is not valid",
    403: "forbidden",
    404: "not found",
    405: "this method is not allowed here",
    413: f"the body is over {MAX_BODY} bytes",
    500: "internal error",
    503: "the store does not answer; try again",
}

_STORED_MESSAGES: dict[type, str] = {
    stored.OrderNotFound: "no such order",
    stored.IdempotencyConflict: "this Idempotency-Key was used with another request",
    stored.CouponUsedUp: "the coupon is used up",
    stored.OrderNotCancellable: "the order cannot be cancelled",
    stored.ValueRejected: "the order holds a value that cannot be stored",
}


_STORED_REASONS: dict[type, str] = {
    stored.OrderNotFound: "no_such_order",
    stored.IdempotencyConflict: "idempotency_conflict",
    stored.CouponUsedUp: "coupon_used_up",
    stored.OrderNotCancellable: "not_cancellable",
    stored.StorageBusy: "store_busy",
}

_REASONS: dict[int, str] = {
    404: "not_found",
    405: "method",
    413: "body_size",
    500: "defect",
    503: "store",
}


def reason_of(error: BaseException) -> str:
    """Why a request is not answered as it wished: a fixed word, for logs, metrics and spans."""
    if isinstance(error, Refusal):
        return error.reason
    status = status_of(error)
    return _STORED_REASONS.get(type(error)) or _REASONS.get(status, f"http_{status}")


def status_of(error: BaseException) -> int:
    """The status that an exception is answered with; 500 for a defect."""
    if isinstance(error, HTTPError):
        return error.status_code
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def message_of(error: BaseException, status: int) -> str:
    """What the client is told; never a driver's or a parser's own text."""
    if isinstance(error, Refusal):
        return error.message
    return _STORED_MESSAGES.get(type(error)) or MESSAGES.get(status, "error")


# --- the base of every route ---


def _common_values(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    return _values_for(origins, origin if origin in origins else None)


@lru_cache(maxsize=256)
def _values_for(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    headers = [("Content-Type", wire.JSON_TYPE), *common_headers(origins, origin)]
    return {spelling(name): value for name, value in headers}


_OPERATIONS = {"GET": "on_get", "HEAD": "on_get", "POST": "on_post", "OPTIONS": "on_options"}


class AnyMethod:
    """Holds every method: which ones a route has is judged together with the route."""

    def __contains__(self, method: object) -> bool:
        return True


@stream_request_body
class ApiHandler(RequestHandler):
    """Checks what stands in the head of a request, then calls ``on_get``, ``on_post``.

    A subclass is one route. ``scopes`` names the scope that a method needs; a method without one
    needs no key.
    """

    takes_body: ClassVar[bool] = True
    """Whether a POST's body is looked at."""

    limited: ClassVar[bool] = True
    """Whether its requests count for the rate limit."""

    route: ClassVar[str] = "unknown"
    """The route as logs, metrics and spans name it."""

    scopes: ClassVar[dict[str, str]] = {}

    SUPPORTED_METHODS = cast(tuple[str, ...], AnyMethod())

    user: User | None = None

    body_is_late = False
    """Whether the head was judged before the body had come."""

    _shared = b""
    """A body that is sent to many."""

    allowance: Allowance | None = None
    """What the rate limit leaves to this client, once it has been asked."""

    def __init__(self, application: Application, request: HTTPServerRequest) -> None:
        # All that Tornado's own does, which is not called, but for the namespaces of its templates:
        # they cost a twentieth of an order.
        self.application = application
        self.request = request
        self._headers_written = False
        self._finished = False
        self._auto_finish = True
        self._prepared_future = None
        self.context = cast(Context, application.settings["context"])
        """What all handlers share."""
        self.request_id = request_id(request.headers.get("X-Request-ID"))
        """The client's name for this request if it is a good one, else a new one."""
        self.clear()
        self.connection.set_close_callback(self.on_connection_close)
        self.initialize()

    def initialize(self) -> None:
        self.method = self.request.method or ""
        if self.method not in RequestHandler.SUPPORTED_METHODS:
            # Tornado calls the handler's method of this name in the end, whatever name that is
            self.request.method = "POST"
            self.method = "OTHER"
        self.error: BaseException | None = None
        self._body = bytearray()
        self._received = 0
        self._refused = False
        self._close_after = False
        self._body_complete = False
        self._logged = False
        self.in_flight = True
        self.context.active += 1
        self.context.observer.begin(self.method, self.route)

    # --- the head ---

    @classmethod
    @cache
    def methods(cls) -> tuple[str, ...]:
        """The methods of this route, as Allow names them: HEAD beside GET."""
        methods: list[str] = []
        if hasattr(cls, "on_get"):
            methods += ["GET", "HEAD"]
        if hasattr(cls, "on_post"):
            methods.append("POST")
        return (*methods, "OPTIONS")

    def clear(self) -> None:
        """Sets what every answer carries. Tornado's own would name the server and check each value
        again, for a tenth of the time that a whole order takes."""
        origins = self.context.settings.cors_allowed_origins
        values = _common_values(origins, self.request.headers.get("Origin")).copy()
        values["Date"] = http_date()
        values["X-Request-Id"] = self.request_id
        self._headers = AnswerHeaders(values)
        if self.allowance is not None:
            self._write_allowance(self.allowance)
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    async def prepare(self) -> None:
        logged_request_id.set(self.request_id)
        begin_request()
        try:
            await self._check_head()
        except Exception as error:
            await self._refuse(error)

    async def _check_head(self) -> None:
        if self.context.limiter is not None and self.limited:
            await self._count(self.context.limiter)
        self._check_route()
        method = self.method
        scope = self.scopes.get("GET" if method == "HEAD" else method)
        if scope is not None:
            self.user = await service.authenticate(self.context.shop, self._key(), scope)
        self._check_allowance()
        if method == "POST":
            self._check_body_head()

    def _check_route(self) -> None:
        if self.method not in self.methods():
            raise HTTPError(405)

    def _key(self) -> str | None:
        headers = self.request.headers
        key = headers.get("api_key")
        return headers.get("X-API-Key") if key is None else key

    async def _count(self, limiter: RateLimiter) -> None:
        """Counts for a key that is good, else for an address, which is refused at once: whatever it
        asked for would tell it how to go on."""
        if self.is_preflight():
            self._write_allowance(limiter.look(self._address()))
            return
        key = self._key()
        if key and await service.is_good_key(self.context.shop, key):
            self._write_allowance(limiter.count(f"key {service.hash_key(key)}"))
            return
        self._write_allowance(limiter.count(self._address()))
        self._check_allowance()

    def is_preflight(self) -> bool:
        """Whether it is a browser's question before the request, which comes without its key."""
        return self.method == "OPTIONS"

    def _check_allowance(self) -> None:
        left = self.allowance
        if left is not None and not left.allowed and not self.is_preflight():
            raise TooManyRequests("rate_limit", "too many requests", retry_after=left.reset)

    def _write_allowance(self, allowance: Allowance) -> None:
        self.allowance = allowance
        for name, value in allowance.headers().items():
            self.set_header(name, value)

    def _address(self) -> str:
        headers = self.request.headers
        return client_address(
            self.request.remote_ip or "",
            headers.get("X-Forwarded-For"),
            headers.get("Forwarded"),
            self.context.settings.trusted_proxies,
        )

    def _braked(self, error: BaseException) -> BaseException:
        """The error that a guess is answered with: another one when its address has made many."""
        guesses = self.context.guesses
        if guesses is None or not is_guess(error):
            return error
        left = guesses.count(self._address())
        if left.allowed:
            return error
        return TooManyRequests("abuse_limit", "too many guesses", retry_after=left.reset)

    def _check_body_head(self) -> None:
        headers = self.request.headers
        check_media(headers, takes_body=self.takes_body)
        if self._announced_length() > MAX_BODY:
            raise HTTPError(413)
        self.check_idempotency_key()

    def check_idempotency_key(self) -> None:
        """A hook: the one route that takes the header checks it here."""

    def _announced_length(self) -> int:
        length = self.request.headers.get("Content-Length")
        if length is None:
            return 0
        length = length.split(",")[0].strip(" \t")
        # the server refuses what is no number after this; until then it counts as large
        return int(length) if re.fullmatch("[0-9]{1,18}", length) else MAX_BODY + 1

    # --- the body ---

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Never fails: what is no UTF-8 becomes text that no id equals."""
        return value.decode("utf-8", "replace")

    def data_received(self, chunk: bytes) -> asyncio.Future[None] | None:
        self._received += len(chunk)
        if self._refused:
            return None
        if self.takes_body and self.method == "POST":
            self._body += chunk
        if self._received > MAX_BODY:
            return asyncio.ensure_future(self._refuse(HTTPError(413)))
        return None

    def body_is_complete(self) -> None:
        """The whole request has come: from now on it is answered, whether its client stays or
        not."""
        self._body_complete = True

    async def _judge_key_again(self) -> None:
        """Takes the user as the key stands now: it may have expired, or been taken away, while a
        slow body came."""
        scope = self.scopes["GET" if self.method == "HEAD" else self.method]
        self.user = await service.authenticate(self.context.shop, self._key(), scope)

    async def _refuse(self, error: Exception) -> None:
        """Answers now. A body that is still to come is thrown away as it comes: a small one to
        its end, so that the connection can be kept, of others what comes in a moment."""
        self._refused = True
        self._body.clear()
        if not self.in_flight:  # the client has left meanwhile
            return
        self.write_failure(error)
        with suppress(StreamClosedError):
            if self._client_waits():
                self.set_header("Connection", "close")
                await self.finish()
            elif self._body_follows():
                await self._flush_all()

    async def _flush_all(self) -> None:
        self._close_after = not 0 < self._announced_length() <= MAX_KEPT_BODY
        if self._close_after:
            self.set_header("Connection", "close")
        self.set_header("Content-Length", str(sum(map(len, self._write_buffer))))
        await self.flush()
        if self._close_after:
            self._linger()

    def _linger(self) -> None:
        """Ends our side of the connection now, and the connection in a moment."""
        if isinstance(self.connection, Exchange):
            self.connection.linger()
        else:
            self.connection.stream.close()

    def _client_waits(self) -> bool:
        """Whether the client holds its body back until it is asked for it (RFC 9110, 10.1.1)."""
        headers = self.request.headers
        expects = headers.get("Expect", "").lower() == "100-continue"
        return expects and self.request.version == "HTTP/1.1"

    @property
    def connection(self) -> HTTP1Connection | Exchange:
        """The connection that this request came on."""
        return cast(HTTP1Connection | Exchange, self.request.connection)

    def _body_follows(self) -> bool:
        headers = self.request.headers
        return "Transfer-Encoding" in headers or self._announced_length() > 0

    # --- the answer ---

    async def _answer(self, *path: str) -> None:
        if not self._refused:
            if self.body_is_late and self.user is not None and self._body_follows():
                await self._judge_key_again()
            await getattr(self, _OPERATIONS[self.method])(*path)
        if self.context.draining and not self._headers_written:
            self._close_after = True
            self.set_header("Connection", "close")
        with suppress(StreamClosedError):
            if self._shared:
                await self._send_shared()
            await self.finish()
        if self._close_after:
            self.connection.close()

    get = head = post = options = put = delete = patch = _answer

    async def on_options(self, *path: str) -> None:
        """The answer to a preflight, and to OPTIONS in general."""
        self.set_status(204)
        methods = ", ".join(self.methods())
        self.set_header("Allow", methods)
        self.set_header("Access-Control-Allow-Methods", methods)
        self.set_header("Access-Control-Allow-Headers", ALLOWED_HEADERS)
        self.set_header("Access-Control-Max-Age", "600")
        self.clear_header("Content-Type")

    def write_json(self, value: object, cache: str = "no-store") -> None:
        """Answers with a JSON body."""
        self._headers["Content-Type"] = wire.JSON_TYPE
        self._headers["Cache-Control"] = cache
        self.write(wire.encode_json(value))

    def write_encoded(self, encoded: Encoded, content_type: str = wire.JSON_TYPE) -> None:
        """Answers with a body that is ready to send, or with 304 where the client has it."""
        item = negotiate(encoded, self.request.headers.get("Accept-Encoding"))
        self.clear_header("Content-Type")
        for name, value in read_headers(item, content_type):
            self.add_header(name, value)
        if has_current(self.request.headers.get("If-None-Match"), item.etag):
            self.set_status(304)
        else:
            self._shared = item.body

    async def _send_shared(self) -> None:
        """Sends a body that many share: in slices where it is large, the next one when the client
        has taken the last, so that who does not read costs a slice and no copy of it."""
        body = self._shared
        if len(body) <= SLICE or self.method == "HEAD":
            self.write(body)
            return
        self.set_header("Content-Length", str(len(body)))
        for start in range(0, len(body), SLICE):
            self.write(body[start : start + SLICE])
            await self.flush()

    def check_etag_header(self) -> bool:
        """Never: write_encoded has judged it."""
        return False

    def compute_etag(self) -> str | None:
        """None: who has an ETag sets it."""
        return None

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """The one place where an exception becomes an answer."""
        exc_info = kwargs.get("exc_info")
        error = exc_info[1] if isinstance(exc_info, tuple) else HTTPError(status_code)
        self.write_failure(error)
        self.finish()

    def write_failure(self, error: BaseException) -> None:
        """Writes the error's status, headers and body, and leaves it to be sent."""
        self.error = error = self._braked(error)
        status = status_of(error)
        if status == 500:
            fields = {"request_id": self.request_id, "route": self.route}
            logger.error("a request failed", exc_info=error, extra={"fields": fields})
        if status == 503:
            warn_of_store(error)
        self.set_status(status)
        if status == 503 or isinstance(error, errors.StillInProgress):
            self.set_header("Retry-After", RETRY_AFTER)
        if isinstance(error, TooManyRequests):
            self.set_header("Retry-After", str(error.retry_after))
        if status == 401:
            self.set_header("WWW-Authenticate", 'ApiKey realm="orderfood"')
        if status == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        details = error.errors if isinstance(error, Refusal) else ()
        answer = wire.error_json(status, message_of(error, status), self.request_id, details)
        if isinstance(error, errors.PriceChanged):
            answer["quote"] = wire.quote_json(error.lines, error.coupon_code, error.prices)
        self.write_json(answer)

    def log_exception(self, *args: object) -> None:
        """Nothing: write_failure logs what is a defect, the access log the rest."""

    def on_finish(self) -> None:
        self._end()
        # its traceback leads back here: a cycle that would keep the body, too
        self.error = None
        self._body.clear()

    def on_connection_close(self) -> None:
        super().on_connection_close()  # ends who still waits for the body
        if self.in_flight and not self._body_complete:
            if not self._headers_written:
                self.set_status(499, "Client Closed Request")
            self._end()
            self.log()

    def _end(self) -> None:
        if self.in_flight:
            self.in_flight = False
            self.context.active -= 1

    def log(self) -> None:
        """Tells how the request has ended: once for each that began."""
        if self._logged:
            return
        self._logged = True
        self.context.observer.end(
            self.method,
            self.route,
            self.get_status(),
            self.request.request_time(),
            self.request_id,
            self.user.id if self.user else None,
            self.reason,
            self._received,
            self._sent(),
        )

    @property
    def reason(self) -> str | None:
        """Why it is not answered as it wished; None when it is."""
        return None if self.error is None else reason_of(self.error)

    def _sent(self) -> int:
        """Bytes of the answer's body."""
        if self.method == "HEAD":
            return 0
        return int(self._headers.get("Content-Length", 0))


def is_guess(error: BaseException) -> bool:
    """Whether it is the refusal of a key or a coupon that does not exist."""
    if isinstance(error, errors.KeyRefused):
        return error.reason == "wrong_key"
    return isinstance(error, errors.UnknownCoupon)


def warn_of_store(error: BaseException) -> None:
    """Says once in a while why the store fails: the client is not told, and each of many requests
    would say the same."""
    text = str(error)
    now = time.monotonic()
    if now - _warned.get(text, float("-inf")) >= WARN_SECONDS:
        if len(_warned) >= MAX_WARNED:
            _warned.clear()
        _warned[text] = now
        logger.warning("the store failed: %s", text)


_warned: dict[str, float] = {}


ALLOWED_HEADERS = (
    "api_key, x-api-key, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
    "x-request-id, traceparent, tracestate"
)
"""What a browser may send: what the API reads, and what front ends' libraries add by themselves."""


# --- the routes ---


class NotFoundHandler(ApiHandler):
    """Whatever no route takes, by whichever method."""

    def _check_route(self) -> None:
        raise HTTPError(404)

    def is_preflight(self) -> bool:
        return False

    def write_failure(self, error: BaseException) -> None:
        super().write_failure(error if isinstance(error, TooManyRequests) else HTTPError(404))


class EverythingHandler(ApiHandler):
    """OPTIONS *: what the server as a whole can do (RFC 9110, 9.3.7)."""

    route = "*"

    @classmethod
    @cache
    def methods(cls) -> tuple[str, ...]:
        return ("GET", "HEAD", "POST", "OPTIONS")

    def _check_route(self) -> None:
        if self.method != "OPTIONS":
            raise HTTPError(404)


class ProductsHandler(ApiHandler):
    """The menu."""

    route = "/api/product"

    async def on_get(self) -> None:
        snapshot = await self.context.shop.catalogue.get()
        self.write_encoded(snapshot.menu)


class ProductHandler(ApiHandler):
    """One product of the menu."""

    route = "/api/product/:productId"

    async def on_get(self, id_: str) -> None:
        product_id = parse_product_id(id_)
        if product_id is None:
            error = FieldError("productId", "must be a canonical decimal int64")
            raise InvalidRequest("path", "the product id is not valid", (error,))
        snapshot = await self.context.shop.catalogue.get()
        encoded = snapshot.encoded(str(product_id))
        if encoded is None:
            raise HTTPError(404)
        self.write_encoded(encoded)


class BasketHandler(ApiHandler):
    """What routes that take a basket share."""

    def body(self) -> bytes:
        """The JSON in the body, without a byte order mark before it."""
        return bytes(self._body).removeprefix(codecs.BOM_UTF8)

    @property
    def known_user(self) -> User:
        """The user, who is known once the head has been checked."""
        assert self.user is not None
        return self.user


class OrdersHandler(BasketHandler):
    """Placing an order, and listing one's own."""

    route = "/api/order"
    scopes: ClassVar[dict[str, str]] = {"POST": CREATE_ORDER, "GET": READ_ORDER}

    def check_idempotency_key(self) -> None:
        key = self._idempotency_key()
        if key is not None and not (len(key) <= 255 and _VISIBLE.fullmatch(key)):
            error = FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
            raise InvalidRequest("idempotency_key", "the Idempotency-Key is not valid", (error,))

    def _idempotency_key(self) -> str | None:
        return self.request.headers.get("Idempotency-Key")

    async def on_post(self) -> None:
        shop, key = self.context.shop, self._idempotency_key()
        basket, total = wire.parse_order(self.body())
        order = await service.place_order(shop, self.known_user, basket, key, total)
        self.write_json(wire.order_json(order))

    async def on_get(self) -> None:
        query = self.request.query
        limit = parse_limit(query_values(query, "limit"))
        cursor = only_value("cursor", query_values(query, "cursor"))
        orders, following = await service.list_orders(
            self.context.shop, self.known_user, limit, cursor
        )
        page: dict[str, object] = {"orders": [wire.order_json(order) for order in orders]}
        self.write_json(page if following is None else page | {"nextCursor": following})


class OrderHandler(BasketHandler):
    """One of the user's own orders."""

    route = "/api/order/:orderId"
    scopes: ClassVar[dict[str, str]] = {"GET": READ_ORDER}

    async def on_get(self, id_: str) -> None:
        order = await service.get_order(self.context.shop, self.known_user, id_)
        self.write_json(wire.order_json(order))


class QuoteHandler(BasketHandler):
    """What a basket would cost."""

    route = "/api/order/quote"
    scopes: ClassVar[dict[str, str]] = {"POST": CREATE_ORDER}

    async def on_post(self) -> None:
        basket = wire.parse_basket(self.body())
        quoted = await service.quote_for(self.context.shop, self.known_user, basket)
        code = quoted.coupon.code if quoted.coupon else None
        self.write_json(wire.quote_json(quoted.lines, code, quoted.prices))


class CancelHandler(BasketHandler):
    """Taking an order back."""

    route = "/api/order/:orderId/cancel"
    takes_body = False
    scopes: ClassVar[dict[str, str]] = {"POST": CREATE_ORDER}

    async def on_post(self, id_: str) -> None:
        order = await service.cancel_order(self.context.shop, self.known_user, id_)
        self.write_json(wire.order_json(order))


class ContractHandler(ApiHandler):
    """The contract, for machines."""

    route = "/openapi.json"

    async def on_get(self) -> None:
        self.write_encoded(contract.contract())


class DocsHandler(ApiHandler):
    """The contract, for people."""

    route = "/docs"

    async def on_get(self) -> None:
        self.set_header("Content-Security-Policy", contract.CONTENT_SECURITY_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.write_encoded(contract.page(), "text/html; charset=utf-8")


class DocsAssetHandler(ApiHandler):
    """A file of the page."""

    route = "/docs/:file"

    async def on_get(self, name: str) -> None:
        found = contract.asset(name)
        if found is None:
            raise HTTPError(404)
        self.write_encoded(*found)


class HealthHandler(ApiHandler):
    """Whether the process lives."""

    route = "/health"
    limited = False

    async def on_get(self) -> None:
        self.write_json({"status": "healthy"})


class ReadyHandler(ApiHandler):
    """Whether requests should be sent here."""

    route = "/ready"
    limited = False

    async def on_get(self) -> None:
        reason = await not_ready(self.context)
        if reason is None:
            self.write_json({"status": "ready", **degraded(self.context)})
            return
        self.set_status(503)
        self.set_header("Retry-After", RETRY_AFTER)
        self.write_json(wire.error_json(503, reason, self.request_id))


class MetricsHandler(ApiHandler):
    """What was counted, for Prometheus."""

    route = "/metrics"
    limited = False

    async def on_get(self) -> None:
        metrics = self.context.observer.metrics
        if metrics is None:
            raise HTTPError(404)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.set_header("Cache-Control", "no-store")
        self._shared = await metrics.expose()


async def not_ready(context: Context) -> str | None:
    """Why no requests should be sent here; None when they should."""
    if context.draining:
        return "the server is draining"
    return await context.readiness.get(lambda: _probe(context))


async def _probe(context: Context) -> str | None:
    try:
        version = await context.shop.storage.get_schema_version()
        snapshot = await context.shop.catalogue.refresh()
    except stored.SchemaOutdated:
        version = 0
    except stored.StorageError:
        return "the store does not answer"
    if version < SCHEMA_VERSION:
        return "the schema is older than the code: run database-migration"
    return None if snapshot.products else "the store holds no products: run database-load"


def query_values(query: str, name: str) -> list[str]:
    """The values of a query parameter, of which there may be any number beside others; what is no
    UTF-8 becomes text that no limit or cursor equals."""
    fields = (field.partition("=") for field in query.split("&"))
    return [unquote_plus(value) for field, _, value in fields if _names(field, name)]


def _names(field: str, name: str) -> bool:
    return field == name or ("%" in field and unquote_plus(field) == name)


def degraded(context: Context) -> dict[str, str]:
    """What keeps orders from being stored while reads work. Such a server stays ready: taken out of
    its Service it would serve nobody, and no other one fares better."""
    obstacle = context.watch and context.watch.obstacle
    return {"degraded": obstacle.value} if obstacle else {}


def only_value(name: str, values: list[str]) -> str | None:
    """The value of a query parameter; None when it is absent. Raises InvalidRequest for two."""
    if len(values) > 1:
        error = FieldError(name, "must be given once")
        raise InvalidRequest("query", f"{name} is given more than once", (error,))
    return values[0] if values else None


def parse_limit(values: list[str], default: int = 20, most: int = 100) -> int:
    """How many orders a page has. Raises InvalidRequest."""
    text = only_value("limit", values)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= most:
        error = FieldError("limit", f"must be 1 to {most} in plain digits")
        raise InvalidRequest("query", "the limit is not valid", (error,))
    return int(text)
