"""Minutes of chaos: `make chaos`, or `python -m chaos --minutes 60`.

SQLite and Postgres side by side, each with one server and then with two, each server with two
workers. Ends with 1 when something that was acknowledged is not there, was doubled, or anything
else is not as promised.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from chaos.report import REPORT, write_report
from chaos.scenario import Outcome, Scenario, play
from rig.postgres import NoPostgres

LANES = {name: [Scenario(name, 1), Scenario(name, 2)] for name in ("sqlite", "postgres")}
"""What runs one after the other, side by side with the others."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--backends", nargs="+", choices=LANES, default=list(LANES))
    parser.add_argument("--report", type=Path, nargs="?", const=REPORT, help="a page to write into")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    outcomes = run_lanes(options.backends, options.minutes * 60, options.seed)
    problems = [f"{one.name}: {problem}" for one in outcomes for problem in one.problems]
    for one in outcomes:
        say(f"{one.name}: {one.counts}")
    for problem in problems:
        say(f"failed: {problem}")
    if options.report and not problems and len(outcomes) == 2 * len(options.backends):
        write_report(options.report, outcomes, options.minutes)
    return 1 if problems else 0


def run_lanes(backends: Sequence[str], seconds: float, seed: int) -> list[Outcome]:
    """The outcomes of all scenarios, in their order; after a signal of those that had begun."""
    outcomes: dict[str, Outcome] = {}
    stop = threading.Event()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def run(scenarios: Sequence[Scenario]) -> None:
        for scenario in scenarios:
            if stop.is_set():
                return
            try:
                outcome = play(scenario, seconds / len(scenarios), seed, say, stop)
            except NoPostgres as reason:
                say(f"left out: {scenario.name}: {reason}")
                continue
            except Exception:
                outcome = Outcome(scenario.name, problems=[traceback.format_exc()])
            outcomes[scenario.name] = outcome

    threads = [threading.Thread(target=run, args=(LANES[name],)) for name in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [scenario.name for name in backends for scenario in LANES[name]]
    return [outcomes[name] for name in names if name in outcomes]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
