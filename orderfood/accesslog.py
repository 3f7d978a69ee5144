"""One line for each request, made cheaply: it would cost more than all other observability.

In JSON the line is put together by hand, as JSONFormatter would make it, and written together with
its neighbours. In text, which is for a terminal, it is an ordinary record.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted

from orderfood.logs import JSONFormatter, LineHandler, line_handlers, log_context

logger = logging.getLogger("orderfood.access")


def log_access(
    *,
    method: str,
    route: str,
    status: int,
    seconds: float,
    request_id: str,
    user: str | None,
    reason: str | None,
) -> None:
    """Logs an answered request: by route rather than by path, for a path may hold anything."""
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {"duration_ms": round(seconds * 1000, 3), "request_id": request_id}
    if user is not None:
        fields["user"] = user
    if reason is not None:
        fields["reason"] = reason
    lines = _lines_in_json()
    if lines is None:
        known = {"method": method, "route": route, "status": status}
        logger.info("%s %s %d", method, route, status, extra={"fields": known | fields})
    else:
        lines.write(method, route, status, fields)


class _Lines:
    """Makes lines for a handler. All but the time and the fields is the same for each kind of
    request, and made once."""

    def __init__(self, handler: LineHandler, formatter: JSONFormatter) -> None:
        self.handler = handler
        self._constants = {"service": "", **formatter.constants}
        self._kinds: dict[tuple[str, str, int], str] = {}
        self._second = (0, "")

    def write(self, method: str, route: str, status: int, fields: dict[str, object]) -> None:
        kind = (method, route, status)
        start = self._kinds.get(kind) or self._new_kind(kind)
        fields.update(log_context())
        rest = ", ".join(
            [
                f'"{name}": {quoted(value) if isinstance(value, str) else value}'
                for name, value in fields.items()
            ]
        )
        self.handler.write_later(f'{{"timestamp": "{self._timestamp()}", {start}, {rest}}}')

    def _new_kind(self, kind: tuple[str, str, int]) -> str:
        method, route, status = kind
        texts = {
            "level": "info",
            "logger": logger.name,
            "message": f"{method} {route} {status}",
            **self._constants,
            "method": method,
            "route": route,
        }
        made = ", ".join(f'"{name}": {quoted(text)}' for name, text in texts.items())
        self._kinds[kind] = f'{made}, "status": {status}'
        return self._kinds[kind]

    def _timestamp(self) -> str:
        """As isoformat writes it; the second is written once."""
        now = time.time()
        second = int(now)
        if second != self._second[0]:
            self._second = (second, datetime.fromtimestamp(second, UTC).isoformat()[:19])
        return f"{self._second[1]}.{int((now - second) * 1000):03d}+00:00"


_lines: list[_Lines] = []


def _lines_in_json() -> _Lines | None:
    handlers = line_handlers()
    if not handlers or not isinstance(handlers[0].formatter, JSONFormatter):
        return None
    if not _lines or _lines[0].handler is not handlers[0]:
        _lines[:] = [_Lines(handlers[0], handlers[0].formatter)]
    return _lines[0]
