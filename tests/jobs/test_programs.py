"""What both jobs do alike: arguments, settings, waiting, signals."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from orderfood.settings import describe_settings
from tests.jobs.jobs import finish, refusal, run_job, run_well, start_job

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
