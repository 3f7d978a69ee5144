"""What people expect of any chart: labels, annotations, variables, volumes, names of their own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.charts import (
    CHARTS,
    NAMES,
    containers,
    default_values,
    example,
    merge,
    nested,
    one,
    pod_templates,
    render,
)

OF_EVERY_CHART: dict[str, Any] = {
    "commonLabels": {"team": "kitchen"},
    "podLabels": {"logs": "yes"},
    "podAnnotations": {"sidecar.example/inject": "false"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "envFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "priorityClassName": "important",
    "image": {"registry": "registry.example/shop"},
}
LARGE = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "order-food": {
        **OF_EVERY_CHART,
        **nested("migrations.job.enabled", True),
        "initContainers": {"databaseLoad": {"resources": LARGE}},
        "service": {"annotations": {"a": "b"}},
        "podDisruptionBudget": {"minAvailable": "50%"},
        "autoscaling": {
            "enabled": True,
            "targetMemoryUtilizationPercentage": 80,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        },
        "ingress": {
            "enabled": True,
            "tlsSecret": "first",
            "extraHosts": [
                {"host": "b.example"},
                {"host": "c.example", "path": "/c", "tlsSecret": "third"},
            ],
        },
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "gateway", "namespace": "edge"}],
            "hostnames": ["shop.example"],
        },
    },
    "database-load": {
        **OF_EVERY_CHART,
        **nested("job.enabled", True),
        "cronjob": {
            "timeZone": "Europe/Berlin",
            "startingDeadlineSeconds": 1000000,
            "ttlSecondsAfterFinished": 0,
        },
    },
    "postgres": {
        **OF_EVERY_CHART,
        **nested("podDisruptionBudget.enabled", True),
        "backup": {
            "enabled": True,
            "timeZone": "Europe/Berlin",
            "startingDeadlineSeconds": 600,
            "ttlSecondsAfterFinished": 86400,
        },
    },
}
"""Everything at once, for each chart."""


@pytest.mark.parametrize("chart", NAMES)
def test_what_is_everybody_s_reaches_every_object_and_pod(chart: str) -> None:
    documents = render(chart, CONVENTIONS[chart])
    for document in documents:
        assert document["metadata"]["labels"]["team"] == "kitchen", document["kind"]
    for kind, template in pod_templates(documents):
        assert template["metadata"]["labels"].items() >= {"team": "kitchen", "logs": "yes"}.items()
        assert template["spec"]["priorityClassName"] == "important"
        if kind != "Pod":
            assert "sidecar.example/inject" in template["metadata"]["annotations"]
    for document in documents:
        selector = document["spec"].get("selector", {}) if "spec" in document else {}
        assert "team" not in selector.get("matchLabels", selector)


HELPERS = ("place-order", "backup", "restore")
"""Containers that are not the program's: its variables and volumes are nothing to them."""


@pytest.mark.parametrize("chart", NAMES)
def test_variables_and_volumes_reach_every_container_of_the_program(chart: str) -> None:
    documents = render(chart, CONVENTIONS[chart])
    for (_, name), container in containers(documents).items():
        if name not in HELPERS:
            assert {"name": "TZ", "value": "UTC"} in container["env"]
            assert container["envFrom"] == [{"configMapRef": {"name": "more"}}]
            assert {"name": "more", "mountPath": "/more"} in container["volumeMounts"]
    for _, template in pod_templates(documents):
        if template["spec"]["containers"][0]["name"] not in HELPERS:
            assert {"name": "more", "emptyDir": {}} in template["spec"]["volumes"]


@pytest.mark.parametrize("chart", NAMES)
def test_every_container_passes_where_rights_are_restricted_and_quotas_in_force(
    chart: str,
) -> None:
    """Pod Security's level restricted, a ResourceQuota and a LimitRange."""
    documents = render(chart, CONVENTIONS[chart])
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    for _, template in pod_templates(documents):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", ()):
            assert volume.keys() - {"name"} <= allowed
    for container in containers(documents).values():
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        for amounts in ("requests", "limits"):
            assert container["resources"][amounts].keys() == {"cpu", "memory"}, container["name"]


