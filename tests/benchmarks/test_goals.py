"""What figures mean for the goals."""

from __future__ import annotations

import pytest

from benchmarks.costs import reckoned_rate
from benchmarks.disturbances import Disturbance
from benchmarks.goals import Goal, goals
from benchmarks.load import Load
from benchmarks.measure import Sample
from benchmarks.one_order import BareDriver
from benchmarks.report import as_text
from benchmarks.results import POSTGRES, SQLITE, Results
from benchmarks.services import GO, RESPONDER

COUNTS = {"menu": 0, "product": 0, "order": 1000}


def sample(
    service_us: float, database_us: float | None = None, *, rate: int = 1000, p50: int = 1000
) -> Sample:
    load = Load(64, False, rate, 1.0, 1, COUNTS, {}, 0, 0, 0, 0, p50, 2 * p50, 3 * p50, "")
    database = None if database_us is None else database_us * rate / 1e6
    return Sample(load, service_us * rate / 1e6, database, 2**20)


def found(results: Results, start: str) -> Goal:
    return next(goal for goal in goals(results) if goal.what.startswith(start))


def test_two_workers_are_reckoned_without_those_who_order() -> None:
    assert reckoned_rate(sample(100, 20), workers=1) == pytest.approx(10_000)
    assert reckoned_rate(sample(100, 20), workers=2) == pytest.approx(2e6 / 120)
    assert reckoned_rate(sample(100, 300), workers=1) == pytest.approx(2e6 / 400)
    results = Results()
    results.costs.workers.update({1: [sample(100, 20)], 2: [sample(104, 20, rate=1100)]})
    goal = found(results, "orders on Postgres on two cores")
    assert goal.measured.startswith("1.6 × without wrk; 1.1 × with wrk")
    assert goal.met
    results.costs.workers[2] = [sample(104)]
    assert not found(results, "orders on Postgres on two cores").met, "the database was not seen"
    results.costs.workers[2] = [sample(105, 30)]
    assert not found(results, "orders on Postgres on two cores").met


def test_an_order_may_cost_a_fifth_more_than_at_its_cheapest() -> None:
    results = Results()
    by_number = {16: [sample(109, 10)], 64: [sample(90, 10)], 1000: [sample(105, 10)]}
    results.costs.connections[POSTGRES] = by_number
    goal = found(results, "processor time of an order over 16, 64, 1,000 connections")
    assert goal.met
    assert "1.2 × (119, 100, 115 µs)" in goal.measured
    by_number[1000] = [sample(111, 10)]
    assert not found(results, "processor time of an order").met


def test_one_order_is_held_against_the_bare_driver() -> None:
    results = Results()
    results.costs.alone[SQLITE] = [(sample(300, p50=480), BareDriver(1000, 300.0, 600.0, 100.0, 0))]
    goal = found(results, "one order at a time, p50, order-food, sqlite")
    assert (goal.met, goal.measured) == (True, "1.6 ×, 480 of 300 µs (processor time: 3.0 ×)")
    results.costs.alone[SQLITE] = [(sample(300, p50=481), BareDriver(1000, 300.0, 600.0, 100.0, 0))]
    assert not found(results, "one order").met


def test_one_disturbance_that_is_too_large_or_a_failed_request_fails_the_goal() -> None:
    results = Results()
    results.disturbances += [Disturbance("a refresh", 10, 19), Disturbance("feeds", 4, 8)]
    assert found(results, "p99 of everything").met
    results.disturbances.append(Disturbance("feeds", 4, 8.1, control_ms=10))
    assert "feeds: 2.0 × (2.5 × with the load elsewhere)" in found(results, "p99").measured
    assert not found(results, "p99 of everything").met
    results.disturbances[-1] = Disturbance("feeds", 4, 8, failed=1)
    assert not found(results, "p99 of everything").met


def test_ratios_that_are_small_are_not_shown_as_nothing() -> None:
    results = Results()
    for name, rate in ((POSTGRES, 3000), (GO, 2000), (RESPONDER, 100_000)):
        results.add("list", name, sample(10, rate=rate))
    assert found(results, "list, against the Go service").met
    assert not found(results, "list, against the bare responder").met
    assert "0.03 × bare responder, 1.5 × Go" in as_text(results, "make bench")
    assert "1.0 × " not in as_text(results, "make bench").partition("**Goals**")[0]
