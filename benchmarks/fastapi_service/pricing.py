"""What a coupon is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from benchmarks.fastapi_service.models import Coupon, OrderLine


class CouponRefused(Exception):
    """Why the coupon does not apply."""


def discount(coupon: Coupon, lines: Sequence[OrderLine], subtotal: int, now: datetime) -> int:
    """The discount in cents. Raises CouponRefused."""
    if coupon.valid_from is not None and now < coupon.valid_from:
        raise CouponRefused("the coupon is not valid yet")
    if coupon.valid_until is not None and now >= coupon.valid_until:
        raise CouponRefused("the coupon is no longer valid")
    if sum(line.quantity for line in lines) < coupon.min_items:
        raise CouponRefused("too few units for the coupon")
    if subtotal < coupon.min_subtotal:
        raise CouponRefused("the subtotal is too low for the coupon")
    if coupon.kind == "percent":
        return min(subtotal, (subtotal * coupon.value + 5_000) // 10_000)
    if coupon.kind == "amount":
        return min(subtotal, coupon.value)
    return min(line.price for line in lines)
