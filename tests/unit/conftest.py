from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.sound_fixtures import (
    COUPON,
    ORDER,
    PRODUCT,
    USER,
    Write,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a folder of sound fixtures, with the text of some files replaced."""

    def write(**texts: str) -> Path:
        sound = {"products": [PRODUCT], "users": [USER], "coupons": [COUPON], "orders": [ORDER]}
        for name, entries in sound.items():
            (tmp_path / f"{name}.json").write_text(texts.get(name, json.dumps(entries)))
        return tmp_path

    return write
