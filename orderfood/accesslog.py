"""One line for each request."""

from __future__ import annotations

import logging

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
    fields: dict[str, object] = {
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": request_id,
    }
    if user is not None:
        fields["user"] = user
    if reason is not None:
        fields["reason"] = reason
    logger.info("%s %s %d", method, route, status, extra={"fields": fields})
