"""Orders while the store takes none, or another server has taken its place: on real servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from rig.postgres import NoPostgres, StartedServer, execute, run
from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import KEY, Client, connect
from tests.conftest import BACKENDS
from tests.proxy import Proxy, proxy_before

ORDER = {"items": [{"productId": "1", "quantity": 1}]}
READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
DATABASE = "shop"


@pytest.fixture(scope="module")
def _two_servers() -> Iterator[list[StartedServer]]:
    if "postgres" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out postgres")
    servers: list[StartedServer] = []
    try:
        servers += [StartedServer(), StartedServer()]
    except NoPostgres as reason:
        pytest.skip(f"no Postgres: {reason}")
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def two_servers(_two_servers: list[StartedServer]) -> Iterator[tuple[str, str]]:
    """The URLs of a loaded database of the same name on each of two servers."""
    urls = []
    for server in _two_servers:
        run(execute(server.url, f"CREATE DATABASE {DATABASE}"))
        urls.append(urlsplit(server.url)._replace(path=f"/{DATABASE}").geturl())
        prepare(urls[-1])
    yield urls[0], urls[1]
    for server in _two_servers:
        alter(server.url, "ALTER SYSTEM RESET ALL")
        run(execute(server.url, f"DROP DATABASE {DATABASE} WITH (FORCE)"))


def alter(url: str, statement: str) -> None:
    run(execute(url, statement))
    run(execute(url, "SELECT pg_reload_conf()"))


@pytest.fixture
def proxy(two_servers: tuple[str, str]) -> Iterator[Proxy]:
    """Leads to the first of them."""
    with proxy_before(two_servers[0]) as before:
        yield before


@pytest.fixture(params=["httptools", "tornado"])
def server(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serving(proxy.url, HTTP_SERVER=request.param) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fill_the_pool(server: RunningServer) -> None:
    """Has several connections to the first server lie in the pool."""

    def read() -> int:
        with connect(server.url) as client:
            return [client.get("/api/order", **KEY).status for _ in range(20)].count(200)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(read) for _ in range(8)]
        assert [future.result() for future in futures] == [20] * 8


def test_orders_follow_a_switch_that_closes_no_connection(
    server: RunningServer, client: Client, proxy: Proxy, two_servers: tuple[str, str]
) -> None:
    fill_the_pool(server)
    proxy.target = ("127.0.0.1", urlsplit(two_servers[1]).port or 0)
    alter(two_servers[0], READ_ONLY)
    wait_until(lambda: client.order(ORDER).status != 200)
    wait_until(lambda: client.order(ORDER).status == 200)
    for _ in range(30):  # none of the old connections is left
        assert client.order(ORDER).status == 200
    wait_until(lambda: client.get("/ready").json == {"status": "ready"})


def test_a_server_that_waits_for_no_order_follows_too(
    client: Client, proxy: Proxy, two_servers: tuple[str, str]
) -> None:
    assert client.order(ORDER).status == 200
    proxy.target = ("127.0.0.1", urlsplit(two_servers[1]).port or 0)
    before = proxy.connections
    alter(two_servers[0], READ_ONLY)
    wait_until(lambda: proxy.connections > before + 1)
    time.sleep(1.0)
    assert client.order(ORDER).status == 200


def test_a_store_that_accepts_and_never_answers_is_503_everywhere(
    server: RunningServer, client: Client, proxy: Proxy
) -> None:
    placed = client.place(("1", 1))
    proxy.stalls = True
    for path in ("/ready", "/api/product", "/api/order", f"/api/order/{placed['id']}"):
        assert client.get(path, **KEY).status == 503
    for path in ("/api/order", "/api/order/quote", f"/api/order/{placed['id']}/cancel"):
        assert client.send("POST", path, ORDER, KEY).status == 503
    assert client.get("/health").status == 200
    proxy.stalls = False
    wait_until(lambda: client.order(ORDER).status == 200)


def degraded(client: Client) -> object:
    answer = client.get("/ready")
    assert answer.status == 200
    return answer.json.get("degraded")


def gauge(client: Client, reason: str) -> str:
    lines = client.get("/metrics").body.decode().splitlines()
    (line,) = [one for one in lines if one.startswith(f'orders_degraded{{reason="{reason}"')]
    return line.rpartition(" ")[2]


def test_a_primary_that_is_read_only_is_degraded_without_an_order_and_ends(
    server: RunningServer, client: Client, two_servers: tuple[str, str]
) -> None:
    assert degraded(client) is None
    alter(two_servers[0], READ_ONLY)
    wait_until(lambda: degraded(client) == "read-only")
    wait_until(lambda: gauge(client, "read-only") == "1.0")  # who asks shares one exposition
    assert client.get("/api/product").status == 200
    assert client.order(ORDER).status == 503
    alter(two_servers[0], "ALTER SYSTEM RESET ALL")
    wait_until(lambda: degraded(client) is None)
    wait_until(lambda: gauge(client, "read-only") == "0.0")
    assert client.order(ORDER).status == 200
    warnings = [line for line in server.lines if "no order can be stored" in line["message"]]
    assert [line["level"] for line in warnings] == ["warning"]


def test_a_role_without_insert_is_told_at_the_start(two_servers: tuple[str, str]) -> None:
    owner = two_servers[0]
    run(execute(owner, "CREATE ROLE waiter LOGIN PASSWORD 'pass'"))
    try:
        run(execute(owner, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO waiter"))
        url = urlsplit(owner)._replace(netloc=f"waiter:pass@127.0.0.1:{urlsplit(owner).port}")
        with serving(url.geturl()) as server, connect(server.url) as client:
            (warning,) = [line for line in server.lines if line["level"] == "warning"]
            assert "not permitted to store orders" in warning["message"]
            assert degraded(client) == "not permitted"
            assert client.get("/api/product").status == 200
            assert client.order(ORDER).status == 503
            run(execute(owner, "GRANT ALL ON ALL TABLES IN SCHEMA public TO waiter"))
            wait_until(lambda: degraded(client) is None)
            assert client.order(ORDER).status == 200
    finally:
        run(execute(owner, "DROP OWNED BY waiter"))
        run(execute(owner, "DROP ROLE waiter"))
