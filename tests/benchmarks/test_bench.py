"""The benchmark runs, and notices what is wrong. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.load import Target, WrongAnswer
from benchmarks.measure import check_growth
from benchmarks.menu import FIXTURES
from benchmarks.services import Service
from benchmarks.soak import judge
from tests.processes import ROOT

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
    options = ("--seconds", "0.3", "--rounds", "1", "--no-extras")
    done = bench(*options, "--only", "list", "new", "--services", "memory")
    assert done.returncode == 0, done.stderr
    assert "**the menu**" in done.stdout
    assert done.stdout.count("| order-food, memory |") == 2


class WrongMenu(BaseHTTPRequestHandler):
    """Answers with a price that the fixtures do not name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.server.body  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@needs_wrk
def test_a_wrong_answer_under_load_is_found(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), WrongMenu)
    server.body = (FIXTURES / "products.json").read_bytes()  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        target = Target("a service", server.server_port, tmp_path / "target")
        target.learn(menu_only=True)
        target.run("list", 1, connections=2).check("a right one")
        server.body = json.dumps([]).encode()  # type: ignore[attr-defined]
        with pytest.raises(WrongAnswer, match="wrong="):
            target.run("list", 1, connections=2).check("a wrong one")
        with pytest.raises(WrongAnswer, match="the menu is"):
            target.learn(menu_only=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_wrk
def test_a_missing_order_is_found(tmp_path: Path) -> None:
    from benchmarks.load import Load

    target = Target("a service", 1, tmp_path / "target")
    load = Load(10, 1.0, 0, 10, 0, 0, 0, 1, 1, 1, "")
    for stored, scenario, right in ((10, "new", True), (9, "new", False), (1, "replay", False)):
        service = Service("a service", 1, target, (), lambda stored=stored: stored)  # type: ignore[misc]
        if right:
            check_growth(service, scenario, load, 0)
        else:
            with pytest.raises(WrongAnswer, match="have grown"):
                check_growth(service, scenario, load, 0)


def test_memory_that_grows_fails_the_soak() -> None:
    megabyte = 2**20
    assert judge("flat", [50 * megabyte] * 40) is None
    assert judge("warming up", [30 * megabyte] * 10 + [50 * megabyte] * 30) is None
    growing = [(50 + number) * megabyte for number in range(40)]
    assert "memory grows" in (judge("growing", growing) or "")
