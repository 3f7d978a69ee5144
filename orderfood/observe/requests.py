"""What is done about each request, whoever has answered it: its access-log line and its metrics.

Handlers, and whatever else answers requests, call :meth:`RequestObserver.begin` and ``end`` and
nothing else. It knows nothing of Tornado.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderfood.observe.accesslog import AccessLog
    from orderfood.observe.metrics import Metrics


class RequestObserver:
    """Told of each request when it begins and when it has ended."""

    def __init__(self, metrics: Metrics | None = None, access_log: AccessLog | None = None) -> None:
        self.metrics = metrics
        self.access_log = access_log

    def begin(self, method: str, route: str) -> None:
        """A request has come. ``method`` and ``route`` are among the few that there are."""
        if self.metrics is not None:
            self.metrics.request_begins(method, route)

    def end(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str,
        user: str | None,
        reason: str | None,
        received: int,
        sent: int,
    ) -> None:
        """It is answered, or its client is gone. ``reason`` is a fixed word that says why it was
        not answered as it wished, ``received`` and ``sent`` are the bytes of the two bodies."""
        if self.access_log is not None:
            self.access_log.write(method, route, status, seconds, request_id, user, reason)
        if self.metrics is not None:
            self.metrics.request_ends(method, route, status, seconds, received, sent, reason)
