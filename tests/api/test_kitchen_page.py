"""What docs/api.md and docs/kitchen.md tell to run does what they say, on a real server."""

from __future__ import annotations

import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig.ports import free_port
from rig.processes import PATIENCE, ROOT, RunningServer, prepare, serving
from tests.api.client import connect

STAFF = {"api_key": "apikitchen"}


class Terminal:
    """A program whose lines are read as they come."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def next(self, pattern: str = "") -> str:
        """The next line in which this is found."""
        while not re.search(pattern, line := self._lines.get(timeout=PATIENCE)):
            pass
        return line

    def rest(self) -> list[str]:
        """Ends the program; the lines that nobody has asked for."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return [self._lines.get() for _ in range(self._lines.qsize())]


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    opened = Terminal(*command)
    try:
        yield opened
    finally:
        opened.rest()


def code(page: str, heading: str, language: str) -> list[str]:
    """The blocks of code under a heading."""
    text = (ROOT / page).read_text().partition(f"\n{heading}\n")[2]
    text = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("curl"), reason="the program curl is not on PATH")
def test_three_terminals(server: RunningServer) -> None:
    blocks = code("docs/api.md", "## The kitchen", "sh")
    first, second, third = (
        block.replace("localhost:8080", server.url.removeprefix("http://")) for block in blocks
    )
    with terminal("sh", "-c", f"exec {first}") as follows:
        follows.next("^retry:")
        placed = run(second)
        order = re.findall(r'^{"id":"([^"]+)"', placed)[0]
        assert f'"id":"{order}"' in follows.next('"type":"order.placed"')
        run(third.replace("ID/", f"{order}/"))
        for version, event in enumerate(("accepted", "ready", "completed"), 2):
            line = follows.next("^data: ")
            assert f'"type":"order.{event}"' in line
            assert f'"id":"{order}"' in line
            assert f'"version":{version}' in line


@pytest.mark.skipif(not shutil.which("curl"), reason="the program curl is not on PATH")
def test_the_pages_commands(sqlite_url: str) -> None:
    prepare(sqlite_url)
    with serving(sqlite_url) as server:
        ask, told = code("docs/kitchen.md", "## Following orders", "sh"), []
        ask += code("docs/kitchen.md", "## Sold-out products and pausing the shop", "sh")
        for command in "".join(ask).replace("\\\n", "").splitlines():
            asked = command.replace("localhost:8080", server.url.removeprefix("http://"))
            following = " -N " in command
            told.append(run(asked.replace("curl ", f"curl -sf{'m5' if following else ''} "), 28))
            assert told[-1], command
    assert ('"orders":[' in told[0], '"position"' in told[2]) == (True, True)
    assert ('"available":false' in told[-5], '"open":false' in told[-3]) == (True, True)
    assert told[-1] == '{"open":true}'


def run(script: str, ended: int = 0) -> str:
    """What a script writes; ``ended`` is an exit code that is as good as 0."""
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode in (0, ended), script
    return done.stdout


@contextmanager
def follower(port: int, folder: Path) -> Iterator[Terminal]:
    """The page's client."""
    (script,) = code("docs/kitchen.md", "## Following orders", "python")
    assert len([line for line in script.split("\n") if line]) == 30, "docs/api.md says so"
    file = folder / "follow.py"
    file.write_text(script.replace("localhost:8080", f"127.0.0.1:{port}"))
    with terminal(sys.executable, "-W", "error", str(file)) as running:
        yield running


class Kitchen:
    """What the shop does over one server and the next, and all that ought to be told of it."""

    def __init__(self, url: str, port: int) -> None:
        self._url, self._port = url, port
        self.told: list[str] = []

    @contextmanager
    def open(self, http_server: str) -> Iterator[RunningServer]:
        with serving(self._url, PORT=self._port, HTTP_SERVER=http_server) as server:
            yield server

    def place(self, server: RunningServer) -> str:
        with connect(server.url) as client:
            order = client.place(("1", 1))["id"]
        self.told.append(f"{order} 1 placed")
        return str(order)

    def act(self, server: RunningServer, order: str, *actions: str) -> None:
        with connect(server.url) as client:
            for action in actions:
                path = f"/api/shop/order/{order}/{action}"
                answer = client.send("POST", path, None, STAFF)
                assert answer.status == 200
                self.told.append(f"{order} {answer.json['version']} {answer.json['status']}")


@pytest.mark.parametrize("http_server", ["httptools", "tornado"])
def test_the_client_misses_nothing_whatever_becomes_of_the_server(
    sqlite_url: str, tmp_path: Path, http_server: str
) -> None:
    prepare(sqlite_url)
    port = free_port()
    kitchen = Kitchen(sqlite_url, port)
    with follower(port, tmp_path) as follows:
        with kitchen.open(http_server) as server:
            orders = [kitchen.place(server)]
            assert follows.next() == kitchen.told[0]
            orders += [kitchen.place(server) for _ in range(3)]
            kitchen.act(server, orders[0], "accept", "ready")
            server.stop(signal.SIGKILL)
        with kitchen.open(http_server) as server:  # all that happens before the client is back
            kitchen.act(server, orders[0], "recall", "ready", "complete")
            kitchen.act(server, orders[1], "accept")
            server.stop(signal.SIGKILL)
        with kitchen.open(http_server) as server:
            kitchen.act(server, orders[2], "accept", "ready", "complete")
            orders.append(kitchen.place(server))
            told = [kitchen.told[0], *(follows.next() for _ in kitchen.told[1:])]
            assert told == kitchen.told
            kitchen.act(server, orders[3], "accept")
            assert follows.next() == kitchen.told[-1]
    assert follows.rest() == []


def test_the_client_lists_again_when_a_backup_was_restored(sqlite_url: str, tmp_path: Path) -> None:
    prepare(sqlite_url)
    port = free_port()
    kitchen, file = Kitchen(sqlite_url, port), Path(sqlite_url.removeprefix("sqlite:///"))
    with follower(port, tmp_path) as follows:
        with kitchen.open("httptools") as server:
            order = kitchen.place(server)
            assert follows.next() == f"{order} 1 placed"
            assert server.stop() == 0
        backup = file.read_bytes()
        with kitchen.open("httptools") as server:
            kitchen.act(server, order, "accept", "ready")
            assert follows.next("ready") == f"{order} 3 ready"
            assert server.stop() == 0
        file.write_bytes(backup)
        with kitchen.open("httptools") as server:
            assert follows.next() == f"{order} 1 placed"
            kitchen.act(server, order, "accept")
            assert follows.next() == f"{order} 2 accepted"
