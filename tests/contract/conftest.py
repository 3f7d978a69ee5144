from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.postgres import NoPostgres, StartedServer
from tests.conftest import BACKENDS
from tests.contract.database import Database


@pytest.fixture
def database(storage_url: str) -> Database:
    """A database of each backend; its storages open migrated."""
    return Database(storage_url)


@pytest.fixture
def shared_database(shared_url: str) -> Database:
    """As database, of the backends that several processes can share."""
    return Database(shared_url)


@pytest.fixture(scope="session")
def _own_server() -> Iterator[StartedServer]:
    if "postgres" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out postgres")
    try:
        server = StartedServer()
    except NoPostgres as reason:
        pytest.skip(f"no Postgres to stop and start: {reason}")
    yield server
    server.close()


@pytest.fixture
def own_server(_own_server: StartedServer) -> Iterator[StartedServer]:
    """A server that a test may stop and kill; it runs again for the next test."""
    yield _own_server
    _own_server.start()
