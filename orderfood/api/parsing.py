"""From bodies to records: pydantic models for what comes in."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    with_config,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from orderfood.api.wire import dumps
from orderfood.shop.lifecycle import Reason
from orderfood.shop.pricing import MAX_LINES, Basket, Item, too_many_lines
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Pickup

# --- what comes in ---

Text = Annotated[StrictStr, Field(pattern=r"^[^\x00]*$")]
"""Text without NUL, which Postgres cannot store. A lone surrogate is not valid JSON."""


@with_config(ConfigDict(extra="ignore", strict=True))
class ItemRequest(TypedDict):
    """One line of an order: no upper bound here, for too many is not malformed."""

    productId: Annotated[Text, Field(min_length=1)]
    quantity: Annotated[StrictInt, Field(ge=1)]


OWN = "own"
"""The type of faults that have their message themselves."""

_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that override the direction of text: both make what a person reads
differ from what was written."""


def _plain_text(text: str, longest: int) -> str | None:
    """A text for people; None for a blank one. ``longest`` is in characters."""
    if _REFUSED.search(text):
        raise PydanticCustomError(OWN, "holds a control character")
    if not (text.strip() if text.isascii() else any(map(_is_visible, text))):
        return None
    if len(text) > longest:
        message = "must be at most {longest} characters long"
        raise PydanticCustomError(OWN, message, {"longest": longest})
    return text


def _is_visible(character: str) -> bool:
    """Whether it is more than a blank; joiners and blanks without a width are not."""
    return unicodedata.category(character) not in ("Cf", "Zs", "Zl", "Zp")


def plain(longest: int) -> AfterValidator:
    """Validates a text for people: without control characters, at most so many characters long. A
    blank one is None."""
    return AfterValidator(partial(_plain_text, longest=longest))


MAX_NAME = 60
MAX_NOTE = 200


@with_config(ConfigDict(extra="ignore", strict=True))
class PickupRequest(TypedDict, total=False):
    """What the customer says of fetching the order."""

    name: Annotated[StrictStr, plain(MAX_NAME)] | None
    note: Annotated[StrictStr, plain(MAX_NOTE)] | None


class BasketRequest(BaseModel):
    """The body of POST /api/order/quote. Its first line that is at fault is enough: a body can hold
    half a million."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    items: Annotated[list[ItemRequest], Field(min_length=1), FailFast()]
    coupon_code: Annotated[Text | None, Field(alias="couponCode")] = None
    pickup: PickupRequest | None = None

    def basket(self) -> Basket:
        """The request in the shop's own terms; an empty coupon code is none. Raises Unprocessable
        for more lines than are worth looking at."""
        if len(self.items) > MAX_LINES:
            raise too_many_lines()
        items = tuple([Item(item["productId"], item["quantity"]) for item in self.items])
        pickup = None if self.pickup is None else _pickup_of(self.pickup)
        return Basket(items, self.coupon_code or None, pickup)


def _pickup_of(request: PickupRequest) -> Pickup | None:
    pickup = Pickup(request.get("name"), request.get("note"))
    return None if pickup == Pickup() else pickup


def _check_total(total: float) -> float:
    if not 0 <= total < float("inf") or (total < _EXACT and round(total * 100) / 100 != total):
        raise PydanticCustomError(OWN, "must be 0 or more, with at most two decimals")
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


_THOROUGH: dict[str, type[BasketRequest]] = {
    BasketRequest.__name__: _SmallBasket,
    OrderRequest.__name__: _SmallOrder,
}
"""By the name of a model that stops at its first fault, the one that does not."""

SMALL_BODY = 64 * 1024
"""Bytes of a body up to which all of its faults are reported."""


def parse_basket(body: bytes) -> Basket:
    """The basket in the body of a quote. Raises InvalidRequest when it is not JSON (RFC 8259, in
    UTF-8) or not of the schema, Unprocessable when it has too many lines."""
    return parse(BasketRequest, body).basket()


def parse_order(body: bytes) -> tuple[Basket, int | None]:
    """The basket in the body of an order, and what the client expects it to cost, in cents. Raises
    as parse_basket."""
    order = parse(OrderRequest, body)
    total = order.expected_total
    # more than any order costs is as good as the highest float, whose hundredfold is none
    return order.basket(), None if total is None else round(min(total, _EXACT) * 100)


R = TypeVar("R", bound=BaseModel)


def parse(model: type[R], body: bytes) -> R:
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
        return parse(model, clipped)
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
    if b"NaN" in body or b"Infinity" in body:
        outside = _STRINGS.sub(b"", body)
        if b"NaN" in outside or b"Infinity" in outside:
            raise _not_json()


def _refuse_lists_of_lists(body: bytes) -> None:
    """Each of half a million lists, one in the other, costs more than what a whole order does, and
    no order holds any."""
    if body.count(b"[") <= MAX_LISTS:
        return
    if _nested(body) > MAX_LISTS and _nested(_STRINGS.sub(b"", body)) > MAX_LISTS:
        raise InvalidRequest("json", "the body holds too many lists within lists")


def _nested(body: bytes) -> int:
    """How many lists begin with a list, but for those with more than one blank between."""
    return sum(map(body.count, (b"[[", b"[ [", b"[\n[", b"[\t[", b"[\r[")))


MAX_LISTS = 50_000
"""Lists that begin with a list, in one body."""

KEPT_DIGITS = 250
"""More than an int64 has, and than any text for people may have."""

_DIGITS_ALIKE = bytes.maketrans(b"0123456789", b"0" * 10)
_THOUSANDS = b"0" * 4000
_DIGITS = re.compile(rb"[0-9]+")
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Texts; one that does not end goes on to the end, so that it is looked at once."""


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


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
    model = _THOROUGH.get(first.title)
    if model is None:
        return first
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
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "holds a character that cannot be stored",
    "float_type": "must be a number",
    "finite_number": "must be a number",
}


