"""What observability costs: CPU time of order-food for each request, with and without its parts.

    python -m benchmarks.overhead [--requests N] [--rounds N] [--backend memory|sqlite]
    python -m benchmarks.overhead --before FOLDER        another tree of the project, and this one

Real processes, side by side and in turns. What a part adds is the median of what it added in each
round: what disturbs a round disturbs its neighbours, too. Bare is everything off. A round ends when
its spans are exported, so that their encoding and sending count. The client is bounded: it sends so
many requests and stops. Spans go to a real Jaeger where the program is on the PATH, and else to a
socket that forgets them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from rig.jaeger import running_jaeger
from rig.processes import RunningServer, prepare, serving

CONNECTIONS = 16

OFF = {"ENABLE_METRICS": "false", "JAEGER_ENDPOINT": "", "LOG_LEVEL": "critical"}
LOG, METRICS = {"LOG_LEVEL": "info"}, {"ENABLE_METRICS": "true"}

BODY = json.dumps({"items": [{"productId": "1", "quantity": 2}], "couponCode": "SAVE10"}).encode()
REQUESTS = {
    "list": b"GET /api/product HTTP/1.1\r\nHost: bench\r\n\r\n",
    "order": b"POST /api/order HTTP/1.1\r\nHost: bench\r\napi_key: apitest\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
}


BOTH = {**OFF, **LOG, **METRICS}
"""All that a user has on but the traces."""

EXPORT_SECONDS = 0.4
"""A round waits so long, twice the time that a span waits in the queue."""


class Variant(NamedTuple):
    name: str
    settings: dict[str, str]


UNTRACED, AT_NONE, AT_ONE, AT_ALL = (
    "log and metrics",
    "and tracing at 0 %",
    "and tracing at 1 %",
    "and every request sampled",
)


def variants(endpoint: str) -> list[Variant]:
    def traced(share: str) -> dict[str, str]:
        return {
            **BOTH,
            "JAEGER_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": share,
            "OTEL_BSP_SCHEDULE_DELAY": str(int(EXPORT_SECONDS * 500)),
            "OTEL_BSP_MAX_QUEUE_SIZE": "50000",
        }

    return [
        Variant("bare", OFF),
        Variant("access log", {**OFF, **LOG}),
        Variant("metrics", {**OFF, **METRICS}),
        Variant(UNTRACED, BOTH),
        Variant(AT_NONE, traced("0")),
        Variant(AT_ONE, traced("0.01")),
        Variant(AT_ALL, traced("1")),
    ]


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, as the scheduler counts it: the usual
    figures go in steps of ten milliseconds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def send(port: int, request: bytes, count: int) -> None:
    """Sends so many requests, over CONNECTIONS connections. Every answer must be 200. Cheaper than
    any server: one that waits for its client is woken for each request, which is not its cost."""
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        clients: dict[int, Client] = {}
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            client = Client(stack.enter_context(connection), request, count // CONNECTIONS)
            poll.register(connection, select.EPOLLIN)
            clients[connection.fileno()] = client
        for client in clients.values():
            client.ask()
        while any(client.left for client in clients.values()):
            for descriptor, _ in poll.poll(60):
                clients[descriptor].read()


class Client:
    """One connection: sends a request, and the next one when the answer is there."""

    def __init__(self, connection: socket.socket, request: bytes, left: int) -> None:
        self._connection = connection
        self._request = request
        self._answer = b""
        self.left = left

    def ask(self) -> None:
        self._connection.sendall(self._request)

    def read(self) -> None:
        self._answer += self._connection.recv(65536)
        head, ended, body = self._answer.partition(b"\r\n\r\n")
        if not self._answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"a wrong answer: {head!r}")
        if ended and len(body) == _length(head):
            self._answer = b""
            self.left -= 1
            if self.left:
                self.ask()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def measure(server: RunningServer, request: bytes, count: int) -> float:
    """CPU microseconds of the server for each request, with the export of its spans."""
    before = cpu_seconds(server.process.pid)
    send(server.port, request, count)
    time.sleep(EXPORT_SECONDS)
    return (cpu_seconds(server.process.pid) - before) / count * 1e6


def keep_apart(servers: Iterable[int]) -> None:
    """The servers on one processor and the client on another, where there are two: a client that
    pushes a server aside at each answer has it begin the next with cold caches."""
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        os.sched_setaffinity(0, {others[0]})
        for server in servers:
            for thread in os.listdir(f"/proc/{server}/task"):
                os.sched_setaffinity(int(thread), {first})


@contextmanager
def collector(folder: Path) -> Iterator[str]:
    """Where spans go."""
    if shutil.which("jaeger"):
        with running_jaeger(folder) as jaeger:
            yield jaeger.endpoint
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api/traces"
    server.shutdown()


class Sink(BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def trees(before: str) -> list[Variant]:
    """Another tree and this one, with all that a user has on but the traces."""
    return [Variant("before", {**BOTH, "PYTHONPATH": before}), Variant("now", BOTH)]


Rounds = dict[str, dict[str, list[float]]]
"""The CPU time of each round, by variant and kind of request."""


def run(requests: int, rounds: int, backend: str, before: str | None = None) -> Rounds:
    took: Rounds = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        url = "memory://" if backend == "memory" else f"sqlite:///{name}/orderfood.db"
        if backend == "sqlite":
            prepare(url)
        endpoint = stack.enter_context(collector(Path(name)))
        chosen = trees(before) if before else variants(endpoint)
        servers = {v.name: stack.enter_context(serving(url, **v.settings)) for v in chosen}
        keep_apart(server.process.pid for server in servers.values())
        for server in servers.values():
            measure(server, REQUESTS["list"], 500)
        for _ in range(rounds):
            for kind, request in REQUESTS.items():
                for variant, server in servers.items():
                    kinds = took.setdefault(variant, {})
                    kinds.setdefault(kind, []).append(measure(server, request, requests))
    return took


def added(took: Rounds, variant: str, base: str, kind: str) -> float:
    """The microseconds by which the variant exceeds the base."""
    pairs = zip(took[variant][kind], took[base][kind], strict=True)
    return statistics.median(one - other for one, other in pairs)


def table(took: Rounds) -> str:
    first = next(iter(took))
    lines = [
        f"| | list, µs | more than {first} | ratio | order, µs | more than {first} | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in took:
        cells = [cell(took, name, first, kind) for kind in REQUESTS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(took: Rounds, name: str, first: str, kind: str) -> str:
    least, more = statistics.median(took[first][kind]), added(took, name, first, kind)
    return f"{least + more:.1f} | {more:+.1f} | {1 + more / least:.2f}"


def goals(took: Rounds) -> str:
    """What tracing adds to what else is on, against what it may. At 1 % it is also worked out from
    the two variants beside it: in so short a round the few spans of that share do not fill a batch,
    which costs a connection to the collector."""
    lines = ["| tracing adds | list, µs | order, µs | goal |", "| --- | --- | --- | --- |"]

    def line(what: str, of: Callable[[str], str], goal: str) -> None:
        lines.append(f"| {what} | {of('list')} | {of('order')} | {goal} |")

    def sampled(kind: str) -> float:
        return added(took, AT_ALL, AT_NONE, kind)

    def at_one(kind: str) -> str:
        off = statistics.median(took[UNTRACED][kind])
        seen = added(took, AT_ONE, UNTRACED, kind)
        worked_out = added(took, AT_NONE, UNTRACED, kind) + sampled(kind) / 100
        return (
            f"{seen:.1f} ({seen / off:.1%}); worked out {worked_out:.1f} ({worked_out / off:.1%})"
        )

    line("at 0 %", lambda kind: f"{added(took, AT_NONE, UNTRACED, kind):.1f}", "at most 2 µs")
    line("at 1 %", at_one, "at most 5 % of the list")
    line("to a sampled request", lambda kind: f"{sampled(kind):.0f}", "below 300 µs")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--backend", choices=["memory", "sqlite"], default="memory")
    parser.add_argument("--before", help="a folder with another tree, as git worktree makes one")
    arguments = parser.parse_args()
    took = run(arguments.requests, arguments.rounds, arguments.backend, arguments.before)
    print(
        f"CPU of order-food for each request, {arguments.backend}://,"
        f" Python {platform.python_version()},"
        f" {arguments.rounds} rounds of {arguments.requests}\n"
    )
    print(table(took))
    if not arguments.before:
        print(f"\n{goals(took)}")


if __name__ == "__main__":
    main()
