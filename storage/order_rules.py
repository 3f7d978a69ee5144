"""Rules of adding an order, the same in every backend."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from storage.errors import CouponUsedUp, IdempotencyConflict
from storage.records import CouponLimits, IdempotencyKey, Order, OrderStatus

NO_LIMITS = CouponLimits()


class NewOrder(NamedTuple):
    """What ``add_order`` was called with."""

    order: Order
    key: IdempotencyKey | None
    limits: CouponLimits

    @property
    def key_name(self) -> tuple[str, str] | None:
        """What tells its key apart from all others; None without a key."""
        return None if self.key is None else (self.order.user_id, self.key.key)


def as_placed(order: Order) -> Order:
    """The order as it was when it was placed: only status and version ever move."""
    return replace(order, status=OrderStatus.PLACED, version=1)


def check_fingerprint(key: IdempotencyKey, stored: str) -> None:
    """Raises IdempotencyConflict when the key was stored with another request."""
    if stored != key.fingerprint:
        raise key_conflict()


def key_conflict() -> IdempotencyConflict:
    """The error of an order whose key was stored with another request."""
    return IdempotencyConflict("the idempotency key was used with another request")


def check_uses(code: str, limits: CouponLimits, uses: int, user_uses: int) -> None:
    """Raises CouponUsedUp when the coupon was used as often as a limit allows, in all or by the
    user."""
    if _reached(uses, limits.max_uses) or _reached(user_uses, limits.max_uses_per_user):
        raise used_up(code)


def used_up(code: str | None) -> CouponUsedUp:
    """The error of an order whose coupon has no use left."""
    return CouponUsedUp(f"no use of the coupon {code} is left")


def _reached(uses: int, limit: int | None) -> bool:
    return limit is not None and uses >= limit
