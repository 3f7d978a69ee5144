"""A folder of sound fixtures, to be spoilt in one place, and what its refusal says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fixtures
from fixtures import FixtureError, read_fixtures

PACKAGED = Path(fixtures.__file__).parent

PRODUCT = {"id": "1", "name": "Waffle", "price": 12.99, "category": "Waffle"}
HASH = "sha256:" + "0" * 64
KEY = {"hash": HASH, "scopes": ["read_order"]}
USER = {"id": "demo", "name": "Demo", "keys": [KEY]}
COUPON = {"code": "SAVE10", "kind": "percent", "value": 10}
LINE = {"productId": "1", "name": "Waffle", "category": "Waffle", "price": 12.99, "quantity": 2}
ORDER = {
    "id": "00000000-0000-4000-8000-000000000001",
    "user": "demo",
    "items": [LINE],
    "subtotal": 25.98,
    "discounts": 0,
    "total": 25.98,
    "createdAt": "2026-01-31T12:00:00Z",
}

Write = Callable[..., Path]
Change = dict[str, Any]


def refusal(folder: Path) -> str:
    with pytest.raises(FixtureError) as caught:
        read_fixtures(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    return message
