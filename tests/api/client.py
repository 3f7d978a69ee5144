"""A client that sends exactly what a test says, and reads the whole answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.api import schema

KEY = {"api_key": "apitest"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, kept alive between requests; every answer is held against the contract."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)

    def close(self) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if body is not None and not isinstance(body, bytes | str):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        self._connection.request(method, path, body=data, headers=dict(headers or {}))
        response = self._connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        schema.check(method, path, answer.status, answer.headers, answer.body)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def order(self, body: object, **headers: str) -> Answer:
        return self.send("POST", "/api/order", body, {**KEY, **headers})

    def place(self, *items: tuple[str, int], coupon: str | None = None, **headers: str) -> Any:
        """The order that was placed."""
        body: dict[str, object] = {"items": [{"productId": i, "quantity": n} for i, n in items]}
        if coupon is not None:
            body["couponCode"] = coupon
        answer = self.order(body, **headers)
        assert answer.status == 200, answer.body
        return answer.json


@contextmanager
def connect(base_url: str) -> Iterator[Client]:
    client = Client(base_url)
    try:
        yield client
    finally:
        client.close()
