"""Databases for the jobs, each at a stage of its life."""

from __future__ import annotations

import pytest

from tests.conftest import Stages


@pytest.fixture
def migrated(shared_url: str, stages: Stages) -> str:
    """A database with a schema."""
    stages.migrate(shared_url)
    return shared_url


@pytest.fixture
def loaded(shared_url: str, stages: Stages) -> str:
    """A database that holds the packaged fixtures."""
    stages.prepare(shared_url)
    return shared_url
