"""What many may ask for costs no more than if one did, and the metrics have a port of their own."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rig.ports import free_port
from rig.processes import PATIENCE, RunningServer, run, serving
from tests.api.client import KEY, connect
from tests.cost import cpu_seconds

BODY = {"items": [{"productId": "1", "quantity": 1}]}


@pytest.fixture(params=["httptools", "tornado"])
def http_server(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"HTTP_SERVER": request.param, "DRAIN_SECONDS": "0"}


@pytest.fixture
def server(http_server: dict[str, str]) -> Iterator[RunningServer]:
    with serving("memory://", **http_server) as running:
        yield running


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of this name with these labels."""
    families = text_string_to_metric_families(text)
    samples = [s for f in families for s in f.samples if s.name == name]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def test_an_exposition_is_shared_for_a_second(server: RunningServer) -> None:
    with connect(server.url) as client:
        bodies, began = set(), time.monotonic()
        for _ in range(100):
            assert client.get("/api/product").status == 200
            bodies.add(client.get("/metrics").body)
        assert len(bodies) <= 2 + time.monotonic() - began
        time.sleep(1.1)
        text = client.get("/metrics").body.decode()
        assert value(text, "http_server_requests_total", route="/api/product") == 100


def test_the_metrics_cost_as_little_as_anything(server: RunningServer) -> None:
    def cost(path: str) -> float:
        before = cpu_seconds(server.process.pid)
        with connect(server.url) as client:
            for _ in range(300):
                client.get(path)
        return cpu_seconds(server.process.pid) - before

    for number in range(200):  # so that there is something to expose
        with connect(server.url) as client:
            client.send("GET" if number % 2 else "HEAD", f"/api/product/{number}")
    cost("/health")
    assert cost("/metrics") < 4 * cost("/health")


def test_the_store_is_probed_twice_a_second_at_most(server: RunningServer) -> None:
    with connect(server.url) as client:
        began, asks = time.monotonic(), 0
        while time.monotonic() - began < 2 or asks < 200:
            assert client.get("/ready").status == 200
            asks += 1
        elapsed = time.monotonic() - began
        text = client.get("/metrics").body.decode()
        asked = value(text, "http_server_requests_total", route="/ready")
        name = "storage_call_duration_seconds_count"
        probed = value(text, name, operation="get_schema_version")
        assert 2 <= probed <= 2 * elapsed + 2 < asked


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def other(url: str, path: str) -> str:
    return url.removesuffix("/metrics") + path


@pytest.mark.parametrize("workers", [1, 2])
def test_the_metrics_may_have_a_port_of_their_own(
    http_server: dict[str, str], workers: int, sqlite_url: str
) -> None:
    assert run("database-migration", STORAGE_URL=sqlite_url).returncode == 0
    assert run("database-load", STORAGE_URL=sqlite_url).returncode == 0
    settings = {"METRICS_PORT": 0, "WORKERS": workers, "DRAIN_SECONDS": 5, **http_server}
    with serving(sqlite_url, **settings) as server, connect(server.url) as client:
        (line,) = [line for line in server.lines if "metrics" in line]
        own = str(line["metrics"])
        assert client.get("/metrics").status == 404
        assert client.get("/metrics/").status == 404
        for _ in range(10):
            assert client.order(BODY).status == 200
        assert client.send("POST", "/api/order", BODY, KEY).status == 200
        placed, deadline = 0.0, time.monotonic() + PATIENCE
        while placed != 11:  # each worker tells its own once a second
            assert time.monotonic() < deadline
            status, text = fetch(own)
            assert status == 200
            placed = value(text, "orders_placed_total")
            time.sleep(0.2)
        for path in ("/", "/api/product", "/health", "/api/order", "/docs"):
            assert fetch(other(own, path))[0] == 404
        server.process.terminate()
        client.close()
        assert server.process.wait(20) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            fetch(own)


def test_the_same_port_is_no_port_of_its_own() -> None:
    port = free_port()
    with serving("memory://", PORT=port, METRICS_PORT=port) as server:
        assert fetch(f"{server.url}/metrics")[0] == 200


def test_no_metrics_have_no_port() -> None:
    with serving("memory://", ENABLE_METRICS="false", METRICS_PORT=0) as server:
        assert not [line for line in server.lines if "metrics" in line]
        assert fetch(f"{server.url}/metrics")[0] == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_a_metrics_port_that_is_taken_is_said_in_a_line(workers: int, sqlite_url: str) -> None:
    assert run("database-migration", STORAGE_URL=sqlite_url).returncode == 0
    with serving("memory://") as taken:
        settings = {"STORAGE_URL": sqlite_url, "METRICS_PORT": taken.port, "PORT": 0}
        done = run("order-food", WORKERS=workers, **settings)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {taken.port}" in done.stderr
