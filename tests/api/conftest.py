"""A real server for each backend, shared by the tests of a module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.processes import RunningServer, prepare, run, serving
from tests.api.client import Client, connect
from tests.conftest import BACKENDS, Stages


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def database(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URL of a database that is migrated and loaded."""
    if backend == "memory":
        return "memory://"
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'api.db'}"
    else:
        url = request.getfixturevalue("postgres_server").create_database()
    prepare(url)
    return url


@pytest.fixture(scope="session", params=["httptools", "tornado"])
def http_server_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def server(database: str, http_server_name: str) -> Iterator[RunningServer]:
    with serving(database, HTTP_SERVER=http_server_name) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


@pytest.fixture
def menu(tmp_path: Path) -> Path:
    """A copy of the packaged fixtures, to be changed."""
    import shutil

    import fixtures

    folder = tmp_path / "fixtures"
    shutil.copytree(
        Path(fixtures.__file__).parent,
        folder,
        ignore=shutil.ignore_patterns("*.py*", "__pycache__"),
    )
    return folder


@pytest.fixture
def fresh_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that is empty."""
    if backend == "memory":
        return "memory://"
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"
    url: str = request.getfixturevalue("postgres_server").create_database()
    return url


@pytest.fixture
def fresh_database(fresh_url: str, stages: Stages) -> str:
    """The URL of a database that is migrated and loaded, for this test alone."""
    if fresh_url != "memory://":
        stages.prepare(fresh_url)
    return fresh_url


@pytest.fixture
def fresh_server(fresh_database: str) -> Iterator[RunningServer]:
    with serving(fresh_database) as running:
        yield running


@pytest.fixture
def take_key_of_kitchen_away(fresh_database: str, menu: Path) -> Callable[[], None]:
    """A load after which the kitchen has no key any more."""
    if fresh_database == "memory://":
        pytest.skip("memory:// has no load")

    def load() -> None:
        users = json.loads((menu / "users.json").read_text())
        kept = [user for user in users if user["id"] != "kitchen"]
        (menu / "users.json").write_text(json.dumps(kept))
        options = {"STORAGE_URL": fresh_database, "FIXTURES_DIR": menu}
        done = run("database-load", "--force", **options)
        assert done.returncode == 0, done.stderr + done.stdout

    return load