def _field_errors(error: ValidationError) -> Iterable[FieldError]:
    for detail in _faults(error):
        message = _message_of(detail)
        field = _field_path(detail["loc"])
        yield FieldError(field, message if field else f"the body {message}")


def _message_of(fault: ErrorDetails) -> str:
    """What is wrong, in words of our own."""
    if fault["type"] == OWN:
        return fault["msg"]
    known = _MESSAGES.get(fault["type"], "is not valid")
    return known.format_map(fault.get("ctx", {}))


def _field_path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


# --- what the shop sends ---

Minutes = Annotated[StrictInt, Field(ge=1, le=240)]


class AcceptRequest(BaseModel):
    """The body of POST /api/shop/order/{orderId}/accept; ``minutes`` from now to when it is
    ready."""

    minutes: Minutes | None = None


class EstimateRequest(BaseModel):
    """The body of POST /api/shop/order/{orderId}/estimate."""

    minutes: Minutes


class CancelRequest(BaseModel):
    """The body of POST /api/shop/order/{orderId}/cancel."""

    reason: Reason
    note: Annotated[StrictStr, plain(MAX_NOTE)] | None = None


def _check_time(text: object) -> datetime:
    try:
        if isinstance(text, str) and _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError(OWN, "must be a time with an offset, such as 2026-01-31T12:00:00Z")


_TIME = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"
    r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""RFC 3339, 5.6."""


Time = Annotated[datetime, BeforeValidator(_check_time)]


class SoldOutRequest(BaseModel):
    """The body of POST /api/shop/product/{productId}/sold-out."""

    until: Time | None = None


class PauseRequest(BaseModel):
    """The body of POST /api/shop/pause."""

    minutes: Annotated[StrictInt, Field(ge=1, le=1440)] | None = None
    message: Annotated[StrictStr, plain(MAX_NOTE)] | None = None


def fingerprint(basket: Basket) -> str:
    """Equal exactly for equal requests, over processes and versions: the hex SHA-256 of the
    members that the schema names, lines in the order in which they were sent. What pickup says is
    part of it where there is one: without, the fingerprint is what it was before there was any."""
    lines = [[item.product_id, item.quantity] for item in basket.items]
    members: list[object] = [lines, basket.coupon_code]
    if basket.pickup is not None:
        members.append([basket.pickup.name, basket.pickup.note])
    return hashlib.sha256(dumps(members).encode()).hexdigest()
