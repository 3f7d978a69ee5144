"""What schemas and templates refuse before a cluster sees it, and what they must not refuse."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orderfood.settings import SettingsError, describe_settings, read_settings
from tests.chart.charts import (
    CHARTS,
    NEEDED,
    Document,
    containers,
    default_values,
    example,
    merge,
    nested,
    one,
    refusal,
    render,
)


@cache
def schema_of(chart: str) -> Document:
    schema: Document = json.loads((CHARTS / chart / "values.schema.json").read_text())
    return schema


def allows(chart: str, values: Document) -> bool:
    """Whether the schema takes these values, laid on the chart's own."""
    return Draft202012Validator(schema_of(chart)).is_valid(merge(default_values(chart), values))


# --- settings: the schema and the program agree ---

TEXTS = (
    "0", "1", "2", "-1", "1.5", "64", "65", "240", "241", "1000", "1001", "1440", "1441",
    "36500", "36501", "65535", "65536", "86400", "86400.1", "86401", "1000000", "1000001",
    "007", "1e3", "true", "TRUE", "yes", "debug", "Warning", "warn", "verbose", "json", "JSON",
    "xml", "httptools", "uvicorn", "off", "100/minute", "5 per 2 hours", "0/minute",
    "100/fortnight", "none", "*", "10.0.0.0/8", "10.0.0.0/8, ::1", "https://shop.example",
    "https://shop.example, http://localhost:3000", "shop.example", "img.example:443",
    "http://jaeger:14268/api", "EUR", "eur", "EURO", "en", "de-AT", "fr", "en_GB", "#b3401f",
    "#B3401F", "b3401f", "#fff", "two words", " x", "",
)  # fmt: skip
"""Something that makes sense for each setting, and much that does not."""

OF_THE_TEMPLATES = {
    *((name, "") for name in ("STORAGE_WAIT_SECONDS", "DRAIN_SECONDS", "IDLE_SECONDS")),
    ("METRICS_PORT", "0"),
}
"""What the programs take and the templates cannot compute with, or open a port for."""

SETTINGS = [
    setting.name
    for setting in describe_settings()
    if setting.name in schema_of("order-food")["properties"]["env"]["properties"]
]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_schema_refuses_the_settings_that_the_program_refuses(name: str) -> None:
    schema = schema_of("order-food")["properties"]["env"]["properties"][name]
    validator = Draft202012Validator(schema)
    for text in TEXTS:
        if (name, text) not in OF_THE_TEMPLATES:
            assert validator.is_valid(text) == takes(name, text), text


def takes(name: str, text: str) -> bool:
    try:
        read_settings({name: text})
    except SettingsError:
        return False
    return True


# --- schemas ---


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        *(("order-food", nested("env.LOG_LEVEL", level)) for level in ("loud", 3, True)),
        *(("order-food", nested("env.STORAGE_POOL_SIZE", size)) for size in (0, 1001, 2.5, "ten")),
        *(("order-food", nested("env.WORKERS", number)) for number in (0, 65, "many")),
        *(
            ("database-load", nested("cronjob.schedule", when))
            for when in ("every day", "61 * * * *", "* * * *", "* * * * 7", "*/0 * * * *", "")
        ),
        *(("order-food", nested("service.nodePort", port)) for port in (80, 29999, 32768, "http")),
        ("order-food", nested("persistence.size", "1 GB")),
        ("postgres", nested("persistence.size", "huge")),
        ("order-food", nested("resources.limits", {"memory": "256 MB"})),
        ("order-food", nested("resources.requests", {"cpu": "1core"})),
        ("order-food", nested("preStopSeconds", -1)),
        ("order-food", nested("replicaCount", 1_000_000)),
        ("order-food", nested("image.tag", "a tag")),
        ("order-food", nested("image.digest", "latest")),
        ("order-food", nested("podLabels", {"app.kubernetes.io/name": "mine"})),
        *(("order-food", nested("nameOverride", name)) for name in ("Upper", "a: b", "null")),
        *(("order-food", nested("storage.existingSecret", name)) for name in ('"', "a b", "{x}")),
        ("order-food", nested("image.repository", '"')),
        *(("order-food", nested("ingress.host", host)) for host in ("a b", "A.example", "-a.b")),
        *(("postgres", nested("persistence.size", size)) for size in (0, "0", "0Gi", "00.0")),
        *(
            ("order-food", nested("podDisruptionBudget.maxUnavailable", part))
            for part in ("200%", "0%", "2")
        ),
        *(("order-food", nested("podLabels", {"a": text})) for text in ("b c", "-", "x" * 64)),
        ("database-load", nested("commonLabels", {"a": "b c"})),
        *(("postgres", {"parameters": {name: "5433"}}) for name in ("port", "Bad Name", "")),
        ("order-food", nested("extraEnv", [{"name": "A", "value": 2}])),
    ],
)
def test_the_schema_refuses(chart: str, values: Document) -> None:
    assert not allows(chart, values)


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        *(
            ("database-load", nested("cronjob.schedule", when))
            for when in ("*/5 * * * *", "0 0 1 JAN mon-fri", "@daily", "0,30 1-5/2 ? * 0")
        ),
        ("order-food", nested("service.nodePort", 30000)),
        *(("order-food", nested("image.tag", tag)) for tag in (17, 1.5, "1.10", "")),
        *(("order-food", nested("env.STORAGE_POOL_SIZE", size)) for size in (1, "1000")),
        *(
            ("postgres", nested("persistence.size", size))
            for size in ("1.5Gi", "0.5Gi", ".5Gi", "10G", 1000000000)
        ),
        *(
            ("order-food", nested("podDisruptionBudget.maxUnavailable", part))
            for part in ("1%", "25%", "100%", 2)
        ),
        *(("order-food", nested("podLabels", {"a": text})) for text in ("", "B.c_d-e", "x" * 63)),
        ("order-food", nested("ingress.host", "*.shop-1.example")),
        ("postgres", {"parameters": {"pg_stat_statements.max": "100", "work_mem": "8MB"}}),
    ],
)
def test_the_schema_takes(chart: str, values: Document) -> None:
    assert allows(chart, merge(NEEDED.get(chart, {}), values))


