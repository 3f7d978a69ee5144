"""The services that are measured: real processes with all that a user has on.

All live through the whole run; those that are not asked sleep. Their access logs go to files.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg

from benchmarks.interpreters import Interpreter
from benchmarks.load import SCENARIOS, Target
from benchmarks.menu import FIXTURES
from benchmarks.tracing import Collector, collector
from rig.ports import free_port
from rig.postgres import NamedServer, StartedServer, open_server
from rig.processes import ROOT, environment, prepare

START_SECONDS = 30.0
BACKENDS = ("memory", "sqlite", "postgres")
STOCK = "stock Tornado"
RESPONDER = "bare responder"
GO = "Go"
FASTAPI = "FastAPI"
BARE = "FastAPI, bare"
SAMPLED = 0.01
"""The share of requests that are traced."""


@dataclass
class Service:
    """One that runs."""

    name: str
    pid: int
    target: Target
    scenarios: Sequence[str]
    count_orders: Callable[[], int] | None = None
    database: int | None = None
    """The process of the database server, where there is one."""
    url: str = ""


@dataclass
class Stage:
    """The folder, the database server and the collector that all share."""

    folder: Path
    collector: Collector
    python: str = sys.executable
    """The interpreter of the services that are written in Python."""
    postgres: NamedServer | None = None
    exits: ExitStack = field(default_factory=ExitStack)

    @property
    def postgres_pid(self) -> int | None:
        server = self.postgres
        process = server._process if isinstance(server, StartedServer) else None
        return process.pid if process else None

    def checkpoint(self) -> None:
        """Lets no service pay for what another has left in the database's log."""
        if self.postgres is not None:
            query(self.postgres.url, "CHECKPOINT")

    def observed(self, **settings: object) -> dict[str, str]:
        """The environment of a service, with tracing on."""
        return environment(
            JAEGER_ENDPOINT=self.collector.thrift,
            OTEL_TRACES_SAMPLER="parentbased_traceidratio",
            OTEL_TRACES_SAMPLER_ARG=SAMPLED,
            **settings,
        )

    def start(self, name: str, command: Sequence[str], env: dict[str, str], port: int) -> int:
        """Starts a process that ends with the stage, and waits until it answers."""
        log = self.folder / f"{name.replace(' ', '-')}.log"
        process = self.exits.enter_context(running(command, env, log))
        wait_until_it_answers(process, port, log)
        return process.pid


@contextmanager
def running(
    command: Sequence[str], env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.005)


def answers(port: int) -> bool:
    """Whether something speaks HTTP there, whatever it says."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def query(url: str, statement: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


# --- the services ---


@contextmanager
def open_stage(folder: Path, *, postgres: bool, python: str = sys.executable) -> Iterator[Stage]:
    with ExitStack() as exits:
        stage = Stage(folder, exits.enter_context(collector(folder)), python, exits=exits)
        if postgres:
            stage.postgres = open_server()
            exits.callback(stage.postgres.close)
        yield stage


def start_order_food(stage: Stage, backend: str) -> Service:
    url = storage_url(stage, backend)
    if backend != "memory":
        prepare(url)
    return order_food_on(stage, f"order-food, {backend}", url)


def start_order_food_by(stage: Stage, backend: str, python: Interpreter) -> Service:
    """The same by another interpreter, where the two differ most: the menu and new orders."""
    url = storage_url(stage, backend, "by-another")
    prepare(url)
    name = f"order-food, {backend}, {python}"
    service = order_food_on(stage, name, url, python.program)
    return replace(service, scenarios=("list", "new"))


def order_food_on(
    stage: Stage, name: str, url: str, python: str | None = None, **settings: object
) -> Service:
    port = free_port()
    env = stage.observed(STORAGE_URL=url, PORT=port, **settings)
    pid = stage.start(name, order_food(python or stage.python), env, port)
    target = Target(name, port, stage.folder / f"target-{port}")
    target.learn()
    target.seed_keys()
    database = stage.postgres_pid if url.startswith("postgresql:") else None
    return Service(name, pid, target, SCENARIOS, counter(url, port), database, url)


def order_food(python: str) -> list[str]:
    return [python, "-m", "orderfood"]


def storage_url(stage: Stage, backend: str, name: str = "orders") -> str:
    """Of a new database; the name is a file's."""
    if backend == "memory":
        return "memory://"
    if backend == "sqlite":
        return f"sqlite:///{stage.folder}/{name}.db"
    assert stage.postgres is not None
    return stage.postgres.create_database()


def counter(url: str, port: int) -> Callable[[], int]:
    """What tells how many orders are stored: the table itself, where there is one."""
    if url.startswith("postgresql:"):
        return lambda: cast(int, query(url, "SELECT count(*) FROM orders"))
    if url.startswith("sqlite:"):
        return lambda: count_in_file(url.removeprefix("sqlite:///"))
    return lambda: count_in_metrics(port)


def count_in_file(path: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return cast(int, connection.execute("SELECT count(*) FROM orders").fetchone()[0])
    finally:
        connection.close()


def count_in_metrics(port: int) -> int:
    time.sleep(1.0)  # an exposition is shared for a second
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("orders_placed_"))


def start_stock(stage: Stage) -> Service:
    return start_menu_only(stage, STOCK, "benchmarks.stock_tornado")


def start_responder(stage: Stage) -> Service:
    return start_menu_only(stage, RESPONDER, "benchmarks.bare_responder")


def start_menu_only(stage: Stage, name: str, module: str) -> Service:
    port = free_port()
    command = [stage.python, "-m", module, "--port", str(port)]
    pid = stage.start(name, command, environment(), port)
    target = Target(name, port, stage.folder / f"target-{port}")
    target.learn(menu_only=True)
    return Service(name, pid, target, ("list",))


def start_go(stage: Stage, program: Path) -> Service:
    """On both cores, as Go does by itself."""
    assert stage.postgres is not None
    url = stage.postgres.create_database()
    port = free_port()
    otlp = stage.collector.otlp
    env = stage.observed(
        DATABASE_URL=url, FIXTURES_DIR=FIXTURES, OTEL_EXPORTER_OTLP_ENDPOINT=otlp,
        OTEL_SERVICE_NAME="go-service",
    )  # fmt: skip
    pid = stage.start(GO, [str(program), "-port", str(port)], env, port)
    target = Target(GO, port, stage.folder / f"target-{port}")
    target.learn()
    target.seed_keys()
    return Service(GO, pid, target, SCENARIOS, counter(url, port), stage.postgres_pid, url)


def start_fastapi(stage: Stage, *, observed: bool) -> Service:
    """Bare: without metrics and traces, which only the access log of uvicorn is left of."""
    assert stage.postgres is not None
    url = stage.postgres.create_database()
    port = free_port()
    name = FASTAPI if observed else BARE
    pid = stage.start(
        name, uvicorn(stage.python, port), fastapi_environment(stage, url, observed), port
    )
    target = Target(name, port, stage.folder / f"target-fastapi-{observed}")
    target.learn()
    target.seed_keys()
    scenarios = SCENARIOS if observed else ("list", "new")
    return Service(name, pid, target, scenarios, counter(url, port), stage.postgres_pid, url)


def uvicorn(python: str, port: int) -> list[str]:
    arguments = ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    return [python, "-m", "uvicorn", "benchmarks.fastapi_service.app:app", *arguments]


def fastapi_environment(stage: Stage, url: str, observed: bool) -> dict[str, str]:
    database = urlsplit(url)._replace(scheme="postgresql+asyncpg").geturl()
    return stage.observed(DATABASE_URL=database, OBSERVED=str(observed).lower())
