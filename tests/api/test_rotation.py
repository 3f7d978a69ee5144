"""A password that is rotated: said by /ready and the log, and healed by the file of the URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.postgres import NamedServer, StartedServer, execute, run
from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import Client, connect
from tests.conftest import BACKENDS

ROLE = "rotating"


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a loaded database, of the role whose password changes."""
    if "postgres" not in BACKENDS:
        pytest.skip("ORDERFOOD_TEST_BACKENDS leaves out postgres")
    server: NamedServer = request.getfixturevalue("postgres_server")
    if not isinstance(server, StartedServer):
        pytest.skip("a server that is not ours may trust everybody")
    url = server.create_database()
    run(execute(url, f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD 'first'"))
    prepare(url)
    yield url
    server.drop_database(url)
    run(execute(server.url, f"DROP ROLE {ROLE}"))


def url_of_role(database: str, password: str) -> str:
    parts = urlsplit(database)
    return f"postgresql://{ROLE}:{password}@{parts.hostname}:{parts.port}{parts.path}"


def rotate(database: str) -> None:
    """As after a failover: the password is another one, and the connections are gone."""
    run(execute(database, f"ALTER ROLE {ROLE} PASSWORD 'second'"))
    gone = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
    run(execute(database, gone))


def wait_for(client: Client, status: int, text: str) -> None:
    """Until /ready answers so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = client.get("/ready")
        if answer.status == status and text in answer.body.decode():
            return
        assert time.monotonic() < deadline, (answer.status, answer.body)
        time.sleep(0.1)


@pytest.fixture
def url_file(database: str, tmp_path: Path) -> Path:
    file = tmp_path / "url"
    file.write_text(url_of_role(database, "first") + "\n")
    return file


@pytest.fixture
def server(url_file: Path) -> Iterator[RunningServer]:
    with serving(None, STORAGE_URL_FILE=url_file) as running:
        yield running


def test_it_is_said_and_heals_by_itself(
    server: RunningServer, database: str, url_file: Path
) -> None:
    with connect(server.url) as client:
        wait_for(client, 200, '"ready"')
        rotate(database)
        wait_for(client, 503, "the store does not answer: credentials refused")
        line = server.wait_for_line("the store does not answer: credentials refused")
        assert "second" not in str(line)
        assert "first" not in str(line)
        for nonsense in ("", "sqlite:///elsewhere.db", "postgresql://h:x/"):
            url_file.write_text(nonsense)
            wait_for(client, 503, "the store does not answer: the file with its URL")
        url_file.write_text(url_of_role(database, "second"))
        wait_for(client, 200, '"ready"')
        server.wait_for_line("the store answers again")
        assert client.place(("1", 1))
