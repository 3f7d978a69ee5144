"""Endpoints of orders: place, quote, list, get, cancel."""

from __future__ import annotations

import base64
import codecs
import re
import struct
import uuid
from datetime import UTC, datetime, timedelta

from orderfood.api.answers import Answer, json_answer
from orderfood.api.request import Request
from orderfood.api.wire import fingerprint, order_json, parse_basket, parse_order, quote_json
from orderfood.shop import orders as shop_orders
from orderfood.shop.orders import IdempotentRequest
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Cursor

MOST_ON_A_PAGE = 100
USUAL_ON_A_PAGE = 20


async def place(request: Request) -> Answer:
    """POST /api/order: places an order, once for each Idempotency-Key."""
    basket, total = parse_order(_json_of(request))
    key = request.headers.get("idempotency-key")
    idempotent = None if key is None else IdempotentRequest(key, fingerprint(basket))
    order = await shop_orders.place_order(
        request.shop, request.known_user, basket, idempotent, total
    )
    return json_answer(order_json(order))


async def quote(request: Request) -> Answer:
    """POST /api/order/quote: what a basket would cost; nothing is stored."""
    basket = parse_basket(_json_of(request))
    quoted = await shop_orders.quote_for(request.shop, request.known_user, basket)
    code = quoted.coupon.code if quoted.coupon else None
    return json_answer(quote_json(quoted.lines, code, quoted.prices))


async def list_own(request: Request) -> Answer:
    """GET /api/order: a page of the user's own orders, newest first, and the next cursor."""
    limit = parse_limit(request.query_values("limit"))
    cursor = only_value("cursor", request.query_values("cursor"))
    after = None if cursor is None else decode_cursor(cursor)
    orders, following = await shop_orders.list_orders(
        request.shop, request.known_user, limit, after
    )
    page: dict[str, object] = {"orders": [order_json(order) for order in orders]}
    return json_answer(page | ({"nextCursor": encode_cursor(following)} if following else {}))


async def get_own(request: Request) -> Answer:
    """GET /api/order/{orderId}: one of the user's own orders."""
    order_id = request.parameters["orderId"]
    return json_answer(
        order_json(await shop_orders.get_order(request.shop, request.known_user, order_id))
    )


async def cancel_own(request: Request) -> Answer:
    """POST /api/order/{orderId}/cancel: cancels one of the user's own orders."""
    order_id = request.parameters["orderId"]
    return json_answer(
        order_json(await shop_orders.cancel_order(request.shop, request.known_user, order_id))
    )


def _json_of(request: Request) -> bytes:
    """The JSON in the body, without a byte order mark before it."""
    return request.body.removeprefix(codecs.BOM_UTF8)


def only_value(name: str, values: list[str]) -> str | None:
    """The value of a query parameter; None when it is absent. Raises InvalidRequest for two."""
    if len(values) > 1:
        error = FieldError(name, "must be given once")
        raise InvalidRequest("query", f"{name} is given more than once", (error,))
    return values[0] if values else None


def parse_limit(values: list[str]) -> int:
    """How many orders a page has. Raises InvalidRequest."""
    text = only_value("limit", values)
    if text is None:
        return USUAL_ON_A_PAGE
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_ON_A_PAGE:
        error = FieldError("limit", f"must be 1 to {MOST_ON_A_PAGE} in plain digits")
        raise InvalidRequest("query", "the limit is not valid", (error,))
    return int(text)


_CURSOR = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_cursor(cursor: Cursor) -> str:
    """A cursor as an opaque text for a URL: base64 of its time and its id."""
    microseconds = (cursor.created_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_CURSOR.pack(microseconds, cursor.id.bytes)).decode()


def decode_cursor(text: str) -> Cursor:
    """The cursor that encode_cursor made this text of. Raises InvalidRequest for any other text."""
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        microseconds, id_ = _CURSOR.unpack(packed)
        if microseconds < 0:
            raise ValueError("before the first order")
        return Cursor(_EPOCH + microseconds * _MICROSECOND, uuid.UUID(bytes=id_))
    except (ValueError, struct.error, OverflowError):
        error = FieldError("cursor", "is none that was given out")
        raise InvalidRequest("cursor", "the cursor is not valid", (error,)) from None
