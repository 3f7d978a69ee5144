"""Requests that are nearly right: their parts are known, and a few of them are changed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "PRI",
           "SOURCE", "PROPFIND", "get", "G\0T", "", "X" * 200]  # fmt: skip
TARGETS = ["/api/product", "/api/product/1", "/api/order", "/api/order/quote",
           "/api/order/x/cancel", "/api/order?limit=2", "/health", "/ready", "/metrics", "/docs",
           "/openapi.json", "*", "/", "http://x/health", "//x/health", "x:80", "", "/%00", "/\xff",
           "/api/order?" + "a&" * 2000,
           "/docs/" + "y" * 9000]  # fmt: skip
VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "RTSP/1.0", "http/1.1", "HTTP/1.1 "]
BODIES = [b"", b"{}", b'{"items": [{"productId": "1", "quantity": 1}]}', b"[" * 5000,
          b"\xff" * 100, b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
          b'{"items": [{"productId": "1", "quantity": 1}], "couponCode": "SAVE10"}',
          b'{"items": ' + b"[" * 90_000, b" " * 70_000,
          b'{"items": [' + b",".join([b"7"] * 20_000) + b"]}"]  # fmt: skip
HEADERS: list[tuple[str, list[str]]] = [
    ("Host", ["x", "x:80", "[::1]", "a b", "", "x" * 5000, "x\x00"]),
    ("api_key", ["apitest", "apitest ", "apitest-readonly", "wrong", "", "k" * 14_000]),
    ("X-API-Key", ["apitest", "wrong"]),
    ("Connection", ["close", "keep-alive", "upgrade", "Upgrade, close", "x", "," * 5000]),
    ("Upgrade", ["x", "h2c", "websocket", ""]),
    ("Expect", ["100-continue", "100-Continue", "x", ""]),
    ("Content-Type", ["application/json", "text/plain", "application/json; charset=utf8",
                      ";" * 9000]),
    ("Content-Encoding", ["identity", "gzip"]),
    ("Content-Length", ["0", "5", "+5", "5, 5", "99999999999999999999", "x", "-1", ""]),
    ("Transfer-Encoding", ["chunked", "gzip, chunked", "CHUNKED", "x", ""]),
    ("Idempotency-Key", ["k", "k" * 255, "k" * 256, "\x80", ""]),
    ("X-Request-ID", ["r", "r" * 200, "\x1b[31m", '"}{"']),
    ("Origin", ["https://shop.example", "null", "o" * 14_000]),
    ("Accept-Encoding", ["gzip", "gzip;q=0", "*", "a," * 5000]),
    ("If-None-Match", ["*", '"x"', 'W/"' * 3000]),
    ("traceparent", ["00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "0" * 60, "x" * 14_000]),
    ("baggage", ["a=b", "a," * 6000]),
    ("X-Forwarded-For", ["203.0.113.8:4711", "1," * 6000, "::1"]),
    ("Forwarded", ['for="[2001:db8::1]:80"', "for=" * 3000]),
    ("Range", ["bytes=0-1"]),
    ("Cookie", ["a=b; " * 2500]),
]  # fmt: skip
BREAKS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n ", b""]


@dataclass
class Request:
    method: str = "GET"
    target: str = "/api/product"
    version: str = "HTTP/1.1"
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Host", "x")])
    body: bytes = b""
    chunks: int = 0
    line_break: bytes = b"\r\n"
    trailer: bytes = b""

    def framed(self) -> bytes:
        lines = [f"{self.method} {self.target} {self.version}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        head = self.line_break.join(line.encode("latin-1") for line in lines)
        return head + self.line_break * 2 + self._body()

    def _body(self) -> bytes:
        if not self.chunks:
            return self.body
        size = max(1, len(self.body) // self.chunks)
        parts = [self.body[start : start + size] for start in range(0, len(self.body), size)]
        return (
            b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n%b\r\n" % self.trailer
        )


def order(draw: random.Random) -> Request:
    """One that is right."""
    body = draw.choice(BODIES)
    chunks = draw.choice([0, 0, 1, 3, 60])
    framing = ("Transfer-Encoding", "chunked") if chunks else ("Content-Length", str(len(body)))
    headers = [("Host", "x"), ("api_key", "apitest"), framing]
    return Request("POST", "/api/order", headers=headers, body=body, chunks=chunks)


def request(draw: random.Random) -> Request:
    """A request with none to four faults."""
    made = order(draw) if draw.random() < 0.6 else Request(target=draw.choice(TARGETS))
    for _ in range(draw.choice([0, 1, 1, 2, 4])):
        _change(made, draw)
    return made


def _change(made: Request, draw: random.Random) -> None:
    kind = draw.randrange(9)
    if kind == 0:
        made.method = draw.choice(METHODS)
    elif kind == 1:
        made.target = draw.choice(TARGETS)
    elif kind == 2:
        made.version = draw.choice(VERSIONS)
    elif kind == 3:
        made.line_break = draw.choice(BREAKS)
    elif kind == 4:
        made.body = draw.choice(BODIES)
    elif kind == 5:
        made.trailer = draw.choice([b"X: 1\r\n", b"X: " + b"a" * 30_000, b"\n", b"X"])
    elif kind == 6 and made.headers:
        made.headers.pop(draw.randrange(len(made.headers)))
    else:
        name, values = draw.choice(HEADERS)
        spelt = draw.choice([name, name, name.upper(), f"{name} ", f" {name}"])
        made.headers.insert(draw.randint(0, len(made.headers)), (spelt, draw.choice(values)))


def stream(draw: random.Random) -> bytes:
    """What one client sends: some requests in a row, and perhaps a few bytes changed."""
    data = bytearray(b"".join(request(draw).framed() for _ in range(draw.choice([1, 1, 2, 5]))))
    if draw.random() < 0.05:
        data *= 40
    for _ in range(draw.choice([0, 0, 0, 1, 3])):
        if data:
            place = draw.randrange(len(data))
            data[place : place + draw.choice([0, 1, 5])] = draw.randbytes(draw.choice([0, 1, 3]))
    return bytes(data[: draw.choice([len(data), len(data), draw.randint(0, len(data))])])


def pieces(data: bytes, draw: random.Random) -> list[bytes]:
    """The segments in which it comes."""
    if draw.random() < 0.5:
        return [data]
    edges = sorted(draw.randint(0, len(data)) for _ in range(draw.choice([1, 3, 12])))
    return [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]
