"""Short versions of what benchmarks.refresh and benchmarks.feed measure at length: requests beside
a refresh of a large catalogue, and beside a thousand streams that follow the orders."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import feed, refresh
from benchmarks.services import Stage, storage_url

REFRESHED = ("sqlite", "postgres")
PHASE = 4.0
PHASES = ("load", refresh.ELSEWHERE)
FEED_RATE = 200
FEED_SECONDS = 7.0


class Disturbance(NamedTuple):
    """The p99 of requests at a steady pace, in milliseconds."""

    what: str
    alone_ms: float
    beside_ms: float
    failed: int = 0
    control_ms: float | None = None
    """Beside the same done to another database: what it takes of the processor alone."""

    @property
    def ratio(self) -> float:
        return self.beside_ms / self.alone_ms


def measure_refreshes(stage: Stage, backend: str, rounds: int) -> Disturbance:
    """100,000 coupons, with the defaults of benchmarks.refresh in all else."""
    url = storage_url(stage, backend, "large")
    options = refresh.parse_options(
        ["--url", url, "--rounds", str(rounds), "--phase", str(PHASE), "--phases", *PHASES]
    )
    found = asyncio.run(refresh.measure(options, stage.folder / f"large-{backend}"))
    idle, load, control = (statistics.median(found.p99[name]) for name in ("idle", *PHASES))
    what = f"a refresh of 100,000 coupons, {backend}"
    return Disturbance(what, idle, load, found.failed, control)


def measure_feeds(stage: Stage) -> Iterator[Disturbance]:
    """A thousand streams that follow everything, and that follow their user's own orders."""
    folder = feed.fixtures_with_followers(stage.folder / "followers")
    options = feed.parse_options(["--rate", str(FEED_RATE), "--seconds", str(FEED_SECONDS)])
    for number, row in enumerate(feed.ONE_PROCESS):
        url = f"sqlite:///{stage.folder}/feed-{number}.db"
        with feed.prepared(url, folder) as server:
            found = feed.measure(row, server, server, options)
        what = f"{row.streams:,} feeds of {row.name}"
        yield Disturbance(what, feed.p(found.alone, 99), feed.p(found.beside, 99))
