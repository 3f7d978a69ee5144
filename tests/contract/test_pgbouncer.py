"""The contract once more, behind PgBouncer in transaction mode: no LISTEN, no session's lock and no
named prepared statement is relied on. The tests are those of the other modules, on this URL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from rig.pgbouncer import pgbouncer_before, through
from rig.postgres import NamedServer
from tests.contract.test_catalogue import *  # noqa: F403
from tests.contract.test_coupons import *  # noqa: F403
from tests.contract.test_idempotency import *  # noqa: F403
from tests.contract.test_migrations import *  # noqa: F403
from tests.contract.test_orders import *  # noqa: F403

# behind a pooler notices never come; tests/api/test_scaling.py shows that the probe is enough
del globals()["test_a_notice_comes_with_a_change"]


@pytest.fixture(scope="module")
def pgbouncer(postgres_server: NamedServer) -> Iterator[int]:
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not on PATH")
    with pgbouncer_before(postgres_server.url) as port:
        yield port


@pytest.fixture
def storage_url(postgres_url: str, pgbouncer: int) -> str:
    return through(pgbouncer, postgres_url)


@pytest.fixture
def shared_url(storage_url: str) -> str:
    return storage_url
