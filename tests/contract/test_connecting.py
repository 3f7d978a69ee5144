"""Ways to a Postgres: a passfile that is rewritten, hosts that are silent, a pooler, TLS."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.postgres import NamedServer, StartedServer, execute, run
from storage import open_storage
from storage.errors import StorageUnavailable
from storage.postgres import connect
from storage.postgres.connect import Connector
from tests.contract.database import Database, new_order


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where connections are accepted, by the system, and nobody answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def role(postgres_server: NamedServer, postgres_url: str) -> Iterator[str]:
    """One whose password changes."""
    if not isinstance(postgres_server, StartedServer):
        pytest.skip("a server that is not ours may trust everybody")
    name = f"rotated_{urlsplit(postgres_url).path[-8:]}"
    run(execute(postgres_url, f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'first'"))
    yield name
    run(execute(postgres_url, f"DROP OWNED BY {name}"))
    run(execute(postgres_url, f"DROP ROLE {name}"))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
async def test_a_password_that_is_rotated(
    role: str, postgres_url: str, tmp_path: Path, mode: int
) -> None:
    """Whoever may read it: a cluster mounts files for a group."""
    parts, passfile = urlsplit(postgres_url), tmp_path / "passfile"
    url = f"postgresql://{role}@{parts.hostname}:{parts.port}{parts.path}?passfile={passfile}"
    passfile.write_text(f"{parts.hostname}:{parts.port}:*:{role}:first\n")
    passfile.chmod(mode)
    async with Database(postgres_url).open():
        pass
    async with open_storage(url) as storage:
        await storage.add_order(new_order())
        await execute(postgres_url, f"ALTER ROLE {role} PASSWORD 'second'")
        passfile.write_text(f"*:*:*:{role}:second\n")
        await execute(
            postgres_url,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'",
        )
        for _ in range(20):  # one of the old connections may still be found to be gone
            try:
                await storage.add_order(new_order())
            except StorageUnavailable:
                await asyncio.sleep(0.05)
            else:
                break
        await storage.add_order(new_order())
    passfile.unlink()
    with pytest.raises(StorageUnavailable, match="passfile"):
        await open_storage(url, wait_seconds=0).connect()
    passfile.write_text("elsewhere:1:*:*:third\n")
    with pytest.raises(StorageUnavailable, match="no line") as caught:
        await open_storage(url, wait_seconds=0).connect()
    assert "third" not in str(caught.value)


async def test_a_host_that_is_silent_keeps_nobody_from_the_next(
    postgres_url: str, silent_port: int
) -> None:
    parts = urlsplit(postgres_url)
    login = parts.netloc.rpartition("@")[0]
    hosts = f"127.0.0.1:{silent_port},127.0.0.1:{parts.port}"
    url = parts._replace(
        netloc=f"{login}@{hosts}", query="target_session_attrs=read-write&connect_timeout=20"
    )
    async with Database(postgres_url).open():
        pass
    async with open_storage(url.geturl(), wait_seconds=0) as storage:
        await storage.add_order(new_order())


async def test_silent_hosts_are_not_waited_for_one_by_one(
    postgres_url: str, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of them would take all the time that there is before the fifth had its turn."""
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 50)
    parts = urlsplit(postgres_url)
    login = parts.netloc.rpartition("@")[0]
    hosts = ",".join([f"127.0.0.1:{silent_port}"] * 4 + [f"127.0.0.1:{parts.port}"])
    url = parts._replace(netloc=f"{login}@{hosts}", query="target_session_attrs=read-write")
    async with Database(postgres_url).open():
        pass
    storage = open_storage(url.geturl(), wait_seconds=0)
    async with asyncio.timeout(25), storage:  # one by one: 40 seconds
        await storage.add_order(new_order())


@pytest.mark.parametrize(
    "attributes", ["any", "primary", "read-write", "prefer-standby", "standby", "read-only"]
)
async def test_which_server_is_meant(postgres_url: str, attributes: str) -> None:
    parts = urlsplit(postgres_url)
    login, _, host = parts.netloc.rpartition("@")
    for hosts in (host, f"{host},{host}", f"127.0.0.1:1,[::1]:1,{host}"):
        url = parts._replace(netloc=f"{login}@{hosts}", query=f"target_session_attrs={attributes}")
        storage = open_storage(url.geturl(), wait_seconds=0)
        if attributes in ("standby", "read-only"):
            with pytest.raises(StorageUnavailable):
                await storage.connect()
        else:
            async with storage:
                assert await storage.list_migrations() == []


@pytest.mark.parametrize(
    "options",
    [
        "channel_binding=prefer&gssencmode=disable&keepalives=1&keepalives_idle=30",
        "application_name=shop&connect_timeout=3&options=-c%20statement_timeout%3D5s",
        "fallback_application_name=shop&client_encoding=utf8&sslmode=prefer&replication=false",
    ],
)
async def test_options_reach_a_real_server(postgres_url: str, options: str) -> None:
    async with open_storage(f"{postgres_url}?{options}", wait_seconds=0) as storage:
        assert await storage.list_migrations() == []


async def test_a_certificate_that_the_system_does_not_know(postgres_url: str) -> None:
    storage = open_storage(f"{postgres_url}?sslrootcert=system", wait_seconds=0)
    with pytest.raises(StorageUnavailable):
        await storage.connect()


@pytest.mark.parametrize("hosts", [1, 2])
async def test_whoever_gives_up_leaves_no_connection_behind(postgres_url: str, hosts: int) -> None:
    """One that nobody has is a warning when it is collected, and a warning is an error here."""
    parts = urlsplit(postgres_url)
    login, _, host = parts.netloc.rpartition("@")
    several = parts._replace(netloc=f"{login}@{','.join([host] * hosts)}").geturl()
    connector = Connector(f"{several}?target_session_attrs=read-write")
    for number in range(30):
        connecting = asyncio.create_task(connector.connect())
        await asyncio.sleep(number / 2000)
        connecting.cancel()
        with suppress(asyncio.CancelledError):
            (await connecting).terminate()
    gc.collect()
