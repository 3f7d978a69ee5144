"""Ports for what a test or a benchmark starts."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

FIRST, EACH, PARTS = 20_000, 1_000, 12
"""Parts of what lies below the ports that the system gives to clients (from 32768 on, see
net.ipv4.ip_local_port_range): one for each process of a test run, so that no two take the same."""


def free_port() -> int:
    """A port of the loopback that nobody listens on. It stays free until it is used, and between
    two servers that use it: no client gets it, and might even reach itself there."""
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
    while True:
        port = FIRST + EACH * part + random.randrange(EACH)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
