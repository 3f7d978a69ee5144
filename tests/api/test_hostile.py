"""Clients that mean harm: what one of them sends must not cost the others anything."""

from __future__ import annotations

import itertools
import json
import re
import selectors
import signal
import socket
import statistics
import string
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from rig.processes import PATIENCE, RunningServer, prepare, run, serving
from tests.api.test_edges import (
    BODY,
    GET,
    POST,
    SERVERS,
    SMUGGLED,
    deaf_socket_to,
    key_of,
    read_all,
    sized,
    socket_to,
    statuses,
)
from tests.api.test_front import resident, talk


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serving("memory://", HTTP_SERVER=request.param) as running:
        yield running


def grow_menu(folder: Path, products: int, description: int = 200) -> None:
    path = folder / "products.json"
    menu = json.loads(path.read_text())
    menu += [
        {**menu[0], "id": str(id_), "name": f"N{id_}", "description": "d" * description}
        for id_ in range(1000, 1000 + products)
    ]
    path.write_text(json.dumps(menu))


def read_slowly(connection: socket.socket, rate: float) -> bytes:
    """All that comes, at so many bytes a second."""
    parts, began, received = [], time.monotonic(), 0
    with suppress(OSError):
        while chunk := connection.recv(65536):
            parts.append(chunk)
            received += len(chunk)
            time.sleep(max(0.0, received / rate - (time.monotonic() - began)))
    return b"".join(parts)


def whole_answers(received: bytes) -> list[bool]:
    """Of each answer, all with a Content-Length, whether its body is all there."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        found.append(len(rest) >= length)
        received = rest[length:]
    return found


# --- memory for what is small ---


def many_fields(size: int = 15_900) -> bytes:
    """A head of 3,000 different fields, without the first line."""
    letters = string.ascii_lowercase
    names = ("".join(name) for n in (2, 3) for name in itertools.product(letters, repeat=n))
    lines = b""
    while len(lines) < size - 300:
        lines += next(names).encode() + b":\r\n"
    return lines


def test_a_head_of_thousands_of_fields_costs_little_memory(server: RunningServer) -> None:
    """httptools and Tornado: 16 KB sent, 630 KB kept until the body's limit of 20 s."""
    before = resident(server)
    with ExitStack() as opened:
        for _ in range(60):
            connection = opened.enter_context(closing(socket_to(server)))
            connection.sendall(GET + many_fields() + b"Content-Length: 9\r\n\r\n")
        time.sleep(2)
        assert resident(server) - before < 60 * 4 * 16_384 + 4_000_000


