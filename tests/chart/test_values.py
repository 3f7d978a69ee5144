"""The values: each is read, each is known to the schema, and what is wrong is refused."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
import yaml

from orderfood.settings import describe_settings
from tests.chart.charts import (
    CHARTS,
    NAMES,
    PROGRAM_CHARTS,
    default_values,
    example,
    leaves,
    merge,
    nested,
    refusal,
    render,
)

ALL_OF_IT = merge(
    example("order-food-production"),
    {
        **nested("initContainers.databaseLoad.enabled", True),
        **nested("migrations.job.enabled", True),
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
        **nested("service.type", "NodePort"),
        **nested("fixtures.existingConfigMap", "menu"),
        "users": {"existingSecret": "users"},
    },
)
BASES: dict[str, list[dict[str, Any]]] = {
    "order-food": [
        ALL_OF_IT,
        {},
        example("order-food-autoscaling"),
        nested("httpRoute.parentRefs", [{"name": "gateway"}]),
        example("sqlite"),
        nested("storage.passfile.existingSecret", "rotated"),
    ],
    "database-load": [
        {},
        {
            "users": {"existingSecret": "users"},
            **nested("fixtures.existingConfigMap", "menu"),
            **nested("storage.existingSecret", "database"),
            **nested("test.existingSecret", "key"),
        },
        example("sqlite"),
        nested("job.enabled", True),
        nested("storage.passfile.existingSecret", "rotated"),
    ],
    "postgres": [
        nested("backup.enabled", True),
        nested("test.existingSecret", "key"),
        nested("auth.existingSecret", "mine"),
    ],
}
"""In which setting a key shows: one of these is enough."""

CHANGED: dict[str, object] = {
    "image.pullPolicy": "Always",
    "whenUnsatisfiable": "DoNotSchedule",
    "concurrencyPolicy": "Replace",
    "restartPolicy": "Never",
    "service.type": "LoadBalancer",
    "service.nodePort": 30080,
    "tag": "1.2.3",
    "digest": "sha256:" + "0" * 64,
    "resources": {"limits": {"cpu": "3"}},
    "requests": {"cpu": "200m"},
    "limits": {"memory": "1Gi"},
    ".cpu": "2",
    ".memory": "200Mi",
    "size": "2Gi",
    "schedule": "1 * * * *",
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "Override": "other",
    "interval": "30s",
    "LOG_LEVEL": "debug",
    "ENABLE_METRICS": "false",
    "GUEST_ORDERS": "false",
    "GUEST_RATE_LIMIT": "1/minute",
    "JAEGER_ENDPOINT": "http://jaeger:14268/api/traces",
    "SHOP_CURRENCY": "USD",
    "SHOP_LOCALE": "de",
    "SHOP_ACCENT": "#000000",
    "IMAGE_HOSTS": "img.example",
    "CORS_ALLOWED_ORIGINS": "https://other.example",
    "TRUSTED_PROXIES": "10.0.0.1",
    "ABUSE_LIMIT": "1/minute",
    "storage.url": "postgresql://shop@db.example/shop",
    "fixtures.products": [{"id": "1", "name": "Tea", "price": 2.5, "category": "Drink"}],
    "fixtures.coupons": [{"code": "TEN"}],
    "fixtures.orders": [],
    "existingConfigMapKeys": ["coupons.json"],
    "auth.username": "other",
    "auth.database": "other",
    "ingress.path": "/shop",
    "ingress.host": "other.example",
    "host": "::",
    "autoscaling.minReplicas": 5,
    "targetMemoryUtilizationPercentage": 80,
    "maxUnavailable": "25%",
    "minAvailable": 1,
    "extraHosts": [{"host": "other.example"}],
    "hostnames": ["other.example"],
    "httpRoute.path": "/shop",
    "timeZone": "Europe/Berlin",
    "startingDeadlineSeconds": 60,
    "ttlSecondsAfterFinished": 60,
}
"""Another value that the schema allows, where it is not clear by its type."""


AS_ONE = ("env.", "podSecurityContext.")
"""What is handed on as a whole, whatever it holds."""

NEEDLESS = ("auth.generate",)
"""What decides only whether anything is rendered at all: test_others.py."""


def changed(path: str, value: object) -> object:
    for end, other in CHANGED.items():
        if path.endswith(end):
            return other
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case list():
            return [{"key": "x", "name": "x"}]
    return {"x": "x"}


ALL_KEYS = [
    (chart, path)
    for chart in NAMES
    for path, _ in leaves(default_values(chart))
    if path not in NEEDLESS and not path.startswith(AS_ONE)
]


@pytest.mark.parametrize(("chart", "path"), ALL_KEYS)
def test_every_key_is_read_by_a_template(chart: str, path: str) -> None:
    value = dict(leaves(default_values(chart)))[path]
    change = nested(path, changed(path, value))
    assert any(
        rendered(chart, merge(base, change)) != rendered(chart, base)
        for base in sorted(BASES[chart], key=lambda base: path.partition(".")[0] not in base)
        if not clashes(path, base)
    ), f"{path} changes nothing"


@pytest.mark.parametrize(
    ("chart", "whole"), [(c, w) for c in NAMES for w in AS_ONE if w[:-1] in default_values(c)]
)
def test_what_is_handed_on_as_a_whole_arrives(chart: str, whole: str) -> None:
    values = default_values(chart)[whole[:-1]]
    changes = {path: changed(whole + path, value) for path, value in leaves(values)}
    change: dict[str, Any] = {}
    for path, value in changes.items():
        change = merge(change, nested(whole + path, value))
    text = json.dumps(render(chart, change))
    for path, value in changes.items():
        name = path.rpartition(".")[2]
        shown = f'"name": "{name}", "value": ' if whole == "env." else f'"{name}": '
        assert shown + json.dumps(str(value) if whole == "env." else value) in text, path


def clashes(path: str, base: dict[str, Any]) -> bool:
    """storage.url goes with no other storage, autoscaling and a passfile only with Postgres, a
    node's port with no ClusterIP, products with no other products."""
    if path == "service.nodePort":
        return "service" not in base
    if path == "httpRoute.enabled":
        return "httpRoute" not in base
    if path == "fixtures.products":
        return "fixtures" in base
    if path.startswith("storage.passfile."):
        return "url" in base.get("storage", {})
    return path in ("storage.url", "storage.existingSecret", "autoscaling.enabled") and bool(
        base.get("storage")
    )


