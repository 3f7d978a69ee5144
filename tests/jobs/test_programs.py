"""What both jobs do alike: arguments, settings, waiting, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orderfood.settings import describe_settings
from rig.processes import PATIENCE
from tests.jobs.jobs import finish, refusal, run_job, run_well, start_into, start_job

NAMES = {"migrate": "database-migration", "load": "database-load"}

pytestmark = pytest.mark.parametrize("job", NAMES)


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def url_of(server: socket.socket) -> str:
    return f"postgresql://cook:s3cret@127.0.0.1:{server.getsockname()[1]}/orders"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_help_lists_every_setting(job: str) -> None:
    text = "\n".join(run_well(job, "--help"))
    assert text.startswith(f"usage: {NAMES[job]} ")
    for setting in describe_settings():
        assert f"{setting.name} (default: {setting.default})" in text


def test_version(job: str) -> None:
    (line,) = run_well(job, "--version")
    assert line.startswith(f"{NAMES[job]} ")


def test_wrong_usage(job: str) -> None:
    finished = run_job(job, "--nonsense")
    assert finished.returncode == 2
    assert "--nonsense" in finished.stderr


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("STORAGE_URL", "mysql://h/d", "memory://, sqlite:///path or postgresql://"),
        ("STORAGE_WAIT_SECONDS", "nan", "a number of seconds from 0 to 86400"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error or critical"),
    ],
)
def test_bad_settings(job: str, name: str, value: str, allowed: str) -> None:
    line = refusal(run_job(job, **{name: value}), code=2)
    assert line.startswith(f"{NAMES[job]}: {name} is '{value}'; allowed: {allowed}")


def test_bad_url_hides_its_password(job: str) -> None:
    line = refusal(run_job(job, STORAGE_URL="postgresql//cook:s3cret@db/orders"), code=2)
    assert "postgresql//cook:***@db/orders" in line
    assert "s3cret" not in line


def test_a_database_that_never_comes_up(job: str) -> None:
    url = f"postgresql://cook:s3cret@127.0.0.1:{closed_port()}/orders"
    finished = run_job(job, STORAGE_URL=url, STORAGE_WAIT_SECONDS="1")
    assert refusal(finished).startswith(f"{NAMES[job]}: ")
    assert "s3cret" not in finished.stdout + finished.stderr


def test_a_database_that_never_answers(job: str, silent_server: socket.socket) -> None:
    finished = run_job(job, STORAGE_URL=url_of(silent_server), STORAGE_WAIT_SECONDS="1")
    assert "s3cret" not in refusal(finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it(
    job: str, silent_server: socket.socket, number: signal.Signals, code: int
) -> None:
    process = start_job(job, STORAGE_URL=url_of(silent_server), STORAGE_WAIT_SECONDS="60")
    connection, _ = silent_server.accept()
    with connection:
        process.send_signal(number)
        line = refusal(finish(process), code)
    assert line == f"{NAMES[job]}: stopped by {number.name}"


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """A pipe whose reader has stalled."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 4096):
            pass
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_reader_that_stalls_does_not_keep_it(
    job: str, full_pipe: int, log_format: str, tmp_path: Path
) -> None:
    settings = {"STORAGE_URL": f"sqlite:///{tmp_path}/shop.db", "LOG_FORMAT": log_format}
    if job == "load":
        run_well("migrate", **settings)
    process = start_into(full_pipe, job, **settings)
    try:
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def test_nor_does_it_keep_a_signal_from_ending_it(
    job: str, full_pipe: int, silent_server: socket.socket
) -> None:
    process = start_into(
        full_pipe,
        job,
        STORAGE_URL=url_of(silent_server),
        STORAGE_WAIT_SECONDS="60",
    )
    connection, _ = silent_server.accept()
    with connection:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(PATIENCE) == 143
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGQUIT, 131)])
def test_other_signals_end_it_in_its_own_way(
    job: str, silent_server: socket.socket, number: signal.Signals, code: int
) -> None:
    process = start_job(job, STORAGE_URL=url_of(silent_server), STORAGE_WAIT_SECONDS="60")
    connection, _ = silent_server.accept()
    with connection:
        for ignored in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN):
            process.send_signal(ignored)
        process.send_signal(number)
        line = refusal(finish(process), code)
    assert line == f"{NAMES[job]}: stopped by {number.name}"


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"PORT": "x"}, 2, "PORT is 'x'; allowed: "),
        ({"STORAGE_URL": "sqlite:////nowhere/shop.db"}, 1, "the folder /nowhere"),
        ({"STORAGE_URL": "postgresql://h:1/d", "STORAGE_WAIT_SECONDS": "0"}, 1, "Postgres"),
    ],
)
def test_in_json_every_line_is_json(
    job: str, settings: dict[str, str], code: int, message: str
) -> None:
    finished = run_job(job, **{"LOG_FORMAT": "json", **settings})
    assert finished.returncode == code
    lines = [json.loads(line) for line in (finished.stdout + finished.stderr).splitlines()]
    assert (lines[-1]["level"], lines[-1]["service"]) == ("error", NAMES[job])
    assert lines[-1]["message"].startswith(message)


def test_in_json_a_signal_is_json_too(job: str, silent_server: socket.socket) -> None:
    process = start_job(
        job, STORAGE_URL=url_of(silent_server), STORAGE_WAIT_SECONDS="60", LOG_FORMAT="json"
    )
    connection, _ = silent_server.accept()
    with connection:
        process.send_signal(signal.SIGTERM)
        finished = finish(process)
    lines = [json.loads(line) for line in (finished.stdout + finished.stderr).splitlines()]
    assert (lines[-1]["level"], lines[-1]["message"]) == ("info", "stopped by SIGTERM")
