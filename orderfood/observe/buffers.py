"""Buffers in front of Prometheus' histograms: many observations are passed on at once."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from prometheus_client import Counter, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BYTES = (0, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)


class HistogramBuffer:
    """A buffer of observations for one histogram.

    The client's own observe costs a microsecond, several of them where processes share files. Here
    it is a third of one, and the histogram gets many at once.
    """

    __slots__ = ("_bounds", "_histogram", "counts", "sum")

    def __init__(self, histogram: Histogram, bounds: tuple[float, ...]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._clear()

    def _clear(self) -> None:
        self.sum = 0.0
        self.counts = [0] * (len(self._bounds) + 1)

    def observe(self, amount: float) -> None:
        """Adds one observation to the buffer."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.sum += amount

    def flush(self) -> int:
        """Passes the buffer on to the histogram and clears it. Returns how many there were."""
        if not (observed := sum(self.counts)):
            return 0
        for bucket, count in zip(self._histogram._buckets, self.counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self.sum)
        self._clear()
        return observed


class RequestBuffers(NamedTuple):
    """What is counted of one kind of request and one status."""

    requests: Counter
    seconds: HistogramBuffer
    received: HistogramBuffer
    sent: HistogramBuffer

    def add(self, seconds: float, received: int, sent: int) -> None:
        """Observes all three. Written out, for every request does this and a call costs as much as
        what it would do."""
        buffer = self.seconds
        buffer.counts[bisect_left(SECONDS, seconds)] += 1
        buffer.sum += seconds
        buffer = self.received
        buffer.counts[bisect_left(BYTES, received)] += 1
        buffer.sum += received
        buffer = self.sent
        buffer.counts[bisect_left(BYTES, sent)] += 1
        buffer.sum += sent

    def flush(self) -> None:
        """Passes all buffers on to the metrics."""
        self.requests.inc(self.seconds.flush())
        self.received.flush()
        self.sent.flush()
