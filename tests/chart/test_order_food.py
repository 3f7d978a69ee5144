"""What matters about the release order-food."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.charts import (
    CHARTS,
    containers,
    example,
    kinds,
    merge,
    nested,
    notes,
    one,
    pod_templates,
    render,
)

VERSION = yaml.safe_load((CHARTS / "order-food" / "Chart.yaml").read_text())["appVersion"]
PROGRAMS = ("database-migration", "database-load", "order-food")


def deployment(values: dict[str, Any] | None = None) -> dict[str, Any]:
    return one(render("order-food", values), "Deployment")


def test_a_pod_migrates_then_loads_then_serves() -> None:
    spec = deployment()["spec"]["template"]["spec"]
    names = [c["name"] for c in (*spec["initContainers"], *spec["containers"])]
    assert names == ["database-migration", "database-load", "order-food"]


@pytest.mark.parametrize("values", [{}, example("own-menu"), example("sqlite")])
def test_the_four_containers_share_image_rules_environment_and_security(
    values: dict[str, Any],
) -> None:
    found = [
        *(containers(render("order-food", values))["Deployment", name] for name in PROGRAMS),
        containers(render("database-load", values))["CronJob", "database-load"],
    ]
    for shared in ("securityContext", "resources", "terminationMessagePolicy", "imagePullPolicy"):
        assert all(container[shared] == found[0][shared] for container in found), shared
    for container in found:
        assert container["image"] == f"{container['name']}:{VERSION}"
    listens = {"name": "HOST", "value": "0.0.0.0"}
    assert listens in found[2]["env"]
    shared_env = [env for env in found[2]["env"] if env != listens]
    assert found[0]["env"] == found[1]["env"] == shared_env
    assert {env["name"] for env in found[3]["env"]} <= {env["name"] for env in found[0]["env"]}
    assert found[1]["volumeMounts"] == found[3]["volumeMounts"]


@pytest.mark.parametrize("chart", ["order-food", "database-load", "postgres"])
def test_no_container_has_rights_or_a_token(chart: str) -> None:
    documents = render(chart, nested("job.enabled", True) if chart == "database-load" else None)
    for _, template in pod_templates(documents):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(documents).values():
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("chart", ["order-food", "database-load"])
def test_the_url_stands_in_a_secret_and_nowhere_else(chart: str) -> None:
    values = nested("storage.url", "postgresql://shop:hidden@db.example/shop")
    documents = render(chart, values)
    assert one(documents, "Secret")["data"]["url"]
    assert "hidden" not in json.dumps(documents)
    assert "hidden" not in notes(chart, values)
    assert read_from(documents) == {(f"{chart}-database", "url")}


def read_from(documents: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Which key of which Secret the programs' pods read the URL from: all of them by a file in a
    folder that is mounted whole, for a file alone would never change."""
    sources = set()
    for kind, template in pod_templates(documents):
        if kind == "Pod":  # helm test's, which asks the service alone
            continue
        [volume] = [v for v in template["spec"]["volumes"] if v["name"] == "storage"]
        [item] = volume["secret"]["items"]
        assert item["path"] == "url"
        sources.add((volume["secret"]["secretName"], item["key"]))
    mounted = {"name": "storage", "mountPath": "/etc/orderfood/storage", "readOnly": True}
    for (kind, _), container in containers(documents).items():
        if kind != "Pod":
            env = {each["name"]: each.get("value") for each in container["env"]}
            assert env["STORAGE_URL_FILE"] == "/etc/orderfood/storage/url"
            assert "STORAGE_URL" not in env
            assert mounted in container["volumeMounts"]
    return sources


@pytest.mark.parametrize(
    ("values", "name", "key"),
    [
        ({}, "orderfood-database", "url"),
        (example("external-postgres"), "shop-database", "url"),
        (example("cloudnative-pg"), "shop-app", "uri"),
    ],
)
def test_where_the_url_is_read(values: dict[str, Any], name: str, key: str) -> None:
    for chart in ("order-food", "database-load"):
        documents = render(chart, values)
        assert "Secret" not in kinds(documents)
        assert read_from(documents) == {(name, key)}


