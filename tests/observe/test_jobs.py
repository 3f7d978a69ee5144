"""What the two jobs tell a real Jaeger."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from migrations import read_migrations
from rig.jaeger import Jaeger, Span
from rig.processes import ROOT, command, environment, run
from tests.jobs.jobs import copy_fixtures, write_entries

MIGRATION, LOAD = "database-migration", "database-load"
PARTS = ["readCoupons", "loadCoupons", "loadProducts", "loadUsers", "loadOrders"]


def by_name(spans: list[Span]) -> dict[str, Span]:
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


def assert_one_after_the_other(parent: Span, children: list[Span]) -> None:
    """Each lasts as long as its work and ends before the next begins, all within the parent. The
    clock that is read for a start is not the one that is read for a length: hence some slack."""
    slack = 1000
    assert all(child.parent == parent.id for child in children)
    assert all(child.trace_id == parent.trace_id for child in children)
    for one, other in pairwise(children):
        assert one.end <= other.start + slack, (one.name, other.name)
    assert parent.start <= children[0].start
    assert children[-1].end <= parent.end + slack


def test_a_migration(jaeger: Jaeger, shared_url: str) -> None:
    settings = {"STORAGE_URL": shared_url, "JAEGER_ENDPOINT": jaeger.endpoint}
    assert run(MIGRATION, **settings, SERVICE_VERSION="9.8", ENVIRONMENT="test").returncode == 0
    spans = jaeger.spans(MIGRATION)
    assert [s.name for s in spans] == [
        "migration.execute", "migration.createTables", "migration.createIndexes",
        "migration.addOrders", "migration.orderLife", "migration.archive", "migration.loadRuns",
    ]  # fmt: skip
    execute, *steps = spans
    names = [m.name for m in read_migrations("sqlite")]
    assert execute.parent is None
    assert execute.tags["migration.names"] == ", ".join(names)
    assert execute.tags["migration.count"] == len(names)
    assert execute.tags["db.system.name"] in ("sqlite", "postgresql")
    assert [step.tags["migration.name"] for step in steps] == names
    assert all(step.tags["migration.applied"] is True for step in steps)
    assert_one_after_the_other(execute, steps)
    for span in spans:
        assert span.tags["service.name"] == MIGRATION
        assert span.tags["service.version"] == "9.8"
        assert span.tags["deployment.environment"] == "test"
        assert "error" not in span.tags


def test_a_migration_with_nothing_to_do(jaeger: Jaeger, shared_url: str) -> None:
    assert run(MIGRATION, STORAGE_URL=shared_url).returncode == 0
    done = run(MIGRATION, STORAGE_URL=shared_url, JAEGER_ENDPOINT=jaeger.endpoint)
    assert done.returncode == 0
    spans = by_name(jaeger.spans(MIGRATION))
    assert spans["migration.createTables"].tags["migration.applied"] is False
    assert spans["migration.execute"].tags["migration.count"] == 0


def test_a_load(jaeger: Jaeger, shared_url: str) -> None:
    run(MIGRATION, STORAGE_URL=shared_url)
    settings = {"STORAGE_URL": shared_url, "JAEGER_ENDPOINT": jaeger.endpoint}
    assert run(LOAD, **settings, POD_NAME="load-7").returncode == 0
    execute, *parts = jaeger.spans(LOAD)
    assert execute.name == "dataload.execute"
    assert [part.name for part in parts] == [f"dataload.{name}" for name in PARTS]
    assert_one_after_the_other(execute, parts)
    files, coupons, products, users, orders = (part.tags for part in parts)
    assert files["coupon_files.count"] > 0
    assert (products["products.added"], products["products.unchanged"]) == (10, 0)
    assert (users["users.added"], orders["orders.added"]) == (3, 3)
    assert coupons["coupons.added"] == 3
    assert {"coupon_codes.added", "coupon_codes.unchanged"} <= coupons.keys()
    assert execute.tags["dataload.catalogue_version"] == 1
    assert execute.tags["k8s.pod.name"] == "load-7"


def test_memory_is_told_too(jaeger: Jaeger, memory_url: str) -> None:
    settings = {"STORAGE_URL": memory_url, "JAEGER_ENDPOINT": jaeger.endpoint}
    for job in (MIGRATION, LOAD):
        assert run(job, **settings).returncode == 0
    assert [s.name for s in jaeger.spans(MIGRATION)] == ["migration.execute"]
    (execute,) = jaeger.spans(LOAD)
    assert execute.tags["db.system.name"] == "memory"


def assert_failed(span: Span, kind: str) -> None:
    assert span.tags["error"] is True
    assert span.tags["otel.status_code"] == "ERROR"
    assert span.tags["error.type"] == kind
    (event,) = [e for e in span.events if e["message"] == "exception"]
    assert event["exception.type"].endswith(kind)
    assert "Traceback" in event["exception.stacktrace"]


def test_a_load_without_a_schema_fails_in_its_span(jaeger: Jaeger, shared_url: str) -> None:
    done = run(LOAD, STORAGE_URL=shared_url, JAEGER_ENDPOINT=jaeger.endpoint)
    assert done.returncode == 1
    (execute,) = jaeger.spans(LOAD)
    assert_failed(execute, "SchemaOutdated")


def test_broken_fixtures_fail_in_their_span(
    jaeger: Jaeger, shared_url: str, tmp_path: Path
) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    write_entries(folder, "products", [])
    settings = {"STORAGE_URL": shared_url, "FIXTURES_DIR": folder}
    assert run(LOAD, **settings, JAEGER_ENDPOINT=jaeger.endpoint).returncode == 1
    (execute,) = jaeger.spans(LOAD)
    assert_failed(execute, "FixtureError")


def test_a_password_stays_out_of_spans_and_lines(jaeger: Jaeger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"postgresql://cook:s3cret@127.0.0.1:{port}/orders"
    settings = {"STORAGE_URL": url, "STORAGE_WAIT_SECONDS": 0.1, "LOG_LEVEL": "debug"}
    done = run(LOAD, **settings, JAEGER_ENDPOINT=jaeger.endpoint)
    assert done.returncode == 1
    (execute,) = jaeger.spans(LOAD)
    assert_failed(execute, "ConnectionSpent")
    assert "s3cret" not in json.dumps(execute.raw) + done.stdout + done.stderr


def test_a_job_that_is_stopped_says_so(jaeger: Jaeger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://cook:s3cret@127.0.0.1:{silent.getsockname()[1]}/orders"
        process = subprocess.Popen(
            command(MIGRATION),
            env=environment(STORAGE_URL=url, JAEGER_ENDPOINT=jaeger.endpoint),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 143
    (execute,) = jaeger.spans(MIGRATION)
    assert_failed(execute, "CancelledError")


def test_otlp_takes_the_place_of_jaeger(jaeger: Jaeger, shared_url: str) -> None:
    settings = {"STORAGE_URL": shared_url, "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint}
    assert run(MIGRATION, **settings, JAEGER_ENDPOINT="http://127.0.0.1:1/").returncode == 0
    assert len(jaeger.spans(MIGRATION)) == 1 + len(read_migrations("sqlite"))


@pytest.mark.parametrize(
    "setting", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_SAMPLER": "always_off"}]
)
def test_the_standard_variables_count(
    jaeger: Jaeger, shared_url: str, setting: dict[str, str]
) -> None:
    settings = {"STORAGE_URL": shared_url, "JAEGER_ENDPOINT": jaeger.endpoint, **setting}
    assert run(MIGRATION, **settings).returncode == 0
    assert jaeger.services() == set()


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_lines_of_a_job_lead_to_its_trace(jaeger: Jaeger, shared_url: str) -> None:
    settings = {"STORAGE_URL": shared_url, "JAEGER_ENDPOINT": jaeger.endpoint}
    for job in (MIGRATION, LOAD):
        entries = lines(run(job, **settings, SERVICE_VERSION="3", ENVIRONMENT="test"))
        execute = jaeger.spans(job)[0]
        assert entries[-1]["duration_ms"] > 0
        for entry in entries:
            assert entry["trace_id"] == execute.trace_id
            assert entry["span_id"] == execute.id
            assert (entry["service"], entry["version"]) == (job, "3")
            assert entry["environment"] == "test"


def test_no_jaeger_delays_no_job_and_is_one_warning(shared_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = run(MIGRATION, STORAGE_URL=shared_url, JAEGER_ENDPOINT=f"http://127.0.0.1:{port}/")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (warning,) = [entry for entry in lines(done) if entry["level"] == "warning"]
    assert "cannot be exported" in warning["message"]


def test_a_jaeger_that_never_answers_holds_a_job_up_for_a_moment(shared_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/api/traces"
        began = time.monotonic()
        done = run(MIGRATION, STORAGE_URL=shared_url, JAEGER_ENDPOINT=endpoint)
        assert time.monotonic() - began < 15
    assert done.returncode == 0, done.stderr
    (warning,) = [entry for entry in lines(done) if entry["level"] == "warning"]
    assert "did not take the last spans" in warning["message"]
