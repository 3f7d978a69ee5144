"""Rules of adding and changing an order, the same in every backend."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.errors import (
    CouponUsedUp,
    IdempotencyConflict,
    OrderNotChangeable,
    OrderVersionChanged,
)
from storage.records import (
    PLACED_EVENT,
    Actor,
    ArchivedOrder,
    Cancellation,
    CouponLimits,
    IdempotencyKey,
    Order,
    OrderChange,
    OrderStatus,
)

LAST_NUMBER = 999
"""The last number that is dealt; after it comes 1 again."""

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


def numbered(order: Order, number: int) -> Order:
    """A new order with its number: what has not happened yet is as it begins. A plain call costs
    half of what ``replace`` does, and every order comes by here."""
    return Order(
        order.id,
        order.user_id,
        order.lines,
        order.subtotal,
        order.discounts,
        order.total,
        order.created_at,
        order.coupon_code,
        order.pickup,
        number,
    )


def as_placed(order: Order) -> Order:
    """The order as it was when it was placed, but for what was blanked since."""
    return replace(
        order,
        status=OrderStatus.PLACED,
        version=1,
        ready_at=None,
        cancellation=None,
        last_event=PLACED_EVENT,
        changed_at=None,
    )


def changed(
    order: Order, change: OrderChange, by: Actor, at: datetime, expected: int | None
) -> Order | None:
    """The order after a change; None for a repeat, which changes nothing. Raises
    OrderVersionChanged, OrderNotChangeable.

    A caller who names the order's own version has seen its last event: what it asks for is no
    repeat as long as it leads somewhere.
    """
    repeats = is_repeat(order, change, by, at)
    if expected is not None and expected != order.version:
        if repeats and expected == order.version - 1:
            return None
        raise OrderVersionChanged(f"the order has version {order.version}", order)
    leads = _starts_from(order, change)
    if repeats and not (leads and expected is not None):
        return None
    if not leads:
        raise OrderNotChangeable(f"the order is {order.status}", order)
    return _after(order, change, by, at)


REPEATED_WITHIN = timedelta(minutes=1)
"""For how long as many minutes as before are a press that was repeated, and not a new estimate."""


def is_repeat(order: Order, change: OrderChange, by: Actor, at: datetime) -> bool:
    """Whether staff ask for what the order's last event was: it stands where that leads and, where
    that does not move it, with as many minutes a moment ago. A customer's cancellation is not
    theirs."""
    if by.key is None or order.last_event != change.event:
        return False
    if order.cancellation is not None and order.cancellation.by != "shop":
        return False
    if change.targets.get(order.status) == order.status:
        since = order.changed_at or order.created_at
        same = order.ready_at == since + (change.ready_in or _NONE)
        return same and event_time(order, at) - since < REPEATED_WITHIN
    return order.status in change.targets.values()


_NONE = timedelta()


def _starts_from(order: Order, change: OrderChange) -> bool:
    since = change.not_before.get(order.status)
    return order.status in change.targets and (
        since is None or (order.changed_at or order.created_at) >= since
    )


def event_time(order: Order, at: datetime) -> datetime:
    """The time of an order's next event: clocks of several machines differ."""
    return max(at, order.changed_at or order.created_at)


def _after(order: Order, change: OrderChange, by: Actor, at: datetime) -> Order:
    at, status = event_time(order, at), change.targets[order.status]
    return replace(
        order,
        status=status,
        version=order.version + 1,
        ready_at=order.ready_at if change.ready_in is None else at + change.ready_in,
        cancellation=cancellation(by, change) if status == OrderStatus.CANCELLED else None,
        last_event=change.event,
        changed_at=at,
    )


def cancellation(by: Actor, change: OrderChange) -> Cancellation:
    """What a cancelled order says of it."""
    return Cancellation("customer" if by.key is None else "shop", change.reason, change.note)


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


def is_archived_in(stored: ArchivedOrder, archived: ArchivedOrder) -> bool:
    """Whether an archive has all of an order as it is stored. It may have more: events are not kept
    for ever."""
    return stored.order == archived.order and set(stored.events) <= set(archived.events)
