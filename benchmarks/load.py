"""One run of wrk against one service, and whether every answer was right.

A run is judged: then wrk looks at every answer, and is too busy to be a measure. Or it is timed:
then wrk only counts, and a judged run before says how many bytes the answers must have.
"""

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
from orderfood.api.wire import encode_products

SCRIPT = Path(__file__).parent / "wrk.lua"
CONNECTIONS = 64
TIMEOUT = 20
"""Seconds after which wrk counts an answer as missing: the slowest service must have a chance."""

REPLAYED_KEYS = 200
"""As many as wrk.lua knows."""

READS = ("list", "one", "304")
ORDERS = ("new", "replay", "coupon")
SCENARIOS = (*READS, *ORDERS, "mix")

JUDGED_SECONDS = 1
"""How long answers are judged before a run is timed."""


class WrongAnswer(Exception):
    """What makes a run worthless."""


@dataclass(frozen=True)
class Load:
    """What wrk has seen."""

    connections: int
    judged: bool
    requests: int
    """Answered ones."""
    seconds: float
    bytes: int
    """All that was read, parts of answers in the end as well."""
    counts: dict[str, int]
    """Right answers if judged, else requests sent, by what was asked for."""
    sizes: dict[str, int]
    """The bytes of those right answers; nothing if not judged."""
    largest: int
    """Of them, 0 if not judged."""
    wrong: int
    """If not judged, those that say that they are errors."""
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

    @property
    def orders(self) -> int:
        return self.counts["order"]

    @property
    def unanswered(self) -> int:
        """What a timed run has sent and not waited for in the end."""
        return sum(self.counts.values()) - self.requests

    @property
    def placed(self) -> tuple[int, int]:
        """The least and the most orders that a run may have stored, if each is a new one. What had
        no answer in the end, at most one for each connection, may be either."""
        if self.judged:
            return self.orders, self.orders + self.connections
        return max(0, self.orders - self.unanswered), self.orders

    def check(self, where: str, judged: Load | None = None) -> Load:
        """Raises WrongAnswer unless every single answer was right; in a timed run, unless all
        that was seen is as if they were, by what the judged run of the same has shown."""
        if self.failed or not self.requests:
            raise WrongAnswer(f"{where}: {self}")
        if self.judged:
            self._check_sizes(where)
        else:
            assert judged is not None, "nobody has looked at any answer"
            self._check_answered(where)
            self._check_bytes(where, judged)
        return self

    def _check_sizes(self, where: str) -> None:
        """The sizes that wrk.lua works out are what came over the wire. Else a timed run would be
        held against nonsense."""
        least = sum(self.sizes.values())
        self._expect_bytes(where, least, least + self.connections * self.largest)

    def _check_answered(self, where: str) -> None:
        """wrk tells nobody when it sends anew because a connection was closed."""
        if not 0 <= self.unanswered <= self.connections:
            raise WrongAnswer(f"{where}: {self.unanswered} requests have no answer: {self}")

    def _check_bytes(self, where: str, judged: Load) -> None:
        """At most all that was asked for has come, and at least that without the unanswered,
        whatever those were. The answers of one kind are almost of one length: products, which
        take turns, differ by few bytes, and neither run ends with the last of them. An answer for
        each run is enough for that; what it makes of the judged one's mean is multiplied here."""
        wanted = sum(count * judged.mean_size(kind) for kind, count in self.counts.items())
        slack = judged.largest * (1 + self.requests / judged.requests)
        least = wanted - self.unanswered * judged.largest - slack
        self._expect_bytes(where, least, wanted + slack)

    def mean_size(self, kind: str) -> float:
        """Of the right answers of a judged run."""
        return self.sizes[kind] / max(1, self.counts[kind])

    def _expect_bytes(self, where: str, least: float, most: float) -> None:
        if not least <= self.bytes <= most:
            raise WrongAnswer(
                f"{where}: {self.bytes} bytes are not the {least:.0f} to {most:.0f}"
                f" that right answers have: {self}"
            )


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
        self,
        scenario: str,
        seconds: float,
        connections: int = CONNECTIONS,
        pause: int = 0,
        *,
        judge: bool = True,
    ) -> Load:
        """Sends for so long, and waits for the end. ``pause`` is the mean of milliseconds between
        an answer and the next request of a connection."""
        with self.running(scenario, seconds, connections, pause, judge=judge) as load:
            return load.result()

    def timed(self, scenario: str, seconds: float, connections: int = CONNECTIONS) -> Load:
        """A run that costs wrk little, checked by what a short judged one has shown. Only for what
        stores nothing: nobody looks at the orders. Raises WrongAnswer."""
        where = f"{self.name}, {scenario}"
        judged = self.run(scenario, JUDGED_SECONDS, connections).check(f"{where}, judged")
        load = self.run(scenario, seconds, connections, judge=False)
        return load.check(where, judged)

    @contextmanager
    def running(
        self,
        scenario: str,
        seconds: float,
        connections: int = CONNECTIONS,
        pause: int = 0,
        *,
        judge: bool = True,
    ) -> Iterator[RunningLoad]:
        total = COUPON_TOTAL if scenario == "coupon" else TOTAL
        command = [
            *("wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{TIMEOUT}s"),
            *("--script", str(SCRIPT), self.url, "--"),
            *(scenario, str(self.folder), str(total), str(pause)),
            "judge" if judge else "count",
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield RunningLoad(f"{self.name}, {scenario}", process, connections)
            finally:
                process.kill()


class RunningLoad:
    """A wrk at work."""

    def __init__(self, where: str, process: subprocess.Popen[str], connections: int) -> None:
        self.where = where
        self.process = process
        self.connections = connections

    def result(self) -> Load:
        output, _ = self.process.communicate()
        found = [line for line in output.splitlines() if line.startswith("RESULT ")]
        if self.process.returncode or not found:
            raise WrongAnswer(f"{self.where}: wrk failed: {output}")
        seen = json.loads(found[0].removeprefix("RESULT "))
        return Load(connections=self.connections, **seen)
