"""The use cases: async functions on a Shop, independent of HTTP and SQL."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from datetime import datetime, timedelta

from orderfood.shop.catalogue import CatalogueCache, Snapshot, utc_now
from orderfood.shop.coupons import MAX_CODE, MAX_FILE_CODE, MIN_FILE_CODE, fold_code, refused
from orderfood.shop.feed import NULL_FEED, Feed
from orderfood.shop.guests import check_coupon as check_guest_coupon
from orderfood.shop.guests import check_open, is_guest
from orderfood.shop.key_locks import KeyLocks
from orderfood.shop.lifecycle import CUSTOMER, Action, order_change
from orderfood.shop.observer import NULL_OBSERVER, Observer
from orderfood.shop.order_ids import new_order_id
from orderfood.shop.pricing import Basket, Prices, price, resolve_lines
from orderfood.shop.refusals import (
    FieldError,
    KeyMissing,
    KeyRefused,
    PriceChanged,
    UnknownCoupon,
    Unprocessable,
)
from storage import MOST_LINES, Storage
from storage.errors import (
    CouponUsedUp,
    OrderConflict,
    OrderNotChangeable,
    OrderNotFound,
    OrderVersionChanged,
    StorageBusy,
    StorageError,
)
from storage.frozen import frozen
from storage.records import (
    Actor,
    ApiKey,
    Coupon,
    CouponLimits,
    Cursor,
    IdempotencyKey,
    Order,
    OrderLine,
    Pickup,
    User,
)

KEY_LIFETIME = timedelta(hours=24)
"""How long an idempotency key is stored."""

CREATE_ORDER = "create_order"
READ_ORDER = "read_order"
MANAGE_ORDERS = "manage_orders"
"""The scope of the shop's staff."""

SCOPES = (CREATE_ORDER, READ_ORDER, MANAGE_ORDERS)

ACTION_OUTCOMES = ("done", "repeated", "conflict", "version", "not_found", "failed")
"""What becomes of an action on an order."""


@frozen
class Shop:
    """What the use cases work on."""

    storage: Storage
    catalogue: CatalogueCache
    now: Callable[[], datetime] = utc_now
    observer: Observer = NULL_OBSERVER
    key_locks: KeyLocks = field(default_factory=KeyLocks)
    refused_keys: frozenset[str] = frozenset()
    """Hashes of keys that are always refused."""
    feed: Feed = NULL_FEED
    """To be woken when an event was committed."""


@frozen
class Quote:
    """A basket with its prices."""

    lines: tuple[OrderLine, ...]
    coupon: Coupon | None
    prices: Prices
    pickup: Pickup | None = None


