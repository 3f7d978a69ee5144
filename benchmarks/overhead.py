"""What observability costs: CPU time of order-food for each request, with and without its parts.

    python -m benchmarks.overhead [--requests N] [--rounds N] [--backend memory|sqlite]
    python -m benchmarks.overhead --before FOLDER        another tree of the project, and this one

Real processes, side by side and in turns; the best round of each counts, for what disturbs only
adds. Bare is everything off. The client is bounded: it sends so many requests and stops. Spans go
to a real Jaeger where the program is on the PATH, and else to a socket that forgets them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
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


class Variant(NamedTuple):
    name: str
    settings: dict[str, str]


def variants(endpoint: str) -> list[Variant]:
    sampled = {
        "JAEGER_ENDPOINT": endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }
    never = {**sampled, "OTEL_TRACES_SAMPLER_ARG": "0"}
    return [
        Variant("bare", OFF),
        Variant("access log", {**OFF, **LOG}),
        Variant("metrics", {**OFF, **METRICS}),
        Variant("tracing, not sampled", {**OFF, **never}),
        Variant("tracing at 1 %", {**OFF, **sampled}),
        Variant("metrics, tracing at 1 %", {**OFF, **METRICS, **sampled}),
        Variant("all three, not sampled", {**OFF, **LOG, **METRICS, **never}),
        Variant("all three, 1 % sampled", {**OFF, **LOG, **METRICS, **sampled}),
        Variant("all three, all sampled", {**OFF, **LOG, **METRICS, "JAEGER_ENDPOINT": endpoint}),
    ]


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, as the scheduler counts it: the usual
    figures go in steps of ten milliseconds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


async def send(port: int, request: bytes, count: int) -> None:
    """Sends so many requests, over CONNECTIONS connections. Every answer must be 200."""

    async def use(times: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(times):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"a wrong answer: {head!r}")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(use(count // CONNECTIONS) for _ in range(CONNECTIONS)))


def measure(server: RunningServer, request: bytes, count: int) -> float:
    """CPU microseconds of the server for each request."""
    before = cpu_seconds(server.process.pid)
    asyncio.run(send(server.port, request, count))
    return (cpu_seconds(server.process.pid) - before) / count * 1e6


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
    settings = {**OFF, **LOG, **METRICS}
    return [Variant("before", {**settings, "PYTHONPATH": before}), Variant("now", settings)]


def run(
    requests: int, rounds: int, backend: str, before: str | None = None
) -> dict[str, dict[str, float]]:
    """The least CPU time of each variant for each kind of request."""
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        url = "memory://" if backend == "memory" else f"sqlite:///{name}/orderfood.db"
        if backend == "sqlite":
            prepare(url)
        endpoint = stack.enter_context(collector(Path(name)))
        chosen = trees(before) if before else variants(endpoint)
        servers = [
            (variant.name, stack.enter_context(serving(url, **variant.settings)))
            for variant in chosen
        ]
        for server in [server for _, server in servers]:
            measure(server, REQUESTS["list"], 500)
        for _ in range(rounds):
            for kind, request in REQUESTS.items():
                for variant, server in servers:
                    took = measure(server, request, requests)
                    known = best.setdefault(variant, {}).get(kind, took)
                    best[variant][kind] = min(known, took)
    return best


def table(best: dict[str, dict[str, float]]) -> str:
    first = next(iter(best))
    lines = [
        f"| | list, µs | more than {first} | ratio | order, µs | more than {first} | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, took in best.items():
        cells = [cell(took[kind], bare) for kind, bare in best[first].items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(took: float, bare: float) -> str:
    return f"{took:.0f} | {took - bare:+.0f} | {took / bare:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", choices=["memory", "sqlite"], default="memory")
    parser.add_argument("--before", help="a folder with another tree, as git worktree makes one")
    arguments = parser.parse_args()
    best = run(arguments.requests, arguments.rounds, arguments.backend, arguments.before)
    print(
        f"CPU of order-food for each request, {arguments.backend}://,"
        f" Python {platform.python_version()},"
        f" best of {arguments.rounds} rounds of {arguments.requests}\n"
    )
    print(table(best))


if __name__ == "__main__":
    main()
