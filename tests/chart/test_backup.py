"""The dumps of chart/postgres: what its CronJobs run, run here on a real Postgres."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from rig.postgres import NoPostgres, execute, find_binaries, run, unprivileged_user
from tests.chart.charts import Document, containers, kinds, merge, nested, one, render

ON = nested("backup.enabled", True)
OLD = "2000-01-01T000000Z.dump"


def program(name: str) -> Document:
    """The container of one of the two CronJobs."""
    jobs = {d["metadata"]["name"]: d for d in render("postgres", ON) if d["kind"] == "CronJob"}
    [container] = jobs[f"postgres-{name}"]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    return dict(container)


@cache
def tools() -> str:
    """A PATH on which the tools of the server's own version come first."""
    try:
        return f"{find_binaries(unprivileged_user())}{os.pathsep}{os.environ['PATH']}"
    except NoPostgres:  # the server is somebody's
        return os.environ["PATH"]


def start(name: str, url: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs what a pod of the CronJob would."""
    parts = urlsplit(url)
    assert parts.hostname
    where = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path[1:],
    }
    container = program(name)
    given = {each["name"] for each in container["env"]}
    assert given >= where.keys() - {"PGPORT"}
    return subprocess.run(
        [*container["command"], *container["args"]],
        cwd=folder,
        env={"PATH": tools(), "KEEP": "7", **where, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """A database with one order, for which the tools at hand are new enough."""
    for tool in ("pg_dump", "pg_restore", "psql", "createdb", "dropdb"):
        if shutil.which(tool, path=tools()) is None:
            pytest.skip(f"there is no {tool}")
    run(execute(postgres_url, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)"))
    run(execute(postgres_url, "CREATE TABLE order_events AS SELECT 7 AS seq"))
    run(execute(postgres_url, "CREATE TABLE event_log AS SELECT 7 AS last"))
    asked = [shutil.which("pg_dump", path=tools()) or "", "--version"]
    known = subprocess.run(asked, capture_output=True, text=True).stdout
    version = int(rows(postgres_url, "SHOW server_version_num")[0]) // 10000
    if int(known.split()[2].partition(".")[0]) < version:
        pytest.skip(f"{known.strip()} is older than the server, {version}")
    yield postgres_url
    for name in rows(postgres_url, "SELECT datname FROM pg_database WHERE datname ~ 'restore_'"):
        run(execute(postgres_url, f"DROP DATABASE {name}"))


def rows(url: str, query: str) -> list[str]:
    async def ask() -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return [str(row[0]) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return run(ask())


def dumps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_dump_is_restored_and_what_was_there_stays(url: str, tmp_path: Path) -> None:
    done = start("backup", url, tmp_path)
    assert done.returncode == 0, done.stderr
    run(execute(url, "INSERT INTO orders VALUES (2); CREATE TABLE later ()"))
    done = start("restore", url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert rows(url, "SELECT id FROM orders") == ["1"]
    assert rows(url, "SELECT 1 FROM pg_class WHERE relname = 'later'") == []
    assert rows(url, "TABLE order_events") == []
    assert rows(url, "TABLE event_log") == ["1000000007"], "a number that was seen may come again"
    before = done.stdout.split()[-1]
    assert rows(urlsplit(url)._replace(path=f"/{before}").geturl(), "TABLE orders") == ["1", "2"]


def test_nothing_is_restored_below_somebody_who_is_connected(url: str, tmp_path: Path) -> None:
    assert start("backup", url, tmp_path).returncode == 0
    run(execute(url, "INSERT INTO orders VALUES (2)"))

    async def meanwhile() -> subprocess.CompletedProcess[str]:
        connection = await asyncpg.connect(url)
        try:
            return start("restore", url, tmp_path)
        finally:
            await connection.close()

    done = run(meanwhile())
    assert done.returncode != 0
    assert "accessed by other users" in done.stderr
    assert rows(url, "TABLE orders") == ["1", "2"]


def test_a_dump_that_is_named_is_the_one_that_is_restored(url: str, tmp_path: Path) -> None:
    assert start("backup", url, tmp_path).returncode == 0
    [made] = dumps(tmp_path)
    (tmp_path / "9999.dump").write_text("no dump at all")
    assert start("restore", url, tmp_path).returncode != 0
    assert rows(url, "TABLE orders") == ["1"]
    run(execute(url, "DELETE FROM orders"))
    assert start("restore", url, tmp_path, DUMP=made).returncode == 0
    assert rows(url, "TABLE orders") == ["1"]
    assert "there is no" in start("restore", url, tmp_path, DUMP="other.dump").stderr


def test_the_newest_dumps_are_kept(url: str, tmp_path: Path) -> None:
    for day in range(1, 4):
        (tmp_path / f"2000-01-0{day}T000000Z.dump").touch()
    assert start("backup", url, tmp_path, KEEP="2").returncode == 0
    older, newer = dumps(tmp_path)
    assert older == "2000-01-03T000000Z.dump"
    assert (tmp_path / newer).stat().st_mode & 0o077 == 0


def test_a_dump_that_fails_takes_none_away(url: str, tmp_path: Path) -> None:
    (tmp_path / OLD).touch()
    done = start("backup", url, tmp_path, PGDATABASE="nowhere", KEEP="1")
    assert done.returncode != 0
    assert dumps(tmp_path) == [OLD]


def test_the_pods_are_none_of_the_database_s() -> None:
    documents = render("postgres", ON)
    selector = one(documents, "Service")["spec"]["selector"]
    for document in documents:
        if document["kind"] == "CronJob":
            labels = document["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
            assert not selector.items() <= labels.items()
    assert {d["spec"]["suspend"] for d in documents if d["kind"] == "CronJob"} == {True, False}


def test_the_claim_may_be_somebody_else_s() -> None:
    assert "PersistentVolumeClaim" in kinds(render("postgres", ON))
    documents = render("postgres", merge(ON, nested("backup.persistence.existingClaim", "nas")))
    assert "PersistentVolumeClaim" not in kinds(documents)
    assert containers(documents).keys() >= {("CronJob", "backup"), ("CronJob", "restore")}
