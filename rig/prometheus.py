"""A real Prometheus that scrapes what a test names, and promtool."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rig.ports import free_port
from rig.processes import PATIENCE

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: order-food
    static_configs: [{{targets: [{targets}]}}]
"""


class Prometheus:
    """The server's own API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **query: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def wait_for(self, expression: str) -> list[Any]:
        """What an expression gives as soon as it gives something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self._query_if_up(expression)):
            assert time.monotonic() < deadline, expression
            time.sleep(0.1)
        return found

    def _query_if_up(self, expression: str) -> list[Any]:
        try:
            return self.query(expression)
        except OSError:
            return []


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[str], rules: Path | None = None
) -> Iterator[Prometheus]:
    """Skips where the program is not on the PATH."""
    need("prometheus")
    config, port = folder / "prometheus.yaml", free_port()
    listed = ", ".join(targets)
    config.write_text(CONFIG.format(targets=listed, rules=f'"{rules}"' if rules else ""))
    options = {
        "config.file": config,
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    need("promtool")
    return subprocess.run(
        ["promtool", *arguments], input=text, capture_output=True, text=True, timeout=60
    )


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"the program {program} is not on PATH")