def hash_key(key: str) -> str:
    """How a key is stored: SHA-256, for a key is random and long, unlike a password, so that a
    slow hash would protect nothing and cost every request."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


async def authenticate(shop: Shop, key: str | None, scope: str) -> User:
    """The user of this key. Raises KeyMissing, KeyRefused.

    The key is looked up by its hash, so a timing attack learns about the hash, not about the key.
    """
    if not key:
        raise KeyMissing("no_key", "an API key is required in the header api_key")
    snapshot = shop.catalogue.fresh or await shop.catalogue.get()
    user, api_key = _find_key(shop, snapshot, key)
    if scope not in api_key.scopes:
        raise KeyRefused("scope", f"the API key lacks the scope {scope}")
    return user


async def get_key(shop: Shop, key: str) -> tuple[User, ApiKey]:
    """The user of this key and the stored key, whatever its scopes. Raises KeyRefused for one that
    does not exist, is always refused or has expired."""
    return _find_key(shop, await shop.catalogue.get(), key)


def _find_key(shop: Shop, snapshot: Snapshot, key: str) -> tuple[User, ApiKey]:
    hashed = hash_key(key)
    found = None if hashed in shop.refused_keys else snapshot.keys.get(hashed)
    if found is None:
        raise KeyRefused("wrong_key", "the API key is not valid")
    if _has_expired(shop, found[1]):
        raise KeyRefused("expired_key", "the API key has expired")
    return found


async def is_good_key(shop: Shop, key: str) -> bool:
    """Whether the key exists and has not expired, whatever its scopes."""
    try:
        await get_key(shop, key)
    except KeyRefused:
        return False
    return True


def holds_scope(shop: Shop, hashed: str, user_id: str, scope: str) -> bool:
    """Whether a key, by its hash, still is this user's, has the scope and has not expired, as far
    as is known now: a store that does not answer takes no key away."""
    snapshot = shop.catalogue.newest
    found = snapshot.keys.get(hashed) if snapshot is not None else None
    if found is None or hashed in shop.refused_keys:
        return False
    user, key = found
    return user.id == user_id and scope in key.scopes and not _has_expired(shop, key)


def _has_expired(shop: Shop, key: ApiKey) -> bool:
    return key.expires_at is not None and shop.now() >= key.expires_at


class _CatalogueMoved(Exception):
    """The coupon belongs to another version of the catalogue than the prices."""


async def quote(shop: Shop, basket: Basket, attempts: int = 10) -> Quote:
    """What the basket costs now. Raises Unprocessable, as an order of it would."""
    snapshot = shop.catalogue.fresh or await shop.catalogue.get()
    now = shop.now()
    if snapshot.state.pause is not None:
        _check_open(snapshot, now)
    lines = resolve_lines(basket, snapshot.products)
    if snapshot.state.sold_out:
        _check_available(basket, snapshot, now)
    try:
        code = basket.coupon_code
        coupon = None if code is None else await find_coupon(shop, snapshot, code)
    except _CatalogueMoved:
        if attempts == 1:
            raise StorageBusy("the catalogue changes all the time") from None
        await shop.catalogue.refresh()
        return await quote(shop, basket, attempts - 1)
    return Quote(lines, coupon, price(lines, coupon, now), basket.pickup)


def _check_open(snapshot: Snapshot, now: datetime) -> None:
    """Raises Unprocessable while the shop is paused."""
    pause = snapshot.pause(now)
    if pause is not None:
        until = f" until {pause.until:%Y-%m-%dT%H:%M:%SZ}" if pause.until else ""
        said = f": {pause.message}" if pause.message else ""
        raise Unprocessable("closed", f"the shop takes no orders{until}{said}")


def _check_available(basket: Basket, snapshot: Snapshot, now: datetime) -> None:
    errors, gone = [], dict[str, None]()
    for index, item in enumerate(basket.items):
        if snapshot.is_sold_out(snapshot.products[item.product_id], now):
            errors.append(FieldError(f"items[{index}].productId", "sold out"))
            gone[item.product_id] = None
    if errors:
        raise Unprocessable("sold_out", f"sold out: {', '.join(gone)}", tuple(errors))


async def quote_for(shop: Shop, user: User, basket: Basket) -> Quote:
    """As quote, for a user: a coupon that is used up is refused, as an order would be, though only
    an order counts exactly. Raises Unprocessable."""
    quoted = await quote(shop, basket)
    coupon = quoted.coupon
    if is_guest(user):
        check_guest_coupon(coupon)
    if coupon and not (coupon.max_uses is None and coupon.max_uses_per_user is None):
        uses, by_user = await shop.storage.get_coupon_uses(coupon.code, user.id)
        if _reached(uses, coupon.max_uses) or _reached(by_user, coupon.max_uses_per_user):
            raise refused("the coupon is used up", "coupon_used_up")
    return quoted


def _reached(uses: int, limit: int | None) -> bool:
    return limit is not None and uses >= limit


async def find_coupon(shop: Shop, snapshot: Snapshot, code: str) -> Coupon:
    """The coupon of that code: a named one, else one of the coupon files. Raises Unprocessable,
    and _CatalogueMoved when the store has another version than the snapshot by now."""
    known = snapshot.coupons.get(fold_code(code))
    if known is not None:
        return known
    if len(code) > MAX_CODE:
        raise _unknown_coupon()
    found = await shop.storage.find_coupon(code)
    if found.version != snapshot.version:
        raise _CatalogueMoved
    if found.coupon is not None:
        snapshot.keep_coupon(fold_code(code), found.coupon)
        return found.coupon
    of_files = snapshot.file_coupon
    if of_files and found.file_code and MIN_FILE_CODE <= len(code) <= MAX_FILE_CODE:
        return replace(of_files, code=found.file_code)
    raise _unknown_coupon()


def _unknown_coupon() -> UnknownCoupon:
    error = FieldError("couponCode", "unknown coupon")
    return UnknownCoupon("coupon", "unknown coupon", (error,))


@frozen
class IdempotentRequest:
    """An idempotency key with the fingerprint of its request."""

    key: str
    fingerprint: str
    """Equal exactly for equal requests, over processes and versions."""


def place_order(
    shop: Shop,
    user: User,
    basket: Basket,
    idempotent: IdempotentRequest | None = None,
    expected_total: int | None = None,
) -> Awaitable[Order]:
    """Prices the basket and stores the order, once for each of the user's idempotency keys, and
    only if it costs what is expected (None: whatever it costs), which is no part of the request
    under a key.

    Raises Unprocessable, PriceChanged, StillInProgress, IdempotencyConflict.
    """
    # each of these is awaited by the caller alone: every coroutine around another costs each order
    if is_guest(user):
        return _place_for_guest(shop, user, basket, idempotent, expected_total)
    if idempotent is not None:
        return _place_once(shop, user, basket, idempotent, expected_total)
    return _price_and_store(shop, user, basket, None, expected_total)


async def _place_for_guest(
    shop: Shop,
    user: User,
    basket: Basket,
    idempotent: IdempotentRequest | None,
    expected_total: int | None,
) -> Order:
    """One at a time: how many wait is counted before another one is stored."""
    async with shop.key_locks.hold((user.id, _ALL_KEYS)):
        if idempotent is not None:
            return await _place_once(shop, user, basket, idempotent, expected_total)
        return await _price_and_store(shop, user, basket, None, expected_total)


_ALL_KEYS = ""
"""Stands for all of a guest's requests: no Idempotency-Key is empty."""


