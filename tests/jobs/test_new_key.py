"""The script that makes a key, and that what it prints is what a load takes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures import read_fixtures
from orderfood.shop.orders import hash_key
from tests.jobs.jobs import copy_fixtures, read_entries, run_job, run_well, write_entries

SCOPES = ("create_order", "manage_orders", "read_order")
ALL = tuple(word for scope in SCOPES for word in ("--scope", scope))


def new_key(*arguments: str) -> tuple[str, dict[str, Any]]:
    """The key and its entry, out of what the script prints."""
    text = "\n".join(run_well("new_key", *arguments))
    (key,) = re.findall(r"^  ([0-9a-f]{64})$", text, re.M)
    (entry,) = re.findall(r"^  (\{.*\})$", text, re.M)
    assert text.count(key) == 1
    return key, json.loads(entry)


def test_the_entry_is_one_that_a_load_takes(tmp_path: Path) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    key, entry = new_key("--user", "demo", *ALL)
    assert entry == {"hash": hash_key(key), "scopes": list(SCOPES)}
    users = read_entries(folder, "users")
    users[0]["keys"].append(entry)
    write_entries(folder, "users", users)
    (demo,) = (user for user in read_fixtures(folder).catalogue.users if user.id == "demo")
    assert hash_key(key) in {stored.hash for stored in demo.keys}


@pytest.mark.parametrize(
    ("written", "lifetime"),
    [("12h", timedelta(hours=12)), ("90d", timedelta(days=90)), ("4w", timedelta(weeks=4))],
)
def test_a_key_may_expire(written: str, lifetime: timedelta) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    _, entry = new_key("--user", "demo", "--scope", "read_order", "--expires", written)
    assert entry["scopes"] == ["read_order"]
    assert entry["expiresAt"].endswith("Z")
    expires_at = datetime.fromisoformat(entry["expiresAt"])
    assert before + lifetime <= expires_at <= datetime.now(UTC) + lifetime


def test_every_key_is_new() -> None:
    assert new_key("--user", "demo", *ALL) != new_key("--user", "demo", *ALL)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--user", "demo"),
        ALL,
        ("--user", "", *ALL),
        ("--user", "a b", *ALL),
        ("--user", "demo", "--scope", "admin"),
        ("--user", "demo", *ALL, "--expires", "0d"),
        ("--user", "demo", *ALL, "--expires", "90"),
        ("--user", "demo", *ALL, "--expires", "99999w"),
        ("--user", "demo", *ALL, "--expires", "-1d"),
    ],
)
def test_what_makes_no_sense_gives_no_key(arguments: tuple[str, ...]) -> None:
    finished = run_job("new_key", *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")


def test_it_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    run_well("migrate", STORAGE_URL=f"sqlite:///{path}")
    before = path.read_bytes()
    run_well("new_key", "--user", "demo", *ALL, STORAGE_URL=f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if name != "orders.db"] == []
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (0,)
    database.close()
