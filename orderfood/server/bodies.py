"""Encoded bodies that many answers share: ETag, headers, and a gzip variant where that pays."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from orderfood.server.bounded_cache import bounded_cache

MIN_GZIPPED = 1400
"""Bytes from which on a body is also kept compressed: less fits into one packet anyway."""

_ETAGS = re.compile(r'\*|(?:W/)?"[^"]*"')
_OF_A_BODY = ("Content-Type", "Content-Encoding")

T = TypeVar("T")
N = TypeVar("N", bound="Negotiable")

Fields = tuple[tuple[str, str], ...]
"""Names and values of headers, in the order in which they are sent."""


@dataclass(frozen=True, eq=False, slots=True)
class Headers:
    """Headers that many answers share."""

    fields: Fields
    heads: dict[object, tuple[int, bytes]] = field(default_factory=dict)
    """Cache of encoded heads with the second of their Date, by what else a head depends on: status
    and CORS origin."""


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """A body that is ready to send, with its strong ETag (RFC 9110, 8.8.3) in its headers, and
    perhaps a second one that is compressed."""

    body: bytes
    etag: str
    headers: Headers
    unchanged: Headers
    """Those of 304, without what describes a body that is not sent (RFC 9110, 15.4.5)."""
    gzipped: Encoded | None = None


def encode_bytes(body: bytes, content_type: str) -> Encoded:
    """The encoded body. Its ETag is a digest, so that every replica answers the same."""
    described: Fields = (("Content-Type", content_type), ("Cache-Control", "no-cache"))
    if len(body) < MIN_GZIPPED:
        return _encoded(body, described)
    # level 6 is gzip's own default; no time in it, so that all replicas make the same
    packed = gzip.compress(body, compresslevel=6, mtime=0)
    described = (*described, ("Vary", "Accept-Encoding"))
    gzipped = _encoded(packed, (*described, ("Content-Encoding", "gzip")))
    return _encoded(body, described, gzipped)


def _encoded(body: bytes, described: Fields, gzipped: Encoded | None = None) -> Encoded:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    fields = (*described, ("ETag", etag))
    unchanged = tuple(each for each in fields if each[0] not in _OF_A_BODY)
    return Encoded(body, etag, Headers(fields), Headers(unchanged), gzipped)


class Negotiable(Protocol):
    """What may have a variant that is compressed."""

    @property
    def gzipped(self: T) -> T | None:
        """The variant; None for none."""


def negotiated(item: N, accept_encoding: str | None) -> N:
    """The variant by Accept-Encoding (RFC 9110, 12.5.3)."""
    if item.gzipped is not None and accept_encoding and accepts_gzip(accept_encoding):
        return item.gzipped
    return item


def has_current(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match matches the ETag, by weak comparison (RFC 9110, 13.1.2)."""
    if not if_none_match:
        return False
    found = _ETAGS.findall(if_none_match)
    return "*" in found[:1] or etag in [tag.removeprefix("W/") for tag in found]


@bounded_cache
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named, or else *, and not with a weight of 0 (RFC 9110, 12.5.3)."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.replace(" ", "")
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return not re.fullmatch(r"q=0(\.0{0,3})?", weight)
