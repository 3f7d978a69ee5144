"""The alert rules: Prometheus takes them, each is raised when it should be, each has a runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rig.processes import ROOT
from rig.prometheus import promtool

RULES = ROOT / "chart/order-food/files/alerts.yaml"
UNIT_TESTS = ROOT / "tests/observe/alerts_test.yaml"

KUBE_STATE_METRICS = {
    "kube_cronjob_created",
    "kube_cronjob_next_schedule_time",
    "kube_cronjob_spec_suspend",
    "kube_cronjob_status_last_schedule_time",
    "kube_cronjob_status_last_successful_time",
    "kube_job_failed",
    "kube_job_owner",
    "kube_job_status_start_time",
    "kube_pod_init_container_status_restarts_total",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
}
"""Out of docs/metrics of kube-state-metrics 2."""


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


ALERTS = [rule["alert"] for rule in rules()]


def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_each_is_raised_when_it_should_be() -> None:
    done = promtool("test", "rules", str(UNIT_TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_is_tested() -> None:
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    raised = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert raised == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_the_tests_fail_when_it_is_broken(alert: str, tmp_path: Path) -> None:
    broken = yaml.safe_load(RULES.read_text())
    for rule in broken["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = f"({rule['expr']}) and on () vector(0) > 1"
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(broken))
    tests = yaml.safe_load(UNIT_TESTS.read_text())
    tests["rule_files"] = ["alerts.yaml"]
    tests["tests"] = [test for test in tests["tests"] if alert in str(test["alert_rule_test"])]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr


def test_kube_state_metrics_has_what_they_ask_for() -> None:
    asked = set(re.findall(r"\bkube_\w+", " ".join(rule["expr"] for rule in rules())))
    assert asked == KUBE_STATE_METRICS


def test_each_has_a_severity_and_one_entry_in_the_runbooks() -> None:
    runbooks = (ROOT / "docs/runbooks.md").read_text()
    headings = re.findall(r"^## (.+)$", runbooks, re.MULTILINE)
    assert headings == ALERTS
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"


def test_operations_lists_each_with_its_severity() -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    found = re.findall(r"^\| \[(\w+)\]\(runbooks\.md#\w+\) \| (\w+) ", operations, re.MULTILINE)
    assert found == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]