@pytest.mark.parametrize("chart", NAMES)
def test_the_registry_is_that_of_all_images(chart: str) -> None:
    images = [each["image"] for each in containers(render(chart, CONVENTIONS[chart])).values()]
    if chart == "postgres":  # helm test's image is order-food's, wherever that is
        images.remove(f"order-food:{chart_of(chart)['version']}")
    assert images
    assert all(image.startswith("registry.example/shop/") for image in images)


def chart_of(name: str) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((CHARTS / name / "Chart.yaml").read_text())
    return described


@pytest.mark.parametrize("chart", NAMES)
def test_a_chart_says_whose_it_is(chart: str) -> None:
    described = chart_of(chart)
    for link in (described["home"], described["icon"], *described["sources"]):
        assert link.startswith("https://")
    assert described["version"] == chart_of("order-food")["version"]


@pytest.mark.parametrize("chart", NAMES)
def test_names_of_one_s_own(chart: str) -> None:
    def names(values: dict[str, Any]) -> set[str]:
        return {
            document["metadata"]["name"]
            for document in render(chart, values, release="blue")
            if document["kind"] in ("Deployment", "CronJob", "StatefulSet", "Service")
        }

    assert names({}) == {f"blue-{chart}"}
    assert names({"nameOverride": "shop"}) == {"blue-shop"}
    assert names({"fullnameOverride": "shop"}) == {"shop"}


def test_an_init_container_may_need_more_than_the_others() -> None:
    made = containers(render("order-food", CONVENTIONS["order-food"]))
    load = made["Deployment", "database-load"]["resources"]
    assert load == LARGE
    assert (
        made["Deployment", "order-food"]["resources"] == default_values("order-food")["resources"]
    )


def test_an_autoscaler_may_look_at_memory_and_take_its_time() -> None:
    spec = one(render("order-food", CONVENTIONS["order-food"]), "HorizontalPodAutoscaler")["spec"]
    measured = {m["resource"]["name"]: m["resource"]["target"] for m in spec["metrics"]}
    assert measured["memory"] == {"type": "Utilization", "averageUtilization": 80}
    assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}


def test_a_budget_may_say_how_many_stay() -> None:
    spec = one(render("order-food", CONVENTIONS["order-food"]), "PodDisruptionBudget")["spec"]
    assert (spec["minAvailable"], "maxUnavailable" in spec) == ("50%", False)


def test_an_ingress_may_have_several_hosts() -> None:
    spec = one(render("order-food", CONVENTIONS["order-food"]), "Ingress")["spec"]
    found = {rule["host"]: rule["http"]["paths"][0]["path"] for rule in spec["rules"]}
    assert found == {"orderfood.example": "/", "b.example": "/", "c.example": "/c"}
    assert spec["tls"] == [
        {"hosts": ["orderfood.example"], "secretName": "first"},
        {"hosts": ["c.example"], "secretName": "third"},
    ]


def test_a_gateway_may_lead_to_the_service() -> None:
    documents = render("order-food", CONVENTIONS["order-food"])
    spec = one(documents, "HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "gateway", "namespace": "edge"}]
    [rule] = spec["rules"]
    assert rule["backendRefs"] == [
        {"name": one(documents, "Service")["metadata"]["name"], "port": 8080}
    ]


def test_a_schedule_may_have_a_zone_and_bounds() -> None:
    spec = one(render("database-load", CONVENTIONS["database-load"]), "CronJob")["spec"]
    assert (spec["timeZone"], spec["startingDeadlineSeconds"]) == ("Europe/Berlin", 1000000)
    assert spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 0
    plain = one(render("database-load"), "CronJob")["spec"]
    assert "startingDeadlineSeconds" not in plain
    assert "ttlSecondsAfterFinished" not in plain["jobTemplate"]["spec"]


@pytest.mark.parametrize(
    ("name", "charts", "place"),
    [
        ("coupon-files", NAMES[:2], "/usr/local/share/orderfood/fixtures/coupons"),
        ("images", NAMES[:1], "/srv/images"),
    ],
)  # fmt: skip
def test_the_example_mounts_a_claim_where_the_program_looks(
    name: str, charts: tuple[str, ...], place: str
) -> None:
    for chart in charts:
        for _, container in containers(render(chart, example(name))).items():
            if container["name"] == chart:
                assert place in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert merge(default_values("order-food"), example(name))["extraVolumes"]