async def _place_once(
    shop: Shop,
    user: User,
    basket: Basket,
    idempotent: IdempotentRequest,
    expected_total: int | None,
) -> Order:
    async with shop.key_locks.hold((user.id, idempotent.key)):
        expires_at = shop.now() + KEY_LIFETIME
        key = IdempotencyKey(idempotent.key, idempotent.fingerprint, expires_at)
        return await _price_and_store(shop, user, basket, key, expected_total)


async def _price_and_store(
    shop: Shop,
    user: User,
    basket: Basket,
    key: IdempotencyKey | None,
    expected_total: int | None,
) -> Order:
    """Prices and stores the order. When that is refused, an order that is already stored under the
    key is returned instead, for the menu may have changed since."""
    try:
        quoted = await quote(shop, basket)
        if is_guest(user):
            check_guest_coupon(quoted.coupon)
            check_open(await shop.storage.count_open_orders_of(user.id))
        _check_total(quoted, expected_total)
    except (Unprocessable, PriceChanged):
        first = await shop.storage.find_order_by_key(user.id, key) if key else None
        if first is None:
            raise
        return first
    return await _store(shop, _new_order(user, quoted, shop.now()), key, quoted.coupon)


def _check_total(quoted: Quote, expected: int | None) -> None:
    if expected is not None and expected != quoted.prices.total:
        code = quoted.coupon.code if quoted.coupon else None
        raise PriceChanged(quoted.lines, code, quoted.prices)


