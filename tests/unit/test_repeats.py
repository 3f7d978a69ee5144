"""Heads that come again are answered as at first, and nothing else is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from orderfood.api.endpoint import Api
from orderfood.api.repeats import MAX_REPEATS
from orderfood.api.request import Request
from orderfood.server.connection import Connection
from orderfood.server.heads import MAX_CACHED_HEAD_BYTES
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from orderfood.shop.observer import AnsweredRequest, Observer
from tests.unit.test_garbage import Sink, new_front

LIST = b"GET /api/product HTTP/1.1\r\nHost: shop\r\n\r\n"


class Ended(Observer):
    """Remembers the requests that ended."""

    def __init__(self) -> None:
        self.requests: list[AnsweredRequest] = []

    def request_ended(self, request: AnsweredRequest) -> None:
        self.requests.append(request)


class Client:
    """One connection to a shop whose requests are counted."""

    def __init__(self, front: Api) -> None:
        self.front, self.ended = front, Ended()
        front.context.observer = self.ended
        self.sink, self.short = Sink(), 0
        server = HttpToolsServer(front, Limits(), self._answer_to)
        self.connection = Connection(server)
        self.connection.connection_made(cast(asyncio.Transport, self.sink))

    def _answer_to(self, data: bytes) -> bytes | None:
        answer = self.front.answer_to(data)
        self.short += answer is not None
        return answer

    def ask(self, data: bytes) -> bytes:
        """All that comes back at once."""
        self.sink.sent.clear()
        self.connection.data_received(data)
        return b"".join(self.sink.sent)


async def new_client() -> Client:
    return Client(await new_front())


def without_id(answer: bytes) -> bytes:
    return re.sub(rb"X-Request-ID: [0-9a-f]{32}\r\n", b"", answer)


@pytest.mark.parametrize(
    "head",
    [
        LIST,
        b"GET /api/product/2 HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nAccept-Encoding: gzip\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nOrigin: https://front.example\r\n\r\n",
        b"GET /api/product?a=b HTTP/1.1\r\nHost: shop\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n",
    ],
)
async def test_the_same_head_gets_the_same_answer_under_another_id(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
    client = await new_client()
    answers = [client.ask(head) for _ in range(3)]
    assert client.short == 2
    assert without_id(answers[0]) == without_id(answers[1]) == without_id(answers[2])
    assert len(set(answers)) == 3
    first, *_, last = client.ended.requests
    assert (last.kind, last.status, last.received) == (first.kind, 200, 0)
    assert last.sent == first.sent == len(answers[2].partition(b"\r\n\r\n")[2])
    assert last.request_id.encode() in answers[2]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\napi_key: apitest\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nCookie: a=b\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nX-Request-ID: mine\r\n\r\n",
        b'GET /api/product HTTP/1.1\r\nHost: shop\r\nIf-None-Match: "x"\r\n\r\n',
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\ntraceparent: 00-1-1-01\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n",
        b"GET /api/product HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n",
        b"HEAD /api/product HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /api/product/999 HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /api/product HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"\r\n" + LIST,
        LIST + LIST,
        LIST[:-4] + b"\r\nUser-Agent: " + b"x" * MAX_CACHED_HEAD_BYTES + b"\r\n\r\n",
    ],
)
async def test_no_other_head_is_answered_without_a_look_at_it(head: bytes) -> None:
    front = await new_front()
    for _ in range(3):
        client = Client(front)
        assert client.ask(head) or head.startswith(b"GET /live")
        await asyncio.sleep(0)
        assert client.short == 0


def replaced(client: Client) -> None:
    catalogue = client.front.context.shop.catalogue
    assert catalogue._snapshot is not None
    catalogue._snapshot = replace(catalogue._snapshot)


def not_confirmed(client: Client) -> None:
    client.front.context.shop.catalogue._probed_at -= 10


def draining(client: Client) -> None:
    client.front.context.traffic.leave()


@pytest.mark.parametrize("change", [replaced, not_confirmed, draining])
async def test_what_has_changed_is_answered_the_whole_way(
    change: Callable[[Client], None],
) -> None:
    client = await new_client()
    client.ask(LIST)
    change(client)
    client.ask(LIST)
    assert client.short == 0


async def test_a_date_is_of_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    client, now = await new_client(), 1_800_000_000.999
    monkeypatch.setattr("time.time", lambda: now)
    first = [client.ask(LIST), client.ask(LIST)]
    now += 0.001
    second = [client.ask(LIST), client.ask(LIST)]
    now -= 1  # somebody sets the clock
    third = client.ask(LIST)
    assert client.short == 2
    dates = [re.findall(rb"Date: .*:(\d\d) GMT", answer) for answer in (*first, *second, third)]
    assert dates == [[b"00"], [b"00"], [b"01"], [b"01"], [b"00"]]


async def test_the_table_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    client, now = await new_client(), 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    for number in range(2 * MAX_REPEATS):
        client.ask(LIST[:-2] + b"User-Agent: %d\r\n\r\n" % number)
    known = client.front.repeats._known
    assert len(known) == MAX_REPEATS
    now += 1
    client.ask(LIST)
    assert list(known) == [LIST]


async def test_a_client_that_takes_nothing_gets_no_more() -> None:
    client = await new_client()
    client.ask(LIST)
    client.connection.pause_writing()
    assert client.ask(LIST) == b""
    client.connection.resume_writing()
    assert b"".join(client.sink.sent).startswith(b"HTTP/1.1 200")


async def test_what_was_not_made_of_the_newest_snapshot_is_not_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    client = await new_client()
    client.ask(LIST)
    catalogue, repeats = client.front.context.shop.catalogue, client.front.repeats
    ((data, known),) = repeats._known.items()
    snapshot = catalogue.fresh
    assert snapshot is not None
    catalogue._probed_at -= 10  # as if it had taken too long to make the answer
    (target,) = client.front._targets.values()
    request = Request(client.front.context, target, {}, "", "")
    repeats.keep(data, (snapshot, int(time.time())), request, lambda: known.head, known.body)
    assert repeats.answer_to(data) is None


async def test_a_body_is_kept_once_for_all_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    client = await new_client()
    client.ask(LIST)
    client.ask(LIST[:-2] + b"User-Agent: x\r\n\r\n")
    first, second = client.front.repeats._known.values()
    assert first.body is second.body
