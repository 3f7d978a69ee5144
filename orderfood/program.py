"""What every program does around its work: arguments, settings, logging, signals, exit codes.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | not done; one line on stderr says why |
| 2 | an argument or a setting makes no sense |
| 129, 130, 131, 143 | stopped by SIGHUP, SIGINT, SIGQUIT or SIGTERM |
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import textwrap
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orderfood.observe.logs import close_logs, configure_logging, write_last_line
from orderfood.observe.tracing import start_tracing
from orderfood.settings import (
    Settings,
    SettingsError,
    describe_settings,
    log_format_of,
    package_version,
    read_settings,
)
from orderfood.settings.secrets import hide_passwords
from orderfood.signals import ending_signals, ignore_ending_signals, ignore_signals
from storage.errors import StorageError

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a signal's receiver may take to clean up."""

Work = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Program:
    """One of the commands. ``name`` is the console script's and, in logs, the service's."""

    name: str
    description: str
    work: Work
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None
    expected_errors: tuple[type[Exception], ...] = ()
    """What the work may raise, beside StorageError, to say that it could not be done."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    """What makes the event loop; None is asyncio's own."""


def run_program(program: Program, argv: Sequence[str] | None = None) -> int:
    """Runs the program to its end and returns its exit code.

    ENDING signals cancel the work; work that would rather end in its own way replaces their
    handlers on the running loop. argparse itself exits after --help, --version and wrong usage.
    """
    arguments = _parser(program).parse_args(argv)
    ignore_signals()
    try:
        return _run(program, arguments)
    except KeyboardInterrupt:  # before the loop had its handlers, or after
        return _refuse(program, _Stopped(signal.SIGINT), 128 + signal.SIGINT)
    finally:
        close_logs()


def _run(program: Program, arguments: argparse.Namespace) -> int:
    expected: tuple[type[Exception], ...] = (StorageError, *program.expected_errors)
    try:
        settings = read_settings()
        configure_logging(settings, program.name)
        with (
            _traced(settings, program) as flush,
            _ending(),
            asyncio.Runner(loop_factory=program.loop_factory) as runner,
        ):
            runner.run(_until_signal(program, program.work(settings, arguments), flush))
    except SettingsError as error:
        return _refuse(program, error, 2)
    except _Stopped as error:
        return _refuse(program, error, error.exit_code)
    except expected as error:
        return _refuse(program, hide_passwords(str(error)), 1)
    except Exception:
        logger.critical("this should not have happened", exc_info=True)
        return _refuse(program, "this should not have happened; the log says more", 1)
    return 0


@contextmanager
def _ending() -> Iterator[None]:
    """Behind this block the program ends, whatever signal comes: what is still to be sent and
    written has bounds of its own."""
    try:
        yield
    finally:
        ignore_ending_signals()


class _Stopped(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def _traced(settings: Settings, program: Program) -> Iterator[Callable[[], None]]:
    """Yields what sends the last spans, which it also does at the end: when the loop is closed, so
    that a collector that hangs holds up nothing but the end, and that not for long."""
    tracing = start_tracing(settings, program.name)
    flush = tracing.stop if tracing else _nothing
    try:
        yield flush
    finally:
        flush()


def _nothing() -> None:
    """There are no spans to send."""


async def _until_signal(
    program: Program, work: Coroutine[Any, Any, None], flush: Callable[[], None]
) -> None:
    """Awaits the work; raises _Stopped when a signal kept it from its end.

    A driver's thread that waits for a lock cannot be cancelled. After STOP_SECONDS the process ends
    without it, as if it was killed, which every storage survives.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()
        loop.call_later(STOP_SECONDS, _give_up, program, _Stopped(number), flush)

    for number in ending_signals():
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except (asyncio.CancelledError, Exception) as error:
        if received:
            raise _Stopped(received[0]) from error
        raise


def _give_up(program: Program, stopped: _Stopped, flush: Callable[[], None]) -> None:
    flush()
    close_logs()
    os._exit(_refuse(program, stopped, stopped.exit_code))


def _refuse(program: Program, error: object, code: int) -> int:
    level = logging.INFO if isinstance(error, _Stopped) else logging.ERROR
    write_last_line(program.name, str(error), level, log_format_of())
    return code


def _parser(program: Program) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program.name,
        description=program.description,
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"{program.name} {package_version()}"
    )
    program.add_arguments(parser)
    return parser


def _settings_help() -> str:
    lines = ["settings, read from the environment:"]
    for name, default, meaning in describe_settings():
        lines.append(f"  {name} (default: {default})")
        lines.append(textwrap.fill(meaning, 78, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)