def test_the_probes_bear_a_store_that_is_away_for_half_a_minute() -> None:
    container = containers(render("order-food"))["Deployment", "order-food"]
    ready, live = container["readinessProbe"], container["livenessProbe"]
    assert ready["httpGet"]["path"] == "/ready"
    assert ready["periodSeconds"] * (ready["failureThreshold"] - 1) > 30
    assert live["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/health"


@pytest.mark.parametrize(("drain", "grace"), [(5, 23), ("0.5", 15), (30, 73)])
def test_the_grace_period_fits_the_drain(drain: object, grace: int) -> None:
    spec = deployment(nested("env.DRAIN_SECONDS", drain))["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == grace
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 3}}}


def test_the_startup_probe_fits_the_wait_for_the_database() -> None:
    values = nested("env.STORAGE_WAIT_SECONDS", 300)
    probe = containers(render("order-food", values))["Deployment", "order-food"]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 300


def test_a_rolling_update_takes_no_pod_away_first() -> None:
    strategy = deployment()["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_what_is_on_and_off_by_default() -> None:
    assert kinds(render("order-food")) == {
        "Deployment",
        "Service",
        "ServiceAccount",
        "PodDisruptionBudget",
        "Pod",
    }
    assert kinds(render("order-food", example("order-food-production"))) >= {
        "Ingress",
        "NetworkPolicy",
        "ServiceMonitor",
        "PrometheusRule",
        "ConfigMap",
    }


def test_in_production_a_menu_that_went_wrong_keeps_no_pod_from_starting() -> None:
    menu = merge(example("order-food-production"), nested("fixtures.existingConfigMap", "menu"))
    spec = deployment(menu)["spec"]["template"]["spec"]
    assert [container["name"] for container in spec["initContainers"]] == ["database-migration"]
    assert {volume["name"] for volume in spec["volumes"]} == {"tmp", "storage"}


def migration(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Job before an upgrade, and its pods' spec."""
    job = one(render("order-food", merge(values, nested("migrations.job.enabled", True))), "Job")
    return job, job["spec"]["template"]["spec"]


def test_a_job_migrates_before_an_upgrade_and_is_tried_once() -> None:
    job, spec = migration({})
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert (job["spec"]["backoffLimit"], spec["restartPolicy"]) == (0, "Never")
    [container] = spec["containers"]
    assert container["args"] == ["--statement-timeout", "900"]
    assert container["resources"].keys() == {"requests", "limits"}
    # no Service, and no budget, takes its pod for one that serves
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "order-food-migration"
    names = [
        each["name"]
        for each in deployment(nested("migrations.job.enabled", True))["spec"]["template"]["spec"][
            "initContainers"
        ]
    ]
    assert names == ["database-migration", "database-load"]


def test_the_job_reads_a_url_that_this_upgrade_changes() -> None:
    """The release's own Secret is changed only after the hook."""
    values = merge(
        nested("storage.url", "postgresql://shop@new.example/shop"),
        nested("migrations.job.enabled", True),
    )
    secrets = {
        d["metadata"]["name"]: d for d in render("order-food", values) if d["kind"] == "Secret"
    }
    own, hook = secrets["order-food-database"], secrets["order-food-migration"]
    assert own["data"] == hook["data"]
    assert int(hook["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    [volume] = [v for v in migration(values)[1]["volumes"] if v["name"] == "storage"]
    assert volume["secret"]["secretName"] == "order-food-migration"


def test_one_replica_needs_no_disruption_budget() -> None:
    assert "PodDisruptionBudget" not in kinds(render("order-food", {"replicaCount": 1}))
    assert "PodDisruptionBudget" in kinds(render("order-food", example("order-food-autoscaling")))


def test_with_an_autoscaler_replicas_is_not_rendered() -> None:
    documents = render("order-food", example("order-food-autoscaling"))
    assert "replicas" not in one(documents, "Deployment")["spec"]
    assert one(documents, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 12


def test_a_sqlite_file_has_one_pod_and_a_claim_that_stays() -> None:
    documents = render("order-food", merge(example("sqlite"), {"replicaCount": 4}))
    spec = one(documents, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = one(documents, "PersistentVolumeClaim")["metadata"]
    assert claim["name"] == "order-food-data"
    assert claim["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "PodDisruptionBudget" not in kinds(documents)


def test_a_sqlite_file_is_loaded_on_the_node_where_it_is_served() -> None:
    affinity = {"affinity": {"nodeAffinity": {"x": "y"}}}
    job = one(render("database-load", merge(example("sqlite"), affinity)), "CronJob")
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "order-food-data"}} in spec[
        "volumes"
    ]
    [near] = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": "order-food"}}
    assert spec["affinity"]["nodeAffinity"] == {"x": "y"}


def test_memory_needs_no_jobs_and_says_what_it_means() -> None:
    memory = example("memory")
    spec = deployment(memory)["spec"]
    assert spec["replicas"] == 1
    assert "initContainers" not in spec["template"]["spec"]
    jobs = render("database-load", merge(memory, nested("job.enabled", True)))
    assert kinds(jobs) == {"Secret"}
    assert "gone when it ends" in notes("order-food", memory)
    assert "nothing to do" in notes("database-load", memory)


def test_a_menu_in_the_values_is_what_the_load_reads() -> None:
    values = example("own-menu")
    documents = render("order-food", values)
    data = one(documents, "ConfigMap")["data"]
    assert json.loads(data["products.json"]) == values["fixtures"]["products"]
    assert json.loads(data["orders.json"]) == []
    mounts = {
        mount.get("subPath"): mount["name"]
        for mount in containers(documents)["Deployment", "database-load"]["volumeMounts"]
    }
    assert mounts.items() >= {"products.json": "fixtures", "users.json": "users"}.items()
    assert "users" not in json.dumps(
        containers(documents)["Deployment", "database-migration"]["volumeMounts"]
    )


def test_money_in_the_values_stays_what_it_is() -> None:
    prices = [12.99, 1000000, 0.1, 19.9]
    menu = [
        {"id": str(n), "name": "x", "price": price, "category": "y"}
        for n, price in enumerate(prices, 1)
    ]
    text = one(render("order-food", nested("fixtures.products", menu)), "ConfigMap")["data"]
    assert [p["price"] for p in json.loads(text["products.json"])] == prices
    assert "e+" not in text["products.json"]


def test_what_changes_without_the_pods_noticing_restarts_them() -> None:
    def annotations(values: dict[str, Any]) -> object:
        return deployment(values)["spec"]["template"]["metadata"]["annotations"]

    plain = annotations({})
    assert annotations(example("own-menu")) != plain
    assert annotations(example("memory")) != annotations(example("sqlite"))


def test_the_notes_warn_of_what_people_run_into() -> None:
    ingress = notes("order-food", nested("ingress.enabled", True))
    assert "beat every 15 seconds" in ingress
    assert "enable-underscores-in-headers" in ingress
    assert "X-API-Key" in ingress
    assert "WARNING" in notes("order-food", nested("env.ENVIRONMENT", "prod"))
    production = notes("order-food", example("order-food-production"))
    assert "WARNING" not in production
    assert "apitest" not in production


def test_the_alert_rules_are_those_of_the_file() -> None:
    rule = one(render("order-food", example("order-food-production")), "PrometheusRule")
    file = CHARTS / "order-food" / "files" / "alerts.yaml"
    assert rule["spec"] == yaml.safe_load(file.read_text())


def test_the_dashboards_are_those_of_the_folder() -> None:
    values = nested("dashboard.enabled", True)
    data = one(render("order-food", values), "ConfigMap")["data"]
    folder = CHARTS / "order-food" / "files" / "dashboards"
    assert data == {path.name: path.read_text() for path in folder.glob("*.json")}
    assert data


def test_a_test_pod_is_not_taken_for_one_of_the_service() -> None:
    documents = render("order-food")
    selected = one(documents, "Service")["spec"]["selector"]
    labels = one(documents, "Pod")["metadata"]["labels"]
    assert not selected.items() <= labels.items()


def test_where_the_pods_listen_is_a_value() -> None:
    def host(values: dict[str, object]) -> list[str]:
        found = containers(render("order-food", values))["Deployment", "order-food"]
        return [one["value"] for one in found["env"] if one["name"] == "HOST"]

    assert host({}) == ["0.0.0.0"]
    assert host({"host": "::"}) == ["::"]


def test_the_metrics_have_a_port_that_only_prometheus_reaches() -> None:
    documents = render("order-food", example("order-food-production"))
    container = containers(documents)["Deployment", "order-food"]
    assert {"name": "METRICS_PORT", "value": "8081"} in container["env"]
    assert {"name": "metrics", "containerPort": 8081} in container["ports"]
    assert [port["targetPort"] for port in one(documents, "Service")["spec"]["ports"]] == ["http"]
    assert "metrics" not in json.dumps(one(documents, "Ingress"))
    rules = one(documents, "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"] for rule in rules] == [
        [{"port": "http", "protocol": "TCP"}],
        [{"port": "metrics", "protocol": "TCP"}],
    ]
    assert "observability" not in json.dumps(rules[0])
    assert "observability" in json.dumps(rules[1])
    [endpoint] = one(documents, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint == {"targetPort": "metrics", "path": "/metrics", "interval": "15s"}


def test_a_policy_opens_the_metrics_to_nobody_by_itself() -> None:
    documents = render("order-food", nested("networkPolicy.enabled", True))
    [rule] = one(documents, "NetworkPolicy")["spec"]["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}]}


@pytest.mark.parametrize(
    "env", [{"METRICS_PORT": ""}, {"METRICS_PORT": 8080}, {"ENABLE_METRICS": "false"}]
)
def test_metrics_without_a_port_of_their_own(env: dict[str, Any]) -> None:
    values = merge(example("order-food-production"), {"env": env})
    documents = render("order-food", values)
    ports = containers(documents)["Deployment", "order-food"]["ports"]
    assert ports == [{"name": "http", "containerPort": 8080}]
    assert len(one(documents, "NetworkPolicy")["spec"]["ingress"]) == 1
    [endpoint] = one(documents, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] == "http"


def test_production_brakes_who_guesses() -> None:
    env = example("order-food-production")["env"]
    assert env.keys() >= {"ABUSE_LIMIT", "TRUSTED_PROXIES"}


def test_a_passfile_is_mounted_where_a_new_one_arrives() -> None:
    secret = {"existingSecret": "rotated", "existingSecretKey": "pgpass"}
    for chart in ("order-food", "database-load"):
        documents = render(chart, {"storage": {"passfile": secret}})
        for (kind, name), container in containers(documents).items():
            if kind == "Pod":  # helm test's, which asks the service alone
                continue
            mounts = [m for m in container["volumeMounts"] if m["name"] == "passfile"]
            assert mounts == [
                {"name": "passfile", "mountPath": "/etc/orderfood/database", "readOnly": True}
            ], (kind, name)
        for kind, template in pod_templates(documents):
            if kind == "Pod":
                continue
            (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "passfile"]
            items = [{"key": "pgpass", "path": "passfile"}]
            assert volume["secret"] == {"secretName": "rotated", "items": items}


def test_without_a_passfile_nothing_is_mounted() -> None:
    for container in containers(render("order-food")).values():
        assert "passfile" not in [mount["name"] for mount in container.get("volumeMounts", [])]
