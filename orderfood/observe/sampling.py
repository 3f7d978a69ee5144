"""The sampling decision on traces that begin here, at the cost of a count.

A sampler that goes by the ratio of ids takes each new trace with the same probability. How many are
passed over until the next one is taken then has the geometric distribution: it is drawn once, and
counted down. The trace that is taken gets an id that the sampler takes.
"""

from __future__ import annotations

import math
import random
import re

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, TraceIdRatioBased

ALL_IDS = TraceIdRatioBased.TRACE_ID_LIMIT + 1
"""How many lower halves of an id there are, which is what samplers go by."""


class NewTraces:
    """Decides as ``sampler`` does on traces that begin here. One of an unknown kind is asked about
    each of them."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._bound = bound_of(sampler.get_description())
        self.passed_over: float = 0
        """How many traces from the next one on are not taken. May be counted down by whoever passes
        one over, until it is 0."""
        if self._bound is not None:
            self.passed_over = draw_gap(self._bound / ALL_IDS)

    def next_id(self) -> int | None:
        """The id of the next trace; None when it is not taken."""
        if self.passed_over:
            self.passed_over -= 1
            return None
        if self._bound is None:
            trace_id = _draw_id(ALL_IDS)
            return trace_id if samples(self._sampler, Context(), trace_id) else None
        self.passed_over = draw_gap(self._bound / ALL_IDS)
        return _draw_id(self._bound)


def draw_gap(share: float) -> float:
    """How many are passed over until the next one is taken, where each is with this probability."""
    if share <= 0:
        return math.inf
    if share >= 1:
        return 0
    return math.floor(math.log(1 - random.random()) / math.log1p(-share))  # noqa: S311 - no secret


def _draw_id(bound: int) -> int:
    """One whose lower half is below the bound. The upper half is not 0, for an id must not be."""
    return random.randrange(1, 2**64) << 64 | random.randrange(bound)  # noqa: S311


def samples(sampler: Sampler, parent: Context, trace_id: int) -> bool:
    """What the sampler says itself."""
    return sampler.should_sample(parent, trace_id, "").decision is Decision.RECORD_AND_SAMPLE


_ROOT = re.compile(r"(?:ParentBased\{root:)?(\w+)(?:\{([0-9.e-]+)\})?(?:,.*)?\}?")


def bound_of(description: str) -> int | None:
    """Below which lower halves of ids a sampler of this description takes a trace that begins here;
    None where that is not all there is to it. (Descriptions are specified, unlike a sampler's
    fields: https://opentelemetry.io/docs/specs/otel/trace/sdk/#built-in-samplers.)"""
    found = _ROOT.fullmatch(description)
    match found and found.groups():
        case ("AlwaysOnSampler", None):
            return ALL_IDS
        case ("AlwaysOffSampler", None):
            return 0
        case ("TraceIdRatioBased", str() as ratio):
            return TraceIdRatioBased.get_bound_for_rate(float(ratio))
    return None