def rendered(chart: str, values: dict[str, Any]) -> str:
    """As text, without the password that is new each time."""
    documents = render(chart, values)
    for document in documents:
        if chart == "postgres" and document["kind"] == "Secret":
            for name in ("password", "url"):
                document["data"].pop(name)
    return json.dumps(documents)


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_and_the_documented_values_name_the_same_keys(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    del schema["properties"]["global"]
    compare_keys(schema, default_values(chart), chart)


def compare_keys(schema: dict[str, Any], values: dict[str, Any], where: str) -> None:
    if where.endswith(
        (".env", "Migration.resources", "Load.resources", "backup.resources")
    ):  # lists the most important ones
        assert values.keys() <= schema["properties"].keys()
        return
    assert schema["properties"].keys() == values.keys(), where
    assert schema["additionalProperties"] is False, where
    for name, below in schema["properties"].items():
        if "properties" in below:
            compare_keys(below, values[name], f"{where}.{name}")


def test_the_schemas_are_what_their_program_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(CHARTS / "shared")
    text = runpy.run_path(str(CHARTS / "shared" / "schema.py"))["schema_text"]
    for chart in NAMES:
        assert (CHARTS / chart / "values.schema.json").read_text() == text(chart), "make schemas"


@pytest.mark.parametrize("chart", NAMES)
def test_the_table_in_the_readme_is_that_of_the_values(chart: str) -> None:
    text = runpy.run_path(str(CHARTS / "shared" / "readme.py"))["readme_text"]
    assert (CHARTS / chart / "README.md").read_text() == text(chart), "make schemas"
    for path, _ in leaves(default_values(chart)):
        parts = path.split(".")
        rows = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        assert any(f"\n| {row} |" in text(chart) for row in rows), path


OF_THE_CHART = {"STORAGE_URL", "STORAGE_URL_FILE", "FIXTURES_DIR", "HOST", "PORT", "POD_NAME"}


@pytest.mark.parametrize("chart", PROGRAM_CHARTS)
def test_every_setting_of_the_programs_may_be_set(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    settings = {setting.name for setting in describe_settings()}
    known = set(schema["properties"]["env"]["properties"])
    assert known == settings - OF_THE_CHART


@pytest.mark.parametrize(
    ("chart", "values", "told"),
    [
        ("order-food", {"replicaCout": 3}, "replicaCout"),
        ("order-food", {"replicaCount": "3"}, "replicaCount"),
        ("order-food", nested("env.LOGLEVEL", "debug"), "LOGLEVEL"),
        ("order-food", nested("image.pullPolicy", "Sometimes"), "pullPolicy"),
        ("order-food", nested("initContainers.databaseLoad.enable", True), "enable"),
        ("order-food", nested("env.DRAIN_SECONDS", "soon"), "DRAIN_SECONDS"),
        ("database-load", nested("cronjob.concurrencyPolicy", "Never"), "concurrencyPolicy"),
        ("database-load", nested("cronjob.schedul", "* * * * *"), "schedul"),
        ("database-load", nested("fixtures.products", [{"id": 1}]), "products"),
        ("postgres", nested("auth.username", "a;b"), "username"),
        ("postgres", {"persistance": {}}, "persistance"),
    ],
)
def test_what_is_wrong_is_refused_by_name(chart: str, values: dict[str, Any], told: str) -> None:
    assert told in refusal(chart, values)


@pytest.mark.parametrize("chart", PROGRAM_CHARTS)
@pytest.mark.parametrize(
    "url", ["postgresql://shop:hid den@db/shop", "mysql://shop:hidden@db/shop"]
)
def test_a_wrong_url_is_refused_without_being_shown(chart: str, url: str) -> None:
    told = refusal(chart, nested("storage.url", url))
    assert "storage.url must be" in told
    assert "hid" not in told


def test_two_places_for_the_url_are_refused() -> None:
    both = {"storage": {"url": "memory://", "existingSecret": "database"}}
    assert "not both" in refusal("order-food", both)


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_one_pod_does_not_scale(name: str) -> None:
    values = merge(example(name), nested("autoscaling.enabled", True))
    assert "autoscaling needs Postgres" in refusal("order-food", values)


DEFAULTS = """
image: {repository: database-load, tag: "", pullPolicy: IfNotPresent}
cronjob: {enabled: true, schedule: "0 */6 * * *", concurrencyPolicy: Forbid,
          successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 3, backoffLimit: 2,
          restartPolicy: OnFailure, suspend: false}
job: {enabled: false}
"""


def test_the_defaults_are_what_was_asked_for() -> None:
    values = default_values("database-load")
    assert values == merge(values, yaml.safe_load(DEFAULTS))
    values = default_values("order-food")
    assert (values["image"]["repository"], values["replicaCount"]) == ("order-food", 2)
    for name, repository in (
        ("databaseMigration", "database-migration"),
        ("databaseLoad", "database-load"),
    ):
        container = values["initContainers"][name]
        assert (container["enabled"], container["image"]["repository"]) == (True, repository)
