"""Several workers on one port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rig.processes import PATIENCE, RunningServer, command, environment, prepare, run, serving
from tests.api.client import KEY, connect

BODY = {"items": [{"productId": "1", "quantity": 1}]}


@pytest.fixture
def url(shared_url: str) -> str:
    prepare(shared_url)
    return shared_url


@pytest.fixture
def server(url: str) -> Iterator[RunningServer]:
    with serving(url, WORKERS=2, DRAIN_SECONDS=2) as running:
        yield running


def workers_of(server: RunningServer) -> set[int]:
    return children_of(server.process.pid)


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted(server: RunningServer, name: str) -> float:
    with connect(server.url) as client:
        text = client.get("/metrics").body.decode()
    return sum(float(value) for value in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE))


def order_many(server: RunningServer, count: int) -> None:
    for _ in range(count):
        with connect(server.url) as client:  # a connection each: all workers get some
            client.place(("1", 1))


def test_metrics_sum_over_workers_and_the_dead_leave_their_counts(server: RunningServer) -> None:
    placed = re.escape('orders_placed_total{coupon_kind="none"}')
    order_many(server, 40)
    wait_for(lambda: counted(server, placed) == 40)
    wait_for(lambda: counted(server, "orderfood_worker_up(?:{.*})?") in (0.0, 2.0))
    victim = min(workers_of(server))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(workers_of(server) - {victim}) == 2)
    order_many(server, 10)
    wait_for(lambda: counted(server, placed) == 50)
    gauges = set(re.findall(r'pid="(\d+)"', metrics_text(server)))
    assert str(victim) not in gauges


def metrics_text(server: RunningServer) -> str:
    with connect(server.url) as client:
        return client.get("/metrics").body.decode()


def test_a_killed_worker_comes_back_and_no_acknowledged_order_is_lost(
    server: RunningServer,
) -> None:
    placed: list[str] = []
    stop = threading.Event()

    def order() -> None:
        while not stop.is_set():
            try:
                with connect(server.url) as client:
                    placed.append(client.order(BODY).json["id"])
            except OSError:
                continue  # its worker was killed before it had answered

    thread = threading.Thread(target=order)
    thread.start()
    for _ in range(3):
        known = workers_of(server)
        os.kill(max(known), signal.SIGKILL)
        wait_for(lambda known=known: len(workers_of(server)) == 2 and workers_of(server) != known)
    stop.set()
    thread.join(PATIENCE)
    with connect(server.url) as client:
        for id_ in placed:
            assert client.get(f"/api/order/{id_}", **KEY).status == 200


def test_a_drain_drains_all(server: RunningServer) -> None:
    with connect(server.url) as client:
        assert client.get("/health").status == 200
        pids = workers_of(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_no_worker_outlives_a_supervisor_that_is_killed(server: RunningServer) -> None:
    pids = workers_of(server)
    server.process.kill()
    wait_for(lambda: not [pid for pid in pids if alive(pid)])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_keeps_one_from_starting_ends_all(shared_url: str) -> None:
    done = run("order-food", STORAGE_URL=shared_url, WORKERS=2, PORT=0)
    assert done.returncode == 1
    assert "database-migration" in done.stderr


def test_memory_has_one() -> None:
    done = run("order-food", STORAGE_URL="memory://", WORKERS=2, PORT=0)
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"].startswith("WORKERS is '2'; allowed: ")


@contextmanager
def starting(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor whose first worker waits for a database that is not there."""
    settings = environment(STORAGE_URL=url, WORKERS=2, PORT=0, STORAGE_WAIT_SECONDS=PATIENCE)
    process = subprocess.Popen(
        command("order-food"), env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: children_of(process.pid))
        yield process
    finally:
        process.terminate()
        process.wait(2 * PATIENCE)


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_first_worker_that_is_killed_before_it_listens_is_replaced(nowhere: str) -> None:
    with starting(nowhere) as process:
        for _ in range(2):
            first = children_of(process.pid)
            os.kill(min(first), signal.SIGKILL)
            wait_for(lambda first=first: children_of(process.pid) - first)
        assert process.poll() is None


def test_a_signal_ends_a_supervisor_that_is_starting(nowhere: str) -> None:
    with starting(nowhere) as process:
        began = time.monotonic()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - began < PATIENCE / 2, "it waited for the database, too"


def test_what_a_killed_supervisor_leaves_behind_is_removed(sqlite_url: str, tmp_path: Path) -> None:
    prepare(sqlite_url)
    with serving(sqlite_url, WORKERS=2, TMPDIR=tmp_path) as server:
        (old,) = tmp_path.glob("orderfood-workers-*")
        os.utime(old, (0, 0))
        with serving(sqlite_url, WORKERS=2, TMPDIR=tmp_path):
            assert old.exists(), "its workers live"
        pids = workers_of(server)
        server.process.kill()
        wait_for(lambda: not [pid for pid in pids if alive(pid)])
        os.utime(old, (0, 0))
    with serving(sqlite_url, WORKERS=2, TMPDIR=tmp_path):
        assert not old.exists()


@pytest.fixture
def nowhere() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        yield f"postgresql://nobody:nothing@127.0.0.1:{silent.getsockname()[1]}/nowhere"