def test_heads_that_wait_cost_little_memory(server: RunningServer) -> None:
    """httptools: four of them behind answers that are not read, 64 KB: 2 MB are kept."""
    head = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n" + many_fields() + b"\r\n"
    talk(server, head.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"))
    before = resident(server)
    with ExitStack() as opened:
        for _ in range(40):
            connection = opened.enter_context(closing(deaf_socket_to(server)))
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(head * 4)
        time.sleep(2)
        assert resident(server) - before < 40 * 4 * 65_536 + 4_000_000


def test_names_of_headers_are_not_kept(server: RunningServer) -> None:
    """Tornado: its lru_cache of 1,000 names keeps each twice, 28 KB."""
    talk(server, GET + b"Connection: close\r\nX: " + b"a" * 14_000 + b"\r\n\r\n")
    before = resident(server)
    with socket_to(server) as connection:
        for number in range(1000):
            name = b"%06d" % number + b"a" * 14_000
            connection.sendall(GET + name + b": 1\r\n\r\n")
            connection.recv(65536)
    assert resident(server) - before < 8_000_000


LIST = b"GET /api/order?limit=100 HTTP/1.1\r\nHost: x\r\napi_key: apitest\r\n\r\n"


def place_large_orders(server: RunningServer) -> None:
    lines = [{"productId": str(id_), "quantity": 1} for id_ in range(1000, 1100)]
    body = json.dumps({"items": lines}).encode()
    close = POST.replace(b"Host: x", b"Host: x\r\nConnection: close")
    for _ in range(100):
        assert statuses(talk(server, close + sized(body))) == [200]


# --- one client and the others ---


def test_who_pipelines_leaves_the_others_their_turn(server: RunningServer) -> None:
    """httptools: one connection that pipelines reads of a product makes everybody else wait for
    0.7 s, three for 1.2 s, ten for 1.7 s (Tornado: 7 ms)."""
    alone = median_wait(server, time.monotonic() + 1)
    ends = time.monotonic() + 4
    attack = threading.Thread(target=pipeline_until, args=(server, ends))
    attack.start()
    time.sleep(0.5)
    waited = median_wait(server, ends - 0.2)
    attack.join()
    assert waited < 0.1 + 10 * alone


def median_wait(server: RunningServer, ends: float) -> float:
    """Seconds that a read takes until then."""
    waited: list[float] = []
    while time.monotonic() < ends or len(waited) < 5:
        began = time.monotonic()
        talk(server, GET + b"Connection: close\r\n\r\n")
        waited.append(time.monotonic() - began)
        time.sleep(0.01)
    return statistics.median(waited)


def pipeline_until(server: RunningServer, ends: float) -> None:
    requests = b"GET /api/product/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 1500
    sent = 0
    with socket_to(server) as connection, selectors.DefaultSelector() as selector:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while time.monotonic() < ends:
            for _, events in selector.select(0.1):
                with suppress(BlockingIOError):
                    if events & selectors.EVENT_READ:
                        connection.recv(1 << 20)
                    if events & selectors.EVENT_WRITE:
                        sent = (sent + connection.send(requests[sent:])) % len(requests)


# --- a key that is judged too early ---


@pytest.mark.parametrize("name", SERVERS)
def test_a_key_that_is_taken_away_before_an_empty_body_ends_does_nothing(
    menu: Path, tmp_path: Path, name: str
) -> None:
    """Both: a body of no bytes, in chunks, is late, too; the key is not judged again."""
    url = f"sqlite:///{tmp_path}/late.db"
    before = (menu / "users.json").read_text()
    key_of(menu, scopes=["create_order", "read_order"])
    prepare(url, FIXTURES_DIR=menu)
    late = b" HTTP/1.1\r\nHost: x\r\napi_key: late\r\nConnection: close\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n"
    with serving(url, HTTP_SERVER=name) as server:
        placed = talk(server, b"POST /api/order" + late + sized(BODY))
        order = re.search(rb'"id":"([0-9a-f-]{36})"', placed)[1]  # type: ignore[index]
        with socket_to(server) as listing, socket_to(server) as cancelling:
            listing.sendall(b"GET /api/order" + late + chunks)
            cancelling.sendall(b"POST /api/order/%b/cancel" % order + late + chunks)
            time.sleep(0.2)
            (menu / "users.json").write_text(before)
            assert run("database-load", STORAGE_URL=url, FIXTURES_DIR=menu).returncode == 0
            time.sleep(1.5)
            listing.sendall(b"0\r\n\r\n")
            cancelling.sendall(b"0\r\n\r\n")
            assert statuses(read_all(listing)) == [403]
            assert statuses(read_all(cancelling)) == [403]


# --- answers that are cut off ---


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("what", ["menu", "orders"])
def test_an_answer_on_its_way_is_sent_to_its_end(menu: Path, name: str, what: str) -> None:
    """httptools, menu; both, orders: the request counts as ended when its answer is handed to the
    connection, which is cut 0.5 s (Tornado: 0 s) later, though it has DRAIN_SECONDS."""
    grow_menu(menu, 100, 400) if what == "orders" else grow_menu(menu, 60_000)
    asked = LIST * 4 if what == "orders" else b"GET /api/product HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving("memory://", HTTP_SERVER=name, FIXTURES_DIR=menu, DRAIN_SECONDS=20) as server:
        if what == "orders":
            place_large_orders(server)
        received: list[bytes] = []
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", server.port))
        with connection:
            connection.sendall(asked)
            reader = threading.Thread(
                target=lambda: received.append(read_slowly(connection, 4_000_000))
            )
            reader.start()
            time.sleep(1)
            server.process.send_signal(signal.SIGINT)
            reader.join()
        answers = whole_answers(received[0])
        assert answers
        assert all(answers)


def send(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


ENDING = {
    "upgrade": b"Upgrade: h2c\r\n",
    "close": b"Connection: close\r\n",
}


@pytest.mark.parametrize("name", ENDING)
def test_what_comes_behind_the_last_request_does_not_reset_its_answer(
    server: RunningServer, name: str
) -> None:
    """Both: the connection is closed, not shut down and drained as for 413: what is unread makes
    the kernel reset it, and most of the answer is lost."""
    asked = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n" + ENDING[name] + b"\r\n"
    with socket_to(server) as connection:
        sender = threading.Thread(target=send, args=(connection, asked + SMUGGLED * 100_000))
        sender.start()
        time.sleep(0.3)
        received = b""
        with suppress(OSError):
            received = read_all(connection)
        sender.join()
    assert whole_answers(received) == [True]


HALF_CLOSED = {
    "health": (GET + b"\r\n", [200]),
    "two": (GET + b"\r\n" + GET + b"\r\n", [200, 200]),
    "an order": (POST + sized(BODY), [200]),
}


@pytest.mark.parametrize("name", HALF_CLOSED)
def test_who_has_sent_all_it_will_gets_its_answer(server: RunningServer, name: str) -> None:
    """Tornado: the last request of a client that shuts its side is not answered; test_costs.py
    asks in this way and does not notice."""
    asked, expected = HALF_CLOSED[name]
    with socket_to(server) as connection:
        connection.sendall(asked)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(read_all(connection)) == expected


# --- heads ---

BEFORE_A_HEAD = {
    "LF": b"\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR": b"\rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "CRLF LF": b"\r\n\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "LF and HEAD": b"\nHEAD /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "LF and CONNECT": b"\nCONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", BEFORE_A_HEAD)
def test_half_an_empty_line_is_no_part_of_a_method(server: RunningServer, name: str) -> None:
    """httptools: the method was "\\nGET": 405, with a body where it was HEAD, and what stood behind
    a CONNECT was answered. In two segments it was 400."""
    asked = BEFORE_A_HEAD[name] + SMUGGLED
    received = talk(server, asked.replace(b"Host: x", b"Host: x\r\nConnection: close", 1))
    assert statuses(received) in ([400], [200])


LAST = {
    "TE, close": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: TE, close\r\n\r\n",
    "close, TE": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\n\r\n",
    "two lines": GET + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
    "HTTP/1.0, both": b"GET /health HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    "HTTP/1.0, a proxy's": b"GET /health HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n",
}


@pytest.mark.parametrize("name", LAST)
def test_close_is_one_word_of_several(server: RunningServer, name: str) -> None:
    """Tornado knew it alone only; httptools kept HTTP/1.0 for a Proxy-Connection, or against
    close."""
    received = talk(server, LAST[name] + SMUGGLED)
    assert statuses(received) == [200]


def test_an_answer_says_once_that_it_is_the_last(server: RunningServer) -> None:
    """httptools: twice."""
    received = talk(server, b"POST /api/order HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
    assert received.lower().count(b"\r\nconnection: close\r\n") == 1


def test_an_expectation_has_no_case(server: RunningServer) -> None:
    """Tornado: silence."""
    with socket_to(server) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(POST + b"Expect: 100-Continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert statuses(connection.recv(65536)) == [100] or statuses(connection.recv(65536))


def test_blanks_behind_a_coding_are_no_part_of_it(server: RunningServer) -> None:
    """httptools: 400 for a tab, 200 for a space."""
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    close = POST + b"Connection: close\r\nTransfer-Encoding: chunked\t\r\n\r\n"
    assert statuses(talk(server, close + chunks)) == [200]


@pytest.mark.parametrize("method", [b"CONNECT x:80", b"\nCONNECT x:80"])
def test_a_refused_head_leaves_nothing_to_the_next_client(
    server: RunningServer, method: bytes
) -> None:
    """httptools: all connections share one parser, which was not renewed after a CONNECT: the next
    client's good request, on whatever connection, was 400."""
    for _ in range(5):
        talk(server, method + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert statuses(talk(server, GET + b"Connection: close\r\n\r\n")) == [200]
