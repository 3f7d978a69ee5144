"""The count of the orders that wait: what it costs, and that it goes on."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from orderfood.observe import kitchen_metrics
from orderfood.observe.instruments import Instruments
from orderfood.observe.kitchen_metrics import KitchenMetrics
from orderfood.settings import read_settings
from storage.errors import StorageUnavailable
from storage.memory.storage import MemoryStorage
from storage.records import OpenOrders

NOW = datetime.now(UTC)


class SlowStorage(MemoryStorage):
    """A store that is away at first, slow then, and slower still."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    async def count_open_orders(self) -> OpenOrders:
        self.counted += 1
        if self.counted == 1:
            raise StorageUnavailable("away")
        await asyncio.to_thread(time.sleep, 0.1 if self.counted == 2 else 0.4)
        return OpenOrders({"placed": 3, "unheard-of": 4}, NOW - timedelta(minutes=7))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> KitchenMetrics:
    return KitchenMetrics(Instruments(registry), read_settings({"ACCEPT_ALERT_MINUTES": "0"}))


async def test_it_goes_on_when_the_store_was_away_and_rests_for_long_when_it_is_slow(
    metrics: KitchenMetrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(kitchen_metrics, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await metrics.keep_counting(SlowStorage())
    assert pauses[0] == 5
    assert pauses[1] >= 20
    assert pauses[2] == 60
    value = registry.get_sample_value
    assert value("orders_open", {"status": "placed"}) == 3
    assert value("orders_open", {"status": "ready"}) == 0
    assert value("orders_open", {"status": "unheard-of"}) is None
    age = value("orders_oldest_placed_age_seconds")
    assert age is not None
    assert age >= 420
    assert value("orders_accept_alert_seconds") == 0


def test_no_order_waits_and_clocks_differ(
    metrics: KitchenMetrics, registry: CollectorRegistry
) -> None:
    for since in (NOW - timedelta(1), None, NOW + timedelta(1)):
        metrics.show(OpenOrders({}, since), NOW)
        age = registry.get_sample_value("orders_oldest_placed_age_seconds")
        assert age == (86400 if since and since < NOW else 0)
