"""Whoever watches the shop: what it is told of, and the null object that does nothing with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orderfood.shop.catalogue import Snapshot
    from storage.records import Coupon, Order


class RequestKind(NamedTuple):
    """What requests are counted by: both are among the few that there are."""

    method: str
    route: str
    """The template of its path."""


class AnsweredRequest(NamedTuple):
    """A request that is answered, or whose client is gone."""

    kind: RequestKind
    status: int
    seconds: float
    request_id: str
    user: str | None
    reason: str | None
    """Why it was not answered as it wished: a fixed word."""
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the answer's body."""


class StorageCall(NamedTuple):
    """A call of the storage that has ended."""

    operation: str
    seconds: float
    failed: bool


class Observer:
    """Told of all that happens. This one does nothing: it is the null object, and the base of those
    that want to know of some of it. No method raises anything or waits."""

    def request_began(self, kind: RequestKind) -> None:
        """A request has come."""

    def request_ended(self, request: AnsweredRequest) -> None:
        """It has ended: once for each that began."""

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        """A new order was stored; one that is replayed is none."""

    def catalogue_changed(self, snapshot: Snapshot) -> None:
        """A new version of the catalogue is served from now on."""

    def storage_called(self, call: StorageCall) -> None:
        """A storage call has ended."""

    def orders_committed(self, count: int) -> None:
        """So many orders were given to the store in one commit."""

    def flush(self) -> None:
        """Nothing more happens: what was kept back is to be handed on."""


class Observers(Observer):
    """Tells several of them, in this order, each what it wants to know."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        def those(method: str) -> list[Callable[..., None]]:
            base = getattr(Observer, method)
            return [getattr(o, method) for o in observers if getattr(type(o), method) is not base]

        self._began = those("request_began")
        self._ended = those("request_ended")
        self._placed = those("order_placed")
        self._changed = those("catalogue_changed")
        self._called = those("storage_called")
        self._committed = those("orders_committed")
        self._flush = those("flush")

    def request_began(self, kind: RequestKind) -> None:
        for tell in self._began:
            tell(kind)

    def request_ended(self, request: AnsweredRequest) -> None:
        for tell in self._ended:
            tell(request)

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        for tell in self._placed:
            tell(order, coupon)

    def catalogue_changed(self, snapshot: Snapshot) -> None:
        for tell in self._changed:
            tell(snapshot)

    def storage_called(self, call: StorageCall) -> None:
        for tell in self._called:
            tell(call)

    def orders_committed(self, count: int) -> None:
        for tell in self._committed:
            tell(count)

    def flush(self) -> None:
        for tell in self._flush:
            tell()


NULL_OBSERVER = Observer()
"""Watches nothing."""
