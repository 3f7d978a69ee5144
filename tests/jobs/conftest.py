"""Databases for the jobs, each at a stage of its life."""

from __future__ import annotations

import pytest

from tests.jobs.jobs import run_well


@pytest.fixture
def migrated(shared_url: str) -> str:
    """A database with a schema."""
    run_well("migrate", STORAGE_URL=shared_url)
    return shared_url


@pytest.fixture
def loaded(migrated: str) -> str:
    """A database that holds the packaged fixtures."""
    run_well("load", STORAGE_URL=migrated)
    return migrated
