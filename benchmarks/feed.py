"""What following costs: from an order to the sockets of many streams.

    python -m benchmarks.feed [--rate N] [--seconds N]

Orders at a fixed rate, and streams that follow everything, or each one user's own orders: of one
process on SQLite, and of a second replica on Postgres. A lag is the time from an event's own time
until a client has it; of several that come at once the oldest counts. All shares one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.menu import FIXTURES
from benchmarks.processes import cpu_seconds, resident_memory
from rig.pgbouncer import pgbouncer_before, through
from rig.postgres import open_server
from rig.processes import RunningServer, prepare, serving

STREAMS_OF_A_USER = 6
WARM_SECONDS = 2.0
READ = 1 << 18
TIMED = 10
"""Of so many streams one is timed: reading the time in all would take the processor from the
service."""

AT = re.compile(rb'"type":"order\.[a-z]+","at":"([^"]+)"')
SCOPES = ["create_order", "read_order", "manage_orders"]


def key_of(number: int) -> str:
    return f"follower-{number}"


def write_users(folder: Path, count: int) -> None:
    users = [
        {
            "id": key_of(number),
            "name": "Follower",
            "keys": [
                {
                    "hash": f"sha256:{hashlib.sha256(key_of(number).encode()).hexdigest()}",
                    "scopes": SCOPES,
                }
            ],
        }
        for number in range(count)
    ]
    (folder / "users.json").write_text(json.dumps(users))


# --- those who follow: a process of their own ---


def follow(port: int, path: str, streams: int) -> None:
    """Reads streams until stdin ends; then prints the lags of the timed ones, in seconds."""
    selector = selectors.DefaultSelector()
    for number in range(streams):
        connection = socket.create_connection(("127.0.0.1", port))
        key = key_of(number // STREAMS_OF_A_USER)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\napi_key: {key}\r\n\r\n".encode())
        answer = connection.recv(READ)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, number % TIMED == 0)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("following", flush=True)
    print(json.dumps(read_all(selector)), flush=True)


def read_all(selector: selectors.BaseSelector) -> list[tuple[float, float]]:
    """For each reading of a timed stream when it was, and the lag of its oldest event."""
    lags: list[tuple[float, float]] = []
    buffer = bytearray(READ)
    while True:
        for ready, _ in selector.select():
            if ready.fileobj is sys.stdin:
                return lags
            assert isinstance(ready.fileobj, socket.socket)
            size = ready.fileobj.recv_into(buffer)
            assert size, "a stream has ended"
            if ready.data and (found := AT.search(buffer, 0, size)):
                now = time.time()
                lags.append((now, now - datetime.fromisoformat(found[1].decode()).timestamp()))


@contextmanager
def followers(port: int, path: str, streams: int) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-m", "benchmarks.feed", "--follow", str(port), path, str(streams)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "following\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# --- those who order ---


BODY = b'{"items":[{"productId":"1","quantity":2}]}'


async def order(port: int, rate: int, seconds: float, users: int) -> list[float]:
    """Orders at a fixed rate, whatever the answers take; how long each took, in seconds."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    took: list[float] = []

    async def one(number: int) -> None:
        reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        head = (
            f"POST /api/order HTTP/1.1\r\nHost: x\r\napi_key: {key_of(number % users)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        writer.write(head.encode() + BODY)
        answered = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"Content-Length: (\d+)", answered)
        assert answered.startswith(b"HTTP/1.1 200"), answered
        assert found is not None
        await reader.readexactly(int(found[1]))
        took.append(time.perf_counter() - began)
        free.append((reader, writer))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.create_task(one(number))
    for _, writer in free:
        writer.close()
    return took


def order_for(port: int, rate: int, seconds: float, users: int) -> list[float]:
    return asyncio.run(order(port, rate, seconds, users))[int(rate * WARM_SECONDS) :]


def p(values: list[float], percent: int) -> float:
    """A percentile, in milliseconds."""
    return 1000 * statistics.quantiles(values, n=100)[percent - 1]


# --- the measurement ---


class Row(NamedTuple):
    """What is measured: who follows what, and where."""

    name: str
    streams: int
    path: str = "/api/shop/event"


