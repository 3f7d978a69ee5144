"""A real Jaeger for each test module, and databases of each backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observe.jaeger import Jaeger, running_jaeger
from tests.processes import prepare


@pytest.fixture(scope="module")
def shared_jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger:
        yield jaeger


@pytest.fixture
def jaeger(shared_jaeger: Jaeger) -> Iterator[Jaeger]:
    """A Jaeger that has kept nothing yet."""
    shared_jaeger.stop()
    shared_jaeger.start()
    return shared_jaeger


@pytest.fixture
def loaded_url(storage_url: str) -> str:
    """A migrated and loaded database of each backend."""
    prepare(storage_url)
    return storage_url
