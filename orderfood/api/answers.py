"""What endpoints answer with, and how it becomes the bytes of a head: pure functions."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from orderfood.api.wire import JSON_TYPE, encode_json
from orderfood.server.bodies import Encoded, Fields, Headers, has_current, negotiated

EXPOSED_HEADERS = (
    "X-Request-ID, ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)

JSON_HEADERS = Headers((("Content-Type", JSON_TYPE), ("Cache-Control", "no-store")))

_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")
_WITHOUT_BODY = (204, 304)


class Answer(NamedTuple):
    """A whole answer. ``headers`` are those that many answers share, ``more`` those that few do;
    Date, Content-Length, the request's id and what browsers ask for are added when it is sent."""

    body: bytes = b""
    status: int = 200
    headers: Headers = JSON_HEADERS
    more: Fields = ()
    reason: str | None = None
    """Why the request is not answered as it wished: a fixed word, for logs, metrics and spans."""
    streamed: int | None = None
    """Bytes of a body that was sent already, piece by piece, as a page's is."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.streamed is None else self.streamed


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer with a JSON body that nobody keeps."""
    return Answer(encode_json(value), status)


def encoded_answer(item: Encoded, request_headers: Mapping[str, str]) -> Answer:
    """A body that is ready to send in the coding that the client wants, or 304 where it has it."""
    if item.gzipped is not None:
        item = negotiated(item, request_headers.get("accept-encoding"))
    known = request_headers.get("if-none-match")
    if known is not None and has_current(known, item.etag):
        return Answer(b"", 304, item.unchanged)
    return Answer(item.body, 200, item.headers)


def head_of(
    answer: Answer, request_id: str, origins: tuple[str, ...], origin: str | None, more: Fields
) -> bytes:
    """The status line and the headers of an answer, without the empty line. ``origins`` are those
    that may read it in a browser, ``origin`` is the one that asks."""
    # nothing in the key is a client's own text
    key = (answer.status, origins, origin if origin in origins else None)
    head = answer.headers.heads.get(key) or _shared_head(answer.headers, key)
    if answer.more or more:
        few = "".join([f"{name}: {value}\r\n" for name, value in (*answer.more, *more)])
        head += few.encode("latin-1")
    date, id_ = _date_of(int(time.time())), request_id.encode("latin-1")
    if answer.status in _WITHOUT_BODY:
        return b"%bDate: %b\r\nX-Request-ID: %b" % (head, date, id_)
    form = b"%bContent-Length: %d\r\nDate: %b\r\nX-Request-ID: %b"
    return form % (head, len(answer.body), date, id_)


_Shared = tuple[int, tuple[str, ...], str | None]
"""A status, the origins that may read an answer in a browser, and that of them which asks."""


def _shared_head(headers: Headers, key: _Shared) -> bytes:
    """What the answers of one kind have in common, which is made once."""
    status, origins, origin = key
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    fields = (*headers.fields, *browser_headers(origins, origin))
    lines += [f"{name}: {value}" for name, value in fields]
    head = headers.heads[key] = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return head


def browser_headers(origins: tuple[str, ...], origin: str | None) -> Fields:
    """What every answer carries: who may read it in a browser, and that its type is no guess.
    ``origin`` is None unless it is one of ``origins``."""
    headers = [("X-Content-Type-Options", "nosniff")]
    if origins == ("*",):
        headers.append(("Access-Control-Allow-Origin", "*"))
    else:
        headers.append(("Vary", "Origin"))
        if origin is None:
            return tuple(headers)
        headers.append(("Access-Control-Allow-Origin", origin))
    return (*headers, ("Access-Control-Expose-Headers", EXPOSED_HEADERS))


_IDS = 256
"""How many request ids are drawn at once: asking the system costs more than all the rest of one."""

_ids: list[str] = []


def request_id_of(sent: str | None) -> str:
    """The client's name for its request if it is 1 to 128 visible ASCII characters, else a new
    one of 128 random bits."""
    if sent is not None and _VISIBLE.fullmatch(sent):
        return sent
    if not _ids:
        drawn = os.urandom(16 * _IDS).hex()
        _ids.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return _ids.pop()


def http_date() -> str:
    """The time as the Date header has it (RFC 9110, 5.6.7)."""
    return _date_of(int(time.time())).decode()


@lru_cache(maxsize=2)
def _date_of(seconds: int) -> bytes:
    """The same as it is sent, made once a second."""
    return formatdate(seconds, usegmt=True).encode()
