"""What all pages have in common."""

from __future__ import annotations

from contextlib import suppress

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from orderfood.server.bodies import Encoded, has_current, negotiated
from orderfood.server.exchange import SLICE


class PageHandler(RequestHandler):
    """A page, or a file of one."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Date")

    async def send(self, encoded: Encoded, cache_control: str | None = None) -> None:
        """Sends a body that many share, to be asked for anew unless ``cache_control`` says else: in
        slices where it is large, the next one when the client has taken the last, so that who does
        not read costs a slice and no copy of it."""
        headers = self.request.headers
        item = negotiated(encoded, headers.get("Accept-Encoding"))
        current = has_current(headers.get("If-None-Match"), item.etag)
        for name, value in (item.unchanged if current else item.headers).fields:
            (self.add_header if name == "Vary" else self.set_header)(name, value)
        if cache_control is not None:
            self.set_header("Cache-Control", cache_control)
        if current:
            self.set_status(304)
            return
        self.set_header("Content-Length", str(len(item.body)))
        with suppress(StreamClosedError):
            for start in range(0, len(item.body), SLICE):
                self.write(item.body[start : start + SLICE])
                await self.flush()

    async def head(self, *path: str) -> None:
        answering = self.get(*path)
        assert answering is not None
        await answering

    def check_etag_header(self) -> bool:
        """Never: send has judged it."""
        return False

    def compute_etag(self) -> str | None:
        """None: who has an ETag sets it."""
        return None
