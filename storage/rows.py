"""Between records and rows: what SQLite and Postgres have in common here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

from storage.records import (
    Coupon,
    CouponKind,
    Order,
    OrderLine,
    OrderStatus,
    Product,
)


class Row(Protocol):
    """A tuple of values, or what a driver has in its place."""

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, index: Any, /) -> Any: ...


ORDER_COLUMNS = "id, user_id, subtotal, discounts, total, created_at, coupon_code, status, version"
LINE_COLUMNS = "product_id, name, price, category, quantity, details"
JOINED_COLUMNS = ", ".join(
    [f"o.{name}" for name in ORDER_COLUMNS.split(", ")]
    + [f"l.{name}" for name in LINE_COLUMNS.split(", ")]
)
"""An order beside one of its lines, for a query over orders AS o and order_lines AS l."""

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
    """The orders of rows of JOINED_COLUMNS, where the lines of an order follow each other."""
    orders = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        lines = list(group)
        first = lines[0]
        orders.append(
            Order(
                id=to_uuid(first[0]),
                user_id=first[1],
                lines=tuple(_read_line(row[9:]) for row in lines if row[9] is not None),
                subtotal=first[2],
                discounts=first[3],
                total=first[4],
                created_at=to_time(first[5]),
                coupon_code=first[6],
                status=OrderStatus(first[7]),
                version=first[8],
            )
        )
    return orders


def _read_line(row: Row) -> OrderLine:
    number, name, price, category, quantity, details = row
    return OrderLine(read_product(number, name, price, category, details), quantity)


def write_order(
    order: Order,
    from_uuid: Callable[[UUID], Any] = same,
    from_time: Callable[[Any], Any] = same,
) -> tuple[Any, ...]:
    """The row of ORDER_COLUMNS of an order."""
    return (
        from_uuid(order.id),
        order.user_id,
        order.subtotal,
        order.discounts,
        order.total,
        from_time(order.created_at),
        order.coupon_code,
        order.status.value,
        order.version,
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
