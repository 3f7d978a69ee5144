"""Answers to heads that come again, byte for byte, while the answer is the same.

A client that asks for the menu sends the same bytes each time. What was decided for them once (the
route, the coding, the CORS headers, that nothing else stands in the head) holds for as long as the
snapshot and the second of Date do: one look-up then replaces parser, routing and endpoint. Every
such request still has an id, a log line, metrics and a place in the sampler's count of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from orderfood.api.answers import new_request_id
from orderfood.api.context import Context
from orderfood.api.request import Request
from orderfood.server.exchange import SLICE
from orderfood.shop.catalogue import Snapshot

if TYPE_CHECKING:
    from orderfood.observe.request_spans import RequestTracer

MAX_REPEATS = 256
"""Heads whose answer is kept, each of at most MAX_CACHED_HEAD_BYTES, with the head of its answer;
the body is the snapshot's. All are forgotten when the second is over."""


class Repeat(NamedTuple):
    """The answer to equal heads, but for the request's id."""

    head: bytes
    """All of it up to the id's value."""
    body: bytes
    """The snapshot's own: a copy for each head would be the clients' to make."""
    observe: Callable[[str, float], None]
    """Tells the observer of one such request: its id, and the seconds that it took."""


class Repeats:
    """The table, from the bytes of a head to its answer."""

    def __init__(self, context: Context, tracer: RequestTracer | None) -> None:
        self._context = context
        self._catalogue = context.shop.catalogue
        self._skips: Callable[[], bool] = _always if tracer is None else tracer.skips
        self._snapshot: Snapshot | None = None
        self._second = 0
        self._known: dict[bytes, Repeat] = {}
        context.traffic.leaving.append(self._known.clear)

    def keep(
        self,
        data: bytes,
        made_of: tuple[Snapshot, int],
        request: Request,
        head: Callable[[], bytes],
        body: bytes,
    ) -> None:
        """Keeps the answer (200) to a request whose head, ``data``, any client may send. It was
        made of a snapshot, in or after a second since 1970. ``head`` makes the answer's head, which
        ends with the request's id; it is asked where there is room."""
        snapshot, second = made_of
        if snapshot is not self._snapshot or second != self._second:
            self._known.clear()
            self._snapshot, self._second = made_of
        draining = self._context.traffic.draining  # every answer ends its connection then
        if len(self._known) < MAX_REPEATS and len(body) <= SLICE and not draining:
            observe = self._context.observer.repeated(request.target.kind, 200, len(body))
            self._known[data] = Repeat(head().removesuffix(request.id.encode()), body, observe)

    def answer_to(self, data: bytes) -> bytes | None:
        """The whole answer to a head; None for one that has to go the whole way."""
        known = self._known.get(data)
        if known is None:
            return None
        began = time.perf_counter()
        if (
            self._catalogue.fresh is not self._snapshot
            or not self._second <= time.time() < self._second + 1
            or not self._skips()
        ):
            return None
        head, body, observe = known
        id_ = new_request_id()
        answer = b"%b%b\r\n\r\n%b" % (head, id_.encode(), body)
        observe(id_, time.perf_counter() - began)
        return answer


def _always() -> bool:
    return True
