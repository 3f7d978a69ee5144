"""The frame around the programs: which end becomes which exit code and which line."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tornado.ioloop import IOLoop

from orderfood import program
from orderfood.program import Program, Work, run_program
from orderfood.settings import Settings, SettingsError
from orderfood.signals import ENDING, IGNORED
from storage.errors import StorageError, StorageUnavailable


class FixtureProblem(Exception):
    """Stands for what a program expects beside the storage's errors."""


@pytest.fixture(autouse=True)
def _root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    actions = {number: signal.getsignal(number) for number in (*IGNORED, *ENDING)}
    monkeypatch.setenv("LOG_FORMAT", "json")
    hooks = threading.excepthook, sys.unraisablehook
    yield
    logging.captureWarnings(False)
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], level = before
    root.setLevel(level)
    for number, action in actions.items():
        signal.signal(number, action)


@pytest.fixture(autouse=True)
def _current_loop(io_loop: IOLoop) -> Iterator[None]:
    """asyncio.run leaves no current loop, and pytest-tornasync puts back only one that is."""
    yield
    asyncio.set_event_loop(io_loop.asyncio_loop)  # type: ignore[attr-defined]


def run(work: Work, *argv: str) -> int:
    description = "Does what a test wants."
    return run_program(Program("cook", description, work, expected_errors=(FixtureProblem,)), argv)


def failing(error: BaseException) -> Work:
    async def work(settings: Settings, arguments: argparse.Namespace) -> None:
        raise error

    return work


async def succeed(settings: Settings, arguments: argparse.Namespace) -> None:
    await asyncio.sleep(0)


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(succeed) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("PORT is 'x'"), 2, "PORT is 'x'"),
        (StorageUnavailable("no answer\n\tfrom it"), 1, "no answer from it"),
        (StorageError("postgresql://u:s3cret@h/d is down"), 1, "postgresql://u:***@h/d is down"),
        (FixtureProblem("users.json: is not JSON"), 1, "users.json: is not JSON"),
    ],
)
def test_what_is_expected_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    assert run(failing(error)) == code
    assert last_line(capsys) == ("error", line)


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The level and the message of the one line on stderr; nothing is on stdout."""
    out, err = capsys.readouterr()
    entry = json.loads(err)
    assert (out, err.count("\n"), entry["service"]) == ("", 1, "cook")
    return entry["level"], entry["message"]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("no answer\n\tfrom it", "cook: no answer from it\n"),
        ("\x1b[31m \x9b \x85 \u202e", "cook: \\x1b[31m \\x9b \\u202e\n"),
    ],
)
def test_in_text_the_line_begins_with_the_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, message: str, line: str
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "text")
    assert run(failing(StorageUnavailable(message))) == 1
    assert capsys.readouterr() == ("", line)


def test_a_bad_setting_is_found_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "x")
    assert run(failing(AssertionError("it worked"))) == 2
    assert last_line(capsys)[1].startswith("PORT is 'x'; allowed: ")


def test_a_bad_format_is_said_as_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "xml")
    assert run(succeed) == 2
    assert capsys.readouterr().err == "cook: LOG_FORMAT is 'xml'; allowed: text or json\n"


def test_what_nobody_expected_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(ZeroDivisionError("postgresql://u:s3cret@h/d"))) == 1
    out, err = capsys.readouterr()
    entry = json.loads(out)
    assert (entry["level"], entry["service"]) == ("critical", "cook")
    assert "ZeroDivisionError" in entry["exception"]
    assert "s3cret" not in out + err
    assert json.loads(err)["message"] == "this should not have happened; the log says more"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
    ],
)
def test_a_signal_cancels_the_work(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    cleaned = []

    async def work(settings: Settings, arguments: argparse.Namespace) -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    assert run(work) == code
    assert last_line(capsys) == ("info", f"stopped by {number.name}")
    assert cleaned


def test_work_that_does_not_stop_is_left_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    def leave(code: int) -> None:
        assert (code, last_line(capsys)) == (143, ("info", "stopped by SIGTERM"))
        left.set()

    async def work(settings: Settings, arguments: argparse.Namespace) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await left.wait()

    monkeypatch.setattr(program, "STOP_SECONDS", 0)
    monkeypatch.setattr(os, "_exit", leave)
    assert run(work) == 0


def test_work_that_ends_all_the_same_has_succeeded() -> None:
    async def work(settings: Settings, arguments: argparse.Namespace) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert run(work) == 0


@pytest.mark.parametrize(("argument", "out"), [("--version", "cook "), ("--help", "usage: cook ")])
def test_help_and_version_need_no_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argument: str, out: str
) -> None:
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(SystemExit) as caught:
        run(succeed, argument)
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(out)
