"""The menu as Tornado serves it by itself: its own HTTP server on asyncio, the bytes ready to send.

    python -m benchmarks.stock_tornado --port 8080

Nothing of orderfood but the bytes: no ETag, no request id, no metrics, no trace. What order-food
does more than this has to cost less than its parser gains.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

from tornado.web import Application, RequestHandler

from benchmarks.menu import FIXTURES
from fixtures import read_fixtures
from orderfood.api.wire import JSON_TYPE, encode_products


class MenuHandler(RequestHandler):
    """Sends the bytes; Tornado's own digest of them is left out, for the sake of speed."""

    def initialize(self, body: bytes) -> None:
        self.body = body

    def get(self) -> None:
        self.set_header("Content-Type", JSON_TYPE)
        self.write(self.body)

    def compute_etag(self) -> str | None:
        return None


async def serve(port: int) -> None:
    body = encode_products(read_fixtures(FIXTURES).catalogue.products).body
    app = Application([("/api/product", MenuHandler, {"body": body})])
    app.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    logging.basicConfig(level=logging.INFO)  # its access log, as Tornado writes it
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
