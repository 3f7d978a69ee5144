"""From records to JSON: encoders for what goes out."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from orderfood.server.bodies import Encoded, encode_bytes
from orderfood.shop.pricing import Prices
from orderfood.shop.refusals import FieldError
from storage.records import (
    Actor,
    Cancellation,
    Order,
    OrderEvent,
    OrderLine,
    Pause,
    Pickup,
    Product,
)

JSON_TYPE = "application/json; charset=utf-8"

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def money(cents: int) -> float:
    """Cents as the JSON number with at most two decimals that a client sees.

    Exact as printed: below 2**53 cents the shortest text that reads back as this float is the
    decimal itself.
    """
    return cents / 100


def product_json(product: Product, *, sold_out: bool = False) -> dict[str, object]:
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
    if sold_out:
        answer["available"] = False
    return answer


def encode_product(product: Product, *, sold_out: bool = False) -> Encoded:
    """One product, ready to send."""
    return encode_bytes(dumps(product_json(product, sold_out=sold_out)).encode(), JSON_TYPE)


def encode_products(products: Sequence[Product]) -> Encoded:
    """The menu, ready to send."""
    return encode_bytes(b"[" + encode_product_list(products) + b"]", JSON_TYPE)


def encode_product_list(products: Sequence[Product], sold_out: Container[int] = ()) -> bytes:
    """A part of the menu: what stands between its brackets. ``sold_out`` holds ids."""
    answers = [product_json(product, sold_out=product.id in sold_out) for product in products]
    return dumps(answers)[1:-1].encode()


def quote_json(
    lines: Sequence[OrderLine], coupon_code: str | None, prices: Prices | Order
) -> dict[str, object]:
    """What an order and a quote have in common: lines, coupon and prices."""
    answer: dict[str, object] = {
        "items": [{"productId": str(line.product.id), "quantity": line.quantity} for line in lines],
        "products": [product_json(line.product) for line in lines],
    }
    if coupon_code is not None:
        answer["couponCode"] = coupon_code
    answer["subtotal"] = money(prices.subtotal)
    answer["discounts"] = money(prices.discounts)
    answer["total"] = money(prices.total)
    return answer


def order_json(order: Order) -> dict[str, object]:
    """An Order of the OpenAPI document; what it does not have is absent."""
    answer: dict[str, object] = {
        "id": str(order.id),
        "status": str(order.status),
        "version": order.version,
    }
    answer |= quote_json(order.lines, order.coupon_code, order)
    answer["createdAt"] = time_json(order.created_at)
    if order.number is not None:
        answer["number"] = order.number
    if order.pickup is not None:
        answer["pickup"] = _pickup_json(order.pickup)
    if order.ready_at is not None:
        answer["readyAt"] = time_json(order.ready_at)
    if order.cancellation is not None:
        answer["cancellation"] = _cancellation_json(order.cancellation)
    return answer


def shop_json(pause: Pause | None) -> dict[str, object]:
    """A Shop of the OpenAPI document: whether it takes orders."""
    if pause is None:
        return {"open": True}
    until = pause.until.isoformat(timespec="seconds") if pause.until else None
    return {"open": False} | _known(until=until, message=pause.message)


def time_json(moment: datetime) -> str:
    """A time in UTC as RFC 3339, with microseconds and its offset."""
    return moment.isoformat(timespec="microseconds")


def _pickup_json(pickup: Pickup) -> dict[str, object]:
    return _known(name=pickup.name, note=pickup.note)


def _cancellation_json(cancellation: Cancellation) -> dict[str, object]:
    return _known(by=cancellation.by, reason=cancellation.reason, note=cancellation.note)


def _known(**members: object) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def event_json(event: OrderEvent) -> dict[str, object]:
    """An OrderEvent of the OpenAPI document, with the order as it was at that version."""
    return {
        "seq": event.seq,
        "type": f"order.{event.type}",
        "at": time_json(event.at),
        "order": order_json(event.order),
    }


def history_json(event: OrderEvent) -> dict[str, object]:
    """An event as the shop sees it beside its order: who did it, and why."""
    order = event.order
    said = order.cancellation
    return {
        "seq": event.seq,
        "version": order.version,
        "type": f"order.{event.type}",
        "at": time_json(event.at),
        "by": _actor_json(event.by),
    } | _known(
        reason=said.reason if said else None,
        note=said.note if said else None,
        readyAt=time_json(order.ready_at) if order.ready_at else None,
    )


def _actor_json(actor: Actor) -> dict[str, object]:
    kind = "customer" if actor.key is None else "staff"
    return _known(kind=kind, user=actor.user, key=actor.key)


def error_json(
    status: int,
    message: str,
    request_id: str | None = None,
    errors: Iterable[FieldError] = (),
    reason: str | None = None,
) -> dict[str, object]:
    """The one shape of every error; ``reason`` is a fixed word for programs."""
    answer: dict[str, Any] = {"code": status, "type": "error", "message": message}
    if reason:
        answer["reason"] = reason
    if request_id:
        answer["requestId"] = request_id
    details = [{"field": error.field, "message": error.message} for error in errors]
    return answer | ({"errors": details} if details else {})


def encode_json(value: object) -> bytes:
    """A JSON body in UTF-8: byte for byte what json makes of it, in a fifth of the time."""
    return to_json(value)
