"""The contract once more, behind PgBouncer in transaction mode: no LISTEN, no session's lock and no
named prepared statement is relied on. The tests are those of the other modules, on this URL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from rig.pgbouncer import pgbouncer_before, through
from rig.postgres import NamedServer
from tests.contract.database import Database
from tests.contract.test_catalogue import *  # noqa: F403
from tests.contract.test_coupons import *  # noqa: F403
from tests.contract.test_event_numbers import (
    test_a_reader_misses_nothing,  # noqa: F401
    test_readers_at_once_give_each_number_once,  # noqa: F401
)
from tests.contract.test_events import *  # noqa: F403
from tests.contract.test_idempotency import *  # noqa: F403
from tests.contract.test_life import *  # noqa: F403
from tests.contract.test_life_machine import *  # noqa: F403
from tests.contract.test_migrations import *  # noqa: F403
from tests.contract.test_orders import *  # noqa: F403
from tests.contract.test_shop_orders import *  # type: ignore[assignment]  # noqa: F403
from tests.contract.test_shop_state import *  # noqa: F403

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


@pytest.fixture
def postgres_database(storage_url: str) -> Database:
    return Database(storage_url)
