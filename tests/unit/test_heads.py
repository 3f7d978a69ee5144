"""What is remembered of heads that come again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orderfood.server import heads
from orderfood.server.heads import MAX_CACHED_HEAD_BYTES, MAX_CACHED_HEADS, HeadRefused, parse_head


@pytest.fixture(autouse=True)
def known() -> Iterator[dict[bytes, heads.Head]]:
    heads._head_cache.clear()
    yield heads._head_cache
    heads._head_cache.clear()


def head(*fields: str, line: str = "GET /api/product HTTP/1.1") -> bytes:
    return "".join(f"{each}\r\n" for each in (line, "Host: shop", *fields, "")).encode("latin-1")


def test_the_same_bytes_are_parsed_once() -> None:
    plain = head("Accept: */*", "Accept-Encoding: gzip", "User-Agent: browser", "Connection: close")
    assert parse_head(plain) is parse_head(bytes(bytearray(plain)))
    assert not parse_head(plain).keep_alive


@pytest.mark.parametrize(
    "field",
    [
        "api_key: apitest",
        "Authorization: Bearer secret",
        "Cookie: session=secret",
        "If-None-Match: *",
        "If-Match: *",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Request-ID: mine",
        "X-Forwarded-For: 192.0.2.1",
        "Idempotency-Key: mine",
        "Anything-Else: at all",
        "Content-Length: 2",
        "Transfer-Encoding: chunked",
    ],
)
def test_no_key_condition_context_id_or_body_is_remembered(
    field: str, known: dict[bytes, heads.Head]
) -> None:
    assert parse_head(head(field)) is not parse_head(head(field))
    assert not known


def test_what_is_refused_is_refused_again(known: dict[bytes, heads.Head]) -> None:
    for _ in range(2):
        with pytest.raises(HeadRefused):
            parse_head(head(line="GET  /api/product HTTP/1.1"))
    assert not known


def test_what_is_remembered_is_bounded(known: dict[bytes, heads.Head]) -> None:
    first = head()
    parse_head(first)
    parse_head(head("User-Agent: " + "a" * MAX_CACHED_HEAD_BYTES))
    assert list(known) == [first]
    for number in range(2 * MAX_CACHED_HEADS):
        parse_head(head(f"User-Agent: {number}"))
    assert len(known) == MAX_CACHED_HEADS
    assert first not in known
