"""Endpoints of orders: place, quote, list, get, cancel."""

from __future__ import annotations

import base64
import codecs
import re
import struct
import uuid
from datetime import UTC, datetime, timedelta

from orderfood.api.answers import Answer, json_answer, versioned_answer
from orderfood.api.parsing import fingerprint, parse_basket, parse_order
from orderfood.api.request import Request
from orderfood.api.wire import order_json, quote_json
from orderfood.shop import orders as shop_orders
from orderfood.shop.orders import IdempotentRequest
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Cursor

MOST_ON_A_PAGE = 100
USUAL_ON_A_PAGE = 20


async def place(request: Request) -> Answer:
    """POST /api/order: places an order, once for each Idempotency-Key."""
    basket, total = parse_order(json_of(request))
    key = request.headers.get("idempotency-key")
    idempotent = None if key is None else IdempotentRequest(key, fingerprint(basket))
    order = await shop_orders.place_order(
        request.shop, request.known_user, basket, idempotent, total
    )
    return json_answer(order_json(order))


async def quote(request: Request) -> Answer:
    """POST /api/order/quote: what a basket would cost; nothing is stored."""
    basket = parse_basket(json_of(request))
    quoted = await shop_orders.quote_for(request.shop, request.known_user, basket)
    code = quoted.coupon.code if quoted.coupon else None
    return json_answer(quote_json(quoted.lines, code, quoted.prices))


async def list_own(request: Request) -> Answer:
    """GET /api/order: a page of the user's own orders, newest first, and the next cursor."""
    limit = parse_limit(request.query_values("limit"), USUAL_ON_A_PAGE, MOST_ON_A_PAGE)
    orders, following = await shop_orders.list_orders(
        request.shop, request.known_user, limit, cursor_of(request)
    )
    page: dict[str, object] = {"orders": [order_json(order) for order in orders]}
    return json_answer(page | ({"nextCursor": encode_cursor(following)} if following else {}))


async def get_own(request: Request) -> Answer:
    """GET /api/order/{orderId}: one of the user's own orders."""
    order_id = request.parameters["orderId"]
    order = await shop_orders.get_order(request.shop, request.known_user, order_id)
    return versioned_answer(order_json(order), order.version, request.headers)


async def cancel_own(request: Request) -> Answer:
    """POST /api/order/{orderId}/cancel: cancels one of the user's own orders."""
    order_id, version = request.parameters["orderId"], expected_version(request)
    order = await shop_orders.cancel_order(request.shop, request.known_user, order_id, version)
    return json_answer(order_json(order))


_VERSION = re.compile(r'"(0|[1-9][0-9]{0,8})"')
_ANY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def expected_version(request: Request) -> int | None:
    """The version that If-Match names; None without it, or for any. A tag that no order ever has
    is a version that none has. Raises InvalidRequest for what is no tag (RFC 9110, 8.8.3)."""
    sent = request.headers.get("if-match")
    if sent is None or sent.strip() == "*":
        return None
    version = _VERSION.fullmatch(sent.strip())
    if version is not None:
        return int(version[1])
    if _ANY_TAG.fullmatch(sent.strip()):
        return NO_VERSION
    error = FieldError("If-Match", "must be one version in quotes, as ETag has it")
    raise InvalidRequest("if_match", "If-Match is not valid", (error,))


NO_VERSION = -1


def json_of(request: Request) -> bytes:
    """The JSON in the body, without a byte order mark before it."""
    return request.body.removeprefix(codecs.BOM_UTF8)


def only_value(name: str, values: list[str]) -> str | None:
    """The value of a query parameter; None when it is absent. Raises InvalidRequest for two."""
    if len(values) > 1:
        error = FieldError(name, "must be given once")
        raise InvalidRequest("query", f"{name} is given more than once", (error,))
    return values[0] if values else None


def parse_limit(values: list[str], usual: int, most: int) -> int:
    """How many orders a page has. Raises InvalidRequest."""
    text = only_value("limit", values)
    if text is None:
        return usual
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= most:
        error = FieldError("limit", f"must be 1 to {most} in plain digits")
        raise InvalidRequest("query", "the limit is not valid", (error,))
    return int(text)


def cursor_of(request: Request) -> Cursor | None:
    """The cursor that the page begins behind. Raises InvalidRequest."""
    cursor = only_value("cursor", request.query_values("cursor"))
    return None if cursor is None else decode_cursor(cursor)


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
