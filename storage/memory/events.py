"""The event log, in a list."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from datetime import datetime
from itertools import islice, takewhile
from operator import attrgetter
from uuid import UUID

from storage.records import Actor, EventPage, Order, OrderEvent


class EventLog:
    """The events, by their numbers."""

    def __init__(self) -> None:
        self._events: list[OrderEvent] = []
        self.last = 0
        """The greatest number that was given."""

    def append(self, order: Order, by: Actor) -> None:
        """Appends the order's last event."""
        self.last += 1
        at = order.changed_at or order.created_at
        self._events.append(OrderEvent(self.last, order.last_event, at, by, order))

    def page(
        self, after: int | None, limit: int, user_id: str | None, order_id: UUID | None
    ) -> EventPage:
        """As Storage.read_events."""
        first = self._events[0].seq if self._events else self.last + 1
        if after is None:
            return EventPage((), self.last, first, self.last)
        start = bisect_right(self._events, after, key=attrgetter("seq"))
        matching = (
            event
            for event in islice(self._events, start, None)
            if user_id in (None, event.order.user_id) and order_id in (None, event.order.id)
        )
        found = tuple(islice(matching, limit + 1))
        page = found[:limit]
        return EventPage(page, page[-1].seq if len(found) > limit else self.last, first, self.last)

    def of(self, order_id: UUID) -> tuple[OrderEvent, ...]:
        """Those of one order."""
        return tuple(event for event in self._events if event.order.id == order_id)

    def delete(self, before: datetime, limit: int) -> int:
        """As Storage.delete_events."""
        old = list(takewhile(lambda event: event.at < before, self._events[:limit]))
        del self._events[: len(old)]
        return len(old)

    def blank(self, orders: set[UUID]) -> None:
        """Has the events of these orders tell nothing of their customers."""
        self._events = [
            replace(event, order=blanked(event.order)) if event.order.id in orders else event
            for event in self._events
        ]


def blanked(order: Order) -> Order:
    """The order without personal data."""
    cancellation = order.cancellation and replace(order.cancellation, note=None)
    return replace(order, pickup=None, cancellation=cancellation)
