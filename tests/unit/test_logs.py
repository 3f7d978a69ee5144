"""The log lines: one record a line whatever is in it, and never a password."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from orderfood.observe.logs import configure_logging, say
from orderfood.settings import read_settings
from orderfood.settings.secrets import hide_passwords, mask_url

logger = logging.getLogger("orderfood.test")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    hooks = threading.excepthook, sys.unraisablehook
    yield
    logging.captureWarnings(False)
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], level = before
    root.setLevel(level)


def configure(log_format: str, level: str = "info") -> None:
    environ = {"LOG_FORMAT": log_format, "LOG_LEVEL": level, "SERVICE_VERSION": "1.2"}
    configure_logging(read_settings(environ), "order-food")


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_the_constants_and_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    logger.info("placed %d\nof ü", 2, extra={"fields": {"status": 200, "when": datetime.min}})
    (entry,) = read_lines(capsys)
    assert datetime.fromisoformat(entry.pop("timestamp")).tzinfo is not None
    assert entry == {
        "level": "info",
        "logger": "orderfood.test",
        "message": "placed 2\nof ü",
        "service": "order-food",
        "version": "1.2",
        "environment": "dev",
        "status": 200,
        "when": "0001-01-01 00:00:00",
    }


def test_fields_replace_no_constant(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    logger.info("hello", extra={"fields": {"service": "another", "message": "x"}})
    (entry,) = read_lines(capsys)
    assert (entry["service"], entry["message"]) == ("order-food", "hello")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_exceptions_are_shown_without_passwords(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure(log_format)
    try:
        raise OSError("no answer from postgresql://cook:s3cret@db/orders")
    except OSError:
        logger.exception("it failed at postgresql://cook:s3cret@db/orders")
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert out.count("postgresql://cook:***@db/orders") >= 2
    assert "Traceback" in out
    assert log_format == "text" or "Traceback" in json.loads(out)["exception"]


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "warning")
    logger.info("too low")
    logger.warning("high enough")
    assert [entry["message"] for entry in read_lines(capsys)] == ["high enough"]


def test_a_second_call_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    configure("json")
    logger.info("once")
    assert len(read_lines(capsys)) == 1


def test_text_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    logger.info("GET\n/x", extra={"fields": {"status": 200, "user": "a b", "forged": "x\ny"}})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(r' INFO    orderfood.test: GET\n/x status=200 user="a b" forged="x\ny"')


def test_results_are_bare_in_text_and_shown_at_every_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("text", "critical")
    say(logger, "applied 0001", migration="0001")
    assert capsys.readouterr().out == "applied 0001\n"
    configure("json", "critical")
    say(logger, "applied 0001", migration="0001")
    (entry,) = read_lines(capsys)
    assert (entry["message"], entry["migration"]) == ("applied 0001", "0001")


def test_a_reader_that_went_away_stops_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("text")

    def write(text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", write)
    logger.info("unheard")
    assert capsys.readouterr().err == ""


def test_text_around_a_url_stays() -> None:
    text = "a: b@c, https://u:p@ss@h/x and https://h:80/y"
    assert hide_passwords(text) == "a: b@c, https://u:***@h/x and https://h:80/y"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://u:p@h/d: no route", "postgres://u:***@h/d: no route"),
        ("a://x://u:p@h", "a://x:***@h"),
        ("u:p@h and ://u:p@h", "u:p@h and ://u:p@h"),
        ("http://h/?next=pg://u:p@h", "http://h/?next=pg://u:***@h"),
        ("a@b://c:d", "a@b://c:d"),
        ("x://:p@h", "x://:***@h"),
    ],
)
def test_the_password_of_a_url_is_masked(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    "part",
    ["a", "a ", "a://", "a://b:", "a://b:c@", "a:", "://", "@", ":", " ", "://@:", "pwd=", "pwd='",
     "pwd ", "a://b:1", "é"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", " ://", "@", "://u:p@h", "://u:p"])
def test_masking_takes_time_in_proportion(part: str, end: str) -> None:
    for hide in (lambda text: hide_passwords(text, most=10**9), mask_url):
        less, more = (
            processor_time(hide, (part * size)[:size] + end) for size in (20_000, 160_000)
        )
        assert more < 30 * less + 0.002, "eight times the work; the square would be 64 times"


def processor_time(function: Callable[[str], str], text: str) -> float:
    """The least of five calls."""
    spent = []
    for _ in range(5):
        began = time.process_time()
        function(text)
        spent.append(time.process_time() - began)
    return min(spent)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_message_is_cut(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(read_settings({"LOG_FORMAT": log_format}), "test")
    logger.warning("%s pg://u:s3cret%s@h", "a" * 4000, "s3cret" * 100_000)
    line = capsys.readouterr().out
    assert len(line) < 5000
    assert "s3cret" not in line
    assert "more characters" in line


def test_the_end_of_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(read_settings({"LOG_FORMAT": "json"}), "test")
    try:
        raise ValueError("a" * 10_000 + " the end")
    except ValueError:
        logger.exception("oh")
    assert "the end" in json.loads(capsys.readouterr().out)["exception"]


@pytest.mark.parametrize("level", ["debug", "critical"])
def test_libraries_that_quote_clients_are_silent(
    capsys: pytest.CaptureFixture[str], level: str
) -> None:
    configure_logging(read_settings({"LOG_FORMAT": "json", "LOG_LEVEL": level}), "test")
    for name in (
        "tornado.general",
        "opentelemetry.trace.span",
        "opentelemetry.baggage.propagation",
    ):
        logging.getLogger(name).warning("Invalid pair %s", "a" * 9)
    assert capsys.readouterr().out == ""


UNSEEN = "\x00\x07\x1b\x7f\x85\x9b\u2028\u2029\u202a\u202e\u2066\u2069"


def test_nothing_in_a_text_line_turns_or_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    logger.info("a%sb", UNSEEN, extra={"fields": {"forged": UNSEEN}})
    say(logger, f"a{UNSEEN}b")
    out = capsys.readouterr().out
    assert not set(UNSEEN) & set(out)
    assert len(out.splitlines()) == 2
    assert r"a\x00\x07\x1b\x7f\x85\x9b\u2028\u2029\u202a\u202e\u2066\u2069b" in out


def test_no_line_of_a_traceback_can_be_taken_for_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("text")
    try:
        raise ValueError(f"bad\n2026-01-01T00:00:00.000+00:00 INFO    x: forged\r{UNSEEN}")
    except ValueError:
        logger.exception("it failed", stack_info=True)
    first, *others = capsys.readouterr().out.split("\n")
    assert first.endswith("it failed")
    assert all(line.startswith("  ") for line in others[:-1])
    assert not set(UNSEEN + "\r") & set("".join(others))


def test_a_line_that_cannot_be_made_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]  # the tests' own handlers raise
    logger.info("%d", "no number")
    out, err = capsys.readouterr()
    assert json.loads(out)["message"].startswith("a line cannot be made: TypeError")
    assert err == ""


def test_what_others_print_becomes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")

    def fail() -> None:
        raise ValueError("in a thread")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    out, err = capsys.readouterr()
    warning, failure = map(json.loads, out.splitlines())
    assert "DeprecationWarning: old" in warning["message"]
    assert "ValueError: in a thread" in failure["exception"]
    assert err == ""