ONE_PROCESS = (
    Row("everything", 1000),
    Row("own orders", 1000, "/api/event"),
)
TWO_REPLICAS = Row("over two replicas on Postgres", 100)
BEHIND_A_POOLER = Row("the same behind PgBouncer", 100)

HEAD = """\
| streams | delay from order to socket, p50 and p99 ms | memory above idle, MiB | orders alone, p99 ms | orders beside streams, p99 ms | CPU, % of a core |
| --- | --- | --- | --- | --- | --- |"""  # noqa: E501


class Found(NamedTuple):
    """What one row has shown: seconds that orders took alone and beside the streams, lags, bytes of
    memory, and the share of a core."""

    alone: list[float]
    beside: list[float]
    lags: list[float]
    memory: int
    cpu: float


def measure(
    row: Row, ordering: RunningServer, followed: RunningServer, options: argparse.Namespace
) -> Found:
    pid, users = followed.process.pid, row.streams // STREAMS_OF_A_USER + 1
    alone = order_for(ordering.port, options.rate, options.seconds, users)
    idle, highest = resident_memory(pid), 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.1):
            highest = max(highest, resident_memory(pid))

    with followers(followed.port, row.path, row.streams) as process:
        watching = threading.Thread(target=watch)
        watching.start()
        cpu, began = cpu_seconds(pid), time.time()
        beside = order_for(ordering.port, options.rate, options.seconds, users)
        cpu = (cpu_seconds(pid) - cpu) / (time.time() - began)
        out, _ = process.communicate("\n")
        ended.set()
        watching.join()
    lags = [lag for at, lag in json.loads(out) if at > began + WARM_SECONDS]
    return Found(alone, beside, lags, highest - idle, cpu)


def show(row: Row, found: Found) -> None:
    """Prints its line of the table."""
    cells = [
        f"{row.streams}, {row.name}",
        f"{p(found.lags, 50):.0f}, {p(found.lags, 99):.0f}",
        f"{found.memory / 2**20:.0f}",
        f"{p(found.alone, 99):.1f}",
        f"{p(found.beside, 99):.1f}",
        f"{100 * found.cpu:.0f} %",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


@contextmanager
def served(url: str, folder: Path) -> Iterator[RunningServer]:
    with serving(url, FIXTURES_DIR=folder, LOG_LEVEL="warning") as server:
        yield server


@contextmanager
def prepared(url: str, folder: Path) -> Iterator[RunningServer]:
    prepare(url, FIXTURES_DIR=folder)
    with served(url, folder) as server:
        yield server


def measure_all(folder: Path, options: argparse.Namespace) -> None:
    print(HEAD, flush=True)
    for number, row in enumerate(ONE_PROCESS):
        url = f"sqlite:///{folder}/{number}.db"
        with prepared(url, folder) as server:
            show(row, measure(row, server, server, options))
    postgres = open_server()
    try:
        url = postgres.create_database()
        prepare(url, FIXTURES_DIR=folder)
        with served(url, folder) as one, served(url, folder) as two:
            show(TWO_REPLICAS, measure(TWO_REPLICAS, one, two, options))
        with pgbouncer_before(postgres.url) as port:
            pooled = through(port, url)
            with served(pooled, folder) as one, served(pooled, folder) as two:
                show(BEHIND_A_POOLER, measure(BEHIND_A_POOLER, one, two, options))
    finally:
        postgres.close()


def fixtures_with_followers(folder: Path) -> Path:
    """The packaged fixtures in a new folder, with a user for each follower and no orders."""
    folder.mkdir()
    for file in FIXTURES.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "orders.json").write_text("[]")
    write_users(folder, max(row.streams for row in ONE_PROCESS) // STREAMS_OF_A_USER + 1)
    return folder


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--follow", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_options()
    if options.follow:
        follow(int(options.follow[0]), options.follow[1], int(options.follow[2]))
        return
    with tempfile.TemporaryDirectory(prefix="orderfood-bench-") as name:
        folder = fixtures_with_followers(Path(name) / "fixtures")
        measure_all(folder, options)


if __name__ == "__main__":
    main()
