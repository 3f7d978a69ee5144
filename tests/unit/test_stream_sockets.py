"""What a stream's connection is told, so that a client that was cut off is found out."""

from __future__ import annotations

import socket
import sys

import pytest

from orderfood.server.exchange import STREAM_BUFFER, STREAM_SILENCE_MS, prepare_stream


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
def test_a_stream_holds_little_and_waits_half_a_minute() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as client:
            prepare_stream(client)
            held = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert held <= 2 * STREAM_BUFFER  # Linux doubles it, for its own use
            silence = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert silence == STREAM_SILENCE_MS
        prepare_stream(client)  # it is gone: nothing happens
