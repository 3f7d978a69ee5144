"""Three Postgres that are one by a real Patroni with its real etcd: on loopback, and no service.

Whatever one node has of the others, of etcd and of the clients goes through proxies, so that a node
can be cut off as by a pulled cable. Nothing of it stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from rig.ports import free_port
from rig.postgres import execute, find_binaries, run, unprivileged_user

PASSWORD = "s3cret"
START_SECONDS = 60.0
TTL, LOOP_WAIT, RETRY_TIMEOUT = 10, 1, 4
"""Patroni's timing, as quick as it can be had: three times as slow is usual."""

PROGRAMS = {"patroni": "patroni", "etcd": "etcd-server"}
"""Each program that is needed, and Debian's package of it."""

HBA = (
    "local all all trust",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host replication all 127.0.0.1/32 scram-sha-256",
)


class Link(Protocol):
    """A proxy to a port of loopback."""

    stalls: bool
    """While it is set nothing passes, and nobody is told."""

    @property
    def port(self) -> int:
        """Where it listens."""

    def close(self) -> None:
        """Ends it and its connections."""


NewLink = Callable[[int], Link]
"""A proxy to a port."""


class NoPatroni(Exception):
    """Why this machine has no Patroni to test with."""


def check_programs() -> None:
    """Raises NoPatroni, naming what is not installed."""
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        raise NoPatroni(f"not installed: {', '.join(missing)}")


class Process:
    """A program of the cluster, run as the user that Postgres wants."""

    def __init__(self, folder: Path, name: str, arguments: list[str]) -> None:
        self._folder, self._name, self._arguments = folder, name, arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / f"{self._name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=self._folder, **identity(),
            )  # fmt: skip

    def end(self, how: signal.Signals) -> None:
        """Sends a signal, and returns when it has ended."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
            self.process = None

    def log(self) -> str:
        """Its last lines."""
        path = self._folder / f"{self._name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-60:])


def identity() -> dict[str, Any]:
    """Whom to run a program as, and in which environment."""
    user = unprivileged_user()
    who: dict[str, Any] = {}
    if user:
        who = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    return {**who, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}


class Node:
    """A Patroni and its Postgres."""

    def __init__(self, name: str, folder: Path, etcd_port: int, new_link: NewLink) -> None:
        self.name, self._folder = name, folder
        self.port, self._rest_port = free_port(), free_port()
        self.data = folder / name
        self.to_clients = new_link(self.port)
        self._to_peers = [new_link(self.port), new_link(self._rest_port), new_link(etcd_port)]
        configuration = folder / f"{name}.json"  # which is YAML, too
        configuration.write_text(json.dumps(self._configuration()))
        self._patroni = Process(folder, name, ["patroni", str(configuration)])

    def _configuration(self) -> dict[str, Any]:
        peers, rest, etcd = (link.port for link in self._to_peers)
        roles = {name: {"username": name, "password": PASSWORD} for name in ROLES}
        return {
            "scope": "shop",
            "name": self.name,
            "restapi": {
                "listen": f"127.0.0.1:{self._rest_port}",
                "connect_address": f"127.0.0.1:{rest}",
            },
            # as a proxy, or Patroni would ask etcd for its own address and go there
            "etcd3": {"host": f"127.0.0.1:{etcd}", "use_proxies": True},
            "bootstrap": {"dcs": SHARED, "initdb": ["data-checksums", {"encoding": "UTF8"}]},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{peers}",
                "data_dir": str(self.data),
                "bin_dir": str(find_binaries(unprivileged_user(), installed=True)),
                "pgpass": str(self._folder / f"{self.name}.pgpass"),
                "authentication": {
                    "superuser": roles["postgres"],
                    "replication": roles["replicator"],
                },
                "pg_hba": HBA,
                "parameters": {"unix_socket_directories": str(self._folder)},
            },
        }

    def start(self) -> None:
        self._patroni.start()

    def stop(self) -> None:
        """In good order."""
        self._patroni.end(signal.SIGTERM)

    def kill(self) -> None:
        """Both at once, as a machine that loses its power: neither says a word to anybody."""
        self._patroni.end(signal.SIGKILL)
        with suppress(FileNotFoundError, ProcessLookupError):
            server = int((self.data / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
            for pid in (server, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @contextmanager
    def cut_off(self, *, from_clients: bool) -> Iterator[None]:
        """While it lasts nothing passes between this node and etcd and the other nodes, and
        perhaps its clients; nobody is told. What was sent arrives later."""
        links = [*self._to_peers, *([self.to_clients] if from_clients else [])]
        for link in links:
            link.stalls = True
        try:
            yield
        finally:
            for link in links:
                link.stalls = False

    def ask(self, path: str, body: Mapping[str, object] | None = None) -> tuple[int, Any]:
        """Status and answer of Patroni's REST."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._rest_port}{path}",
            data=json.dumps(body).encode() if body is not None else None,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def says(self, path: str) -> bool:
        """Whether Patroni answers 200 there, such as /primary and /sync."""
        try:
            return self.ask(path)[0] == 200
        except OSError:
            return False

    def url(self, database: str = "postgres", role: str = "postgres") -> str:
        """Straight to the server, past every proxy."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        return self._patroni.log()

    def close(self) -> None:
        self.kill()
        for link in (self.to_clients, *self._to_peers):
            link.close()


ROLES = ("postgres", "replicator")

SHARED: dict[str, Any] = {
    "ttl": TTL,
    "loop_wait": LOOP_WAIT,
    "retry_timeout": RETRY_TIMEOUT,
    "synchronous_mode": True,
    "postgresql": {
        "use_pg_rewind": True,
        # it is processes that are killed here, and never the machine
        "parameters": {"fsync": "off", "shared_buffers": "32MB", "max_connections": 100},
    },
}
"""What Patroni keeps in etcd, for all nodes."""


class PatroniCluster:
    """Three nodes and etcd. ``url`` names all three, and means the one that takes writes."""

    def __init__(self, folder: Path, new_link: NewLink) -> None:
        self._folder = folder
        etcd_port = free_port()
        self.etcd = Process(folder, "etcd", etcd_command(folder, etcd_port))
        self._etcd_port = etcd_port
        self.nodes = [Node(f"node{n}", folder, etcd_port, new_link) for n in (1, 2, 3)]
        hosts = ",".join(f"127.0.0.1:{node.to_clients.port}" for node in self.nodes)
        self.url = f"postgresql://orderfood:{PASSWORD}@{hosts}/shop?target_session_attrs=read-write"

    def start(self) -> None:
        """Returns when there are a leader, a synchronous standby and the database."""
        self.start_etcd()
        for node in self.nodes:
            node.start()
        leader = self.wait_until_whole()
        role = f"CREATE ROLE orderfood LOGIN PASSWORD '{PASSWORD}'"
        for statement in (role, "CREATE DATABASE shop OWNER orderfood"):
            run(execute(leader.url(), statement))

    def start_etcd(self) -> None:
        self.etcd.start()
        deadline = time.monotonic() + START_SECONDS
        while not decided(f"http://127.0.0.1:{self._etcd_port}/version"):
            assert time.monotonic() < deadline, self.etcd.log()
            time.sleep(0.05)

    def leader(self) -> Node | None:
        """The node that Patroni says takes writes."""
        leaders = [node for node in self.nodes if node.says("/primary")]
        return leaders[0] if len(leaders) == 1 else None

    def wait_for_leader(self, other_than: Node | None = None) -> Node:
        """The leader, as soon as there is one that takes writes."""
        return self._wait(lambda: self._writable(other_than))

    def wait_until_whole(self) -> Node:
        """The leader, when one of the two others has for a while been its synchronous standby and
        the third follows, too."""
        since: list[float] = []

        def whole() -> Node | None:
            leader = self._whole()
            if leader is None:
                since.clear()
                return None
            since.append(time.monotonic())
            return leader if since[-1] - since[0] > 2 * LOOP_WAIT else None

        return self._wait(whole)

    def _whole(self) -> Node | None:
        leader = self.leader()
        others = [node for node in self.nodes if node is not leader]
        following = [node for node in others if node.says("/replica?lag=1MB")]
        synchronous = any(node.says("/sync") for node in following)
        return leader if len(following) == 2 and synchronous else None

    def _writable(self, other_than: Node | None) -> Node | None:
        for node in self.nodes:
            if node is not other_than and takes_writes(node):
                return node
        return None

    def _wait(self, find: Callable[[], Node | None]) -> Node:
        deadline = time.monotonic() + START_SECONDS
        while (found := find()) is None:
            assert time.monotonic() < deadline, "\n".join(node.log() for node in self.nodes)
            time.sleep(0.05)
        return found

    def switch_over(self, leader: Node, candidate: Node) -> None:
        """Hands the lead to another node, as somebody would who updates a machine."""
        body = {"leader": leader.name, "candidate": candidate.name}
        status, answer = leader.ask("/switchover", body)
        assert status == 200, answer

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.etcd.end(signal.SIGKILL)


def decided(url: str) -> bool:
    """Whether etcd knows its version, without which Patroni does not start."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return b"not_decided" not in answer.read()
    except OSError:
        return False


