"""The dashboard: of Grafana's own schema, and every panel shows something of a real run."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import ConfigDict, TypeAdapter, ValidationError

from rig.processes import ROOT, RunningServer, prepare, serving
from rig.prometheus import Prometheus, running_prometheus
from tests.api.client import KEY, Client, connect
from tests.observe.test_kitchen_metrics import STAFF, following

PATH = ROOT / "chart/order-food/files/dashboards/orderfood.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(PATH.read_text())
    return value


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[tuple[str, str]]:
    return [(p["title"], target["expr"]) for p in panels() for target in p["targets"]]


def check(value: dict[str, Any]) -> None:
    """Raises when the dashboard has a member that Grafana's schema does not know, or one of a type
    that is not the schema's. Reading it leaves out what it does not know."""
    plugins.register_default_plugins()
    read = Dashboard.from_json(value)
    check_types(read)
    written = json.loads(JSONEncoder().encode(read))
    assert list(lost(value, written)) == []


def check_types(value: object) -> None:
    if isinstance(value, list):
        for entry in value:
            check_types(entry)
    if type(value).__module__.startswith("grafana_foundation_sdk.models"):
        hints = get_type_hints(type(value))
        for name, part in getattr(value, "__dict__", {}).items():
            if name in hints:
                config = ConfigDict(arbitrary_types_allowed=True)
                TypeAdapter(hints[name], config=config).validate_python(part)
            check_types(part)


def lost(before: object, after: object, path: str = "") -> Iterator[str]:
    if isinstance(before, dict):
        for name, part in before.items():
            if not isinstance(after, dict) or name not in after:
                yield f"{path}.{name}"
            else:
                yield from lost(part, after[name], f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif before != after:
        yield path


def test_it_is_of_grafanas_schema() -> None:
    check(dashboard())


def test_the_check_sees_mistakes() -> None:
    misspelt = dashboard()
    misspelt["panels"][1]["options"]["colourMode"] = "value"
    with pytest.raises(AssertionError, match="colourMode"):
        check(misspelt)
    mistyped = dashboard()
    mistyped["panels"][1]["gridPos"]["w"] = "wide"
    with pytest.raises(ValidationError):
        check(mistyped)


def test_ids_are_unique_and_nothing_overlaps() -> None:
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_panel_asks_the_source_that_is_chosen() -> None:
    (variable,) = dashboard()["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    for panel in panels():
        assert panel["datasource"] == DATASOURCE
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a server in use."""
    folder = tmp_path_factory.mktemp("scraped")
    url = f"sqlite:///{folder}/orderfood.db"
    prepare(url)
    with serving(url) as server, in_use(server):
        target = f"127.0.0.1:{server.port}"
        with running_prometheus(folder, [target]) as prometheus:
            prometheus.wait_for("rate(orders_placed_total[5s]) > 0")
            yield prometheus


def cook(client: Client, order: str) -> None:
    for action in ("accept", "ready"):
        client.send("POST", f"/api/shop/order/{order}/{action}", None, STAFF)


@contextmanager
def in_use(server: RunningServer) -> Iterator[None]:
    ended = threading.Event()

    def use() -> None:
        with connect(server.url) as client:
            while not ended.wait(0.01):
                client.get("/api/product")
                for product, code in (("1", "SAVE10"), ("2", None), ("99", None)):
                    items = [{"productId": product, "quantity": 1}]
                    body = {"items": items, "couponCode": code}
                    answer = client.send("POST", "/api/order", body, KEY)
                    if answer.status == 200:
                        cook(client, answer.json["id"])

    left = threading.Event()

    def follow() -> None:
        with following(server, "/api/shop/event", "apikitchen") as stream:
            while not left.is_set():
                stream.readline()

    user, follower = threading.Thread(target=use), threading.Thread(target=follow)
    user.start()
    follower.start()
    try:
        yield
    finally:
        left.set()
        follower.join()  # while there still is something to read
        ended.set()
        user.join()


@pytest.mark.parametrize(("title", "expression"), expressions())
def test_every_panel_shows_something(scraped: Prometheus, title: str, expression: str) -> None:
    found = scraped.wait_for(expression.replace("$__rate_interval", "5s"))
    values = [float(series["value"][1]) for series in found]
    assert not all(math.isnan(value) for value in values), title


def test_a_folder_is_all_that_the_chart_needs() -> None:
    assert [path.name for path in Path(PATH.parent).iterdir()] == ["orderfood.json"]
