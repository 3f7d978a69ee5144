"""Signals that end a program, and signals that are ignored."""

from __future__ import annotations

import signal

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a program gracefully: SIGHUP and SIGQUIT as SIGTERM does."""

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
"""Signals without a meaning here, whose default action would kill the process."""


def ignore_signals() -> None:
    """Ignores the signals of IGNORED from now on."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def ignore_ending_signals() -> None:
    """Ignores the signals of ENDING from now on, because the program ends already."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals of ENDING; without SIGHUP when it is ignored already, as under nohup."""
    hung_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in ENDING if not (hung_up and number == signal.SIGHUP))
