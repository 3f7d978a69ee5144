"""The head of a request: from its bytes to method, target, headers, and how its body is framed.

The parser is C: httptools (llhttp, Node's parser). It is given whole heads and not one byte more,
so that what it would make of bodies, upgrades and CONNECT does not matter: where a request ends is
decided in framing.py alone. Where it and Tornado's parser differ, the stricter counts: a request
that Tornado would refuse is refused here, too, but for more than one empty line before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import httptools
from tornado.httputil import HTTPHeaders, RequestStartLine

from orderfood.server.framing import Body, BodyRefused, body_of

T = TypeVar("T")

_VERSIONS = {b"HTTP/1.0": "HTTP/1.0", b"HTTP/1.1": "HTTP/1.1"}
_BLANKS = b" \t"


MAX_FIELDS = 100
"""Fields of a head: each costs a hundred times the bytes that it takes. As Apache has it
(LimitRequestFields)."""

MAX_CACHED_HEADS = 256
"""Parsed heads in the cache, and with MAX_CACHED_HEAD_BYTES at most 128 KiB of their bytes."""

MAX_CACHED_HEAD_BYTES = 512
"""Bytes of a head that may be cached."""

_PLAIN = frozenset(
    ("accept", "accept-encoding", "accept-language", "connection", "host", "origin", "user-agent")
)
"""Fields of a head that may be cached: none is a key, a condition, a context or an id."""

_head_cache: dict[bytes, Head] = {}

SEPARATORS = {"cookie": "; "}
"""What stands between several values of a header, where that is no comma: one may be part of a
cookie's value (RFC 9113, 8.2.3)."""

_BLANKS_AT_THE_END = re.compile(rb"(?<=[^\s])[ \t]+(?=\r\n)")


class HeadRefused(Exception):
    """The head is malformed, or its framing is ambiguous."""


class TooManyFields(HeadRefused):
    """The head has more than MAX_FIELDS fields."""


class RequestHeaders(HTTPHeaders):
    """Read-only headers that parse lazily: Tornado's own make two dicts and a list for each name,
    which most requests do not need."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        lowered: dict[str, str] = {}
        for key, value in raw:
            name = key.decode("latin-1").lower()
            if name in lowered:
                lowered = _joined(raw)
                break
            lowered[name] = value.decode("latin-1")
        self.lowered = lowered
        """Their values by lower-case name; those of one name are joined by commas, but for
        SEPARATORS."""

    def __getitem__(self, name: str) -> str:
        return self.lowered[name.lower()]

    def __setitem__(self, name: str, value: str) -> None:
        raise TypeError("what a client has sent is not changed")

    def __delitem__(self, name: str) -> None:
        raise TypeError("what a client has sent is not changed")

    def __iter__(self) -> Iterator[str]:
        return (_spelled(name.encode("latin-1")) for name in self.lowered)

    def __len__(self) -> int:
        return len(self.lowered)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.lowered

    def get(self, name: str, default: T | None = None) -> str | T | None:  # type: ignore[override]
        return self.lowered.get(name.lower(), default)

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        raise TypeError("what a client has sent is not changed")

    def get_list(self, name: str) -> list[str]:
        return [value for found, value in self.get_all() if found.lower() == name.lower()]

    def get_all(self) -> list[tuple[str, str]]:
        return [(_spelled(key), value.decode("latin-1")) for key, value in self._raw]


def _spelled(name: bytes) -> str:
    """The name as Tornado's headers have it: Content-Type."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


def _joined(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for key, value in raw:
        name = key.decode("latin-1").lower()
        values.setdefault(name, []).append(value.decode("latin-1"))
    return {name: SEPARATORS.get(name, ",").join(texts) for name, texts in values.items()}


class Head(NamedTuple):
    """A valid head. ``body`` is None where none follows. Without ``keep_alive`` nothing is read
    behind this request."""

    start_line: RequestStartLine
    headers: RequestHeaders
    keep_alive: bool
    expects: bool
    """Whether the client waits for 100 Continue (RFC 9110, 10.1.1: not by HTTP/1.0)."""
    body: Body | None
    repeatable: bytes | None = None
    """The head itself where any client may send it, and it leaves its connection open; None where
    it holds something of its client's, or a body follows."""


def parse_head(data: bytes) -> Head:
    """Parses a whole head, the empty line at its end included. Raises HeadRefused.

    Small heads without credentials are cached by their bytes: a client that asks for the menu
    again sends the same ones.
    """
    head = _head_cache.get(data)
    if head is None:
        head = _parse_head(data)
        if (
            len(data) <= MAX_CACHED_HEAD_BYTES
            and head.body is None
            and _PLAIN.issuperset(head.headers.lowered)
        ):
            if head.keep_alive and head.start_line.version == "HTTP/1.1":
                head = head._replace(repeatable=data)
            if len(_head_cache) >= MAX_CACHED_HEADS:
                del _head_cache[next(iter(_head_cache))]
            _head_cache[data] = head
    return head


def _parse_head(data: bytes) -> Head:
    if data.count(b"\n") > MAX_FIELDS + 2:
        raise TooManyFields
    if b"\t\r\n" in data:  # the parser takes a blank there for nothing, and a tab not
        start, end, rest = data.partition(b"\r\n")
        data = start + end + _BLANKS_AT_THE_END.sub(b"", rest)
    fields = _parsed_fields(data)
    # the parser has judged the three; but it also takes RTSP and ICE, and any number of blanks
    line = data[: data.find(b"\r\n")].split(b" ")
    version = _VERSIONS.get(line[-1])
    if len(line) != 3 or version is None or line[0] == b"CONNECT" or line[0][:1] in b"\r\n":
        raise HeadRefused
    headers = RequestHeaders(fields)
    lowered = headers.lowered
    try:
        body = body_of(lowered, version)
    except BodyRefused:
        raise HeadRefused from None
    return Head(
        RequestStartLine(line[0].decode("ascii"), line[1].decode("latin-1"), version),
        headers,
        _stays(version, lowered),
        version == "HTTP/1.1" and lowered.get("expect", "").lower() == "100-continue",
        body,
    )


def _stays(version: str, headers: Mapping[str, str]) -> bool:
    """Whether the connection may be kept (RFC 9112, 9.3): not behind what asks for an upgrade."""
    if "connection" not in headers:
        return version == "HTTP/1.1" and "upgrade" not in headers
    words = {word.strip(" \t") for word in headers["connection"].lower().split(",")}
    wished = version == "HTTP/1.1" or "keep-alive" in words
    return wished and "close" not in words and "upgrade" not in headers


def _parsed_fields(data: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head, each with a parser of its own: what one head leaves behind in it, the
    next client's must not meet. Raises HeadRefused."""
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # what follows is no other protocol here
    except httptools.HttpParserError:
        raise HeadRefused from None
    if not fields.complete:
        raise HeadRefused
    return fields.found


class _Fields:
    """Callback of the parser. It must not raise: C code would lose the exception."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name, value.strip(_BLANKS)))  # RFC 9110, 5.5

    def on_headers_complete(self) -> None:
        self.complete = True
