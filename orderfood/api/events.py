"""Endpoints of the feed: what happens to orders, as server-sent events or as a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from orderfood.api.answers import Answer
from orderfood.api.orders import only_value
from orderfood.api.request import Request
from orderfood.api.wire import encode_json, event_json
from orderfood.server.accept import prefers_json
from orderfood.server.bodies import Headers
from orderfood.shop import orders as shop_orders
from orderfood.shop.followers import Follower
from orderfood.shop.orders import MANAGE_ORDERS, READ_ORDER
from orderfood.shop.pricing import MAX_INT64
from orderfood.shop.refusals import FieldError, InvalidRequest
from orderfood.shop.ring import Audience
from storage.errors import OrderNotFound
from storage.records import EventPage, OrderEvent

MOST_ON_A_PAGE = 500
PAGE_BYTES = 1024 * 1024
"""Bytes of events after which a page ends before that."""

PORTION = 25
"""Events that are read for a page at once; others get their turn in between."""

STREAM_HEADERS = Headers(
    (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store, no-transform"),
        ("X-Accel-Buffering", "no"),
    )
)


class ServerSentEvents:
    """The feed as text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html).
    Each has data, for browsers pass over those that have none."""

    def event(self, event: OrderEvent) -> bytes:
        """An event: its id is where a client goes on that has seen it."""
        return b"id: %d\nevent: order\ndata: %b\n\n" % (event.seq, encode_json(event_json(event)))

    def beat(self, position: int) -> bytes:
        """A beat, with the place in the log up to which the client has everything."""
        return b'id: %d\nevent: beat\ndata: {"position":%d}\n\n' % (position, position)

    def reset(self, position: int) -> bytes:
        """Says that the client has to list again: it goes on behind this place."""
        return b'id: %d\nevent: reset\ndata: {"position":%d}\n\n' % (position, position)

    def retry(self, milliseconds: int) -> bytes:
        """When to come back."""
        return b"retry: %d\n\n" % milliseconds


async def follow_own(request: Request) -> Answer:
    """GET /api/event: events of the user's own orders, or of one of them."""
    user = request.known_user
    after = _parse_after(request)
    order_id = only_value("order", request.query_values("order"))
    if order_id is None:
        return await _follow(request, READ_ORDER, Audience(user.id), after)
    order = await shop_orders.get_order(request.shop, user, _check_id(order_id))
    return await _follow(request, READ_ORDER, Audience(user.id, order.id), after)


async def follow_all(request: Request) -> Answer:
    """GET /api/shop/event: events of all orders."""
    return await _follow(request, MANAGE_ORDERS, Audience(), _parse_after(request))


def _check_id(text: str) -> str:
    try:
        shop_orders.parse_order_id(text)
    except OrderNotFound:
        error = FieldError("order", "must be the id of an order")
        raise InvalidRequest("query", "the order is not valid", (error,)) from None
    return text


def _parse_after(request: Request) -> int | None:
    """The number behind which to begin; None for now. Last-Event-ID, which a client sends that
    comes back, counts more than the URL it keeps. Raises InvalidRequest."""
    in_url = only_value("after", request.query_values("after"))
    in_head = request.headers.get("last-event-id")
    after = None if in_url is None else _parse_number("after", in_url)
    return _parse_number("Last-Event-ID", in_head) if in_head else after


def _parse_number(name: str, text: str) -> int:
    if re.fullmatch("[0-9]{1,19}", text) and int(text) <= MAX_INT64:
        return int(text)
    error = FieldError(name, "must be the number of an event, in plain digits")
    raise InvalidRequest("query", f"{name} is not valid", (error,))


async def _follow(request: Request, scope: str, audience: Audience, after: int | None) -> Answer:
    """A page, or a stream. Raises TooManyRequests and FeedFull."""
    if prefers_json(request.headers.get("accept"), "text/event-stream"):
        return await _page(request, audience, after)
    hub, user_id = request.context.feed, request.known_user.id
    assert hub is not None
    hub.check_room(user_id)
    place = await hub.find_place(after)
    hub.check_room(user_id)  # others may have come meanwhile; from here on nobody can
    follower = Follower(hub, user_id, audience, place, _still_valid(request, scope))
    return Answer(b"", 200, STREAM_HEADERS, stream=follower)


def _still_valid(request: Request, scope: str) -> Callable[[], bool]:
    """What says whether the client may still follow: a key may be taken away, a guest not."""
    key = request.key
    if key is None:
        return _always
    hashed = shop_orders.hash_key(key)
    return partial(shop_orders.holds_scope, request.shop, hashed, request.known_user.id, scope)


def _always() -> bool:
    return True


async def _page(request: Request, audience: Audience, after: int | None) -> Answer:
    user_id, order_id = audience
    read = partial(request.shop.storage.read_events, user_id=user_id, order_id=order_id)
    page = await read(after, PORTION)
    if after is not None and not page.follows(after):
        return Answer(b'{"events":[],"position":%d,"reset":true}' % page.last)
    events = _encoded(page)
    while page.events and page.position < page.last and _has_room(events):
        page = await read(page.position, min(PORTION, MOST_ON_A_PAGE - len(events)))
        events += _encoded(page)
    return Answer(b'{"events":[%b],"position":%d}' % (b",".join(events), page.position))


def _encoded(page: EventPage) -> list[bytes]:
    return [encode_json(event_json(event)) for event in page.events]


def _has_room(events: list[bytes]) -> bool:
    return len(events) < MOST_ON_A_PAGE and sum(map(len, events)) < PAGE_BYTES
