"""Answers of endpoints, and how they are encoded as HTTP heads: pure functions."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from orderfood.api.wire import JSON_TYPE, encode_json
from orderfood.server.bodies import Encoded, Fields, Headers, has_current, negotiated
from orderfood.server.exchange import Source

EXPOSED_HEADERS = (
    "X-Request-ID, ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)

JSON_HEADERS = Headers((("Content-Type", JSON_TYPE), ("Cache-Control", "no-store")))

NO_STORE_HEADERS = Headers((("Cache-Control", "no-store"),))

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
    """The reason of a failure: a fixed word, for logs, metrics and spans."""
    streamed: int | None = None
    """Bytes of a body that was already streamed, as a page's is; None for an answer that is not."""
    stream: Source | None = None
    """What writes the body from now on, without an end; None for an answer that is whole."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.streamed is None else self.streamed


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer with a JSON body that is not cached (Cache-Control: no-store)."""
    return Answer(encode_json(value), status)


def versioned_answer(value: object, version: int, request_headers: Mapping[str, str]) -> Answer:
    """As json_answer, of something that has a version: that is its ETag. 304 when the client has
    it."""
    etag = f'"{version}"'
    known = request_headers.get("if-none-match")
    if known is not None and has_current(known, etag):
        return Answer(b"", 304, NO_STORE_HEADERS, (("ETag", etag),))
    return Answer(encode_json(value), more=(("ETag", etag),))


@dataclass(frozen=True, slots=True)
class Prepared:
    """The answers with an encoded body: all of it, and 304."""

    etag: str
    whole: Answer
    unchanged: Answer
    gzipped: Prepared | None


def prepare(item: Encoded) -> Prepared:
    """Prepares the answers with a body that is sent many times."""
    whole, unchanged = Answer(item.body, 200, item.headers), Answer(b"", 304, item.unchanged)
    return Prepared(item.etag, whole, unchanged, prepare(item.gzipped) if item.gzipped else None)


def prepared_answer(item: Prepared, request_headers: Mapping[str, str]) -> Answer:
    """The body in the coding that the client accepts, or 304 when its ETag matches."""
    item = negotiated(item, request_headers.get("accept-encoding"))
    known = request_headers.get("if-none-match")
    return item.unchanged if known is not None and has_current(known, item.etag) else item.whole


def head_of(
    answer: Answer, request_id: str, origins: tuple[str, ...], origin: str | None, more: Fields
) -> bytes:
    """The status line and the headers of an answer, without the empty line. ``origins`` are those
    that may read it in a browser, ``origin`` is the one that asks."""
    # nothing in the key is a client's own text
    key = (answer.status, origins, origin if origin in origins else None)
    second = int(time.time())
    cached = answer.headers.heads.get(key)
    if cached is None or cached[0] != second:
        cached = answer.headers.heads[key] = (second, _shared_head(answer.headers, key, second))
    head = cached[1]
    if answer.more or more:
        few = "".join([f"{name}: {value}\r\n" for name, value in (*answer.more, *more)])
        head += few.encode("latin-1")
    id_ = request_id.encode("latin-1")
    if answer.status in _WITHOUT_BODY or answer.stream is not None:
        return b"%bX-Request-ID: %b" % (head, id_)
    return b"%bContent-Length: %d\r\nX-Request-ID: %b" % (head, len(answer.body), id_)


_Shared = tuple[int, tuple[str, ...], str | None]
"""A status, the origins that may read an answer in a browser, and that of them which asks."""


def _shared_head(headers: Headers, key: _Shared, second: int) -> bytes:
    """The part of the head that equal answers of one second share."""
    status, origins, origin = key
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    fields = (*headers.fields, *browser_headers(origins, origin))
    lines += [f"{name}: {value}" for name, value in fields]
    lines.append(f"Date: {_date_of(second)}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def browser_headers(origins: tuple[str, ...], origin: str | None) -> Fields:
    """The CORS headers of every answer, and nosniff.
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
    """X-Request-ID as sent if it is 1 to 128 visible ASCII characters, else a new id of 128 random
    bits."""
    return sent if sent is not None and _VISIBLE.fullmatch(sent) else new_request_id()


def new_request_id() -> str:
    """An id of 128 random bits."""
    if not _ids:
        drawn = os.urandom(16 * _IDS).hex()
        _ids.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return _ids.pop()


def http_date() -> str:
    """The time as the Date header has it (RFC 9110, 5.6.7)."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=2)
def _date_of(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
