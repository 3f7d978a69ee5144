"""Which signals end a program, and which do nothing."""

from __future__ import annotations

import signal

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What ends a program in its own way: SIGHUP and SIGQUIT as SIGTERM does."""

_NAMES = (
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGVTALRM",
    "SIGPROF",
    "SIGIO",
    "SIGPWR",
    "SIGSTKFLT",
)
_REAL_TIME = range(getattr(signal, "SIGRTMIN", 1), getattr(signal, "SIGRTMAX", 0) + 1)
IGNORED = (*(getattr(signal, n) for n in _NAMES if hasattr(signal, n)), *_REAL_TIME)
"""What would kill a program that does not know it, and means nothing here."""


def ignore_signals() -> None:
    """From now on those that mean nothing here do nothing."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def ignore_ending_signals() -> None:
    """From now on those that end a program do nothing: it ends already."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def ending_signals() -> tuple[signal.Signals, ...]:
    """Those that end the program; without SIGHUP where nohup has told it to pass that over."""
    hung_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in ENDING if not (hung_up and number == signal.SIGHUP))
