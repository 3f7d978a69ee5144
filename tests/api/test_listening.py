"""Where the server listens, and how long it keeps a silent connection."""

from __future__ import annotations

import socket

import pytest

from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import connect

SERVERS = pytest.mark.parametrize("http_server", ["httptools", "tornado"])
REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@SERVERS
@pytest.mark.parametrize("workers", [1, 2])
def test_two_colons_are_both_families(tmp_path: object, http_server: str, workers: int) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    prepare(url)
    with serving(url, HOST="::", HTTP_SERVER=http_server, WORKERS=workers) as server:
        assert server.url == f"http://[::]:{server.port}"
        for host in ("127.0.0.1", "[::1]"):
            with connect(f"http://{host}:{server.port}") as client:
                assert client.get("/health").status == 200


@needs_ipv6
def test_an_address_of_one_family_is_of_that_alone() -> None:
    with serving("memory://", HOST="::1") as server:
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


@needs_ipv6
def test_a_client_of_the_old_family_is_counted_by_its_own_address() -> None:
    """The kernel shows it as ::ffff:127.0.0.1, and all of these would share one /64."""
    settings = {"HOST": "::", "RATE_LIMIT": "2/hour", "TRUSTED_PROXIES": "127.0.0.0/8"}
    with (
        serving("memory://", **settings) as server,
        connect(f"http://127.0.0.1:{server.port}") as client,
    ):
        for number in range(4):
            answer = client.get("/api/product", **{"X-Forwarded-For": f"203.0.113.{number}"})
            assert answer.status == 200


def is_ended(server: RunningServer, seconds: float) -> bool:
    """Whether a connection that is silent after a request is ended by then."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as client:
        client.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
        try:
            return client.recv(1) == b""
        except TimeoutError:
            return False


@SERVERS
def test_how_long_a_connection_may_be_silent_is_a_setting(http_server: str) -> None:
    with serving("memory://", HTTP_SERVER=http_server, IDLE_SECONDS=1) as server:
        assert is_ended(server, PATIENCE)  # by far less than the default
    with serving("memory://", HTTP_SERVER=http_server, IDLE_SECONDS=PATIENCE) as server:
        assert not is_ended(server, 3.0)
