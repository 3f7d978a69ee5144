"""GET /metrics: what it counts, that labels are bounded, and that a real Prometheus takes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orderfood.observe.metrics import OPERATIONS, REFUSALS
from rig.processes import ROOT, RunningServer, serving
from rig.prometheus import promtool, running_prometheus
from storage import Storage
from tests.api.client import KEY, Client, connect
from tests.api.test_protocol import head, socket_to

FAMILIES = {
    "http_server_requests",
    "http_server_request_duration_seconds",
    "http_server_request_body_size_bytes",
    "http_server_response_body_size_bytes",
    "http_server_active_requests",
    "orders_placed",
    "orders_refused",
    "orders_per_commit",
    "order_value",
    "order_events",
    "order_actions",
    "order_accepted_after_seconds",
    "order_ready_after_seconds",
    "orders_open",
    "orders_oldest_placed_age_seconds",
    "orders_accept_alert_seconds",
    "feed_clients",
    "feed_streams_ended",
    "feed_events_written",
    "feed_lag_seconds",
    "storage_call_duration_seconds",
    "storage_errors",
    "orders_degraded",
    "storage_connections_in_use",
    "storage_connections_limit",
    "catalogue_version",
    "catalogue_age_seconds",
    "catalogue_products",
    "orderfood_build_info",
    "log_lines_dropped",
    "process_cpu_seconds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}
OF_REQUEST = {"method", "route", "status"}


@pytest.fixture
def server(database: str) -> Iterator[RunningServer]:
    """One that has counted nothing yet."""
    with serving(database, SERVICE_VERSION="9.8", ENVIRONMENT="test") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


class Scraped:
    def __init__(self, client: Client) -> None:
        answer = client.get("/metrics")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        self.text = answer.body.decode()
        self.families = {f.name: f for f in text_string_to_metric_families(self.text)}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels."""
        samples = [s for f in self.families.values() for s in f.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())


def basket(product: str = "1", coupon: str | None = None) -> dict[str, object]:
    return {"items": [{"productId": product, "quantity": 2}], "couponCode": coupon}


