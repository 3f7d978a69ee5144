"""The charts as helm renders them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from rig.processes import ROOT

CHARTS = ROOT / "chart"
NAMES = ("order-food", "database-load", "postgres")
PROGRAM_CHARTS = ("order-food", "database-load")

Document = dict[str, Any]
Values = Mapping[str, Any]

NEEDED: Mapping[str, Document] = {"postgres": {"auth": {"generate": True}}}
"""Without these values a chart renders nothing where no cluster can be asked."""


def example(name: str) -> Document:
    """One of the values files that the charts bring."""
    values: Document = yaml.safe_load((CHARTS / "examples" / f"{name}.yaml").read_text())
    return values


def default_values(chart: str) -> Document:
    values: Document = json.loads(_default_values(chart))
    return values


@cache
def _default_values(chart: str) -> str:
    return json.dumps(yaml.safe_load((CHARTS / chart / "values.yaml").read_text()))


def nested(path: str, value: object) -> Document:
    """``a.b`` and 1 as ``{"a": {"b": 1}}``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def helm(
    command: str, chart: str, values: Values, *arguments: str, release: str = ""
) -> subprocess.CompletedProcess[str]:
    """``helm template``, ``lint`` or ``install`` of a release that has the chart's name unless
    it is given another; no cluster is asked."""
    where = str(CHARTS / chart)
    names = [where] if command == "lint" else [release or chart, where]
    return subprocess.run(
        ["helm", command, *names, "--values", "-", *arguments],
        input=json.dumps(values),
        env={**os.environ, "KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def notes(chart: str, values: Values) -> str:
    """What a person is told after an install."""
    done = helm("install", chart, merge(NEEDED.get(chart, {}), values), "--dry-run=client")
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def render(chart: str, values: Values | None = None, release: str = "") -> list[Document]:
    """What would be installed."""
    values = merge(NEEDED.get(chart, {}), values or {})
    text = _rendered(chart, json.dumps(values), release or chart)
    # the parser in C takes a third of the time
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


@cache
def _rendered(chart: str, values: str, release: str) -> str:
    done = helm("template", chart, json.loads(values), release=release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(chart: str, values: Values) -> str:
    """What helm says about values that it must refuse."""
    done = helm("template", chart, values)
    assert done.returncode != 0, done.stdout
    return done.stderr


def one(documents: list[Document], kind: str) -> Document:
    [found] = [document for document in documents if document["kind"] == kind]
    return found


def kinds(documents: list[Document]) -> set[str]:
    return {document["kind"] for document in documents}


def pod_templates(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """The kind of each workload with its pods' template; a test's pod is its own."""
    for document in documents:
        match document["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                yield document["kind"], document["spec"]["template"]
            case "CronJob":
                yield "CronJob", document["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                yield "Pod", document


def containers(documents: list[Document]) -> dict[tuple[str, str], Document]:
    """Every container, by the kind of its workload and its own name."""
    return {
        (kind, container["name"]): container
        for kind, template in pod_templates(documents)
        for container in (
            *template["spec"].get("initContainers", ()),
            *template["spec"]["containers"],
        )
    }


def leaves(values: Values, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Each key that holds no other keys, as ``a.b``, and its value."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def merge(base: Values, over: Values) -> Document:
    """``base`` with ``over`` laid on it, as helm does."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[name] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged
