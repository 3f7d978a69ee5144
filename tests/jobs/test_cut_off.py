"""A start whose first statement is cut off waits as for a server that is not up yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.processes import serving
from tests.jobs.jobs import run_job
from tests.proxy import Proxy, once, proxy_before

FIRST = b"schema_migrations"
"""Stands in the first statement that a program sends for itself."""


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """Before a database that both jobs have been at."""
    for job in ("migrate", "load"):
        finished = run_job(job, STORAGE_URL=postgres_url)
        assert finished.returncode == 0, finished
    with proxy_before(postgres_url) as before:
        yield before


@pytest.mark.parametrize("job", ["migrate", "load"])
@pytest.mark.parametrize("text", [FIRST, b"current_setting"])
def test_a_job_goes_on(job: str, text: bytes, proxy: Proxy) -> None:
    proxy.cut = once(text)
    finished = run_job(job, STORAGE_URL=proxy.url)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert proxy.connections > 1


@pytest.mark.parametrize("job", ["migrate", "load"])
def test_but_not_for_ever(job: str, proxy: Proxy) -> None:
    proxy.cut = lambda sent: FIRST in sent
    finished = run_job(job, STORAGE_URL=proxy.url, STORAGE_WAIT_SECONDS="1")
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1


def test_the_server_starts(proxy: Proxy) -> None:
    proxy.cut = once(FIRST)
    with serving(proxy.url) as server:
        assert server.stop() == 143 or server.process.returncode == 0
    assert proxy.connections > 1
