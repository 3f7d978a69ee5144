"""The orders and their events, in dictionaries."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from storage.base import MOST_LINES
from storage.errors import OrderExists, OrderNotFound
from storage.memory.events import EventLog, blanked
from storage.order_rules import (
    LAST_NUMBER,
    NewOrder,
    as_placed,
    changed,
    check_fingerprint,
    check_uses,
    numbered,
)
from storage.records import (
    OPEN_STATUSES,
    Actor,
    Cursor,
    IdempotencyKey,
    OpenOrders,
    Order,
    OrderChange,
    OrderStatus,
    ShopOrders,
)

ENDED = (OrderStatus.COMPLETED, OrderStatus.CANCELLED)


class Orders:
    """Every method is as Storage's of its name."""

    def __init__(self) -> None:
        self.log = EventLog()
        self._orders: dict[UUID, Order] = {}
        self._by_user: dict[str, list[tuple[datetime, UUID]]] = defaultdict(list)
        self._keys: dict[tuple[str, str], tuple[IdempotencyKey, UUID]] = {}
        self._uses: Counter[str] = Counter()
        self._uses_by_user: Counter[tuple[str, str]] = Counter()
        self._counted: set[UUID] = set()
        """Those that hold a use of their coupon."""
        self._number = 0

    def __contains__(self, order_id: UUID) -> bool:
        return order_id in self._orders

    def insert(self, order: Order) -> None:
        """Stores an order without a number, an event and a use of its coupon."""
        if order.id in self._orders:
            raise OrderExists(f"an order {order.id} is stored already")
        self._orders[order.id] = order
        insort(self._by_user[order.user_id], (order.created_at, order.id))

    def add(self, new: NewOrder) -> Order:
        order, key, limits = new
        if key and (first := self.find_by_key(order.user_id, key)):
            return first
        if order.coupon_code is not None:
            uses = self.coupon_uses(order.coupon_code, order.user_id)
            check_uses(order.coupon_code, limits, *uses)
        order = numbered(order, self._number % LAST_NUMBER + 1)
        self.insert(order)
        self._number += 1
        self.log.append(order, Actor(order.user_id))
        if order.coupon_code is not None:
            self._counted.add(order.id)
            self._count(order, order.coupon_code, 1)
        if key:
            self._keys[order.user_id, key.key] = (key, order.id)
        return order

    def coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return self._uses[code], self._uses_by_user[code, user_id]

    def _count(self, order: Order, code: str, uses: int) -> None:
        self._uses[code] += uses
        self._uses_by_user[code, order.user_id] += uses

    def find_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        stored, order_id = self._keys.get((user_id, key.key), (None, None))
        if stored is None or order_id is None or stored.expires_at <= datetime.now(UTC):
            return None
        check_fingerprint(key, stored.fingerprint)
        return as_placed(self._orders[order_id])

    def delete_expired_keys(self, limit: int) -> int:
        now = datetime.now(UTC)
        expired = [name for name, (key, _) in self._keys.items() if key.expires_at <= now][:limit]
        for name in expired:
            del self._keys[name]
        return len(expired)

    def find(self, order_id: UUID, user_id: str | None = None) -> Order:
        """The order, of any user or of this one. Raises OrderNotFound."""
        order = self._orders.get(order_id)
        if order is None or user_id not in (None, order.user_id):
            raise OrderNotFound(f"there is no order {order_id}, or not of this user")
        return order

    def page_of_user(self, user_id: str, limit: int, after: Cursor | None) -> list[Order]:
        oldest_first = self._by_user.get(user_id, [])
        end = bisect_left(oldest_first, (after.created_at, after.id)) if after else None
        page = oldest_first[:end][: -limit - 1 : -1] if limit else []
        return [self._orders[order_id] for _, order_id in page]

    def change(
        self, order: Order, change: OrderChange, by: Actor, at: datetime, expected: int | None
    ) -> tuple[Order, bool]:
        after = changed(order, change, by, at, expected)
        if after is None:
            return order, False
        self._orders[order.id] = after
        self.log.append(after, by)
        if after.status == OrderStatus.CANCELLED and not change.keeps_use:
            self._give_back_use(after)
        return after, True

    def _give_back_use(self, order: Order) -> None:
        if order.id in self._counted and order.coupon_code is not None:
            self._counted.remove(order.id)
            self._count(order, order.coupon_code, -1)

    def blank_personal_data(self, before: datetime, limit: int) -> int:
        old = [
            order
            for order in self._orders.values()
            if order.status in ENDED
            and (order.changed_at or order.created_at) < before
            and order != blanked(order)
        ][:limit]
        self._orders |= {order.id: blanked(order) for order in old}
        self.log.blank({order.id for order in old})
        return len(old)

    def page_of_shop(
        self, statuses: Sequence[str], oldest_first: bool, limit: int, after: Cursor | None
    ) -> ShopOrders:
        found = [order for order in self._orders.values() if order.status in statuses]
        found.sort(key=_place_of, reverse=not oldest_first)
        if after is not None:
            cursor = (after.created_at, after.id)
            found = [one for one in found if (_place_of(one) > cursor) is oldest_first]
            found = [one for one in found if _place_of(one) != cursor]
        page = found[:limit]
        while len(page) > 1 and sum(len(order.lines) for order in page) > MOST_LINES:
            page.pop()
        return ShopOrders(tuple(page), self.log.last, len(page) < min(limit, len(found)))

    def count_open(self) -> OpenOrders:
        waiting = [order for order in self._orders.values() if order.status in OPEN_STATUSES]
        placed = [one.created_at for one in waiting if one.status == OrderStatus.PLACED]
        counts = Counter(str(order.status) for order in waiting)
        return OpenOrders(
            {str(status): counts[status] for status in OPEN_STATUSES}, min(placed, default=None)
        )

    def count_open_of(self, user_id: str) -> int:
        ids = (order_id for _, order_id in self._by_user.get(user_id, ()))
        return sum(self._orders[order_id].status in OPEN_STATUSES for order_id in ids)


def _place_of(order: Order) -> tuple[datetime, UUID]:
    return order.created_at, order.id
