"""Between records and rows: what SQLite and Postgres have in common here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

from storage.base import MOST_LINES
from storage.records import (
    Actor,
    ArchivedEvent,
    ArchivedOrder,
    Cancellation,
    Coupon,
    CouponKind,
    Order,
    OrderEvent,
    OrderLine,
    OrderStatus,
    Pickup,
    Product,
    ShopOrders,
)


class Row(Protocol):
    """A tuple of values, or what a driver has in its place."""

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, index: Any, /) -> Any: ...


NEW_ORDER_COLUMNS = (
    "id, user_id, subtotal, discounts, total, created_at, coupon_code, status, version,"
    " pickup_name, pickup_note, pickup_number"
)
"""All that an order can have to which nothing has happened yet."""

ORDER_COLUMNS = (
    f"{NEW_ORDER_COLUMNS}, ready_at, cancelled_by, cancel_reason, cancel_note, last_event,"
    " changed_at"
)
STATE_COLUMNS = (
    "status, version, ready_at, cancelled_by, cancel_reason, cancel_note, last_event, changed_at"
)
"""Those of ORDER_COLUMNS that a change writes."""

LINE_COLUMNS = "product_id, name, price, category, quantity, details"
EVENT_COLUMNS = (
    "order_id, version, user_id, type, status, ready_at, reason, staff_user, staff_key, at"
)
"""An event, apart from its number. Without staff it was the customer, who is the order's user."""


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{name}" for name in columns.split(", "))


JOINED_COLUMNS = f"{_of('o', ORDER_COLUMNS)}, {_of('l', LINE_COLUMNS)}"
"""An order beside one of its lines, for a query over orders AS o and order_lines AS l."""

JOINED_EVENT_COLUMNS = f"e.seq, {_of('e', EVENT_COLUMNS)}, {JOINED_COLUMNS}"
"""An event beside its order and one of the lines: also over order_events AS e."""

_ORDER_WIDTH = ORDER_COLUMNS.count(",") + 1
EVENT_WIDTH = EVENT_COLUMNS.count(",") + 2
"""Of those columns how many are the event's: its number and EVENT_COLUMNS."""

COUPON_COLUMNS = (
    "code, kind, value, min_subtotal, min_items, max_discount, valid_from, valid_until,"
    " max_uses, max_uses_per_user"
)


def same(value: Any) -> Any:
    """What converts nothing."""
    return value


def read_orders(
    rows: Iterable[Row],
    *,
    to_uuid: Callable[[Any], UUID] = same,
    to_time: Callable[[Any], Any] = same,
) -> list[Order]:
    """The orders of rows of JOINED_COLUMNS, where the lines of an order follow each other.
    ``to_time`` makes None of None."""
    return [
        _read_order(list(group), to_uuid, to_time)
        for _, group in groupby(rows, key=lambda row: row[0])
    ]


_STATUSES = {str(status): status for status in OrderStatus}
"""A newer version may have stored others, which stay texts."""


def _read_order(
    rows: list[Row], to_uuid: Callable[[Any], UUID], to_time: Callable[[Any], Any]
) -> Order:
    (
        id_,
        user_id,
        subtotal,
        discounts,
        total,
        created_at,
        coupon_code,
        status,
        version,
        pickup_name,
        pickup_note,
        number,
        ready_at,
        cancelled_by,
        reason,
        note,
        last_event,
        changed_at,
    ) = rows[0][:_ORDER_WIDTH]
    lines = (row[_ORDER_WIDTH:] for row in rows)
    return Order(
        to_uuid(id_),
        user_id,
        tuple(_read_line(line) for line in lines if line[0] is not None),
        subtotal,
        discounts,
        total,
        to_time(created_at),
        coupon_code,
        None if pickup_name is pickup_note is None else Pickup(pickup_name, pickup_note),
        number,
        _STATUSES.get(status, status),
        version,
        to_time(ready_at),
        _read_cancellation(status, cancelled_by, reason, note),
        last_event,
        to_time(changed_at),
    )


