"""What answers have in common, whoever writes them: pure functions from a request's headers."""

from __future__ import annotations

import os
import re
import time
from email.utils import formatdate
from functools import lru_cache

from orderfood.api.wire import JSON_TYPE, Encoded
from orderfood.server.remembered import remembered

EXPOSED_HEADERS = (
    "X-Request-ID, ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)

Headers = list[tuple[str, str]]

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")
_ETAGS = re.compile(r'\*|(?:W/)?"[^"]*"')


@remembered
def is_certainly_good(host: str) -> bool:
    """Whether a Host needs no further look; Tornado judges any other."""
    return bool(_HOST.fullmatch(host))


_IDS = 256
"""How many request ids are drawn at once: asking the system costs more than all the rest of one."""

_ids: list[str] = []


def request_id(sent: str | None) -> str:
    """The client's name for its request if it is 1 to 128 visible ASCII characters, else a new
    one of 128 random bits."""
    if sent is not None and _VISIBLE.fullmatch(sent):
        return sent
    if not _ids:
        drawn = os.urandom(16 * _IDS).hex()
        _ids.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return _ids.pop()


def http_date() -> str:
    """The time as the Date header has it (RFC 9110, 5.6.7), made once a second."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=2)
def _date_of(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def common_headers(origins: tuple[str, ...], origin: str | None) -> Headers:
    """What every answer carries: who may read it in a browser, and that its type is no guess."""
    return _common_headers(origins, origin if origin in origins else None)


@lru_cache(maxsize=256)
def _common_headers(origins: tuple[str, ...], origin: str | None) -> Headers:
    """``origin`` is one that may, or None: what a client sends is not kept."""
    headers = [("X-Content-Type-Options", "nosniff")]
    if origins == ("*",):
        headers.append(("Access-Control-Allow-Origin", "*"))
    else:
        headers.append(("Vary", "Origin"))
        if origin is None:
            return headers
        headers.append(("Access-Control-Allow-Origin", origin))
    headers.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))
    return headers


def read_headers(item: Encoded, content_type: str = JSON_TYPE) -> Headers:
    """What describes a body that a client may keep, with or without the body."""
    headers = [("Content-Type", content_type), ("Cache-Control", "no-cache"), ("ETag", item.etag)]
    if item.varies:
        headers.append(("Vary", "Accept-Encoding"))
    if item.coding is not None:
        headers.append(("Content-Encoding", item.coding))
    return headers


def has_current(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this body, by the weak comparison that RFC 9110, 13.1.2, asks for."""
    if not if_none_match:
        return False
    found = _ETAGS.findall(if_none_match)
    return "*" in found[:1] or etag in [tag.removeprefix("W/") for tag in found]


def negotiate(item: Encoded, accept_encoding: str | None) -> Encoded:
    """The variant of a body that the client wants (RFC 9110, 12.5.3)."""
    if item.gzipped is not None and accept_encoding and accepts_gzip(accept_encoding):
        return item.gzipped
    return item


@remembered
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named, or else *, and not with a weight of 0."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.replace(" ", "")
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return not re.fullmatch(r"q=0(\.0{0,3})?", weight)
