"""Clients that leave, or say one thing and do another, while their request is under way."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orderfood.observe.exporting import Tracing
from orderfood.settings import read_settings
from rig.processes import PATIENCE, RunningServer, serving
from tests.api.client import connect
from tests.api.test_memory import served
from tests.api.test_protocol import head

pytestmark = pytest.mark.parametrize("name", ["httptools", "tornado"])

TRACED = {"JAEGER_ENDPOINT": "http://127.0.0.1:9/api/traces"}  # where nobody listens
MIB = 1024 * 1024


def connected(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def reset(connection: socket.socket) -> None:
    """Closes without a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def told(server: RunningServer, asked: int) -> list[dict[str, object]]:
    """What the log holds when so many requests have ended, and the server with them."""
    for number in range(asked):
        server.wait_for_request(f"leaves-{number}")
    assert server.stop() == 0
    return list(server.lines)


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_a_traced_client_that_leaves_in_mid_body(
    name: str, leave: Callable[[socket.socket], None]
) -> None:
    with serving("memory://", HTTP_SERVER=name, **TRACED) as server:
        for number in range(5):
            connection = connected(server)
            connection.sendall(head(Content_Length=1000, X_Request_ID=f"leaves-{number}") + b"{")
            with connect(server.url) as other:
                assert other.get("/health").status == 200
            leave(connection)
        lines = told(server, 5)
    ended = [line for line in lines if str(line.get("request_id", "")).startswith("leaves-")]
    assert [(line["level"], line["status"]) for line in ended] == [("info", 499)] * 5
    assert all("trace_id" in line for line in ended)
    assert not [line for line in lines if line["level"] == "error"]


RESET = {
    "in a body that is refused": b"POST /api/order HTTP/1.1\r\nHost: x\r\n%b"
    b"Content-Length: 500000\r\n\r\n" + b"x" * 2000,
    "in chunks that are refused": b"PUT /api/order HTTP/1.1\r\nHost: x\r\n%b"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "before a page is read": b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n%b\r\n",
}


@pytest.mark.parametrize("when", RESET)
def test_a_client_that_resets_instead_of_reading(name: str, when: str) -> None:
    with serving("memory://", HTTP_SERVER=name, **TRACED) as server:
        for number in range(5):
            connection = connected(server)
            connection.sendall(RESET[when] % f"X-Request-ID: leaves-{number}\r\n".encode())
            with connect(server.url) as other:  # meanwhile it is answered
                assert other.get("/health").status == 200
            reset(connection)
        lines = told(server, 5)
    assert not [line for line in lines if line["level"] == "error"]


