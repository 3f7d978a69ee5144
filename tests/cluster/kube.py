"""kubectl, helm and the two scripts, as a person at this machine runs them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rig.processes import ROOT

T = TypeVar("T")

NAMESPACE = "orderfood-test"
PATIENCE = 180.0
"""Seconds after which a cluster that should have done something counts as stuck."""


def run(
    *command: str,
    text: str | None = None,
    cwd: Path = ROOT,
    code: int | None = 0,
    settings: Mapping[str, str] | None = None,
) -> str:
    """Runs a command to its end, in the tests' namespace, and returns all it printed."""
    done = subprocess.run(
        command,
        input=text,
        cwd=cwd,
        env={**os.environ, "NAMESPACE": NAMESPACE, "HELM_NAMESPACE": NAMESPACE, **(settings or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


SECURED = {"pod-security.kubernetes.io/enforce": "restricted"}
DEPLOYED = {"app.kubernetes.io/managed-by": "orderfood-deploy"}
QUOTA = {"pods": "12", "requests.cpu": "4", "requests.memory": "4Gi", "limits.memory": "8Gi"}
LIMITS = {"type": "Container", "max": {"memory": "2Gi"}, "default": {"memory": "256Mi"}}


def create_namespace() -> None:
    """The tests' namespace, with what a strict cluster has in force; as one that deploy.sh made."""
    metadata = {"name": NAMESPACE, "labels": {**SECURED, **DEPLOYED}}
    inside = {"metadata": {"name": "strict", "namespace": NAMESPACE}, "apiVersion": "v1"}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {**inside, "kind": "ResourceQuota", "spec": {"hard": QUOTA}},
        {**inside, "kind": "LimitRange", "spec": {"limits": [LIMITS]}},
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    run("kubectl", "apply", "--filename", "-", text=manifest)


def kubectl(*arguments: str, text: str | None = None, code: int | None = 0) -> str:
    return run("kubectl", "--namespace", NAMESPACE, *arguments, text=text, code=code)


def objects(kind: str, selector: str = "") -> list[dict[str, Any]]:
    found = json.loads(kubectl("get", kind, "--selector", selector, "--output", "json"))
    items: list[dict[str, Any]] = found["items"]
    return items


def order_food_pods() -> list[dict[str, Any]]:
    """Those that are not on their way out."""
    pods = objects("pods", "app.kubernetes.io/name=order-food")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def no_pod_ends() -> bool:
    return len(objects("pods", "app.kubernetes.io/name=order-food")) == len(order_food_pods())


def wait_until(what: str, probe: Callable[[], T]) -> T:
    """What ``probe`` gives once it gives something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := probe()):
        assert time.monotonic() < deadline, f"gave up waiting until {what}"
        time.sleep(0.5)
    return found


def roll_out(*arguments: str) -> None:
    kubectl("rollout", *arguments, "deployment/order-food")
    kubectl("rollout", "status", "deployment/order-food", f"--timeout={PATIENCE:.0f}s")


def base_url() -> str:
    """The Service, through its port on this machine."""
    [service] = objects("services", "app.kubernetes.io/name=order-food")
    return f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}"


def set_menu(products: str) -> None:
    """The ConfigMap ``menu`` with this text as its products.json."""
    menu = {"products.json": products}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "menu"}, "data": menu}
    kubectl("apply", "--filename", "-", text=json.dumps(manifest))


def start_load(name: str) -> None:
    """A run of the CronJob by hand."""
    kubectl("create", "job", "--from=cronjob/database-load", name)


def finish_load(name: str, condition: str) -> None:
    kubectl("wait", f"job/{name}", f"--for=condition={condition}", f"--timeout={PATIENCE:.0f}s")


def log_lines(what: str, container: str) -> list[dict[str, Any]]:
    text = kubectl("logs", what, "--container", container)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
