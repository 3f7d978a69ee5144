"""Requests in flight, and whether the server drains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Traffic:
    """Shared by the request delegates, which count, and by the drain, which waits."""

    in_flight: int = 0
    draining: bool = False
    """Whether every answer ends its connection, and /ready says 503."""
    leaving: list[Callable[[], None]] = field(default_factory=list)
    """Called when the drain begins, before it waits for anything."""

    def leave(self) -> None:
        """Begins the drain; a second call does nothing."""
        if not self.draining:
            self.draining = True
            for notify in self.leaving:
                notify()
