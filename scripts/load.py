"""``database-load``: lowers its priority beside a server, then runs scripts/loading.py.

On one machine with a server a load takes the processor from it for a third of a second, most of it
for its own imports: that is why it gives way before them. Measured on two cores with loads in a
loop, the p99 of requests was 2.0 (Postgres) and 2.9 times (SQLite) its value without them; at this
niceness it was 1.5 and 1.2 times.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

NICENESS = 10
"""What nice(1) adds, too, when nothing else is said."""


YOUNG_OBJECTS = 100_000
"""New objects after which Python looks for garbage: entries of fixtures are none, and looking
through them again and again was a fifth of a load's time."""


def give_way() -> None:
    """Lowers this process's priority; where that is not allowed, it stays. Saves the processor what
    finds nothing."""
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    with suppress(OSError):
        os.nice(NICENESS)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    give_way()
    from scripts.loading import main as load

    return load(argv)


if __name__ == "__main__":
    sys.exit(main())
