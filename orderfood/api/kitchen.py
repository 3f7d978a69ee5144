"""Endpoints of the shop's staff, and of what the shop says of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from orderfood.api.answers import Answer, json_answer, versioned_answer
from orderfood.api.menu import product_of
from orderfood.api.orders import (
    cursor_of,
    encode_cursor,
    expected_version,
    json_of,
    only_value,
    parse_limit,
)
from orderfood.api.parsing import (
    AcceptRequest,
    CancelRequest,
    EstimateRequest,
    PauseRequest,
    SoldOutRequest,
    parse,
)
from orderfood.api.request import Request
from orderfood.api.wire import history_json, order_json, product_json, shop_json
from orderfood.shop import kitchen
from orderfood.shop.catalogue import Snapshot
from orderfood.shop.kitchen import STATUSES
from orderfood.shop.lifecycle import SHOP, Action
from orderfood.shop.orders import change_order
from orderfood.shop.refusals import FieldError, InvalidRequest

MOST_ON_A_PAGE = 500
USUAL_ON_A_PAGE = 100

OPEN = "open"
"""The status that a listing has by default: those of every order that waits for something."""


async def list_orders(request: Request) -> Answer:
    """GET /api/shop/order: a page of all orders, its place in the event log, the next cursor."""
    limit = parse_limit(request.query_values("limit"), USUAL_ON_A_PAGE, MOST_ON_A_PAGE)
    status = _status_of(request)
    page, following = await kitchen.list_orders(request.shop, status, limit, cursor_of(request))
    answer: dict[str, object] = {
        "orders": [order_json(order) for order in page.orders],
        "position": page.position,
    }
    return json_answer(answer | ({"nextCursor": encode_cursor(following)} if following else {}))


def _status_of(request: Request) -> str | None:
    status = only_value("status", request.query_values("status"))
    if status is None or status == OPEN:
        return None
    if status not in STATUSES:
        error = FieldError("status", f"must be {OPEN} or one of {', '.join(STATUSES)}")
        raise InvalidRequest("query", "the status is not valid", (error,))
    return status


async def get_order(request: Request) -> Answer:
    """GET /api/shop/order/{orderId}: any user's order, with its events."""
    order, events = await kitchen.get_order(request.shop, request.parameters["orderId"])
    answer = order_json(order) | {"events": [history_json(event) for event in events]}
    return versioned_answer(answer, order.version, request.headers)


# --- what becomes of an order ---


async def accept(request: Request) -> Answer:
    """POST …/accept: the kitchen begins, and says when it will be ready."""
    minutes = parse(AcceptRequest, json_of(request) or b"{}").minutes
    usual = request.context.settings.preparation_minutes
    return await _act(request, Action("accept", SHOP, timedelta(minutes=minutes or usual)))


async def estimate(request: Request) -> Answer:
    """POST …/estimate: when it will be ready, anew."""
    minutes = parse(EstimateRequest, json_of(request)).minutes
    return await _act(request, Action("estimate", SHOP, timedelta(minutes=minutes)))


async def cancel(request: Request) -> Answer:
    """POST …/cancel: the shop does not make it, and says why."""
    asked = parse(CancelRequest, json_of(request))
    return await _act(request, Action("cancel", SHOP, reason=asked.reason, note=asked.note))


def plain_action(name: str) -> Callable[[Request], Awaitable[Answer]]:
    """The endpoint of an action that needs no body: ready, complete, recall."""

    async def act(request: Request) -> Answer:
        return await _act(request, Action(name, SHOP))

    return act


async def _act(request: Request, action: Action) -> Answer:
    order = await change_order(
        request.shop,
        action,
        request.parameters["orderId"],
        kitchen.staff(request.known_user, request.key or ""),
        expected_version=expected_version(request),
    )
    return versioned_answer(order_json(order), order.version, {})  # If-None-Match is for a GET


# --- what the shop says of itself ---


async def set_sold_out(request: Request) -> Answer:
    """POST /api/shop/product/{productId}/sold-out: takes it off the menu."""
    product = product_of(request, await request.shop.catalogue.get())
    until = parse(SoldOutRequest, json_of(request) or b"{}").until
    await kitchen.set_sold_out(request.shop, product, until)
    return json_answer(product_json(product, sold_out=True))


async def set_available(request: Request) -> Answer:
    """POST /api/shop/product/{productId}/available: puts it back on the menu."""
    product = product_of(request, await request.shop.catalogue.get())
    await kitchen.set_available(request.shop, product)
    return json_answer(product_json(product))


async def pause(request: Request) -> Answer:
    """POST /api/shop/pause: takes no orders for a while."""
    asked = parse(PauseRequest, json_of(request) or b"{}")
    paused = await kitchen.pause(request.shop, asked.minutes, asked.message)
    return json_answer(shop_json(paused))


async def resume(request: Request) -> Answer:
    """POST /api/shop/resume: takes orders again."""
    await kitchen.resume(request.shop)
    return json_answer(shop_json(None))


def get_shop(request: Request, snapshot: Snapshot) -> Answer:
    """GET /api/shop: whether the shop takes orders."""
    return json_answer(shop_json(snapshot.pause(request.shop.now())))
