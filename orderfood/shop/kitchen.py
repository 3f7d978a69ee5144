"""The use cases of the shop's staff: what is ordered, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from orderfood.shop.orders import Shop, hash_key, parse_order_id
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import (
    OPEN_STATUSES,
    Actor,
    Cursor,
    Order,
    OrderEvent,
    OrderStatus,
    Pause,
    Product,
    ShopOrders,
    User,
)

KEY_DIGITS = 8
"""How many hex digits of a key's hash name the tablet that sent it."""


def staff(user: User, key: str) -> Actor:
    """Who acts, by the key that was sent."""
    return Actor(user.id, hash_key(key).partition(":")[2][:KEY_DIGITS])


async def list_orders(
    shop: Shop, status: str | None, limit: int, after: Cursor | None
) -> tuple[ShopOrders, Cursor | None]:
    """A page of all users' orders, and the cursor of the next page: those that are open, oldest
    first, or with ``status`` those that have it, newest first."""
    statuses = OPEN_STATUSES if status is None else (status,)
    found = await shop.storage.list_shop_orders(
        statuses, oldest_first=status is None, limit=limit + 1, after=after
    )
    if len(found.orders) <= limit and not found.more:
        return found, None
    page = ShopOrders(found.orders[:limit], found.position)
    return page, Cursor(page.orders[-1].created_at, page.orders[-1].id)


async def get_order(shop: Shop, order_id: str) -> tuple[Order, tuple[OrderEvent, ...]]:
    """Any user's order with its events. Raises OrderNotFound."""
    return await shop.storage.get_order_history(parse_order_id(order_id))


STATUSES = tuple(map(str, OrderStatus))


async def set_sold_out(shop: Shop, product: Product, until: datetime | None) -> None:
    """Takes a product off the menu until a moment, or until it is available again. Raises
    InvalidRequest for a moment that is over."""
    if until is not None and until <= shop.now():
        error = FieldError("until", "must be in the future")
        raise InvalidRequest("schema", "until: must be in the future", (error,))
    await shop.storage.set_sold_out(product.id, until)
    await shop.catalogue.reread()


async def set_available(shop: Shop, product: Product) -> None:
    """Puts a product back on the menu."""
    await shop.storage.set_available(product.id)
    await shop.catalogue.reread()


async def pause(shop: Shop, minutes: int | None, message: str | None) -> Pause:
    """Takes no orders any more, for some minutes or until the shop resumes."""
    until = None if minutes is None else shop.now() + timedelta(minutes=minutes)
    said = Pause(until, message)
    await shop.storage.set_pause(said)
    await shop.catalogue.reread()
    return said


async def resume(shop: Shop) -> None:
    """Takes orders again."""
    await shop.storage.set_pause(None)
    await shop.catalogue.reread()
