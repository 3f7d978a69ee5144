"""What a connection may cost, in bytes and in seconds, on either server."""

from __future__ import annotations

from dataclasses import dataclass

SWEEP_SECONDS = 1.0
"""Seconds between two checks of all connections for expired deadlines."""


@dataclass(slots=True)
class Limits:
    """Bounds of a connection: bytes of a request's head, and seconds for its parts.
    ``write_seconds`` are what a client gets to take HIGH_WATER or a SLICE."""

    header_bytes: int = 16 * 1024
    header_seconds: float = 20.0
    idle_seconds: float = 75.0
    body_seconds: float = 20.0
    write_seconds: float = 60.0
    connections: int = 10_000
    shared: bool = False
    """Whether other processes accept on the same socket."""
