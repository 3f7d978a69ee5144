"""Helm, without a cluster."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    if shutil.which("helm") is None:
        pytest.skip("helm is not on PATH")
