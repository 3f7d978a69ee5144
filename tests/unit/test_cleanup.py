"""What has expired is cleaned up beside the orders, not before them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from orderfood.background import CLEANUP_SECONDS, clean_up, clean_ups
from orderfood.settings import read_settings


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
    """Has so much to clean up, and takes so long for each."""

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

    async def blank_personal_data(self, before: datetime, limit: int) -> int:
        assert datetime.now(UTC) - before > timedelta(days=29)
        return await self.delete_expired_keys(limit)

    delete_events = blank_personal_data


@pytest.mark.parametrize("name", ["expired keys", "personal data", "old events"])
@pytest.mark.parametrize("seconds", [0.00001, 0.0001, 0.001])
async def test_small_portions_and_long_pauses(
    monkeypatch: pytest.MonkeyPatch, seconds: float, name: str
) -> None:
    clock = Clock(monkeypatch)
    storage: Any = Storage(clock, 100_000, seconds)
    with pytest.raises(asyncio.CancelledError):
        await clean_up(clean_ups(storage, read_settings({}))[name])
    assert max(storage.batches) <= 25
    assert storage.worked <= 0.06 * clock.slept


async def test_one_slow_portion_is_no_reason_to_rest_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    storage: Any = Storage(clock, 50, 2)
    with pytest.raises(asyncio.CancelledError):
        await clean_up(clean_ups(storage, read_settings({}))["expired keys"])
    assert storage.batches == [25, 25]
    assert clock.slept <= 3 * CLEANUP_SECONDS


def test_nought_days_keep_for_ever() -> None:
    storage: Any = None
    settings = read_settings({"PERSONAL_DATA_DAYS": "0", "EVENT_DAYS": "0"})
    assert list(clean_ups(storage, settings)) == ["expired keys"]
