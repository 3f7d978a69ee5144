"""The benchmark runs, and notices what is wrong. How fast anything is, is no test's business."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from benchmarks.load import Load, Target, WrongAnswer
from benchmarks.measure import check_growth, measure
from benchmarks.menu import FIXTURES, TOTAL
from benchmarks.services import Service, Stage
from benchmarks.soak import judge
from rig.processes import ROOT

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="the program wrk is missing")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_wrk
def test_a_short_run_prints_its_table() -> None:
    options = ("--seconds", "0.3", "--rounds", "1", "--extras", "alone")
    done = bench(*options, "--only", "list", "--services", "memory", "sqlite", "responder")
    assert done.returncode == 0, done.stderr
    assert "**the menu**" in done.stdout
    for service in ("memory", "sqlite"):  # the menu, and one order at a time
        assert done.stdout.count(f"| order-food, {service} |") == 2
    assert done.stdout.count("| bare responder |") == 1
    assert "| the bare driver on the same database |" in done.stdout
    assert "| one order at a time, p50, order-food, sqlite" in done.stdout


class FakeHandler(BaseHTTPRequestHandler):
    """Answers with what the server holds at the time."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # in one packet: it would wait 40 ms between head and body
    server: FakeServer

    def do_GET(self) -> None:
        if self.server.etag is not None and self.headers["If-None-Match"] == self.server.etag:
            self._answer(304, b"")
        else:
            self._answer(self.server.status, self.server.menu)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self._answer(200, b'{"total":%.2f,"status":"placed"}' % TOTAL)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.etag or "")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class FakeServer(ThreadingHTTPServer):
    """A service whose answers can be spoilt."""

    menu = (FIXTURES / "products.json").read_bytes()
    status = 200
    etag: str | None = '"one"'
    asked = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)

    def handle_error(self, *arguments: object) -> None:
        """wrk resets what it does not wait for."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(server: FakeServer, tmp_path: Path) -> Target:
    target = Target("a service", server.server_port, tmp_path / "target")
    target.learn(menu_only=True)
    return target


def count(target: Target, scenario: str) -> Load:
    """A run in which nobody looks at answers."""
    return target.run(scenario, 1, connections=2, judge=False)


@needs_wrk
def test_a_wrong_body_is_found_by_the_judged_run(server: FakeServer, target: Target) -> None:
    judged = target.run("list", 1, connections=2).check("a right one")
    assert judged.sizes["menu"] == judged.requests * judged.largest
    server.menu = server.menu.replace(b"12.99", b"12.98")
    with pytest.raises(WrongAnswer, match=r"wrong=[1-9].*example='200"):
        target.run("list", 1, connections=2).check("a wrong one")
    # wrk makes no tables for a run that is timed: of the same length, it cannot be told
    count(target, "list").check("a wrong one", judged)
    with pytest.raises(WrongAnswer, match="the menu is"):
        target.learn(menu_only=True)


@needs_wrk
def test_a_wrong_length_is_found_by_the_timed_run(server: FakeServer, target: Target) -> None:
    judged = target.run("list", 1, connections=2).check("a right one")
    for menu in (server.menu[:-20], server.menu + b" " * 20):
        server.menu = menu
        with pytest.raises(WrongAnswer, match="bytes are not"):
            count(target, "list").check("a wrong one", judged)


@needs_wrk
def test_an_error_is_found_by_the_timed_run(server: FakeServer, target: Target) -> None:
    judged = target.run("list", 1, connections=2).check("a right one")
    server.status = 503
    load = count(target, "list")
    assert load.wrong == load.requests
    with pytest.raises(WrongAnswer, match=r"wrong=[1-9]"):
        load.check("a wrong one", judged)


@needs_wrk
def test_a_menu_instead_of_304_is_found_by_the_timed_run(
    server: FakeServer, target: Target
) -> None:
    judged = target.run("304", 1, connections=2).check("a right one")
    count(target, "304").check("a right one", judged)
    server.etag = None
    with pytest.raises(WrongAnswer, match="bytes are not"):
        count(target, "304").check("a wrong one", judged)


@needs_wrk
def test_a_timed_run_counts_what_it_sends(server: FakeServer, target: Target) -> None:
    load = target.run("new", 1, connections=1, judge=False)
    assert load.unanswered in (0, 1)
    assert load.orders - load.unanswered <= server.asked <= load.orders


def load_of(kind: str, *, judged: bool, requests: int = 1000, sent: int = 1000) -> Load:
    """Answers of a hundred bytes over ten connections."""
    counts = {"menu": 0, "product": 0, "order": 0, kind: sent}
    sizes = {"menu": 0, "product": 0, "order": 0, kind: 100 * sent if judged else 0}
    size = 100 if judged else 0
    return Load(
        10, judged, requests, 1.0, requests * 100, counts, sizes, size, 0, 0, 0, 1, 1, 1, ""
    )


def test_the_bytes_of_a_timed_run_may_differ_by_what_was_cut_off() -> None:
    judged = load_of("menu", judged=True).check("judged")
    timed = load_of("menu", judged=False, requests=9990, sent=10000)
    begun = 10 * 100
    slack = 100 * (1 + 9990 / 1000)
    for odd in (0, begun, begun + slack - 1, -slack + 1):
        replace(timed, bytes=timed.bytes + int(odd)).check("right", judged)
    for odd in (begun + slack + 1, -slack - 1):
        with pytest.raises(WrongAnswer, match="bytes are not"):
            replace(timed, bytes=timed.bytes + int(odd)).check("wrong", judged)


def test_a_request_that_is_never_answered_is_found() -> None:
    judged = load_of("menu", judged=True)
    timed = load_of("menu", judged=False, sent=1010)
    timed.check("one for each connection", judged)
    for sent in (1011, 999):
        with pytest.raises(WrongAnswer, match="have no answer"):
            replace(timed, counts={"menu": sent}).check("wrong", judged)


def test_sizes_that_were_not_those_on_the_wire_are_found() -> None:
    judged = load_of("menu", judged=True)
    replace(judged, bytes=judged.bytes + 10 * 100).check("begun ones")
    for odd in (-1, 10 * 100 + 1):
        with pytest.raises(WrongAnswer, match="bytes are not"):
            replace(judged, bytes=judged.bytes + odd).check("wrong")


def service_with(target: object, *stored: int) -> Service:
    """One whose orders are so many from the second time on that they are asked for."""
    numbers = iter([0, *stored])
    last = stored[-1]
    return Service("a service", os.getpid(), cast(Target, target), (), lambda: next(numbers, last))


@pytest.mark.parametrize(
    ("judged", "scenario", "stored", "right"),
    [
        (True, "new", 1000, True),
        (True, "new", 1010, True),
        (True, "new", 999, False),
        (True, "new", 1011, False),
        (False, "new", 1000, True),
        (False, "new", 994, True),
        (False, "new", 993, False),
        (False, "new", 1001, False),
        (True, "replay", 0, True),
        (True, "replay", 1, False),
        (False, "replay", 1, False),
    ],
)
def test_a_missing_order_is_found(judged: bool, scenario: str, stored: int, right: bool) -> None:
    answered = 1000 if judged else 994
    load = load_of("order", judged=judged, requests=answered)
    service = service_with(None, stored)
    if right:
        assert check_growth(service, scenario, load, 0) == stored
    else:
        with pytest.raises(WrongAnswer, match="have grown"):
            check_growth(service, scenario, load, 0)


class Recorded:
    """A target whose runs were made up before."""

    def __init__(self, judged: Load, timed: Load) -> None:
        self.loads = {True: judged, False: timed}
        self.runs: list[tuple[float, bool]] = []

    def run(self, scenario: str, seconds: float, connections: int, *, judge: bool = True) -> Load:
        self.runs.append((seconds, judge))
        return self.loads[judge]


def test_a_sample_is_judged_and_then_timed() -> None:
    judged, timed = load_of("order", judged=True), load_of("order", judged=False)
    target = Recorded(judged, timed)
    stored = [1000, 1000, 2000]
    sample = measure(cast(Stage, None), service_with(target, *stored), "new", 5)
    assert target.runs == [(1, True), (5, False)]
    assert sample.load is timed


def test_what_is_wrong_in_either_run_fails_the_sample() -> None:
    judged, timed = load_of("order", judged=True), load_of("order", judged=False)
    spoilt = (
        (replace(judged, wrong=1), timed, [1000, 1000, 2000], "judged: .*wrong=1"),
        (judged, replace(timed, wrong=1), [1000, 1000, 2000], "new: .*wrong=1"),
        (judged, replace(timed, bytes=1), [1000, 1000, 2000], "bytes are not"),
        (judged, timed, [999], "grown by 999"),
        (judged, timed, [1000, 1000, 1999], "grown by 999"),
    )
    for first, second, stored, match in spoilt:
        service = service_with(Recorded(first, second), *stored)
        with pytest.raises(WrongAnswer, match=match):
            measure(cast(Stage, None), service, "new", 5)


def test_memory_that_grows_fails_the_soak() -> None:
    megabyte = 2**20
    assert judge("flat", [50 * megabyte] * 40) is None
    assert judge("warming up", [30 * megabyte] * 10 + [50 * megabyte] * 30) is None
    growing = [(50 + number) * megabyte for number in range(40)]
    assert "memory grows" in (judge("growing", growing) or "")
