"""Closing a connection on a client that is still sending, without losing the answer.

A socket that is closed while received data is unread makes the kernel send a reset, on which the
client may drop the answer it has not read yet. So our side is shut first, what still comes is
read and thrown away for a moment, and only then the connection is closed (nginx calls it
lingering_close).
"""

from __future__ import annotations

import socket
from contextlib import suppress

from tornado.http1connection import HTTP1Connection
from tornado.ioloop import IOLoop

from orderfood.httptools_server import LINGER_SECONDS, Exchange


def linger(connection: HTTP1Connection | Exchange) -> None:
    """Ends our side of the connection now, and the connection in LINGER_SECONDS at the latest."""
    if isinstance(connection, Exchange):
        connection.linger()
        return
    stream = connection.stream
    if stream.closed():  # the client has left, and its socket with it
        return
    with suppress(OSError):
        stream.socket.shutdown(socket.SHUT_WR)
    IOLoop.current().call_later(LINGER_SECONDS, stream.close)