def resident(server: RunningServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.parametrize("line", ["GET /health", "GET /docs", "OPTIONS /api/product"])
def test_a_body_that_nobody_reads_is_not_kept(name: str, line: str) -> None:
    ask = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {MIB}\r\n\r\n".encode()
    with serving("memory://", HTTP_SERVER=name) as server, connect(server.url) as client:
        assert client.get("/api/product").status == 200
        before = resident(server)
        connections = [connected(server) for _ in range(60)]
        for connection in connections:
            connection.settimeout(1)
            try:
                connection.sendall(ask + b"x" * (MIB - 1))
            except OSError:
                continue  # it was refused, and is not read to its end
        assert client.get("/api/product").status == 200
        assert resident(server) - before < 20 * MIB
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("expect", ["x", "100-continue"])
@pytest.mark.parametrize("announced", [True, False])
async def test_no_task_is_left_behind(name: str, expect: str, announced: bool) -> None:
    framing = f"Content-Length: {2 * MIB}" if announced else "Transfer-Encoding: chunked"
    ask = (
        "POST /api/order HTTP/1.1\r\nHost: x\r\napi_key: apitest\r\n"
        f"Content-Type: application/json\r\nExpect: {expect}\r\n{framing}\r\n\r\n"
    )
    body = b"x" * (2 * MIB) if announced else b"%x\r\n" % (2 * MIB) + b"x" * (2 * MIB)
    tracing = Tracing(read_settings(TRACED), "order-food")
    async with served(name, tracing) as port:
        before = asyncio.all_tasks()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ask.encode() + body)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).split()[1] in (b"100", b"413")
            writer.close()
            while asyncio.all_tasks() - before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def test_a_small_body_of_a_get_is_passed_over_and_the_connection_kept(name: str) -> None:
    ask = b"GET /api/product HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    with serving("memory://", HTTP_SERVER=name) as server, connected(server) as connection:
        for _ in range(3):
            connection.sendall(ask)
            answer = b""
            while not answer.endswith(b"}]"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x", "a/b"])
def test_a_page_takes_no_body_whatever_it_is(name: str, kind: str) -> None:
    ask = (
        f"GET /docs HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 5\r\n"
        "Connection: close\r\n\r\nhello"
    )
    with serving("memory://", HTTP_SERVER=name) as server, connected(server) as connection:
        connection.sendall(ask.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("page", ["/docs/%ff", "/docs/%f0%28", "/docs/nope", "/docs/a%2Fb"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_no_page_is_not_found(name: str, page: str, method: str) -> None:
    ask = f"{method} {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving("memory://", HTTP_SERVER=name) as server:
        with connected(server) as connection:
            connection.sendall(ask.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert server.stop() == 0
        assert not [line for line in server.lines if line["level"] == "error"]


ORDER = b"POST /api/order HTTP/1.1\r\nHost: x\r\n%b"
CHUNK = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
REFUSED = {
    "a method in one packet": b"PUT /docs HTTP/1.1\r\nHost: x\r\n%b" + CHUNK % (1, b"a"),
    "no key and a large body": ORDER + b"Content-Length: 65537\r\n\r\n" + b"x" * 65537,
    "a page and a huge body": b"GET /docs HTTP/1.1\r\nHost: x\r\n%bContent-Length: 1048577\r\n\r\n"
    + b"x" * 1048577,
    "no key and chunks": ORDER + CHUNK % (1, b"a"),
    "a key and huge chunks": ORDER + b"api_key: apitest\r\n" + CHUNK % (MIB + 1, b"x" * (MIB + 1)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_body_ends_its_request_once(name: str, kind: str) -> None:
    ask = REFUSED[kind] % b"X-Request-ID: leaves-0\r\n"
    with serving("memory://", HTTP_SERVER=name) as server, connect(server.url) as client:
        with connected(server) as connection:
            try:
                connection.sendall(ask)
                connection.recv(65536)  # some of these connections are kept
            except OSError:
                pass  # it is refused before all of it is sent
        server.wait_for_request("leaves-0")
        metrics = client.get("/metrics").body.decode()
        assert not re.search(r"http_server_active_requests\{.*\} -", metrics)
        client.close()
        assert server.stop() == 0
        assert [line.get("request_id") for line in server.lines].count("leaves-0") == 1


def test_an_order_under_way_is_awaited_whatever_was_refused_before(name: str) -> None:
    body = b'{"items": [{"productId": "1", "quantity": 1}]}'
    with serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=10) as server:
        for kind in REFUSED:
            with connected(server) as refused:
                try:
                    refused.sendall(REFUSED[kind] % b"")
                    refused.recv(65536)
                except OSError:
                    continue  # it is refused before all of it is sent
        with connected(server) as connection:
            connection.sendall(head(Content_Length=len(body), X_Request_ID="slow"))
            with connect(server.url) as other:
                assert other.get("/health").status == 200
            server.process.send_signal(signal.SIGINT)
            time.sleep(1)
            connection.sendall(body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_page_ends_its_connection_while_the_server_drains(name: str) -> None:
    with serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=30) as server:
        with connected(server) as connection:
            ask = b"GET /docs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
            connection.sendall(ask + b"a")
            with connect(server.url) as other:
                assert other.get("/health").status == 200
                server.process.send_signal(signal.SIGTERM)
                while other.get("/ready").status != 503:
                    time.sleep(0.02)
            connection.sendall(b"b")
            while connection.recv(65536):
                pass  # to the end of the connection
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("fields", "statuses"), [(100, (200,)), (101, (400, 431))])
def test_both_servers_count_fields_alike(name: str, fields: int, statuses: tuple[int, ...]) -> None:
    more = "".join(f"X-{number}: 1\r\n" for number in range(fields - 1))
    with serving("memory://", HTTP_SERVER=name) as server, connected(server) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        assert int(connection.recv(65536).split()[1]) in statuses


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/api/product"])
def test_an_old_client_names_no_host(name: str, path: str) -> None:
    with serving("memory://", HTTP_SERVER=name) as server, connected(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