def _read_cancellation(
    status: str, by: str | None, reason: str | None, note: str | None
) -> Cancellation | None:
    """Where nobody is named a version cancelled that knew customers alone."""
    return Cancellation(by or "customer", reason, note) if status == OrderStatus.CANCELLED else None


def read_events(
    rows: Iterable[Row],
    *,
    to_uuid: Callable[[Any], UUID] = same,
    to_time: Callable[[Any], Any] = same,
) -> list[OrderEvent]:
    """The events of rows of JOINED_EVENT_COLUMNS, where the lines of an event follow each other."""
    events = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        beside = list(group)
        order = _read_order([row[EVENT_WIDTH:] for row in beside], to_uuid, to_time)
        events.append(_read_event(beside[0][:EVENT_WIDTH], order, to_time))
    return events


def _read_event(row: Row, order: Order, to_time: Callable[[Any], Any]) -> OrderEvent:
    """An event with its order as it was then: a receipt never changes, and what is blanked is
    blanked in all its events."""
    seq, _, version, _, kind, status, ready_at, reason, staff_user, staff_key, at = row
    by = Actor(order.user_id) if staff_user is None else Actor(staff_user, staff_key)
    cancelled_by = None if staff_user is None else "shop"
    note = None if order.cancellation is None else order.cancellation.note
    then = replace(
        order,
        status=_STATUSES.get(status, status),
        version=version,
        ready_at=to_time(ready_at),
        cancellation=_read_cancellation(status, cancelled_by, reason, note),
        last_event=kind,
        changed_at=None if version == 1 else to_time(at),
    )
    return OrderEvent(seq, kind, to_time(at), by, then)


def read_archived(
    rows: Iterable[Row],
    *,
    to_uuid: Callable[[Any], UUID] = same,
    to_time: Callable[[Any], Any] = same,
) -> list[ArchivedOrder]:
    """The orders of rows of JOINED_EVENT_COLUMNS, where those of an order follow each other, and
    among them those of an event."""
    found = []
    for _, group in groupby(rows, key=lambda row: row[EVENT_WIDTH]):
        events = [list(of_one) for _, of_one in groupby(group, key=lambda row: row[0])]
        order = _read_order([row[EVENT_WIDTH:] for row in events[0]], to_uuid, to_time)
        read = (_read_archived_event(event[0][:EVENT_WIDTH], to_time) for event in events)
        found.append(ArchivedOrder(order, tuple(one for one in read if one is not None)))
    return found


def _read_archived_event(row: Row, to_time: Callable[[Any], Any]) -> ArchivedEvent | None:
    seq, _, version, _, kind, status, ready_at, reason, staff_user, staff_key, at = row
    if seq is None:
        return None
    return ArchivedEvent(
        seq, version, kind, status, to_time(at), to_time(ready_at), reason, staff_user, staff_key
    )


def within_bounds(orders: list[Order], lines: int, position: int) -> ShopOrders:
    """A listing of these orders, which were read up to MOST_LINES and one line more: then the last
    of them may not be whole, and others follow."""
    more = lines > MOST_LINES
    return ShopOrders(tuple(orders[:-1] if more else orders), position, more)


def _read_line(row: Row) -> OrderLine:
    number, name, price, category, quantity, details = row
    return OrderLine(read_product(number, name, price, category, details), quantity)


def write_new_order(
    order: Order,
    from_uuid: Callable[[UUID], Any] = same,
    from_time: Callable[[Any], Any] = same,
) -> tuple[Any, ...]:
    """The row of NEW_ORDER_COLUMNS of an order."""
    pickup = order.pickup or _NO_PICKUP
    return (
        from_uuid(order.id),
        order.user_id,
        order.subtotal,
        order.discounts,
        order.total,
        from_time(order.created_at),
        order.coupon_code,
        str(order.status),
        order.version,
        pickup.name,
        pickup.note,
        order.number,
    )


