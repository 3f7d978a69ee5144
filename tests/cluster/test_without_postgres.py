"""SQLite and memory on the cluster, with the images that the other module has left there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.client import connect
from tests.chart.charts import example
from tests.cluster import kube
from tests.cluster.kube import kubectl, wait_until

NODE_PORT = ("--set", "service.type=NodePort")


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    kube.create_namespace()
    yield
    kube.run("kubectl", "delete", "namespace", kube.NAMESPACE, "--ignore-not-found")


def install(release: str, name: str, *arguments: str) -> None:
    assert example(name)
    values = f"chart/examples/{name}.yaml"
    kube.run("helm", "upgrade", "--install", release, f"chart/{release}", "-f", values, *arguments)


def answers(*, price: float) -> None:
    with connect(kube.base_url()) as client:
        wait_until("the Service answers", lambda: is_served(price))
        client.place(("1", 1))


def is_served(price: float) -> bool:
    with connect(kube.base_url()) as client:
        try:
            answer = client.get("/api/product/1")
            return answer.status == 200 and bool(answer.json["price"] == price)
        except OSError:
            return False


def load_pods() -> list[dict[str, Any]]:
    return kube.objects("pods", "app.kubernetes.io/name=database-load")


def test_on_sqlite_a_run_waits_for_the_claim_and_for_the_server() -> None:
    install("database-load", "sqlite", "--set", "job.enabled=true")
    [pod] = wait_until("its pod is there", load_pods)
    assert pod["status"]["phase"] == "Pending"
    install("order-food", "sqlite", *NODE_PORT)
    kube.roll_out("status")
    kube.finish_load("database-load-1", "complete")
    answers(price=12.99)


def test_on_sqlite_orders_survive_an_upgrade_and_an_uninstall() -> None:
    with connect(kube.base_url()) as client:
        placed = client.place(("2", 2), coupon="SAVE10")
    kube.roll_out("restart")
    kube.run("helm", "uninstall", "order-food", "--wait")
    kubectl("wait", "pods", "--for=delete", "-l", "app.kubernetes.io/name=order-food")
    install("order-food", "sqlite", *NODE_PORT)
    kube.roll_out("status")
    wait_until("the Service answers", lambda: is_served(12.99))
    with connect(kube.base_url()) as client:
        answer = client.get(f"/api/order/{placed['id']}", api_key="apitest")
        assert answer.json == placed


def test_on_memory_one_pod_serves_without_jobs() -> None:
    kube.run("./cleanup.sh", "--data")
    kube.create_namespace()
    install("database-load", "memory")
    install("order-food", "memory", *NODE_PORT)
    kube.roll_out("status")
    answers(price=12.99)
    [pod] = kube.order_food_pods()
    assert "initContainers" not in pod["spec"]
    assert kube.objects("cronjobs") == []
    kube.run("./cleanup.sh", "--data")
