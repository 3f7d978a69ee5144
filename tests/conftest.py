"""What every test folder shares: a real Postgres, and a fresh database of every backend."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tornado.ioloop import IOLoop

from rig.pgbouncer import pgbouncer_before, through
from rig.postgres import NamedServer, NoPostgres, open_server

BACKENDS = os.environ.get("ORDERFOOD_TEST_BACKENDS", "memory,sqlite,postgres").split(",")
"""Which backends the tests run on: a comma-separated part of memory, sqlite and postgres."""

# what runs in this process exports nothing; the programs that tests start get theirs said
os.environ["JAEGER_ENDPOINT"] = ""

# how long an example takes says something about the machine, and nothing about the code
settings.register_profile("orderfood", deadline=None)
settings.load_profile("orderfood")

SAME_EVERYWHERE = (
    "benchmarks", "browser", "chaos", "chart", "failover", "fuzz", "house", "observe", "release",
    "api/test_costs.py", "api/test_degraded.py", "api/test_edges.py", "api/test_feed_nginx.py",
    "api/test_hostile.py", "api/test_limits.py", "api/test_log_reader.py", "api/test_memory.py",
    "api/test_migrating.py", "api/test_rates.py", "contract/test_archive.py",
    "contract/test_event_numbers.py", "contract/test_large_catalogue.py",
    "contract/test_obstacles.py", "contract/test_pgbouncer.py", "jobs/test_archive.py",
    "jobs/test_coupon_files.py", "jobs/test_cut_off.py", "jobs/test_otel_variables.py",
)  # fmt: skip
"""Folders and files whose tests try what no interpreter changes, and take long."""

AGAIN = bool(os.environ.get("ORDERFOOD_TEST_AGAIN"))
"""Whether all tests have run on another interpreter already."""

collect_ignore = list(SAME_EVERYWHERE) if AGAIN else []


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: much of what tests do is waiting for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_report_header() -> str | None:
    """What is left out."""
    if not collect_ignore:
        return None
    left_out = ", ".join([*collect_ignore, "the API on Tornado's own server"])
    return f"left out, as they ran on another interpreter: {left_out}"


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A loop for one test. The plugin's own fixture asks for the current one of a thread that has
    none, which warns from Python 3.12 on."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    end_tasks(loop.asyncio_loop)
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


def end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what a test has left: destroyed while it waits, it would complain in another test."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1.0))


@pytest.fixture
def default_jaeger() -> Iterator[None]:
    """The address that JAEGER_ENDPOINT has by default, for one test at a time of all processes."""
    with (Path(tempfile.gettempdir()) / "orderfood-default-jaeger").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _fresh_loop(io_loop: IOLoop) -> None:
    """Each test runs on a loop of its own: a left-over of one must not fail another."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[NamedServer]:
    """One server for the whole run. Tests that stop it start it again before they end."""
    if "postgres" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out postgres")
    try:
        server = open_server()
    except NoPostgres as reason:
        pytest.skip(f"no Postgres: {reason}")
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: NamedServer) -> Iterator[str]:
    """A fresh, empty Postgres database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that is not there yet."""
    if "sqlite" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out sqlite")
    return f"sqlite:///{tmp_path}/orderfood.db"


@pytest.fixture
def memory_url() -> str:
    if "memory" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out memory")
    return "memory://"


@pytest.fixture(params=BACKENDS)
def storage_url(request: pytest.FixtureRequest) -> str:
    """A fresh, empty, unmigrated database of each backend."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=[name for name in BACKENDS if name != "memory"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """As storage_url, of the backends that several processes can share."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def pooled_url(postgres_server: NamedServer, postgres_url: str) -> Iterator[str]:
    """A database behind a PgBouncer that has two connections to it."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not on PATH")
    with pgbouncer_before(postgres_server.url, pool_size=2) as port:
        yield through(port, postgres_url)
