"""What only a server can do to the jobs: be late, or not want them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from fixtures import read_fixtures
from rig.postgres import NamedServer, StartedServer
from tests.jobs.jobs import PACKAGED, finish, read_catalogue, refusal, run_job, start_job

LATE_SECONDS = 10


@pytest.fixture
def stopped_server(postgres_server: NamedServer, loaded_url: str) -> Iterator[NamedServer]:
    """The server, while it is down."""
    postgres_server.stop()
    yield postgres_server
    postgres_server.start()


@pytest.fixture
def loaded_url(postgres_url: str) -> str:
    """A database on it that both jobs have been at."""
    for job in ("migrate", "load"):
        finished = run_job(job, STORAGE_URL=postgres_url)
        assert finished.returncode == 0, finished
    return postgres_url


async def test_jobs_wait_for_a_server_that_starts_ten_seconds_late(
    loaded_url: str, stopped_server: NamedServer
) -> None:
    jobs = [start_job(job, STORAGE_URL=loaded_url) for job in ("migrate", "load")]
    await asyncio.sleep(LATE_SECONDS)
    stopped_server.start()
    for finished in [finish(job) for job in jobs]:
        assert (finished.returncode, finished.stderr) == (0, "")
    assert (await read_catalogue(loaded_url)).catalogue == read_fixtures(PACKAGED).catalogue


@pytest.mark.parametrize("job", ["migrate", "load"])
def test_jobs_give_up_on_a_server_that_stays_away(
    job: str, loaded_url: str, stopped_server: NamedServer
) -> None:
    finished = run_job(job, STORAGE_URL=loaded_url, STORAGE_WAIT_SECONDS="1")
    line = refusal(finished)
    assert str(urlsplit(loaded_url).password) not in line


@pytest.mark.parametrize("job", ["migrate", "load"])
def test_a_wrong_password_is_not_shown(
    job: str, postgres_server: NamedServer, postgres_url: str
) -> None:
    if not isinstance(postgres_server, StartedServer):
        pytest.skip("a server that is not ours may trust everybody")
    wrong = "wrong/pass@word"
    url = postgres_url.replace(str(urlsplit(postgres_url).password), quote(wrong, safe=""))
    finished = run_job(job, STORAGE_URL=url, STORAGE_WAIT_SECONDS="60")
    assert "password" in refusal(finished)
    for secret in (wrong, quote(wrong, safe="")):
        assert secret not in finished.stdout + finished.stderr


@pytest.mark.parametrize("job", ["migrate", "load"])
def test_a_database_that_is_not_there(job: str, postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/nowhere").geturl()
    finished = run_job(job, STORAGE_URL=url, STORAGE_WAIT_SECONDS="60")
    assert "nowhere" in refusal(finished)
