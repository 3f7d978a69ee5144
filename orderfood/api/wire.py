"""JSON and records: pydantic models for what comes in, encoders for what goes out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    with_config,
)
from pydantic_core import ErrorDetails, PydanticCustomError, to_json
from typing_extensions import TypedDict

from orderfood.server.bodies import Encoded, encode_bytes
from orderfood.shop.pricing import MAX_LINES, Basket, Item, Prices, too_many_lines
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Order, OrderLine, Product

JSON_TYPE = "application/json; charset=utf-8"

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# --- what comes in ---

Text = Annotated[StrictStr, Field(pattern=r"^[^\x00]*$")]
"""Text without NUL, which Postgres cannot store. A lone surrogate is not valid JSON."""


@with_config(ConfigDict(extra="ignore", strict=True))
class ItemRequest(TypedDict):
    """One line of an order: no upper bound here, for too many is not malformed."""

    productId: Annotated[Text, Field(min_length=1)]
    quantity: Annotated[StrictInt, Field(ge=1)]


class BasketRequest(BaseModel):
    """The body of POST /api/order/quote. Its first line that is at fault is enough: a body can hold
    half a million."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    items: Annotated[list[ItemRequest], Field(min_length=1), FailFast()]
    coupon_code: Annotated[Text | None, Field(alias="couponCode")] = None

    def basket(self) -> Basket:
        """The request in the shop's own terms; an empty coupon code is none. Raises Unprocessable
        for more lines than are worth looking at."""
        if len(self.items) > MAX_LINES:
            raise too_many_lines()
        items = tuple(Item(item["productId"], item["quantity"]) for item in self.items)
        return Basket(items, self.coupon_code or None)


def _check_total(total: float) -> float:
    if not 0 <= total < float("inf") or (total < _EXACT and round(total * 100) / 100 != total):
        raise PydanticCustomError("money", "no amount of money")
    return total


_EXACT = 2**53 / 100
"""Below it a float shows whether it was written with two decimals. No order costs so much."""


class OrderRequest(BasketRequest):
    """The body of POST /api/order."""

    expected_total: Annotated[
        Annotated[StrictFloat, AfterValidator(_check_total)] | None, Field(alias="expectedTotal")
    ] = None


_FewItems = Annotated[list[ItemRequest], Field(min_length=1, max_length=MAX_LINES)]


class _SmallBasket(BasketRequest):
    """A basket of few lines: all of its faults are reported."""

    items: _FewItems


class _SmallOrder(OrderRequest):
    """The same for an order."""

    items: _FewItems


SMALL_BODY = 64 * 1024
"""Bytes of a body up to which all of its faults are reported."""


def parse_basket(body: bytes) -> Basket:
    """The basket in the body of a quote. Raises InvalidRequest when it is not JSON (RFC 8259, in
    UTF-8) or not of the schema, Unprocessable when it has too many lines."""
    return _parse(BasketRequest, body).basket()


def parse_order(body: bytes) -> tuple[Basket, int | None]:
    """The basket in the body of an order, and what the client expects it to cost, in cents. Raises
    as parse_basket."""
    order = _parse(OrderRequest, body)
    total = order.expected_total
    # more than any order costs is as good as the highest float, whose hundredfold is none
    return order.basket(), None if total is None else round(min(total, _EXACT) * 100)


R = TypeVar("R", bound=BasketRequest)


def _parse(model: type[R], body: bytes) -> R:
    """The validated body. Parses and validates in one step: members that the model does not name
    become no objects, which would be most of the cost of a body full of them. Raises
    InvalidRequest."""
    _refuse_lists_of_lists(body)
    try:
        request = model.model_validate_json(body)
    except ValidationError as error:
        fault = _faults(error)[0]
        if fault["type"] != "json_invalid":
            raise _not_of_the_schema(error, body) from None
        # an integer of thousands of digits is JSON, but more than the parser reads
        if "number out of range" not in fault["msg"] or not (clipped := _clip_numbers(body)):
            raise _not_json() from None
        return _parse(model, clipped)
    _refuse_constants(body)
    return request


