"""Expired keys are deleted beside the orders, not before them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from orderfood.background import delete_expired_keys


class Clock:
    """Time that passes when somebody sleeps, or works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept = 0.0
        loop = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


class Storage:
    """Has so many expired keys, and takes so long for each."""

    def __init__(self, clock: Clock, keys: int, seconds: float) -> None:
        self.clock, self.keys, self.seconds = clock, keys, seconds
        self.worked = 0.0
        self.batches: list[int] = []

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        if not self.keys:
            raise asyncio.CancelledError
        deleted = min(limit, self.keys)
        self.keys -= deleted
        self.clock.now += deleted * self.seconds
        self.worked += deleted * self.seconds
        self.batches.append(deleted)
        return deleted


@pytest.mark.parametrize("seconds", [0.00001, 0.0001, 0.001])
async def test_small_portions_and_long_pauses(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    clock = Clock(monkeypatch)
    storage: Any = Storage(clock, 100_000, seconds)
    with pytest.raises(asyncio.CancelledError):
        await delete_expired_keys(storage)
    assert max(storage.batches) <= 25
    assert storage.worked <= 0.06 * clock.slept
