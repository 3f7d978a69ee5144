"""What a stranger may send, on bare sockets: framing, upgrades, odd heads, reading nothing."""

from __future__ import annotations

import json
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orderfood.shop.orders import hash_key
from rig.processes import PATIENCE, RunningServer, prepare, run, serving
from tests.api.client import KEY, connect
from tests.api.proxy import StrictProxy
from tests.api.test_front import resident, talk

BODY = b'{"items": [{"productId": "1", "quantity": 1}]}'
POST = b"POST /api/order HTTP/1.1\r\nHost: x\r\napi_key: apitest\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: x\r\n"
SERVERS = ("httptools", "tornado")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serving("memory://", HTTP_SERVER=request.param) as running:
        yield running


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*chunks: bytes) -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"


# --- one framing or none ---

HIDING = {
    f"{method} {upgrade} {framing}": f"{method} /api/order HTTP/1.1\r\nHost: x\r\n".encode() + u + f
    for method in ("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE")
    for upgrade, u in {
        "upgrade": UPGRADE,
        "upgrade, kept": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n",
        "websocket": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "upgrade without connection": b"Upgrade: x\r\n",
        "connection without upgrade": b"Connection: upgrade\r\n",
        "nothing": b"",
    }.items()
    for framing, f in {"sized": sized(SMUGGLED), "chunked": chunked(SMUGGLED)}.items()
} | {
    "CONNECT sized": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n" + sized(SMUGGLED),
    "CONNECT chunked": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n" + chunked(SMUGGLED),
    "CONNECT a path": b"CONNECT /health HTTP/1.1\r\nHost: x\r\n" + sized(SMUGGLED),
    "an order with an upgrade": POST + UPGRADE + sized(BODY),
    "a refused order with an upgrade": POST + UPGRADE + b"Content-Type: x\r\n" + sized(SMUGGLED),
    "100 Continue with an upgrade": POST
    + UPGRADE
    + b"Expect: 100-continue\r\n"
    + sized(SMUGGLED),
    "a large body that nobody reads": GET + sized(SMUGGLED * 3000),
    "upgrade in a chunk": POST + chunked(b"x", UPGRADE, SMUGGLED),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
def test_no_byte_of_a_body_becomes_another_clients_answer(server: RunningServer, name: str) -> None:
    victim = b"GET /api/product/1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: victim\r\n\r\n"
    with StrictProxy(server.port) as proxy:
        assert b"smuggled" not in proxy.ask(HIDING[name])
        answer = proxy.ask(victim) or proxy.ask(victim)  # again where the connection was ended
        assert re.search(rb"\r\nX-Request-ID: victim\r\n", answer, re.IGNORECASE)
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("name", ["sized", "chunked", "nothing"])
def test_an_order_that_asks_for_an_upgrade_is_an_order(server: RunningServer, name: str) -> None:
    request = (
        POST + UPGRADE + {"sized": sized(BODY), "chunked": chunked(BODY), "nothing": b"\r\n"}[name]
    )
    received = talk(server, request + SMUGGLED)
    assert statuses(received) == [400 if name == "nothing" else 200]
    assert b"\r\nConnection: close\r\n" in received


UPGRADES = {
    "of GET": GET + UPGRADE + b"\r\n",
    "of the menu": b"GET /api/product HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n",
    "of HEAD": b"HEAD /health HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n",
    "alone": GET + b"Upgrade: x\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", UPGRADES)
def test_nothing_behind_an_upgrade_is_a_request(server: RunningServer, name: str) -> None:
    received = talk(server, UPGRADES[name] + SMUGGLED)
    assert statuses(received) == [400 if name == "CONNECT" else 200]


def test_a_thousand_upgrades_are_one(server: RunningServer) -> None:
    assert statuses(talk(server, UPGRADES["of GET"] * 1200)) == [200]
    assert [line for line in server.lines if line["level"] == "error"] == []


REFUSED = {
    "extension": b"5;a=b\r\nabcde\r\n0\r\n\r\n",
    "extension of the last": b"0;a=b\r\n\r\n",
    "blank after the size": b"5 \r\nabcde\r\n0\r\n\r\n",
    "blank before the size": b" 5\r\nabcde\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nabcde\r\n0\r\n\r\n",
    "bare LF after a chunk": b"5\r\nabcde\n0\r\n\r\n",
    "bare CR after the size": b"5\rabcde\r\n0\r\n\r\n",
    "no break after a chunk": b"5\r\nabcde0\r\n\r\n",
    "trailer": b"0\r\nX: 1\r\n\r\n",
    "trailer without an end": b"0\r\nX: " + b"a" * 1_000_000,
    "trailers": b"0\r\n" + b"X: 1\r\n" * 10_000 + b"\r\n",
    "framing trailer": b"0\r\nContent-Length: 50\r\n\r\n",
    "size without an end": b"0" * 100_000,
    "size of 17 digits": b"1" * 17 + b"\r\n",
    "size that is none": b"x\r\n",
    "underscored size": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "bare LF at the end": b"0\r\n\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_chunks_have_one_form(server: RunningServer, name: str) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    used = processor_seconds(server)
    received = talk(server, head + REFUSED[name] + SMUGGLED)
    assert statuses(received) in ([400], [])
    assert processor_seconds(server) - used < 1


ODD_HEADS = {
    "RTSP": b"OPTIONS /health RTSP/1.0\r\nHost: x\r\n\r\n",
    "GET by RTSP": b"GET /health RTSP/1.0\r\nHost: x\r\n\r\n",
    "ICE": b"SOURCE /health ICE/1.0\r\nHost: x\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/1.10": b"GET /health HTTP/1.10\r\nHost: x\r\n\r\n",
    "http in small letters": b"GET /health http/1.1\r\nHost: x\r\n\r\n",
    "blank behind the version": b"GET /health HTTP/1.1 \r\nHost: x\r\n\r\n",
    "tab behind the version": b"GET /health HTTP/1.1\t\r\nHost: x\r\n\r\n",
    "blank there, tab below": b"GET /health HTTP/1.1 \r\nHost: x\t\r\n\r\n",
    "two blanks before the version": b"GET /health  HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab for a blank": b"GET\t/health\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "blank before the method": b" GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunks by HTTP/1.0": POST.replace(b"1.1", b"1.0") + chunked(BODY),
    "a TLS client": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "equal lengths": POST + b"Content-Length: 46\r\n" + sized(BODY),
    "lengths with a comma": POST + b"Content-Length: 46, 46\r\n\r\n" + BODY,
    "length of 19 digits": POST + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n",
    "bare LF at the end of the first line": b"GET /health HTTP/1.1\nHost: x\r\n\r\n",
    "CR alone": b"GET /health HTTP/1.1\r\nHost: x\r\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_HEADS)
def test_what_is_no_request_is_refused_at_once(server: RunningServer, name: str) -> None:
    received = talk(server, ODD_HEADS[name] + (b"" if "TLS" in name else SMUGGLED))
    # Tornado takes a bare LF for the end of a line
    assert statuses(received) in ([400], []) or (b"\n" in ODD_HEADS[name] and "LF" in name)
    assert b"smuggled" not in received


def test_an_empty_line_before_a_request_is_none(server: RunningServer) -> None:
    ended = GET + b"Connection: close\r\n\r\n"
    assert statuses(talk(server, b"\r\n" + GET + b"\r\n\r\n" + ended)) == [200, 200]


# --- heads ---


def test_blanks_around_a_value_are_no_part_of_it(server: RunningServer) -> None:
    for value in (b"apitest ", b"apitest\t", b" \tapitest \t ", b"apitest"):
        key = b"POST /api/order HTTP/1.1\r\nHost: x\r\napi_key:%b\r\nConnection: close \r\n" % value
        assert statuses(talk(server, key + sized(BODY))) == [200]


def test_only_the_bytes_of_the_head_itself_count(server: RunningServer) -> None:
    body = BODY.ljust(20_000)
    with socket_to(server) as connection:
        connection.sendall(POST + sized(body) + b"GET /health HT")
        time.sleep(0.3)  # so that the rest comes by itself
        connection.sendall(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert statuses(read_all(connection)) == [200, 200]


@pytest.mark.parametrize(("size", "status"), [(16_000, 200), (17_000, 431)])
def test_a_head_has_16_kib(server: RunningServer, size: int, status: int) -> None:
    request = GET + b"Connection: close\r\nX: " + b"x" * (size - 70) + b"\r\n\r\n"
    for padding in (b"", sized_request()):
        received = statuses(talk(server, padding + request))
        # Tornado ends such a connection without an answer
        assert received[-1:] in ([status], [200] if padding else [])
        assert (200 in received[bool(padding) :]) == (status == 200)


def sized_request() -> bytes:
    return POST + sized(BODY)


def test_http_1_0_is_not_told_to_continue(server: RunningServer) -> None:
    head = POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\n"
    received = talk(server, head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert statuses(received) == [200]
    with socket_to(server) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(BODY))
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(100)


def test_another_expectation_is_none(server: RunningServer) -> None:
    request = POST + b"Expect: x\r\nConnection: close\r\n"
    assert statuses(talk(server, request + sized(BODY))) == [200]
    with socket_to(server) as connection:
        connection.sendall(request + b"Content-Length: 3000000\r\n\r\n" + b"x" * 100_000)
        assert statuses(read_all(connection)) == [413]


def test_a_query_of_a_thousand_fields_is_judged_or_ignored(server: RunningServer) -> None:
    many = "&".join(f"f{number}=1" for number in range(1200))
    with connect(server.url) as client:
        for path in ("/api/product", "/api/product/1", "/health", "/docs"):
            assert client.get(f"{path}?{many}").status == 200
        assert client.get(f"/nope?{many}").status == 404
        assert client.get(f"/api/order?{many}").status == 401
        assert client.get(f"/api/order?{many}", **KEY).status == 200
        assert len(client.get(f"/api/order?{many}&limit=1", **KEY).json["orders"]) == 1
        assert len(client.get(f"/api/order?{many}&%6cimit=1", **KEY).json["orders"]) == 1
        assert client.get(f"/api/order?{many}&limit=1&limit=1", **KEY).status == 400
        assert client.get(f"/api/order?{many}&limit=%ff", **KEY).status == 400
        assert client.get("/api/order?limit=+1", **KEY).status == 400


def test_options_of_everything(server: RunningServer) -> None:
    received = talk(server, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(received) == [204]
    assert b"\r\nAllow: GET, HEAD, POST, OPTIONS\r\n" in received
    for method in (b"GET", b"POST", b"DELETE"):
        request = method + b" * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert statuses(talk(server, request)) == [404]


# --- media types ---


@pytest.mark.parametrize(
    "lines",
    [b"", b"Content-Type: \r\n", b"Content-Type: application/json\r\n" * 2,
     b"Content-Type: application/json; charset=utf8\r\n", b"Content-Type: APPLICATION/JSON\r\n",
     b"Content-Type: application/json;charset=\"UTF-8\"\r\n", b"Content-Encoding: identity\r\n",
     b"Content-Encoding: Identity\r\nContent-Encoding: identity\r\n",
     b"Content-Type: application/json ; charset=Utf8\r\n"],
    ids=range(9),
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_is_taken_as_json(server: RunningServer, lines: bytes, mark: bytes) -> None:
    received = talk(server, POST + b"Connection: close\r\n" + lines + sized(mark + BODY))
    assert statuses(received) == [200]


@pytest.mark.parametrize(
    ("lines", "named"),
    [(b"Content-Type: text/plain\r\n", "Content-Type"),
     (b"Content-Type: application/json\r\nContent-Type: text/plain\r\n", "Content-Type"),
     (b"Content-Type: application/json, application/xml\r\n", "Content-Type"),
     (b"Content-Type: application/json; charset=latin-1\r\n", "charset"),
     (b"Content-Type: application/json; charset=\r\n", "charset"),
     (b"Content-Encoding: gzip\r\n", "Content-Encoding"),
     (b"Content-Encoding: identity, gzip\r\n", "Content-Encoding"),
     (b"Content-Encoding: identity\r\nContent-Encoding: br\r\n", "Content-Encoding")],
    ids=range(8),
)  # fmt: skip
def test_what_is_not_is_named(server: RunningServer, lines: bytes, named: str) -> None:
    received = talk(server, POST + b"Connection: close\r\n" + lines + sized(BODY))
    assert statuses(received) == [415]
    assert named in json.loads(received.partition(b"\r\n\r\n")[2])["message"]


# --- what a client makes the server keep ---


def socket_to(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def processor_seconds(server: RunningServer) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def deaf_socket_to(server: RunningServer) -> socket.socket:
    """One that takes as little as there can be."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    return connection


@pytest.mark.parametrize(
    "path", [b"/docs/swagger-ui-bundle.js", b"/openapi.json", b"/docs/swagger-ui.css"]
)
def test_clients_that_do_not_read_cost_little(server: RunningServer, path: bytes) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path
    with connect(server.url) as client:
        client.get(path.decode())  # what is shared is there
    before = resident(server)
    with ExitStack() as opened:
        for _ in range(150):
            opened.enter_context(closing(deaf_socket_to(server))).sendall(request * 3)
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        time.sleep(1)  # what is to be written is written
        assert resident(server) - before < 150 * 65536 + 8_000_000


@pytest.mark.parametrize("path", [b"/health", b"/api/product", b"/nope", b"/api/order/x/cancel"])
def test_a_body_that_nobody_reads_is_not_kept(server: RunningServer, path: bytes) -> None:
    method = b"POST" if path.endswith(b"cancel") else b"GET"
    head = method + b" %b HTTP/1.1\r\nHost: x\r\napi_key: apitest\r\n" % path
    before = resident(server)
    with ExitStack() as opened:
        for _ in range(60):
            connection = opened.enter_context(closing(socket_to(server)))
            connection.sendall(head + b"Content-Length: 1048576\r\n\r\n")
            with suppress(OSError):
                connection.sendall(b"x" * 1_000_000)
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        assert resident(server) - before < 20_000_000


def test_requests_that_wait_their_turn_are_not_parsed(server: RunningServer) -> None:
    """Ten thousand small requests are ten thousand objects, if they are parsed."""
    bundle = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    small = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    before = resident(server)
    with ExitStack() as opened:
        for _ in range(20):
            connection = opened.enter_context(closing(deaf_socket_to(server)))
            connection.sendall(bundle * 8)
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(small)
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        time.sleep(1)
        assert resident(server) - before < 20 * 400_000 + 8_000_000


# --- a key that is judged too early ---


def key_of(folder: Path, **more: object) -> None:
    path = folder / "users.json"
    users = json.loads(path.read_text())
    late = {"hash": hash_key("late"), "scopes": ["create_order"], **more}
    users.append({"id": "late", "name": "Late", "keys": [late]})
    path.write_text(json.dumps(users))


def order_slowly(server: RunningServer, meanwhile: object) -> list[int]:
    head = b"POST /api/order HTTP/1.1\r\nHost: x\r\napi_key: late\r\nConnection: close\r\n"
    with socket_to(server) as connection:
        connection.sendall(head + sized(BODY)[:-5])
        meanwhile()  # type: ignore[operator]
        connection.sendall(BODY[-5:])
        return statuses(read_all(connection))


@pytest.mark.parametrize("name", SERVERS)
def test_a_key_that_expires_while_the_body_comes_orders_nothing(menu: Path, name: str) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=8)
    key_of(menu, expiresAt=ends.isoformat())
    with serving("memory://", HTTP_SERVER=name, FIXTURES_DIR=menu) as server:

        def wait() -> None:
            time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.2)

        assert order_slowly(server, wait) == [403]


@pytest.mark.parametrize("name", SERVERS)
def test_a_key_that_is_taken_away_while_the_body_comes_orders_nothing(
    menu: Path, tmp_path: Path, name: str
) -> None:
    url = f"sqlite:///{tmp_path}/late.db"
    before = (menu / "users.json").read_text()
    key_of(menu)
    prepare(url, FIXTURES_DIR=menu)
    with serving(url, HTTP_SERVER=name) as server:

        def revoke() -> None:
            (menu / "users.json").write_text(before)
            assert run("database-load", STORAGE_URL=url, FIXTURES_DIR=menu).returncode == 0
            time.sleep(1.2)  # served within a second

        assert order_slowly(server, lambda: None) == [200]
        assert order_slowly(server, revoke) == [403]


# --- the system's limits ---


@pytest.mark.parametrize("name", SERVERS)
def test_no_file_descriptor_left_is_one_line_and_a_pause(name: str) -> None:
    with serving("memory://", HTTP_SERVER=name) as server:
        pid = server.process.pid
        in_use = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use + 10, in_use + 10))
        used = processor_seconds(server)
        with ExitStack() as opened:
            for _ in range(40):
                opened.enter_context(closing(socket_to(server)))
            time.sleep(2)
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        assert processor_seconds(server) - used < 1
        deadline = time.monotonic() + PATIENCE
        while not told(server) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(told(server)) == 1
        assert [line for line in server.lines if line["level"] == "error"] == []


def told(server: RunningServer) -> list[object]:
    return [line for line in server.lines if "no connection can be accepted" in line["message"]]
