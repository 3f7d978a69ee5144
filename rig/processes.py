"""The three programs as real processes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODULES = {
    "database-migration": "scripts.migrate",
    "database-load": "scripts.load",
    "order-food": "orderfood",
}
PATIENCE = 30.0
"""Seconds after which something that should have happened counts as hung."""


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with these settings, None is not set; none leaks in from
    outside."""
    from orderfood.settings import describe_settings

    known = {setting.name for setting in describe_settings()}
    kept = {n: v for n, v in os.environ.items() if n not in known and not n.startswith("OTEL_")}
    chosen = {name: str(value) for name, value in settings.items() if value is not None}
    ours = {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", "JAEGER_ENDPOINT": ""}
    return {**kept, **ours, **chosen}


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", MODULES[program], *arguments]


def run(program: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end. PYTHONPATH names another tree than this one."""
    return subprocess.run(
        command(program, *arguments),
        env=environment(**settings),
        cwd=str(settings.get("PYTHONPATH", ROOT)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepare(url: str, **settings: object) -> None:
    """Migrates and loads, where there is a database to do it to."""
    for program in ("database-migration", "database-load"):
        done = run(program, STORAGE_URL=url, **settings)
        assert done.returncode == 0, done.stderr + done.stdout


class RunningServer:
    """An ``order-food`` that listens. ``lines`` are the JSON log lines so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._fresh: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = str(self.wait_for_line("order-food listens")["url"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break  # it was killed while it wrote
            entry = json.loads(line)
            self.lines.append(entry)
            self._fresh.put(entry)
        self._fresh.put(None)

    def wait_for_line(self, message: str) -> dict[str, Any]:
        """The next log line whose message holds this text."""
        return self.wait_for(lambda entry: message in entry["message"], message)

    def wait_for_request(self, request_id: str) -> dict[str, Any]:
        """The access-log line of a request."""
        return self.wait_for(lambda entry: entry.get("request_id") == request_id, request_id)

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The next log line that is wanted."""
        deadline = time.monotonic() + PATIENCE
        while True:
            entry = self._fresh.get(timeout=max(0.0, deadline - time.monotonic()))
            assert entry is not None, f"ended without a line for {what!r}"
            if wanted(entry):
                return entry

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code


@contextmanager
def serving(url: str | None, **settings: object) -> Iterator[RunningServer]:
    """A server on a free port, ended when the block ends. PYTHONPATH names another tree."""
    process = subprocess.Popen(
        command("order-food"),
        env=environment(**{"STORAGE_URL": url, "PORT": 0, **settings}),
        cwd=str(settings.get("PYTHONPATH", ROOT)),
        stdout=subprocess.PIPE,
        text=True,
    )
    readers: list[threading.Thread] = []
    try:
        running = RunningServer(process)
        readers.append(running.reader)
        yield running
    finally:
        process.kill()
        process.wait(PATIENCE)
        for reader in readers:
            reader.join(PATIENCE)  # workers may live on for a moment
        if process.stdout:
            process.stdout.close()
