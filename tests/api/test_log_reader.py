"""What reads the log may stall, or go away: requests are answered, and the server ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rig.processes import PATIENCE, command, environment
from tests.api.client import connect

LONG = "x" * 128


class StalledServer:
    """An order-food whose log is read up to the line that it listens, and then no more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self.process = process
        self.fd = process.stdout.fileno()
        self.read = b""
        while b"order-food listens" not in self.read or not self.read.endswith(b"\n"):
            self.read += os.read(self.fd, 65536)
        url = re.search(rb'"url": "(http:[^"]*)"', self.read)
        assert url
        self.url = url[1].decode()

    def ask(self, count: int) -> None:
        """So many requests, whose lines are long."""
        with connect(self.url) as client:
            for _ in range(count):
                assert client.get("/health", **{"X-Request-ID": LONG}).status == 200

    def flood(self, count: int) -> None:
        """The same, some at once, for a faster client."""
        host, port = self.url.removeprefix("http://").split(":")
        request = f"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: {LONG}\r\n\r\n".encode()
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
            for _ in range(count // 5):
                client.sendall(request * 5)
                answers = b""
                while answers.count(b'"healthy"}') < 5:
                    answers += client.recv(65536)

    def read_rest(self) -> list[dict[str, Any]]:
        """All lines, to the end."""
        while chunk := os.read(self.fd, 65536):
            self.read += chunk
        return [json.loads(line) for line in self.read.decode().splitlines()]


@contextmanager
def stalled(**settings: object) -> Iterator[StalledServer]:
    process = subprocess.Popen(
        command("order-food"),
        env=environment(**{"STORAGE_URL": "memory://", "PORT": 0, **settings}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield StalledServer(process)
        finally:
            process.kill()


@pytest.mark.parametrize("http_server", ["httptools", "tornado"])
def test_a_reader_that_stalls_stops_nothing(http_server: str) -> None:
    with stalled(HTTP_SERVER=http_server, DRAIN_SECONDS=1) as server:
        server.ask(600)  # 240 KB of lines, and a pipe holds 64
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nor_one_of_several_processes(database: str, number: int) -> None:
    if database == "memory://":
        pytest.skip("memory:// has one process")
    with stalled(STORAGE_URL=database, WORKERS=2, DRAIN_SECONDS=1) as server:
        server.ask(600)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_no_line_is_lost_at_the_end(database: str, workers: int) -> None:
    if database == "memory://" and workers > 1:
        pytest.skip("memory:// has one process")
    with stalled(STORAGE_URL=database, WORKERS=workers, DRAIN_SECONDS=1) as server:
        server.ask(600)
        server.process.send_signal(signal.SIGTERM)
        lines = server.read_rest()
        assert server.process.wait(PATIENCE) == 0
    assert sum(line.get("request_id") == LONG for line in lines) == 600


def test_what_is_dropped_is_counted_and_told_when_it_flows_again() -> None:
    with stalled() as server:
        server.flood(7000)
        with connect(server.url) as client:
            dropped = 0
            deadline = time.monotonic() + PATIENCE
            while not dropped:
                assert time.monotonic() < deadline
                text = client.get("/metrics").body.decode()
                found = re.search(r"^log_lines_dropped_total (\S+)$", text, re.MULTILINE)
                assert found
                dropped = int(float(found[1]))
        assert 1000 < dropped < 6000
        reader_sees_the_line(server)
        server.process.send_signal(signal.SIGTERM)
        lines = server.read_rest()
    told = [line["lines"] for line in lines if "log lines were dropped" in line["message"]]
    assert len(told) == 1
    assert told[0] >= dropped
    assert sum(line.get("request_id") == LONG for line in lines) >= 7000 - told[0]


def reader_sees_the_line(server: StalledServer) -> None:
    while b"log lines were dropped" not in server.read:
        server.read += os.read(server.fd, 65536)


def test_a_reader_that_went_away_stops_nothing() -> None:
    with stalled(DRAIN_SECONDS=1) as server:
        assert server.process.stdout
        server.process.stdout.close()
        server.ask(100)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
