"""Counting in buffers is counting."""

from __future__ import annotations

import random

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from orderfood.observe.buffers import BYTES, SECONDS, HistogramBuffer

# as orderfood.observe.metrics does: a _created series has the time, which no two have in common
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def histogram(registry: CollectorRegistry, bounds: tuple[float, ...]) -> Histogram:
    return Histogram("amount", "Of something.", ["of"], buckets=bounds, registry=registry)


def test_a_buffer_is_what_observe_would_have_told() -> None:
    draw = random.Random(4).expovariate
    for bounds in (SECONDS, BYTES):
        told, handed = CollectorRegistry(), CollectorRegistry()
        direct = histogram(told, bounds).labels("x")
        buffer = HistogramBuffer(histogram(handed, bounds).labels("x"), bounds)
        amounts = [*bounds, 0, 1e9, *(draw(1 / bounds[-1]) for _ in range(100))]
        for number, amount in enumerate(amounts):
            exact = float(round(amount * 1024)) / 1024  # sums are then equal in any order
            direct.observe(exact)
            buffer.observe(exact)
            if number % 30 == 0:
                assert buffer.flush() <= 30
        buffer.flush()
        assert buffer.flush() == 0
        assert generate_latest(handed) == generate_latest(told)