def _clip_numbers(body: bytes) -> bytes | None:
    """The body with fewer digits where there are thousands, which is out of range whatever they
    are; None where there are none. (It shortens digits in texts as well, of which none is the name
    of anything.)"""
    alike, parts, seen = body.translate(_DIGITS_ALIKE), list[bytes](), 0
    while (start := alike.find(_THOUSANDS, seen)) >= 0:
        parts.append(body[seen : start + KEPT_DIGITS])
        run = _DIGITS.match(body, start)
        seen = run.end() if run else start
    return b"".join([*parts, body[seen:]]) if parts else None


def _refuse_constants(body: bytes) -> None:
    """Raises InvalidRequest for NaN and Infinity, which the parser accepts as numbers."""
    if any(name in body for name in _CONSTANTS):
        outside = _STRINGS.sub(b"", body)
        if any(name in outside for name in _CONSTANTS):
            raise _not_json()


def _refuse_lists_of_lists(body: bytes) -> None:
    """Each of half a million lists, one in the other, costs more than what a whole order does, and
    no order holds any."""
    if _nested(body) > MAX_LISTS and _nested(_STRINGS.sub(b"", body)) > MAX_LISTS:
        raise InvalidRequest("json", "the body holds too many lists within lists")


def _nested(body: bytes) -> int:
    """How many lists begin with a list, but for those with more than one blank between."""
    return sum(map(body.count, (b"[[", b"[ [", b"[\n[", b"[\t[", b"[\r[")))


MAX_LISTS = 50_000
"""Lists that begin with a list, in one body."""

KEPT_DIGITS = 25
"""More than an int64 has."""

_DIGITS_ALIKE = bytes.maketrans(b"0123456789", b"0" * 10)
_THOUSANDS = b"0" * 4000
_DIGITS = re.compile(rb"[0-9]+")
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Texts; one that does not end goes on to the end, so that it is looked at once."""

_CONSTANTS = (b"NaN", b"Infinity")


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _not_json() -> InvalidRequest:
    return InvalidRequest("json", "the body is not JSON")


def _not_of_the_schema(error: ValidationError, body: bytes) -> InvalidRequest:
    errors = tuple(_field_errors(_all_faults(error, body)))
    message = "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors[:3])
    return InvalidRequest("schema", message, errors)


def _all_faults(first: ValidationError, body: bytes) -> ValidationError:
    """All faults of a small body with no more lines than an order may have; of any other body the
    first fault alone."""
    if len(body) > SMALL_BODY:
        return first
    model = _SmallOrder if first.title == OrderRequest.__name__ else _SmallBasket
    try:
        model.model_validate_json(body)
    except ValidationError as error:
        faults = _faults(error)
        return first if any(fault["type"] == "too_long" for fault in faults) else error
    return first


_MESSAGES = {
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "int_type": "must be an integer",
    "greater_than_equal": "must be at least 1",
    "string_pattern_mismatch": "holds a character that cannot be stored",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "money": "must be 0 or more, with at most two decimals",
}


def _field_errors(error: ValidationError) -> Iterable[FieldError]:
    for detail in _faults(error):
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


def money(cents: int) -> float:
    """Cents as the JSON number with at most two decimals that a client sees.

    Exact as printed: below 2**53 cents the shortest text that reads back as this float is the
    decimal itself.
    """
    return cents / 100


def product_json(product: Product) -> dict[str, object]:
    """A Product of the OpenAPI document; what is not known of it is absent."""
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
    return encode_bytes(dumps(product_json(product)).encode(), JSON_TYPE)


def encode_products(products: Sequence[Product]) -> Encoded:
    """The menu, ready to send."""
    return encode_bytes(b"[" + encode_product_list(products) + b"]", JSON_TYPE)


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
    """An Order of the OpenAPI document; createdAt is RFC 3339 in UTC with its offset."""
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
