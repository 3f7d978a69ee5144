"""The log lines: one record a line whatever is in it, and never a password."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from orderfood.logs import configure_logging, hide_passwords, say
from orderfood.settings import read_settings

logger = logging.getLogger("orderfood.test")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
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
