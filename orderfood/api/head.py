"""Checks of a request's head, before its body has come.

The order is part of the API: rate of who has no good key (429), route and method (404, 405), key
(401, 403), rate (429), media type (415), announced size (413), Idempotency-Key (400).
"""

from __future__ import annotations

import re

from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from orderfood.api.cookies import is_same_origin
from orderfood.api.failures import MAX_BODY, BodyTooLarge, MethodNotAllowed, NotFound, is_guess
from orderfood.api.media import check_media
from orderfood.api.ratelimit import RateLimiter
from orderfood.api.request import Request
from orderfood.api.routing import EVERYTHING, UNKNOWN, Route
from orderfood.observe.addresses import client_address
from orderfood.server.bounded_cache import bounded_cache
from orderfood.server.exchange import Exchange
from orderfood.server.heads import RequestHeaders
from orderfood.shop import orders as shop_orders
from orderfood.shop.guests import guest_of, is_guest
from orderfood.shop.refusals import FieldError, InvalidRequest, KeyRefused, TooManyRequests

_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def check_host(start_line: RequestStartLine, headers: HTTPHeaders, exchange: Exchange) -> None:
    """Validates Host (RFC 9112, 3.2). Raises HTTPInputError."""
    lowered = headers.lowered if isinstance(headers, RequestHeaders) else headers
    if not _is_certainly_good(lowered.get("host") or ""):
        path = start_line.path.partition("?")[0]
        HTTPServerRequest(  # raises what Tornado raises
            connection=exchange, start_line=start_line._replace(path=path), headers=headers
        )


@bounded_cache
def _is_certainly_good(host: str) -> bool:
    return bool(_HOST.fullmatch(host))


async def check_head(request: Request) -> Route:
    """Runs all checks and returns the route; sets the request's user and allowance. Raises
    NotFound, MethodNotAllowed, BodyTooLarge, Refusal."""
    limiter = request.context.limiter
    if limiter is not None and request.resource.limited:
        await _count(request, limiter)
    route = _route_of(request)
    if route.scope is not None:
        await authenticate(request, route.scope)
    if limiter is not None:
        _check_allowance(request)
    if route.limits_guests and request.user is not None and is_guest(request.user):
        _count_guest(request)
    if request.method == "POST":
        _check_body_head(request, route)
    return route


def _route_of(request: Request) -> Route:
    route, resource = request.target.route, request.resource
    if route is not None:
        return route
    if resource is UNKNOWN or resource.label == EVERYTHING:
        raise NotFound
    raise MethodNotAllowed(resource.methods)


async def authenticate(request: Request, scope: str) -> None:
    """Sets the request's user, by its key or by its cookie. Raises KeyMissing, KeyRefused."""
    key, secret = request.key, request.guest_secret
    if request.method == "POST" and request.sent_key is None:
        by_cookie = key is not None or secret is not None
        if by_cookie and not is_same_origin(request.headers):
            raise cross_origin()
    if secret is None:
        request.user = await shop_orders.authenticate(request.shop, key, scope)
    elif scope in guest_scopes(request):
        request.user = guest_of(secret)
    else:
        raise no_guests()


def cross_origin() -> KeyRefused:
    """The refusal of a request by cookie that no page of this origin sends."""
    return KeyRefused("cross_origin", "a request by cookie must come from a page of this origin")


def guest_scopes(request: Request) -> tuple[str, ...]:
    """What a guest may do: where no guest may order any more, those who did still read."""
    return GUEST_SCOPES if request.context.settings.guest_orders else GUEST_SCOPES[:1]


def no_guests() -> KeyRefused:
    """The refusal of a guest where GUEST_ORDERS is false."""
    return KeyRefused("no_guests", "the shop takes no orders from guests")


GUEST_SCOPES = (shop_orders.READ_ORDER, shop_orders.CREATE_ORDER)


async def _count(request: Request, limiter: RateLimiter) -> None:
    """Counts the request for its valid key, else for its address. An address over the limit is
    refused before anything else is checked, so that it learns nothing. A preflight, which has no
    key, is not counted. Raises TooManyRequests."""
    if _is_preflight(request):
        request.allowance = limiter.peek(address_of(request))
        return
    key = request.counted_key
    if key and await shop_orders.is_good_key(request.shop, key):
        request.allowance = limiter.count(f"key {shop_orders.hash_key(key)}")
        return
    request.allowance = limiter.count(address_of(request))
    _check_allowance(request)


def _count_guest(request: Request) -> None:
    """Counts what a guest places or cancels for its address. Raises TooManyRequests."""
    limiter = request.context.guests
    left = None if limiter is None else limiter.count(address_of(request))
    if left is not None and not left.allowed:
        raise TooManyRequests("guest_rate_limit", "too many orders", retry_after=left.reset)


def _is_preflight(request: Request) -> bool:
    """Whether this is a CORS preflight."""
    return request.method == "OPTIONS" and "OPTIONS" in request.resource.routes


def _check_allowance(request: Request) -> None:
    left = request.allowance
    if left is not None and not left.allowed and not _is_preflight(request):
        raise TooManyRequests("rate_limit", "too many requests", retry_after=left.reset)


def address_of(request: Request) -> str:
    """The client's address: the peer's, or behind trusted proxies what they forward."""
    headers = request.headers
    trusted = request.context.settings.trusted_proxies
    return client_address(
        request.peer, headers.get("x-forwarded-for"), headers.get("forwarded"), trusted
    )


def throttled(request: Request, error: BaseException) -> BaseException:
    """The error to answer with: TooManyRequests when ``error`` refuses a guess and its address is
    over ABUSE_LIMIT, else ``error`` itself. Counts the guess."""
    guesses = request.context.guesses
    if guesses is None or not is_guess(error):
        return error
    left = guesses.count(address_of(request))
    if left.allowed:
        return error
    return TooManyRequests("abuse_limit", "too many guesses", retry_after=left.reset)


def _check_body_head(request: Request, route: Route) -> None:
    check_media(request.headers, takes_body=route.reads_body)
    if announced_length(request) > MAX_BODY:
        raise BodyTooLarge
    if route.takes_idempotency_key and "idempotency-key" in request.headers:
        _check_idempotency_key(request.headers["idempotency-key"])


def _check_idempotency_key(key: str) -> None:
    if not _VISIBLE.fullmatch(key):
        error = FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
        raise InvalidRequest("idempotency_key", "the Idempotency-Key is not valid", (error,))


def announced_length(request: Request) -> int:
    """Bytes of the body by Content-Length, which the server has validated; 0 where it is
    chunked."""
    return int(request.headers.get("content-length") or 0)


def body_follows(request: Request) -> bool:
    """Whether a body is announced."""
    return "transfer-encoding" in request.headers or announced_length(request) > 0


def client_waits(request: Request) -> bool:
    """Whether the client waits for 100 Continue before it sends its body (RFC 9110, 10.1.1)."""
    expects = request.headers.get("expect", "").lower() == "100-continue"
    return expects and request.target.version == "HTTP/1.1"
