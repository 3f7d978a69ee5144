"""JSON and records: pydantic models for what comes in, encoders for what goes out."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_core import from_json, to_json

from orderfood.errors import FieldError, InvalidRequest
from orderfood.pricing import MAX_LINES, Basket, Item, Prices
from storage.records import Order, OrderLine, Product

JSON_TYPE = "application/json; charset=utf-8"

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LONGEST_INT = 20
"""Digits and sign of the widest int64; more is out of range whatever they are."""

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# --- what comes in ---


def _check_storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a NUL or a lone surrogate")
    return text


Text = Annotated[StrictStr, AfterValidator(_check_storable)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class ItemRequest(_Model):
    """One line of an order: no upper bound here, for too many is not malformed."""

    product_id: Annotated[Text, Field(min_length=1, alias="productId")]
    quantity: Annotated[StrictInt, Field(ge=1)]


class OrderRequest(_Model):
    """The body of POST /api/order and of /api/order/quote."""

    items: Annotated[list[ItemRequest], Field(min_length=1)]
    coupon_code: Annotated[Text | None, Field(alias="couponCode")] = None

    def basket(self) -> Basket:
        """The request in the shop's own terms; an empty coupon code is none."""
        items = tuple(Item(item.product_id, item.quantity) for item in self.items)
        return Basket(items, self.coupon_code or None)


class LongOrderRequest(OrderRequest):
    """One with more lines than an order may have: its first fault is enough, for a body can hold
    half a million."""

    items: Annotated[list[ItemRequest], Field(min_length=1), FailFast()]


def _model_for(parsed: object) -> type[OrderRequest]:
    items = parsed.get("items") if isinstance(parsed, dict) else None
    return LongOrderRequest if isinstance(items, list) and len(items) > MAX_LINES else OrderRequest


def parse_basket(body: bytes) -> Basket:
    """The basket in a request's body. Raises InvalidRequest when it is not JSON (RFC 8259, in
    UTF-8) or not of the schema."""
    parsed = parse_json(body)
    try:
        return _model_for(parsed).model_validate(parsed).basket()
    except ValidationError as error:
        errors = tuple(_field_errors(error))
        message = "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors[:3])
        raise InvalidRequest("schema", message, errors) from None


def parse_json(body: bytes) -> object:
    """The value in a JSON text. Raises InvalidRequest; the parser's own words stay inside."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # an integer of thousands of digits is JSON, but more than the fast parser reads
        if "number out of range" not in str(error):
            raise _not_json() from None
    return _parse_huge_numbers(body)


def _parse_huge_numbers(body: bytes) -> object:
    try:
        return json.loads(body.decode(), parse_int=_clip_int, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _not_json() from None


def _clip_int(digits: str) -> int:
    return int(digits[: _LONGEST_INT + 1])


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _not_json() -> InvalidRequest:
    return InvalidRequest("json", "the body is not JSON")


_MESSAGES = {
    "missing": "is required",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "int_type": "must be an integer",
    "greater_than_equal": "must be at least 1",
    "value_error": "holds a character that cannot be stored",
}


def _field_errors(error: ValidationError) -> Iterable[FieldError]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = _MESSAGES.get(detail["type"], "is not valid")
        field = _field_path(detail["loc"])
        yield FieldError(field, message if field else f"the body {message}")


def _field_path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def fingerprint(basket: Basket) -> str:
    """Equal exactly for equal requests, over processes and versions: the hex SHA-256 of the
    members that the schema names, lines in the order in which they were sent."""
    lines = [[item.product_id, item.quantity] for item in basket.items]
    return hashlib.sha256(dumps([lines, basket.coupon_code]).encode()).hexdigest()


# --- what goes out ---


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body that is ready to send, with its strong ETag (RFC 9110, 8.8.3), and perhaps a second
    one that is compressed. ``varies`` when there are two, ``coding`` names what this one is in."""

    body: bytes
    etag: str
    gzipped: Encoded | None = None
    varies: bool = False
    coding: str | None = None
    heads: dict[object, bytes] = field(default_factory=dict, compare=False, repr=False)
    """What is sent before it, by whoever knows how to make it."""


MIN_GZIPPED = 1400
"""Bytes from which on a body is also kept compressed: less fits into one packet anyway."""


def encode_bytes(body: bytes) -> Encoded:
    """A body; the ETag is a digest of it, so every replica answers the same."""
    if len(body) < MIN_GZIPPED:
        return Encoded(body, _etag(body))
    # level 6 is gzip's own default; no time in it, so that all replicas make the same
    packed = gzip.compress(body, compresslevel=6, mtime=0)
    gzipped = Encoded(packed, _etag(packed), varies=True, coding="gzip")
    return Encoded(body, _etag(body), gzipped, varies=True)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def encoded(text: str) -> Encoded:
    """A text as a body, see encode_bytes."""
    return encode_bytes(text.encode())


def money(cents: int) -> float:
    """Cents as the JSON number with at most two decimals that a client sees.

    Exact as printed: below 2**53 cents the shortest text that reads back as this float is the
    decimal itself.
    """
    return cents / 100


def product_json(product: Product) -> dict[str, object]:
    """A Product of the contract; what is not known of it is absent."""
    answer: dict[str, object] = {
        "id": str(product.id),
        "name": product.name,
        "price": money(product.price),
        "category": product.category,
    }
    if product.description is not None:
        answer["description"] = product.description
    if product.image is not None:
        answer["image"] = product.image
    if product.allergens is not None:
        answer["allergens"] = product.allergens
    return answer


def encode_product(product: Product) -> Encoded:
    """One product, ready to send."""
    return encoded(dumps(product_json(product)))


def encode_products(products: Sequence[Product]) -> Encoded:
    """The menu, ready to send."""
    return encode_bytes(b"[" + encode_product_list(products) + b"]")


def encode_product_list(products: Sequence[Product]) -> bytes:
    """A part of the menu: what stands between its brackets."""
    return dumps([product_json(product) for product in products])[1:-1].encode()


def quote_json(
    lines: Sequence[OrderLine], coupon_code: str | None, prices: Prices | Order
) -> dict[str, object]:
    """What an order and a quote have in common: lines, coupon and prices."""
    coupon = {"couponCode": coupon_code} if coupon_code is not None else {}
    return {
        "items": [{"productId": str(line.product.id), "quantity": line.quantity} for line in lines],
        "products": [product_json(line.product) for line in lines],
        **coupon,
        "subtotal": money(prices.subtotal),
        "discounts": money(prices.discounts),
        "total": money(prices.total),
    }


def order_json(order: Order) -> dict[str, object]:
    """An Order of the contract; createdAt is RFC 3339 in UTC with its offset."""
    return {
        "id": str(order.id),
        "status": order.status.value,
        "version": order.version,
        **quote_json(order.lines, order.coupon_code, order),
        "createdAt": order.created_at.isoformat(timespec="microseconds"),
    }


def error_json(
    status: int, message: str, request_id: str | None = None, errors: Iterable[FieldError] = ()
) -> dict[str, object]:
    """The one shape of every error."""
    answer: dict[str, Any] = {"code": status, "type": "error", "message": message}
    if request_id:
        answer["requestId"] = request_id
    details = [{"field": error.field, "message": error.message} for error in errors]
    return answer | ({"errors": details} if details else {})


def encode_json(value: object) -> bytes:
    """A JSON body in UTF-8: byte for byte what json makes of it, in a fifth of the time."""
    return to_json(value)
