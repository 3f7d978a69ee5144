"""The observer of server and shop: its events, its null object, and a composite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from orderfood.shop.catalogue import Snapshot
    from storage.records import Coupon, Order


class RequestKind(NamedTuple):
    """The labels that requests are counted by, both of bounded cardinality."""

    method: str
    route: str
    """The template of its path."""


class AnsweredRequest(NamedTuple):
    """A request that was answered, or whose client has left."""

    kind: RequestKind
    status: int
    seconds: float
    request_id: str
    user: str | None
    reason: str | None
    """The reason of a failure: a fixed word; None for success."""
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the answer's body."""


class StorageCall(NamedTuple):
    """A storage call that has ended."""

    operation: str
    seconds: float
    failed: bool


class Observer:
    """The interface of observers, and their null object: every method does nothing. Observers
    override the events that they use. No method raises or blocks."""

    def request_began(self, kind: RequestKind) -> None:
        """The head of a request has arrived."""

    def request_ended(self, request: AnsweredRequest) -> None:
        """A request has ended: once for each that began."""

    def repeated(self, kind: RequestKind, status: int, sent: int) -> Callable[[str, float], None]:
        """What takes note of requests that are equal but for their id and the seconds that they
        took, its two arguments: each began and ended at once, and had no body."""

        def observe(request_id: str, seconds: float) -> None:
            self.request_began(kind)
            self.request_ended(
                AnsweredRequest(kind, status, seconds, request_id, None, None, 0, sent)
            )

        return observe

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        """A new order was stored. A replay under its idempotency key is no new order."""

    def order_changed(self, order: Order) -> None:
        """An order was changed. A repeat changes nothing."""

    def action_ended(self, action: str, by: str, outcome: str) -> None:
        """``by`` (``customer`` or ``shop``) has done something to an order, or tried to: a word of
        lifecycle.STEPS, and one of orders.ACTION_OUTCOMES."""

    def catalogue_changed(self, snapshot: Snapshot) -> None:
        """A new version of the catalogue is served from now on."""

    def storage_called(self, call: StorageCall) -> None:
        """A storage call has ended."""

    def orders_committed(self, count: int) -> None:
        """``count`` orders share a commit."""

    def stream_began(self, kind: str) -> None:
        """Somebody follows the feed: a ``customer`` or a ``shop``."""

    def stream_ended(self, kind: str, reason: str) -> None:
        """It has ended. The reason is ``client`` (it has left), ``slow`` (it
        took nothing), ``revoked`` (its key) or ``drain``."""

    def events_delivered(self, lags: Sequence[float], written: int) -> None:
        """New events were written to all who follow them and take them: once to each, ``written``
        in all. ``lags`` are the seconds from each event's own time until then."""

    def flush(self) -> None:
        """The last event: writes what is buffered."""


class Observers(Observer):
    """The composite: passes each event to those observers that override it, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        def those(method: str) -> list[Callable[..., Any]]:
            base = getattr(Observer, method)
            return [getattr(o, method) for o in observers if getattr(type(o), method) is not base]

        self._began = those("request_began")
        self._ended = those("request_ended")
        self._repeated = those("repeated")
        self._placed = those("order_placed")
        self._order_changed = those("order_changed")
        self._action_ended = those("action_ended")
        self._changed = those("catalogue_changed")
        self._called = those("storage_called")
        self._committed = those("orders_committed")
        self._stream_began = those("stream_began")
        self._stream_ended = those("stream_ended")
        self._delivered = those("events_delivered")
        self._flush = those("flush")

    def request_began(self, kind: RequestKind) -> None:
        for notify in self._began:
            notify(kind)

    def request_ended(self, request: AnsweredRequest) -> None:
        for notify in self._ended:
            notify(request)

    def repeated(self, kind: RequestKind, status: int, sent: int) -> Callable[[str, float], None]:
        told = [specialised(kind, status, sent) for specialised in self._repeated]

        def observe(request_id: str, seconds: float) -> None:
            for notify in told:
                notify(request_id, seconds)

        return observe

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        for notify in self._placed:
            notify(order, coupon)

    def order_changed(self, order: Order) -> None:
        for notify in self._order_changed:
            notify(order)

    def action_ended(self, action: str, by: str, outcome: str) -> None:
        for notify in self._action_ended:
            notify(action, by, outcome)

    def catalogue_changed(self, snapshot: Snapshot) -> None:
        for notify in self._changed:
            notify(snapshot)

    def storage_called(self, call: StorageCall) -> None:
        for notify in self._called:
            notify(call)

    def orders_committed(self, count: int) -> None:
        for notify in self._committed:
            notify(count)

    def stream_began(self, kind: str) -> None:
        for notify in self._stream_began:
            notify(kind)

    def stream_ended(self, kind: str, reason: str) -> None:
        for notify in self._stream_ended:
            notify(kind, reason)

    def events_delivered(self, lags: Sequence[float], written: int) -> None:
        for notify in self._delivered:
            notify(lags, written)

    def flush(self) -> None:
        for notify in self._flush:
            notify()


NULL_OBSERVER = Observer()
"""The null object."""