def takes_writes(node: Node) -> bool:
    """Whether a commit succeeds there now, on a standby, too, where one is wanted."""
    try:
        run(_write(node.url()))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


async def _write(url: str) -> None:
    async with asyncio.timeout(1):
        connection = await asyncpg.connect(url, statement_cache_size=0)
        try:
            if await connection.fetchval("SELECT pg_is_in_recovery()"):
                raise asyncpg.ReadOnlySQLTransactionError
            await connection.execute("SELECT pg_logical_emit_message(true, 'probe', '')")
        finally:
            connection.terminate()


def etcd_command(folder: Path, port: int) -> list[str]:
    """An etcd of one member, on a port of loopback."""
    clients, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return [
        "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--logger", "zap",
        "--listen-client-urls", clients, "--advertise-client-urls", clients,
        "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
        "--initial-cluster", f"default={peers}",
    ]  # fmt: skip


@contextmanager
def patroni_cluster(new_link: NewLink) -> Iterator[PatroniCluster]:
    """A cluster that takes orders, ended when the block ends. Raises NoPatroni, NoPostgres."""
    check_programs()
    user = unprivileged_user()
    find_binaries(user, installed=True)  # of a version that Debian's Patroni knows
    folder = Path(tempfile.mkdtemp(prefix="orderfood-patroni-"))
    if user:
        shutil.chown(folder, user)
    with ExitStack() as exits:
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = PatroniCluster(folder, new_link)
        exits.callback(cluster.close)
        cluster.start()
        yield cluster
