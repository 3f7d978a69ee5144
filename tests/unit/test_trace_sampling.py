"""The sampling decision on traces that begin here, which is drawn ahead."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling as sdk
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from orderfood.observe.sampling import ALL_IDS, NewTraces, bound_of, draw_gap, samples


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(16)


@pytest.mark.parametrize("share", [0.5, 0.3, 0.01])
def test_as_many_are_passed_over_as_with_a_draw_for_each(share: float) -> None:
    gaps = Counter(draw_gap(share) for _ in range(100_000))
    surprise, kinds, gap = 0.0, 0, 0
    while (expected := 100_000 * share * (1 - share) ** gap) >= 10:
        surprise += (gaps[gap] - expected) ** 2 / expected
        kinds, gap = kinds + 1, gap + 1
    assert abs(surprise - kinds) < 5 * math.sqrt(2 * kinds), "chi square"


@pytest.mark.parametrize("share", ["0.3", "0.01", "1.0"])
@pytest.mark.parametrize("kind", ["traceidratio", "parentbased_traceidratio"])
def test_a_ratio_is_kept_and_the_sampler_takes_every_id(kind: str, share: str) -> None:
    plain = sdk.TraceIdRatioBased(float(share))
    traces = NewTraces(plain if kind == "traceidratio" else sdk.ParentBased(plain))
    ids = [id_ for _ in range(100_000) if (id_ := traces.next_id()) is not None]
    expected = 100_000 * float(share)
    assert abs(len(ids) - expected) <= 5 * math.sqrt(expected * (1 - float(share)))
    assert all(samples(plain, Context(), id_) for id_ in ids[:1000])
    assert len(set(ids)) == len(ids)
    lower = sum(id_ % ALL_IDS for id_ in ids) / len(ids)
    assert lower == pytest.approx(ALL_IDS * float(share) / 2, rel=0.1), "any that it takes"


@pytest.mark.parametrize(
    ("sampler", "bound"),
    [
        (sdk.ALWAYS_ON, ALL_IDS),
        (sdk.DEFAULT_ON, ALL_IDS),
        (sdk.ALWAYS_OFF, 0),
        (sdk.DEFAULT_OFF, 0),
        (sdk.TraceIdRatioBased(0.25), ALL_IDS // 4),
        (sdk.TraceIdRatioBased(1e-05), sdk.TraceIdRatioBased.get_bound_for_rate(1e-05)),
        (sdk.ParentBased(sdk.TraceIdRatioBased(0.0)), 0),
        (sdk.ParentBased(sdk.ALWAYS_ON, local_parent_sampled=sdk.ALWAYS_OFF), ALL_IDS),
    ],
)
def test_what_a_sampler_takes_is_read_from_its_description(sampler: Sampler, bound: int) -> None:
    assert bound_of(sampler.get_description()) == bound
    if bound in (0, ALL_IDS):
        traces = NewTraces(sampler)
        assert {traces.next_id() is not None for _ in range(100)} == {bound > 0}


class EveryThird(Sampler):
    """One that goes by something else."""

    asked = 0

    def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
        self.asked += 1
        return SamplingResult([Decision.DROP, Decision.RECORD_AND_SAMPLE][self.asked % 3 == 0])

    def get_description(self) -> str:
        return "EveryThird{TraceIdRatioBased{0.5}}"


@pytest.mark.parametrize("based_on_parent", [False, True])
def test_another_sampler_is_asked_about_each_trace(based_on_parent: bool) -> None:
    sampler = EveryThird()
    traces = NewTraces(sdk.ParentBased(sampler) if based_on_parent else sampler)
    taken = [traces.next_id() is not None for _ in range(9)]
    assert taken == 3 * [False, False, True]
    assert sampler.asked == 9
