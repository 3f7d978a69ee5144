"""One run of wrk against one service, and whether every answer was right."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.menu import COUPON_ORDER, COUPON_TOTAL, FIXTURES, KEY, ORDER, TOTAL
from fixtures import read_fixtures
from orderfood.wire import encode_products

SCRIPT = Path(__file__).parent / "wrk.lua"
CONNECTIONS = 64
TIMEOUT = 20
"""Seconds after which wrk counts an answer as missing: the slowest service must have a chance."""

REPLAYED_KEYS = 200
"""As many as wrk.lua knows."""

READS = ("list", "one", "304")
ORDERS = ("new", "replay", "coupon")
SCENARIOS = (*READS, *ORDERS, "mix")


class WrongAnswer(Exception):
    """What makes a run worthless."""


@dataclass(frozen=True)
class Load:
    """What wrk has seen."""

    requests: int
    seconds: float
    reads: int
    orders: int
    wrong: int
    socket_errors: int
    timeouts: int
    p50_us: int
    p99_us: int
    max_us: int
    example: str

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        return self.wrong + self.socket_errors + self.timeouts

    def check(self, where: str) -> Load:
        """Raises WrongAnswer unless every single answer was right."""
        if self.failed or not self.requests:
            raise WrongAnswer(f"{where}: {self}")
        return self


class Target:
    """The address of a service, and what its answers must be."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        folder.mkdir()

    def learn(self, *, menu_only: bool = False) -> None:
        """Asks everything once and holds it against the fixtures; wrk.lua then compares bytes."""
        menu, etag = self._fetch("/api/product")
        wanted = json.loads((FIXTURES / "products.json").read_text())
        self._expect("the menu", json.loads(menu), wanted)
        self._save("menu", menu)
        self._save("other-menu", menu)
        self._save("etag", etag.encode())
        self._save("order", json.dumps(ORDER).encode())
        self._save("coupon-order", json.dumps(COUPON_ORDER).encode())
        for product in wanted:
            path = f"/api/product/{product['id']}"
            body = json.dumps(product).encode() if menu_only else self._fetch(path)[0]
            self._expect(path, json.loads(body), product)
            self._save(f"product-{product['id']}", body)

    def accept_menu(self, folder: Path) -> None:
        """Takes the menu of other fixtures as right, too, as order-food encodes it."""
        other = encode_products(read_fixtures(folder).catalogue.products)
        self._save("other-menu", other.body)

    def seed_keys(self) -> None:
        """Uses each idempotency key once, so that what follows is replayed."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._use_key, range(REPLAYED_KEYS)))

    def _use_key(self, number: int) -> None:
        headers = {
            "Content-Type": "application/json",
            "api_key": KEY,
            "Idempotency-Key": f"benchmark-{number}",
        }
        body = json.dumps(ORDER).encode()
        request = urllib.request.Request(f"{self.url}/api/order", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            self._expect("an order's total", json.loads(answer.read())["total"], TOTAL)

    def _fetch(self, path: str) -> tuple[bytes, str]:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read(), answer.headers.get("ETag") or ""

    def _expect(self, what: str, got: Any, wanted: Any) -> None:
        if got != wanted:
            raise WrongAnswer(f"{self.name}: {what} is {got}, not {wanted}")

    def _save(self, name: str, body: bytes) -> None:
        (self.folder / name).write_bytes(body)

    # --- wrk ---

    def run(
        self, scenario: str, seconds: float, connections: int = CONNECTIONS, pause: int = 0
    ) -> Load:
        """Sends for so long, and waits for the end. ``pause`` is the mean of milliseconds between
        an answer and the next request of a connection."""
        with self.running(scenario, seconds, connections, pause) as load:
            return load.result()

    @contextmanager
    def running(
        self, scenario: str, seconds: float, connections: int = CONNECTIONS, pause: int = 0
    ) -> Iterator[RunningLoad]:
        total = COUPON_TOTAL if scenario == "coupon" else TOTAL
        command = [
            *("wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{TIMEOUT}s"),
            *("--script", str(SCRIPT), self.url, "--"),
            *(scenario, str(self.folder), str(total), str(pause)),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield RunningLoad(f"{self.name}, {scenario}", process)
            finally:
                process.kill()


class RunningLoad:
    """A wrk at work."""

    def __init__(self, where: str, process: subprocess.Popen[str]) -> None:
        self.where = where
        self.process = process

    def result(self) -> Load:
        output, _ = self.process.communicate()
        found = [line for line in output.splitlines() if line.startswith("RESULT ")]
        if self.process.returncode or not found:
            raise WrongAnswer(f"{self.where}: wrk failed: {output}")
        return Load(**json.loads(found[0].removeprefix("RESULT ")))
