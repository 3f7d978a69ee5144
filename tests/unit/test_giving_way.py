"""A client that sends much in little parts leaves turns to the others."""

from __future__ import annotations

import asyncio
from typing import cast

from orderfood.server.connection import Connection
from orderfood.server.incoming import MAX_WAITING
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from tests.unit.test_garbage import HEAD, Sink, new_front


async def test_a_full_buffer_is_one_turn() -> None:
    """The event loop's library would go on reading, up to 32 times a quarter of a megabyte."""
    sink = Sink()
    connection = Connection(HttpToolsServer(await new_front(), Limits()))
    connection.connection_made(cast(asyncio.Transport, sink))
    connection.data_received(
        b"POST /api/order HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HEAD
    )
    await asyncio.sleep(0.01)
    was_reading = sink.reads
    connection.data_received(b"1\r\n \r\n" * (MAX_WAITING // 6 + 1))
    is_reading = sink.reads
    await asyncio.sleep(0.01)
    assert (was_reading, is_reading, sink.reads) == (True, False, True)
