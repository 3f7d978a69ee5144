"""Requests in flight, and whether the server drains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Shared by the request delegates, which count, and by the drain, which waits."""

    in_flight: int = 0
    draining: bool = False
    """Whether every answer ends its connection, and /ready says 503."""
