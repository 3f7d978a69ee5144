from __future__ import annotations

import pytest

from tests.contract.database import Database


@pytest.fixture
def database(storage_url: str) -> Database:
    """A database of each backend; its storages open migrated."""
    return Database(storage_url)


@pytest.fixture
def shared_database(shared_url: str) -> Database:
    """As database, of the backends that several processes can share."""
    return Database(shared_url)
