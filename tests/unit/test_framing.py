"""Heads and bodies are the same however the bytes come."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfood.server.framing import Body, BodyRefused, ChunkedBody, SizedBody, body_of
from orderfood.server.heads import HeadRefused, parse_head

REST = b"GET / HTTP/1.1\r\n\r\n"
HOST = b"Host: x\r\n"


def fed(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The content, and what was left, of data that comes in pieces."""
    into, waiting = bytearray(), b""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        waiting += data[start:end]
        if not body.done:
            waiting = waiting[body.read(waiting, 0, into) :]
    return bytes(into), waiting


CUTS = st.lists(st.integers(0, 10_000), max_size=20)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), CUTS)
def test_chunks_are_joined_and_end_where_they_end(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = ChunkedBody()
    assert fed(body, data + REST, cuts) == (b"".join(chunks), REST)
    assert body.done


@given(st.binary(min_size=1, max_size=100), CUTS)
def test_a_sized_body_ends_where_it_ends(content: bytes, cuts: list[int]) -> None:
    body = SizedBody(len(content))
    assert fed(body, content + REST, cuts) == (content, REST)
    assert body.done


@given(st.binary(max_size=60), CUTS)
def test_whatever_comes_as_chunks_is_read_the_same_in_pieces(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, []) == outcome(data, cuts)


def outcome(data: bytes, cuts: list[int]) -> object:
    body = ChunkedBody()
    try:
        content, left = fed(body, data, cuts)
    except BodyRefused:
        return "refused"
    return content, left, body.done


@pytest.mark.parametrize(
    ("headers", "version"),
    [({"transfer-encoding": "chunked", "content-length": "5"}, "HTTP/1.1"),
     ({"transfer-encoding": "gzip, chunked"}, "HTTP/1.1"), ({"content-length": ""}, "HTTP/1.1"),
     ({"transfer-encoding": "chunked"}, "HTTP/1.0"), ({"content-length": "+5"}, "HTTP/1.1"),
     ({"content-length": "5, 5"}, "HTTP/1.1"), ({"content-length": "\uff11"}, "HTTP/1.1"),
     ({"content-length": "1" * 19}, "HTTP/1.1"), ({"content-length": "0x5"}, "HTTP/1.1")],
    ids=range(9),
)  # fmt: skip
def test_two_ways_to_tell_an_end_are_none(headers: dict[str, str], version: str) -> None:
    with pytest.raises(BodyRefused):
        body_of(headers, version)


def test_no_head_changes_what_the_next_one_is() -> None:
    """Whatever one client sends, the next head is read from anew."""
    plain = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
    for other in (
        b"POST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n",
        b"POST /b HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"GET /b HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"GET /b HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
        b"GET /b HTTP/1.0\r\n\r\n",
        b"CONNECT b:1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"nonsense\r\n\r\n",
        b"GET /b RTSP/1.0\r\n\r\n",
        b"GET /b HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        plain,
    ):
        with suppress(HeadRefused):
            parse_head(other)
        head = parse_head(plain)
        assert head.start_line == ("GET", "/a", "HTTP/1.1")
        assert (head.keep_alive, head.body, dict(head.headers)) == (True, None, {"Host": "x"})


@given(st.text(" \t", max_size=4), st.text(" \t", max_size=4))
def test_blanks_are_no_part_of_a_value(before: str, after: str) -> None:
    line = f"X-Key:{before}a b{after}\r\n".encode()
    headers = parse_head(b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n").headers
    assert headers.lowered["x-key"] == headers["X-Key"] == "a b"
    assert dict(headers) == {"Host": "x", "X-Key": "a b"}