def _new_order(user: User, quoted: Quote, now: datetime) -> Order:
    prices = quoted.prices
    return Order(
        id=new_order_id(now),
        user_id=user.id,
        lines=quoted.lines,
        subtotal=prices.subtotal,
        discounts=prices.discounts,
        total=prices.total,
        created_at=now,
        coupon_code=quoted.coupon.code if quoted.coupon else None,
        pickup=quoted.pickup,
    )


async def _store(
    shop: Shop, order: Order, key: IdempotencyKey | None, coupon: Coupon | None
) -> Order:
    limits = CouponLimits(coupon.max_uses, coupon.max_uses_per_user) if coupon else None
    try:
        stored = await shop.storage.add_order(order, key=key, limits=limits)
    except CouponUsedUp as error:
        raise refused("the coupon is used up", "coupon_used_up") from error
    if stored.id == order.id:
        shop.feed.wake()
        shop.observer.order_placed(stored, coupon)
    return stored


def parse_order_id(text: str) -> uuid.UUID:
    """The order id in a path. Raises OrderNotFound for anything but a hyphenated UUID."""
    try:
        order_id = uuid.UUID(text)
    except ValueError:
        raise OrderNotFound(text) from None
    if str(order_id) != text.lower():
        raise OrderNotFound(text)
    return order_id


async def get_order(shop: Shop, user: User, order_id: str) -> Order:
    """The user's own order. Raises OrderNotFound."""
    return await shop.storage.get_order(user.id, parse_order_id(order_id))


async def cancel_order(
    shop: Shop, user: User, order_id: str, expected_version: int | None = None
) -> Order:
    """Cancels the user's own order, once, while it is placed. Raises OrderNotFound,
    OrderNotChangeable, OrderVersionChanged."""
    return await change_order(
        shop,
        Action("cancel", CUSTOMER),
        order_id,
        Actor(user.id),
        expected_version=expected_version,
        user_id=user.id,
    )


async def change_order(
    shop: Shop,
    action: Action,
    order_id: str,
    actor: Actor,
    *,
    expected_version: int | None,
    user_id: str | None = None,
) -> Order:
    """One step in the life of an order, of which observers and followers are told; a repeat changes
    nothing. Any user's order, or with ``user_id`` this one's. Raises OrderNotFound,
    OrderNotChangeable, OrderVersionChanged."""
    now = shop.now()
    outcome = "failed"
    try:
        order, is_new = await shop.storage.change_order(
            parse_order_id(order_id),
            order_change(action, now),
            actor,
            now,
            expected_version=expected_version,
            user_id=user_id,
        )
        outcome = "done" if is_new else "repeated"
    except (OrderNotFound, OrderConflict) as error:
        outcome = _REFUSED[type(error)]
        raise
    finally:
        shop.observer.action_ended(action.name, action.by, outcome)
    if is_new:
        shop.feed.wake()
        shop.observer.order_changed(order)
    return order


_REFUSED: dict[type[StorageError], str] = {
    OrderNotFound: "not_found",
    OrderNotChangeable: "conflict",
    OrderVersionChanged: "version",
}


async def list_orders(
    shop: Shop, user: User, limit: int, after: Cursor | None
) -> tuple[list[Order], Cursor | None]:
    """A page of the user's own orders, newest first, and the cursor of the next page; None on the
    last page. It ends before ``limit`` when its orders have many lines."""
    orders: list[Order] = []
    while True:
        wanted = min(limit - len(orders), PORTION)
        found = await shop.storage.list_orders(user.id, limit=wanted + 1, after=after)
        orders += found[:wanted]
        if len(found) <= wanted:
            return orders, None
        after = Cursor(orders[-1].created_at, orders[-1].id)
        if len(orders) == limit or sum(len(order.lines) for order in orders) > MOST_LINES:
            return orders, after


PORTION = 25
"""Orders that are read for a page at once."""
