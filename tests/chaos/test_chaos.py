"""A minute of chaos; `make chaos` is the same for longer."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from chaos.report import tables
from chaos.scenario import Outcome
from rig.ledger import Happened, Ledger, Step, Stored, check, check_followed
from rig.processes import ROOT

ORDER = {"id": "1", "status": "placed", "version": 1, "total": 9.99}
PLACED = Happened(1, Step("1", 1, "placed"))


def test_a_minute_of_it_loses_nothing() -> None:
    command = [sys.executable, "-m", "chaos", "--minutes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if left_out := re.findall("^left out: (.*)", done.stdout, re.MULTILINE):
        pytest.skip("; ".join(left_out))


def test_the_checker_sees_what_is_wrong() -> None:
    ledger = Ledger()
    ledger.placed("key", ORDER)
    whole = Stored({"1": ORDER}, [PLACED])
    assert check(ledger, whole) == []
    moved = {**ORDER, "version": 2, "status": "accepted"}
    accepted = Happened(2, Step("1", 2, "accepted"))
    assert check(ledger, Stored({"1": moved}, [PLACED, accepted])) == []
    for orders, log in (
        ({}, []),  # lost
        ({"1": {**ORDER, "total": 1.0}}, [PLACED]),  # another
        ({"1": ORDER, "2": {**ORDER, "id": "2"}}, [PLACED, Happened(2, Step("2", 1, "placed"))]),
        ({"1": moved}, [PLACED]),  # an event is lost
        ({"1": moved}, [PLACED, Happened(2, Step("1", 2, "cancelled"))]),
        ({"1": ORDER}, [PLACED, PLACED]),
    ):
        assert check(ledger, Stored(orders, log)) != []
    ledger.moved(moved)
    assert check(ledger, whole) != []
    ledger.steps.clear()
    ledger.placed("key", {**ORDER, "id": "2"})
    assert check(ledger, whole) != []


def test_the_checker_sees_what_a_follower_missed_or_got_twice() -> None:
    second = Happened(2, Step("2", 1, "placed"))
    assert check_followed("feed", [PLACED, second], [PLACED, second]) == []
    for seen in ([PLACED], [PLACED, PLACED, second], [second, PLACED], []):
        assert check_followed("feed", seen, [PLACED, second]) != []


def test_the_report_shows_how_often_and_how_long() -> None:
    outcome = Outcome("SQLite, one server", {"kill_worker": [0.5, 2.0]}, {"events": 1200})
    text = tables([outcome], 10)
    assert "| SIGKILL to one worker of two | 2 \N{MULTIPLICATION SIGN}, 2.0 s |" in text
    assert "| events | 1,200 |" in text