_NO_PICKUP = Pickup()


def write_state(order: Order, from_time: Callable[[Any], Any] = same) -> tuple[Any, ...]:
    """The row of STATE_COLUMNS of an order; ``from_time`` makes None of None."""
    cancellation = order.cancellation or _NO_CANCELLATION
    return (
        str(order.status),
        order.version,
        from_time(order.ready_at),
        cancellation.by or None,
        cancellation.reason,
        cancellation.note,
        order.last_event,
        from_time(order.changed_at),
    )


_NO_CANCELLATION = Cancellation("")


def write_order(
    order: Order,
    from_uuid: Callable[[UUID], Any] = same,
    from_time: Callable[[Any], Any] = same,
) -> tuple[Any, ...]:
    """The row of ORDER_COLUMNS of an order; ``from_time`` makes None of None."""
    _, _, *state = write_state(order, from_time)
    return (*write_new_order(order, from_uuid, from_time), *state)


def write_event(
    order: Order,
    by: Actor,
    from_uuid: Callable[[UUID], Any] = same,
    from_time: Callable[[Any], Any] = same,
) -> tuple[Any, ...]:
    """The row of EVENT_COLUMNS of an order's last event."""
    return (
        from_uuid(order.id),
        order.version,
        order.user_id,
        order.last_event,
        str(order.status),
        from_time(order.ready_at),
        None if order.cancellation is None else order.cancellation.reason,
        None if by.key is None else by.user,
        by.key,
        from_time(order.changed_at or order.created_at),
    )


def write_lines(order: Order) -> Iterator[tuple[Any, ...]]:
    """Of each line of an order its position and LINE_COLUMNS."""
    for position, line in enumerate(order.lines):
        product = line.product
        yield (
            position,
            product.id,
            product.name,
            product.price,
            product.category,
            line.quantity,
            write_details(product),
        )


def read_product(number: int, name: str, price: int, category: str, details: str | None) -> Product:
    """The product of a row, whose optional members stand in ``details``."""
    if details is None:
        return Product(number, name, price, category)
    return Product(number, name, price, category, *_read_details(details))


@lru_cache(maxsize=1024)
def _read_details(details: str) -> tuple[str | None, str | None, tuple[str, ...] | None]:
    members = json.loads(details)
    allergens = members.get("allergens")
    return (
        members.get("description"),
        members.get("image"),
        None if allergens is None else tuple(allergens),
    )


def write_details(product: Product) -> str | None:
    """The optional members of a product as a JSON object; None when it has none of them."""
    details = (product.description, product.image, product.allergens)
    return None if details == _NO_DETAILS else _write_details(*details)


_NO_DETAILS = (None, None, None)


@lru_cache(maxsize=1024)
def _write_details(
    description: str | None, image: str | None, allergens: tuple[str, ...] | None
) -> str:
    members = {"description": description, "image": image, "allergens": allergens}
    known = {name: value for name, value in members.items() if value is not None}
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"))


def read_coupon(row: Row, to_time: Callable[[Any], Any] = same) -> Coupon:
    """The coupon of a row of COUPON_COLUMNS."""
    code, kind, value, subtotal, items, discount, valid_from, valid_until, uses, per_user = row
    return Coupon(
        code,
        CouponKind(kind),
        value,
        subtotal,
        items,
        discount,
        to_time(valid_from),
        to_time(valid_until),
        uses,
        per_user,
    )


def write_coupon(coupon: Coupon, from_time: Callable[[Any], Any] = same) -> tuple[Any, ...]:
    """The row of COUPON_COLUMNS of a coupon."""
    return (
        coupon.code,
        coupon.kind.value,
        coupon.value,
        coupon.min_subtotal,
        coupon.min_items,
        coupon.max_discount,
        from_time(coupon.valid_from),
        from_time(coupon.valid_until),
        coupon.max_uses,
        coupon.max_uses_per_user,
    )
