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
from rig.processes import run

BACKENDS = os.environ.get("ORDERFOOD_TEST_BACKENDS", "memory,sqlite,postgres").split(",")
"""Which backends the tests run on: a comma-separated part of memory, sqlite and postgres."""

# what runs in this process exports nothing; the programs that tests start get theirs said
os.environ["JAEGER_ENDPOINT"] = ""

# how long an example takes says something about the machine, and nothing about the code
settings.register_profile("orderfood", deadline=None)
settings.load_profile("orderfood")

SAME_EVERYWHERE = (
    "contract/test_archive.py", "contract/test_defaults.py", "contract/test_event_numbers.py",
    "contract/test_large_catalogue.py", "contract/test_obstacles.py",
    "contract/test_pgbouncer.py", "jobs/test_archive.py", "jobs/test_coupon_files.py",
    "jobs/test_cut_off.py", "jobs/test_hostile.py", "jobs/test_killed.py", "jobs/test_load.py",
    "jobs/test_otel_variables.py", "jobs/test_postgres.py", "unit/test_codes.py",
)  # fmt: skip
"""Files whose tests try what no interpreter changes, and take long."""

LONG = ("failover", "fuzz/test_openapi.py", "release", "browser/test_board_soak.py", "chaos")
"""Folders and files of which one test takes a minute or more."""

AGAIN = bool(os.environ.get("ORDERFOOD_TEST_AGAIN"))
"""Whether all tests have run on another interpreter already."""

collect_ignore = list(SAME_EVERYWHERE) if AGAIN else []


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: much of what tests do is waiting for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is the same over every backend is tried over one: tests that are marked so, and those of
    Tornado's own server, for what takes a request knows nothing of where an order is stored (the
    import rule). And what takes long comes first."""
    needless = [item for item in items if has_another_backend(item) and is_same_over_all(item)]
    config.hook.pytest_deselected(items=needless)
    left = set(items) - set(needless)
    items[:] = sorted((item for item in items if item in left), key=is_short)


def parameters(item: pytest.Item) -> tuple[object, ...]:
    return tuple(item.callspec.params.values()) if hasattr(item, "callspec") else ()


def has_another_backend(item: pytest.Item) -> bool:
    one = "sqlite" if "sqlite" in BACKENDS else BACKENDS[0]
    return any(name in parameters(item) for name in BACKENDS if name != one)


def is_same_over_all(item: pytest.Item) -> bool:
    return "tornado" in parameters(item) or item.get_closest_marker("one_backend") is not None


def is_short(item: pytest.Item) -> bool:
    """Whether a test does not take a minute. Those that do begin first: at the end the other
    processes would wait for them."""
    file = item.path.relative_to(Path(__file__).parent)
    return not any(file.is_relative_to(long) for long in LONG)


def pytest_report_header() -> str | None:
    """What is left out."""
    if not collect_ignore:
        return None
    return f"left out, as they ran on another interpreter: {', '.join(collect_ignore)}"


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


class Stages:
    """Brings an empty database to a stage of its life: the first of a kind by the programs
    themselves, each other as a copy of it, which takes a tenth of their time."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request = request
        self._folder = folder
        self._made: dict[tuple[str, ...], str] = {}

    def migrate(self, url: str) -> None:
        """Gives it its schema."""
        self._bring(url, "database-migration")

    def prepare(self, url: str) -> None:
        """Gives it its schema and the packaged fixtures."""
        self._bring(url, "database-migration", "database-load")

    def _bring(self, url: str, *programs: str) -> None:
        kind = url.partition(":")[0]
        made = self._made.get((kind, *programs))
        if made is None:
            made = self._made[kind, *programs] = self._make(kind, *programs)
        if kind == "sqlite":
            shutil.copy(made.removeprefix("sqlite:///"), url.removeprefix("sqlite:///"))
        else:
            self._request.getfixturevalue("postgres_server").replace_database(url, made)

    def _make(self, kind: str, *programs: str) -> str:
        if kind == "sqlite":
            url = f"sqlite:///{self._folder}/{len(self._made)}.db"
        else:
            url = self._request.getfixturevalue("postgres_server").create_database()
        for program in programs:
            done = run(program, STORAGE_URL=url)
            assert done.returncode == 0, done.stderr + done.stdout
        return url


@pytest.fixture(scope="session")
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(request, tmp_path_factory.mktemp("stages"))


@pytest.fixture
def pooled_url(postgres_server: NamedServer, postgres_url: str) -> Iterator[str]:
    """A database behind a PgBouncer that has two connections to it."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not on PATH")
    with pgbouncer_before(postgres_server.url, pool_size=2) as port:
        yield through(port, postgres_url)