# --- templates ---

MENU = [{"id": n, "name": "x", "price": 1, "category": "y"} for n in ("1", "2", "1")]


@pytest.mark.parametrize(
    ("chart", "values", "told"),
    [
        ("order-food", {"autoscaling": {"enabled": True, "minReplicas": 9}}, "maxReplicas"),
        (
            "order-food",
            merge(example("sqlite"), nested("migrations.job.enabled", True)),
            "migrations.job needs Postgres",
        ),
        (
            "order-food",
            {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}},
            "autoscaling needs",
        ),
        (
            "order-food",
            {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}},
            "not both",
        ),
        ("order-food", {"podDisruptionBudget": {"minAvailable": 2}}, "could be drained"),
        ("order-food", {"podDisruptionBudget": {"minAvailable": "100%"}}, "could be drained"),
        ("order-food", {"httpRoute": {"enabled": True}}, "parentRefs"),
        (
            "order-food",
            nested("ingress", {"enabled": True, "extraHosts": [{"host": "orderfood.example"}]}),
            "orderfood.example/ stands there twice",
        ),
        ("order-food", {"service": {"nodePort": 30080}}, "nodePort needs"),
        ("order-food", {"storage": {"url": "memory://"}, "env": {"WORKERS": "2"}}, "one process"),
        ("order-food", nested("fixtures.products", MENU), "the id 1 stands there twice"),
        ("database-load", nested("fixtures.coupons", [{"code": "A"}, {"code": "a"}]), "the code a"),
        ("order-food", nested("fixtures.orders", [{"id": "x"}, {"id": "x"}]), "the id x"),
        (
            "database-load",
            {"fixtures": {"products": MENU[:1], "existingConfigMap": "menu"}},
            "fixtures.products or products.json",
        ),
        (
            "order-food",
            {
                "users": {"existingSecret": "mine"},
                "fixtures": {"existingConfigMap": "x", "existingConfigMapKeys": ["users.json"]},
            },
            "users.existingSecret or users.json",
        ),
        ("order-food", {"extraEnv": [{"name": "LOG_LEVEL", "value": "x"}]}, "extraEnv: LOG_LEVEL"),
        ("order-food", {"extraEnv": [{"name": "A"}, {"name": "A"}]}, "extraEnv: A"),
        (
            "postgres",
            {"auth": {"generate": True}, "extraVolumes": [{"name": "data"}]},
            "extraVolumes: data",
        ),
    ],
)  # fmt: skip
def test_contradictions_are_refused_in_one_line(chart: str, values: Document, told: str) -> None:
    said = refusal(chart, values)
    assert told in said
    assert "nil pointer" not in said


def order_food(values: dict[str, Any]) -> Document:
    return containers(render("order-food", values))["Deployment", "order-food"]


def test_limits_may_be_taken_away() -> None:
    assert order_food(nested("resources.limits", None))["resources"].keys() == {"requests"}
    limits = order_food(nested("resources.limits.cpu", None))["resources"]["limits"]
    assert limits == {"memory": "256Mi"}


def test_a_pod_may_end_without_a_pause() -> None:
    assert "lifecycle" not in order_food({"preStopSeconds": 0})
    spec = one(render("order-food", {"preStopSeconds": 0}), "Deployment")["spec"]["template"][
        "spec"
    ]
    assert spec["terminationGracePeriodSeconds"] == 20


@pytest.mark.parametrize(
    ("image", "named", "version"),
    [
        ({"tag": 20260101}, "order-food:20260101", "20260101"),
        ({"tag": 1.5, "registry": "r.example/shop"}, "r.example/shop/order-food:1.5", "1.5"),
        (
            {"tag": "2.0", "digest": "sha256:" + "0" * 64},
            "order-food@sha256:" + "0" * 64,
            "2.0",
        ),
    ],
)
def test_the_image_is_named_and_reported(image: Document, named: str, version: str) -> None:
    documents = render("order-food", {"image": image})
    container = containers(documents)["Deployment", "order-food"]
    assert container["image"] == named
    assert {"name": "SERVICE_VERSION", "value": version} in container["env"]
    migration = containers(documents)["Deployment", "database-migration"]["image"]
    prefix = f"{image['registry']}/" if "registry" in image else ""
    assert migration == f"{prefix}database-migration:{version}"
    pod = containers(documents)["Pod", "place-order"]
    assert pod["image"] == named
