"""What the server knows of its traffic: how many requests are in flight, and whether it drains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Shared by whoever answers requests and by whoever ends the server."""

    in_flight: int = 0
    draining: bool = False
    """Whether every answer ends its connection, and /ready says 503."""
