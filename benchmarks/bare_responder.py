"""The limit of the interpreter: the menu's bytes by a parser and an event loop in C, nothing else.

    python -m benchmarks.bare_responder --port 8080

httptools parses a request and uvloop moves the bytes; Python is called once for what was read and
once for its end. No route, no header is looked at: whatever costs more than this is somebody's
work for a request.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import httptools
import uvloop

from benchmarks.menu import FIXTURES
from fixtures import read_fixtures
from orderfood.api.wire import JSON_TYPE, encode_products


class Responder(asyncio.Protocol):
    """One connection: the same answer to every request."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._write(self._answer)


def answer_of(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(port: int) -> None:
    answer = answer_of(encode_products(read_fixtures(FIXTURES).catalogue.products).body)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Responder(answer), "127.0.0.1", port)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
