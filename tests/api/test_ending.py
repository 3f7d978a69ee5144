"""How the server starts and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from rig.processes import PATIENCE, RunningServer, command, environment, serving
from tests.api.client import KEY, Client, connect
from tests.api.test_feed_edges import served
from tests.api.test_protocol import head, read_answer, socket_to

BODY = b'{"items": [{"productId": "1", "quantity": 1}]}'


def wait_for_status(client: Client, path: str, status: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while client.get(path).status != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_serves_on_says_that_it_goes_and_then_ends(number: int) -> None:
    with serving("memory://", DRAIN_SECONDS=30) as server:
        with connect(server.url) as client, socket_to(server) as in_flight:
            in_flight.sendall(head(Content_Length=len(BODY)))
            assert client.get("/ready").headers["Connection"] is None
            server.process.send_signal(number)
            wait_for_status(client, "/ready", 503)
            answer = client.get("/api/product")
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
            assert client.order({"items": [{"productId": "1", "quantity": 1}]}).status == 200
            in_flight.sendall(BODY)
            assert read_answer(in_flight)[0] == 200
        # nobody is connected any more: it ends long before the thirty seconds are over
        assert server.process.wait(PATIENCE / 2) == 0


@pytest.mark.parametrize("name", ["httptools", "tornado"])
async def test_a_request_that_waits_to_be_accepted_is_answered_at_the_end(name: str) -> None:
    async with served(name) as (port, _):
        waiting = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        waiting.sendall(head("/health").replace(b"POST", b"GET", 1))
        # and the server stops, before it had a turn
    with waiting:
        assert read_answer(waiting)[0] == 200


MEANINGLESS = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGRTMIN")


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_that_mean_nothing_do_nothing(fresh_database: str, workers: int) -> None:
    if fresh_database == "memory://" and workers > 1:
        pytest.skip("memory:// has one process")
    with serving(fresh_database, WORKERS=workers) as server, connect(server.url) as client:
        assert client.get("/health").status == 200
        ours = server.process.pid
        children = children_of(ours)
        deadline = time.monotonic() + PATIENCE
        while workers > 1 and not (len(children) == workers and all(map(has_begun, children))):
            assert time.monotonic() < deadline
            children = children_of(ours)
        for name in MEANINGLESS:
            for pid in (ours, *map(int, children)):
                os.kill(pid, getattr(signal, name))
        assert client.get("/health").status == 200
        assert children_of(ours) == children
        assert server.stop() == 0


def has_begun(pid: str) -> bool:
    """Whether it is past its imports: what is not there yet serves nobody, and may be killed. Until
    it is a program of its own it ignores what its parent does."""
    if b"--worker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return False
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return all(ignored & 1 << (getattr(signal, name) - 1) for name in MEANINGLESS)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_nohup_makes_it_pass_over_a_hang_up() -> None:
    process = subprocess.Popen(
        ["nohup", *command("order-food")],
        env=environment(STORAGE_URL="memory://", PORT=0),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            server = RunningServer(process)
            process.send_signal(signal.SIGHUP)
            with connect(server.url) as client:
                assert client.get("/health").status == 200
                assert client.get("/ready").status == 200
            assert server.stop() == 0
        finally:
            process.kill()


def test_in_json_the_last_line_is_json() -> None:
    with serving("memory://") as server:
        done = failing_start(STORAGE_URL="memory://", PORT=server.port)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    entry = json.loads(done.stderr)
    assert (entry["level"], entry["service"]) == ("error", "order-food")
    assert entry["message"].startswith("cannot listen on ")


def test_in_json_every_line_of_several_processes_is_json(shared_url: str) -> None:
    done = failing_start(STORAGE_URL=shared_url, PORT=0, WORKERS=2)
    messages = [json.loads(line)["message"] for line in (done.stdout + done.stderr).splitlines()]
    assert messages[-1] == "the first worker did not start"
    assert "run database-migration first" in messages[-2]


def test_sigint_skips_the_wait_but_not_what_is_in_flight() -> None:
    with serving("memory://", DRAIN_SECONDS=30) as server, socket_to(server) as in_flight:
        in_flight.sendall(head(Content_Length=len(BODY)))
        with connect(server.url) as client:
            assert client.get("/health").status == 200
        server.process.send_signal(signal.SIGINT)
        wait_until_refused(server.port)
        in_flight.sendall(BODY)
        assert read_answer(in_flight)[0] == 200
        assert server.process.wait(PATIENCE) == 0


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return
        assert time.monotonic() < deadline


def test_a_request_that_never_ends_does_not_keep_the_server() -> None:
    with serving("memory://", DRAIN_SECONDS=0.2) as server, socket_to(server) as in_flight:
        in_flight.sendall(head(Content_Length=len(BODY)))
        assert server.stop(signal.SIGTERM) == 0


def test_an_idle_connection_does_not_keep_the_server() -> None:
    with serving("memory://", DRAIN_SECONDS=0.2) as server, connect(server.url) as client:
        assert client.get("/health").status == 200
        assert server.stop(signal.SIGTERM) == 0


def failing_start(**settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("order-food"),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with serving("memory://") as server:
        done = failing_start(STORAGE_URL="memory://", PORT=server.port)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(server.port) in done.stderr


def test_no_schema_names_the_command_to_run(fresh_url: str) -> None:
    if fresh_url == "memory://":
        pytest.skip("memory:// has no schema")
    done = failing_start(STORAGE_URL=fresh_url, PORT=0)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "database-migration" in done.stderr


def test_a_store_without_a_menu_is_healthy_and_not_ready(fresh_url: str) -> None:
    from rig.processes import run

    if fresh_url == "memory://":
        pytest.skip("memory:// always has its fixtures")
    assert run("database-migration", STORAGE_URL=fresh_url).returncode == 0
    with serving(fresh_url) as server, connect(server.url) as client:
        assert client.get("/health").status == 200
        answer = client.get("/ready")
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        assert "database-load" in answer.json["message"]
        assert (client.get("/api/product").status, client.get("/api/product").json) == (200, [])
        assert run("database-load", STORAGE_URL=fresh_url).returncode == 0
        wait_for_status(client, "/ready", 200)
        assert client.get("/api/order/x", **KEY).status == 404
