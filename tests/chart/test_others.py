"""What matters about the releases database-load and postgres, and about all three."""

from __future__ import annotations

import base64

import pytest

from tests.chart.charts import (
    CHARTS,
    NAMES,
    containers,
    kinds,
    nested,
    notes,
    one,
    pod_templates,
    refusal,
    render,
)


@pytest.mark.parametrize("chart", NAMES)
def test_workloads_jobs_and_pods_carry_the_name(chart: str) -> None:
    documents = render(chart, nested("job.enabled", True) if chart == "database-load" else None)
    for document in documents:
        if document["kind"] not in ("Pod", "ConfigMap"):
            assert document["metadata"]["labels"]["app.kubernetes.io/name"] == chart
    for kind, template in pod_templates(documents):
        if kind != "Pod":
            assert template["metadata"]["labels"]["app.kubernetes.io/name"] == chart
    for document in documents:
        if document["kind"] == "CronJob":
            labels = document["spec"]["jobTemplate"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == chart


@pytest.mark.parametrize("chart", NAMES)
def test_what_is_shared_stands_once(chart: str) -> None:
    shared = CHARTS / chart / "templates" / "_shared.tpl"
    assert shared.is_symlink()
    assert shared.resolve() == (CHARTS / "shared" / "_shared.tpl").resolve()


def test_a_release_of_another_name_keeps_both_names() -> None:
    documents = render("order-food", release="blue")
    assert one(documents, "Deployment")["metadata"]["name"] == "blue-order-food"


def test_a_run_now_is_named_after_the_revision() -> None:
    job = one(render("database-load", nested("job.enabled", True)), "Job")
    assert job["metadata"]["name"] == "database-load-1"


def test_a_run_waits_for_the_schema() -> None:
    assert containers(render("database-load"))["CronJob", "database-load"]["args"] == [
        "--wait-for-schema"
    ]
    assert "args" not in containers(render("order-food"))["Deployment", "database-load"]


def test_only_the_one_run_may_be_forced() -> None:
    values = {"job": {"enabled": True, "force": True}}
    made = containers(render("database-load", values))
    assert made["Job", "database-load"]["args"] == ["--wait-for-schema", "--force"]
    assert made["CronJob", "database-load"]["args"] == ["--wait-for-schema"]
    calm = containers(render("database-load", nested("job.enabled", True)))
    assert calm["Job", "database-load"]["args"] == ["--wait-for-schema"]


def test_postgres_makes_the_secret_that_the_others_read() -> None:
    secret = one(render("postgres"), "Secret")
    assert secret["metadata"]["name"] == "orderfood-database"
    data = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
    password = data["password"]
    assert len(password) == 32
    assert data["url"] == f"postgresql://orderfood:{password}@postgres.default:5432/orderfood"


def test_postgres_renders_no_password_that_nobody_allowed() -> None:
    told = refusal("postgres", {})
    assert "auth.existingSecret" in told
    assert "auth.generate=true" in told


def test_postgres_takes_the_password_from_a_secret_that_is_there() -> None:
    named = {"auth": {"generate": False, "existingSecret": "mine", "existingSecretKey": "pw"}}
    documents = render("postgres", named)
    assert "Secret" not in kinds(documents)
    env = {e["name"]: e for e in containers(documents)["StatefulSet", "postgres"]["env"]}
    reference = {"name": "mine", "key": "pw"}
    assert env["POSTGRES_PASSWORD"]["valueFrom"] == {"secretKeyRef": reference}
    assert "storage.existingSecret" in notes("postgres", named)
    assert render("postgres", named) == documents


def test_postgres_may_keep_a_drain_waiting() -> None:
    assert "PodDisruptionBudget" not in kinds(render("postgres"))
    budget = one(
        render("postgres", nested("podDisruptionBudget.enabled", True)), "PodDisruptionBudget"
    )
    assert budget["spec"]["maxUnavailable"] == 0


def test_postgres_keeps_its_volume() -> None:
    spec = one(render("postgres"), "StatefulSet")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "1Gi"}}
    env = {e["name"]: e.get("value") for e in spec["template"]["spec"]["containers"][0]["env"]}
    [mount] = [
        mount
        for mount in spec["template"]["spec"]["containers"][0]["volumeMounts"]
        if mount["name"] == "data"
    ]
    assert str(env["PGDATA"]).startswith(f"{mount['mountPath']}/")
