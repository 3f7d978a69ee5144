"""Rules of pricing: from a basket to its lines and prices. Pure functions on frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from orderfood.shop.coupons import check_coupon, discount
from orderfood.shop.refusals import FieldError, Unprocessable
from storage.frozen import frozen
from storage.records import Coupon, OrderLine, Pickup, Product

MAX_QUANTITY = 1000
"""Units of one product in one order."""

MAX_LINES = 100
"""Lines of one order as they are sent, before those of one product are merged."""

MAX_INT64 = 2**63 - 1


@frozen
class Item:
    """A line as the client sent it; ``quantity`` is at least 1 and may be absurdly large."""

    product_id: str
    quantity: int


@frozen
class Basket:
    """What the client wants. An empty coupon code, and a blank pickup, is None."""

    items: tuple[Item, ...]
    coupon_code: str | None = None
    pickup: Pickup | None = None


@frozen
class Prices:
    """Cents; ``total`` is ``subtotal - discounts`` and never negative."""

    subtotal: int
    discounts: int
    total: int


def parse_product_id(text: str) -> int | None:
    """The int64 that a canonical decimal text stands for, else None: no sign but a minus, no
    leading zero, ASCII digits alone."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        return None
    number = int(text)
    if str(number) != text or not -MAX_INT64 - 1 <= number <= MAX_INT64:
        return None
    return number


def resolve_lines(basket: Basket, products: Mapping[str, Product]) -> tuple[OrderLine, ...]:
    """The basket's lines with their products, those of one product merged, in the order in which
    products first appear. ``products`` maps canonical ids. Raises Unprocessable."""
    if len(basket.items) > MAX_LINES:
        raise too_many_lines()
    quantities: dict[str, int] = {}
    for item in basket.items:
        if item.product_id not in products:
            raise _unknown(basket, products)
        quantities[item.product_id] = quantities.get(item.product_id, 0) + item.quantity
    if max(quantities.values()) > MAX_QUANTITY:
        raise _too_much(basket, quantities)
    return tuple([OrderLine(products[id_], quantity) for id_, quantity in quantities.items()])


def _unknown(basket: Basket, products: Mapping[str, Product]) -> Unprocessable:
    errors = tuple(
        FieldError(f"items[{index}].productId", "unknown product")
        for index, item in enumerate(basket.items)
        if item.product_id not in products
    )
    unknown = dict.fromkeys(i.product_id for i in basket.items if i.product_id not in products)
    names = ", ".join(_shorten(id_) for id_ in unknown)
    return Unprocessable("unknown_product", f"unknown product: {names}", errors)


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _too_much(basket: Basket, quantities: Mapping[str, int]) -> Unprocessable:
    errors = tuple(
        FieldError(f"items[{index}].quantity", f"more than {MAX_QUANTITY} of one product")
        for index, item in enumerate(basket.items)
        if quantities[item.product_id] > MAX_QUANTITY
    )
    message = f"an order has at most {MAX_QUANTITY} of one product"
    return Unprocessable("limit", message, errors)


def too_many_lines() -> Unprocessable:
    """The refusal of an order for the number of its lines."""
    message = f"an order has at most {MAX_LINES} lines"
    return Unprocessable("limit", message, (FieldError("items", message),))


def price(lines: Sequence[OrderLine], coupon: Coupon | None, now: datetime) -> Prices:
    """What the lines cost with this coupon. Raises Unprocessable when it does not apply."""
    subtotal = sum([line.product.price * line.quantity for line in lines])
    if coupon is None:
        return Prices(subtotal, 0, subtotal)
    check_coupon(coupon, lines, subtotal, now)
    discounts = discount(coupon, lines, subtotal)
    return Prices(subtotal, discounts, subtotal - discounts)
