"""A real Jaeger for each test module, and databases of each backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.jaeger import Jaeger, running_jaeger
from tests.api.conftest import backend, database

__all__ = ["backend", "database"]


@pytest.fixture(scope="module")
def shared_jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger:
        yield jaeger


@pytest.fixture
def jaeger(shared_jaeger: Jaeger) -> Jaeger:
    """A Jaeger that has kept nothing yet."""
    shared_jaeger.stop()
    shared_jaeger.start()
    return shared_jaeger
