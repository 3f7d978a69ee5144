"""Servers that are started again when they end, as by an init system, and their clock."""

from __future__ import annotations

import glob
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rig.ports import free_port
from rig.processes import PATIENCE, command, environment

RESTART_SECONDS = 0.3
"""The pause before a server is started again."""

EXPECTED_CODES = (0, 1, -signal.SIGKILL, -signal.SIGTERM)
"""How a process may end: 1 says that its port or its database is not there yet."""


def find_faketime() -> str | None:
    """The library libfaketime, where it is installed."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else None


class Clock:
    """A time of day that jumps, for servers that see it instead of this machine's."""

    def __init__(self, folder: Path) -> None:
        self._library = find_faketime()
        self._file = folder / "clock"
        self.set(0)

    @property
    def can_jump(self) -> bool:
        return self._library is not None

    def set(self, seconds: int) -> None:
        """How far it is from the machine's clock."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)

    def environment(self) -> dict[str, str]:
        """Has a program see this clock; what measures durations does not jump."""
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class Server:
    """An ``order-food`` with two workers on one port, for as long as it is wanted."""

    def __init__(self, url: str, log: Path, clock: Clock) -> None:
        self.port = free_port()
        self.log = log
        self.codes: list[int] = []
        """How it has ended so far."""
        settings = {"STORAGE_URL": url, "PORT": self.port, "WORKERS": 2, "DRAIN_SECONDS": 1}
        self._environment, self._clock = environment(**settings), clock
        self.sees_clock = False
        """Whether it sees a clock that jumps from its next start on. Not always, for libfaketime
        delays threads that wait."""
        self._wanted = threading.Event()
        self._process = self._start()
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        clock = self._clock.environment() if self.sees_clock else {}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command("order-food"), env={**self._environment, **clock}, stdout=log, stderr=log
            )

    def _keep(self) -> None:
        while True:
            self.codes.append(self._process.wait())
            threading.Event().wait(RESTART_SECONDS)
            if not self._wanted.is_set():
                return
            self._process = self._start()

    @property
    def supervisor(self) -> int:
        return self._process.pid

    def start_anew(self) -> None:
        """Ends it in good order; returns when it serves again."""
        old = self._process
        old.terminate()
        deadline = time.monotonic() + PATIENCE
        while self._process is old or not self.answers():
            if time.monotonic() > deadline:
                return  # the next order is waited for in any case
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it serves."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def workers(self) -> list[int]:
        return children_of(self.supervisor)

    def stop(self) -> None:
        """Ends it in good order."""
        self._wanted.clear()
        send(signal.SIGCONT, [self.supervisor, *self.workers()])
        send(signal.SIGTERM, [self.supervisor])
        self._keeper.join(PATIENCE)
        self._process.kill()

    def problems(self) -> list[str]:
        """What it should not have done, from its exit codes and its log."""
        log = self.log.read_text(errors="replace")
        codes = [*self.codes, *map(int, re.findall(r"ended with code (-?\d+)", log))]
        wrong = [code for code in codes if code not in EXPECTED_CODES]
        found = [f"a server or a worker ended with code {code}" for code in wrong]
        for line in log.splitlines():
            if '"critical"' in line or "Traceback" in line:
                found.append(f"in a server's log: {line[:2000]}")
        return found


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def send(number: int, pids: Iterable[int]) -> None:
    """Sends a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
