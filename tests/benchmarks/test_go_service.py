"""The Go service does what it is compared in."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.bench import start_go_if_there_is_one
from benchmarks.go_build import NoGo, build_go_service
from benchmarks.menu import COUPON_ORDER, COUPON_TOTAL, KEY, ORDER
from benchmarks.report import as_text
from benchmarks.results import Results
from benchmarks.services import Service, Stage, open_stage, query, start_go


def post(service: Service, body: Any, **headers: str) -> tuple[int, Any]:
    """The status and the body of what comes back for an order."""
    given = {"api_key": KEY, "Content-Type": "application/json", **headers}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{service.target.url}/api/order", data, given)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


@pytest.fixture(scope="module")
def program() -> Path:
    """Built, which takes a minute where go has not done it before."""
    try:
        return build_go_service()
    except NoGo as missing:
        pytest.skip(str(missing))


def test_the_go_service_does_the_same_work(program: Path, tmp_path: Path) -> None:
    """That the menu and replays are right is learnt when it starts; what is left is said here."""
    with open_stage(tmp_path, postgres=True) as stage:
        service = start_go(stage, program)
        assert service.count_orders is not None
        before = service.count_orders()
        status, placed = post(service, COUPON_ORDER)
        assert (status, placed["total"], placed["couponCode"]) == (200, COUPON_TOTAL, "SAVE10")
        twice = {"items": [{"productId": "1", "quantity": 1}] * 2, "couponCode": "buygetone"}
        status, placed = post(service, twice)
        assert (status, placed["total"], placed["items"][0]["quantity"]) == (200, 12.99, 2)
        assert service.count_orders() == before + 2
        for refused, body, headers in (
            (401, ORDER, {"api_key": ""}),
            (403, ORDER, {"api_key": "nobody"}),
            (422, {"items": []}, {}),
            (422, {"items": [{"productId": "99", "quantity": 1}]}, {}),
            (422, {"items": [{"productId": "1", "quantity": 0}]}, {}),
            (422, {**ORDER, "couponCode": "NONE"}, {}),
            (422, b"{} {}", {}),
            (422, COUPON_ORDER, {"Idempotency-Key": "benchmark-1"}),
        ):
            assert post(service, body, **headers)[0] == refused
        query(service.url, "DROP TABLE order_lines")
        assert post(service, ORDER)[0] == 500, "an order without its lines"
        assert service.count_orders() == before + 2
        lines = (stage.folder / "Go.log").read_text().splitlines()
        assert json.loads(lines[-1])["status"] == 500


def test_without_go_its_service_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    results = Results()
    assert start_go_if_there_is_one(cast(Stage, None), results) == []
    report = as_text(results, "make bench")
    assert "the Go service was left out: go is not on the PATH" in report
