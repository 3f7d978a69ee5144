"""Each chart in its main variants: helm likes it, and Kubernetes knows every field of it."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from tests.chart.charts import CHARTS, NAMES, example, helm, merge, nested, render
from tests.chart.test_conventions import CONVENTIONS

OWN_URL = nested("storage.url", "postgresql://shop:hidden@db.example/shop")
JOB = nested("job.enabled", True)

VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    *((chart, "defaults", {}) for chart in NAMES),
    *(
        (chart, name, example(name))
        for chart in ("order-food", "database-load")
        for name in (
            "external-postgres",
            "cloudnative-pg",
            "patroni",
            "sqlite",
            "memory",
            "own-menu",
            "menu-configmap",
            "coupon-files",
        )
    ),
    *((chart, "own url", OWN_URL) for chart in ("order-food", "database-load")),
    ("order-food", "images", example("images")),
    ("order-food", "pgbouncer", example("pgbouncer")),
    ("order-food", "autoscaling", example("order-food-autoscaling")),
    ("order-food", "production", example("order-food-production")),
    ("order-food", "one replica", {"replicaCount": 1}),
    ("order-food", "no load", nested("initContainers.databaseLoad.enabled", False)),
    ("order-food", "migration job", merge(OWN_URL, nested("migrations.job.enabled", True))),
    ("order-food", "node port", {"service": {"type": "NodePort", "nodePort": 30080}}),
    *((chart, "conventions", CONVENTIONS[chart]) for chart in NAMES),
    ("database-load", "job beside", JOB),
    ("database-load", "job instead", merge(JOB, nested("cronjob.enabled", False))),
    ("database-load", "sqlite with a job", merge(JOB, example("sqlite"))),
]
each_variant = pytest.mark.parametrize(
    ("chart", "values"), [pytest.param(c, v, id=f"{c}: {name}") for c, name, v in VARIANTS]
)

OTHERS = ("monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1")
"""The Prometheus operator's and the Gateway API's kinds, unknown to Kubernetes' own schemas."""


@each_variant
def test_helm_finds_nothing_to_say(chart: str, values: dict[str, Any]) -> None:
    done = helm("lint", chart, values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


@each_variant
@pytest.mark.parametrize("version", ["1.30.0", "1.34.0"])
def test_kubernetes_knows_every_field(chart: str, values: dict[str, Any], version: str) -> None:
    for document in render(chart, values):
        if document["apiVersion"] not in OTHERS:
            kubernetes_validate.validate(document, version, strict=True)


def test_every_example_is_a_variant_here() -> None:
    here = [values for _, _, values in VARIANTS]
    for path in (CHARTS / "examples").glob("*.yaml"):
        assert example(path.stem) in here, path.name


def test_whoever_validates_would_notice_a_field_that_is_unknown() -> None:
    [pod] = [document for document in render("order-food") if document["kind"] == "Pod"]
    wrong = merge(pod, nested("spec.restartPolice", "Never"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34.0", strict=True)
