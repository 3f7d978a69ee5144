"""A real PgBouncer in transaction mode before a test server: what a session remembers is gone after
each transaction, and a few server connections are shared by everybody."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from rig.ports import free_port
from rig.postgres import START_SECONDS, unprivileged_user, wait_for_port

CONFIGURATION = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
logfile = {folder}/log
"""


@contextmanager
def pgbouncer_before(url: str, pool_size: int = 3) -> Iterator[int]:
    """The port of a PgBouncer before the server that ``url`` names, with so many connections to a
    database."""
    parts, user = urlsplit(url), unprivileged_user()
    folder, port = Path(tempfile.mkdtemp(prefix="orderfood-pgbouncer-")), free_port()
    (folder / "users").write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
    (folder / "pgbouncer.ini").write_text(
        CONFIGURATION.format(
            host=parts.hostname,
            server_port=parts.port or 5432,
            port=port,
            folder=folder,
            pool_size=pool_size,
        )
    )
    if user:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
    process = subprocess.Popen(
        ["pgbouncer", "--quiet", str(folder / "pgbouncer.ini")], user=user, cwd=folder
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def through(port: int, url: str) -> str:
    """The same database, by way of PgBouncer."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