def test_the_families_and_promtool_has_nothing_to_say(client: Client) -> None:
    client.order(basket())
    client.get("/api/product")
    scraped = Scraped(client)
    assert set(scraped.families) == FAMILIES
    done = promtool("check", "metrics", text=scraped.text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_requests(client: Client) -> None:
    for _ in range(3):
        client.get("/api/product/1")
    client.get("/api/product/99")
    scraped = Scraped(client)
    kind = {"method": "GET", "route": "/api/product/:productId"}
    assert scraped.value("http_server_requests_total", **kind, status="200") == 3
    assert scraped.value("http_server_requests_total", **kind, status="404") == 1
    assert scraped.value("http_server_request_duration_seconds_count", **kind) == 4
    assert 0 < scraped.value("http_server_request_duration_seconds_sum", **kind) < 10
    assert scraped.value("http_server_active_requests", **kind) == 0
    assert scraped.value("http_server_active_requests", method="GET", route="/metrics") == 1


def test_sizes(client: Client) -> None:
    body = b'{"items": [{"productId": "1", "quantity": 1}]}'
    placed = client.send("POST", "/api/order", body, KEY)
    menu = client.get("/api/product")
    client.send("HEAD", "/api/product")
    client.get("/api/product", **{"If-None-Match": menu.headers["ETag"]})
    scraped = Scraped(client)
    order = {"method": "POST", "route": "/api/order"}
    assert scraped.value("http_server_request_body_size_bytes_sum", **order) == len(body)
    sent = "http_server_response_body_size_bytes_sum"
    assert scraped.value(sent, **order) == len(placed.body)
    assert scraped.value(sent, route="/api/product", method="GET") == len(menu.body)
    assert scraped.value(sent, route="/api/product", method="HEAD") == 0


def test_labels_are_bounded(client: Client) -> None:
    for number in range(20):
        client.get(f"/wp-admin/{number}")
        client.get(f"/api/product/{number}abc")
    for method in ("PROPFIND", "MKCOL", "LOCK", "REPORT"):  # what no route has
        client.send(method, "/health")
    scraped = Scraped(client)
    assert scraped.value("http_server_requests_total", route="unknown") == 20
    for family in scraped.families.values():
        for sample in family.samples:
            if family.name == "http_server_active_requests":
                assert set(sample.labels) == {"method", "route"}
            elif family.name.startswith("http_server"):
                assert set(sample.labels) - {"le"} == OF_REQUEST
    counted = scraped.families["http_server_requests"].samples
    assert {s.labels["method"] for s in counted} == {"GET", "OTHER"}
    assert len(counted) < 6


def test_orders(client: Client) -> None:
    key = {"Idempotency-Key": "metrics-1"}
    for _ in range(3):
        client.order(basket(), **key)  # one order and two replays
    client.order(basket(coupon="SAVE10"))
    client.order(basket(coupon="BUYGETONE"))
    client.order(basket("99"))
    client.order(basket(coupon="NOSUCHCODE"))
    client.order(basket("2"), **key)
    client.send("POST", "/api/order", basket(), {})
    client.send("POST", "/api/order", basket(), {"api_key": "wrong"})
    client.send("POST", "/api/order", "no JSON", KEY)
    client.send("POST", "/api/order/quote", basket("99"), KEY)
    scraped = Scraped(client)
    placed = {s.labels["coupon_kind"]: s.value for s in scraped.families["orders_placed"].samples}
    assert placed == {"none": 1, "percent": 1, "cheapest_free": 1, "amount": 0}
    refused = {s.labels["reason"]: s.value for s in scraped.families["orders_refused"].samples}
    assert refused.keys() == set(REFUSALS)
    assert {reason for reason, count in refused.items() if count} == {
        "unknown_product", "coupon", "idempotency_conflict", "no_key", "wrong_key", "json"
    }  # fmt: skip
    assert scraped.value("order_value_count") == 3
    assert scraped.value("order_value_sum") > 20


def test_the_storage_and_the_catalogue(client: Client, backend: str) -> None:
    client.order(basket())
    scraped = Scraped(client)
    calls = "storage_call_duration_seconds_count"
    assert scraped.value(calls, operation="add_order") == 1
    assert scraped.value(calls, operation="get_versions") >= 1
    errors = {s.labels["operation"]: s.value for s in scraped.families["storage_errors"].samples}
    assert errors == dict.fromkeys(OPERATIONS, 0)
    committed = 0 if backend == "memory" else 1
    assert scraped.value("orders_per_commit_count") == committed
    assert scraped.value("orders_per_commit_sum") == committed
    assert scraped.value("catalogue_version") >= 1
    assert scraped.value("catalogue_products") == 10
    assert 0 < scraped.value("catalogue_age_seconds") < 3600
    degraded = {s.labels["reason"]: s.value for s in scraped.families["orders_degraded"].samples}
    assert degraded == {"read-only": 0, "full": 0, "not permitted": 0}
    limit = {"memory": 0, "sqlite": 2, "postgres": 10}[backend]
    assert scraped.value("storage_connections_limit") == limit
    assert 0 <= scraped.value("storage_connections_in_use") <= limit


def test_every_storage_call_of_a_server_is_known() -> None:
    beside = {"connect", "close", "connections", "apply_migration", "list_migrations",
              "replace_catalogue", "wait_for_notice", "record_load_run",
              "list_load_runs"}  # fmt: skip
    names = {name for name in dir(Storage) if not name.startswith("_")}
    public = {name for name in names if callable(getattr(Storage, name))}
    assert public - beside == set(OPERATIONS)


def test_the_process_and_the_build(client: Client, server: RunningServer, backend: str) -> None:
    scraped = Scraped(client)
    name = {"sqlite": "sqlite", "postgres": "postgresql", "memory": "memory"}[backend]
    labels = {"version": "9.8", "environment": "test", "backend": name}
    assert scraped.value("orderfood_build_info", **labels) == 1
    first = scraped.value("process_cpu_seconds_total")
    assert first > 0
    assert Scraped(client).value("process_cpu_seconds_total") >= first
    statm = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    resident = scraped.value("process_resident_memory_bytes")
    assert 0.5 < resident / (int(statm[1]) * 4096) < 2
    assert scraped.value("process_open_fds") > 3
    assert scraped.value("process_start_time_seconds") > 1.7e9


def test_a_client_that_leaves_is_active_no_longer(server: RunningServer, client: Client) -> None:
    with socket_to(server) as connection:
        connection.sendall(head(Content_Length=100, X_Request_ID="left") + b'{"items"')
        while Scraped(client).value("http_server_active_requests", method="POST") != 1:
            pass
    server.wait_for_request("left")
    while Scraped(client).value("http_server_active_requests", method="POST") != 0:
        pass  # it may be a second old
    assert Scraped(client).value("http_server_requests_total", status="499") == 1


def test_metrics_can_be_turned_off(memory_url: str) -> None:
    with serving(memory_url, ENABLE_METRICS="false") as server, connect(server.url) as client:
        answer = client.get("/metrics")
        assert answer.status == 404
        assert answer.json["code"] == 404
        assert client.order(basket()).status == 200


def test_a_real_prometheus_scrapes_it(
    client: Client, server: RunningServer, tmp_path: Path
) -> None:
    client.order(basket())
    with running_prometheus(tmp_path, [f"127.0.0.1:{server.port}"]) as prometheus:
        assert prometheus.wait_for('orders_placed_total{coupon_kind="none"} >= 1')
        assert prometheus.query("up")[0]["value"][1] == "1"
        (target,) = prometheus.get("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")


def test_what_is_off_is_not_imported() -> None:
    code = "import sys, orderfood.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"prometheus_client", "opentelemetry.sdk", "thrift"} & loaded
