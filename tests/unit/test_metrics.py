"""Counting in portions is counting."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from orderfood.observe.metrics import BYTES, SECONDS, _Portion


def histogram(registry: CollectorRegistry, bounds: tuple[float, ...]) -> Histogram:
    return Histogram("amount", "Of something.", ["of"], buckets=bounds, registry=registry)


def test_a_portion_is_what_observe_would_have_told() -> None:
    draw = random.Random(4).expovariate
    for bounds in (SECONDS, BYTES):
        told, handed = CollectorRegistry(), CollectorRegistry()
        direct = histogram(told, bounds).labels("x")
        portion = _Portion(histogram(handed, bounds).labels("x"), bounds)
        amounts = [*bounds, 0, 1e9, *(draw(1 / bounds[-1]) for _ in range(100))]
        for number, amount in enumerate(amounts):
            exact = float(round(amount * 1024)) / 1024  # sums are then equal in any order
            direct.observe(exact)
            portion.observe(exact)
            if number % 30 == 0:
                assert portion.hand_on() <= 30
        portion.hand_on()
        assert portion.hand_on() == 0
        assert generate_latest(handed) == generate_latest(told)
