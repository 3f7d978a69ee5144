"""Rules of coupons: validity and discount. Pure functions on frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orderfood.shop.refusals import FieldError, Unprocessable
from storage.records import Coupon, CouponKind, OrderLine

MAX_CODE = 100
"""How many characters a coupon's code has at most."""

MIN_FILE_CODE = 8
MAX_FILE_CODE = 10
"""How many characters a code of the coupon files has."""


def fold_code(code: str) -> bytes:
    """The code as it is compared: without ASCII case, every other character as it is."""
    return code.encode("utf-8", "surrogatepass").upper()


def refused(message: str, reason: str = "coupon") -> Unprocessable:
    """The refusal of an order for its coupon."""
    return Unprocessable(reason, message, (FieldError("couponCode", message),))


def check_coupon(coupon: Coupon, lines: Sequence[OrderLine], subtotal: int, now: datetime) -> None:
    """Raises Unprocessable when this coupon does not apply to this basket at this time."""
    if coupon.valid_from is not None and now < coupon.valid_from:
        raise refused("the coupon is not valid yet")
    if coupon.valid_until is not None and now >= coupon.valid_until:
        raise refused("the coupon is no longer valid")
    if sum(line.quantity for line in lines) < least_items(coupon):
        raise refused(f"the coupon needs at least {least_items(coupon)} units")
    if subtotal < coupon.min_subtotal:
        raise refused("the subtotal is too low for the coupon")


def least_items(coupon: Coupon) -> int:
    """How many units the basket must have: a free unit needs another one beside it."""
    if coupon.kind is CouponKind.CHEAPEST_FREE:
        return max(2, coupon.min_items)
    return coupon.min_items


def discount(coupon: Coupon, lines: Sequence[OrderLine], subtotal: int) -> int:
    """The discount in cents, computed once on the exact subtotal, never more than it."""
    amount = _amount(coupon, lines, subtotal)
    if coupon.max_discount is not None:
        amount = min(amount, coupon.max_discount)
    return min(amount, subtotal)


def _amount(coupon: Coupon, lines: Sequence[OrderLine], subtotal: int) -> int:
    if coupon.kind is CouponKind.PERCENT:
        return round_half_up(subtotal * coupon.value, 10_000)
    if coupon.kind is CouponKind.AMOUNT:
        return coupon.value
    return min(line.product.price for line in lines)


def round_half_up(dividend: int, divisor: int) -> int:
    """The quotient of two integers that are not negative, rounded half up."""
    return (2 * dividend + divisor) // (2 * divisor)
