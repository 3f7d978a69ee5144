"""What goes wrong: each fault begins, lasts for a moment and is over when its function returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chaos.servers import Clock, Server, children_of, send
from rig.postgres import StartedServer


@dataclass(frozen=True)
class Stage:
    """What there is to break."""

    servers: Sequence[Server]
    clock: Clock
    dice: random.Random
    postgres: StartedServer | None = None
    volume: Path | None = None
    """The small file system that a database of its own lies on."""

    def pick(self) -> Server:
        return self.dice.choice(self.servers)

    def while_(self, least: float = 0.5, most: float = 6.5) -> None:
        """Waits, at most for longer than an order may wait."""
        time.sleep(self.dice.uniform(least, most))


def kill_worker(stage: Stage) -> None:
    """SIGKILL to one worker of two"""
    if workers := stage.pick().workers():
        send(signal.SIGKILL, [stage.dice.choice(workers)])


def kill_all_workers(stage: Stage) -> None:
    """SIGKILL to all workers of a server at once"""
    send(signal.SIGKILL, stage.pick().workers())


def stop_worker(stage: Stage) -> None:
    """SIGSTOP to one worker, SIGCONT 0.5 to 6.5 s later"""
    if workers := stage.pick().workers():
        _stop(stage, [stage.dice.choice(workers)])


def kill_supervisor(stage: Stage) -> None:
    """SIGKILL to a supervisor; it is started again"""
    send(signal.SIGKILL, [stage.pick().supervisor])


def kill_server(stage: Stage) -> None:
    """SIGKILL to a supervisor and its workers; it is started again"""
    server = stage.pick()
    send(signal.SIGKILL, [server.supervisor, *server.workers()])


def stop_supervisor(stage: Stage) -> None:
    """SIGSTOP to a supervisor, a worker killed meanwhile, then SIGCONT"""
    server = stage.pick()
    workers = server.workers()
    send(signal.SIGSTOP, [server.supervisor])
    if workers:
        send(signal.SIGKILL, [stage.dice.choice(workers)])
    stage.while_()
    send(signal.SIGCONT, [server.supervisor])


def stop_server(stage: Stage) -> None:
    """SIGSTOP to a supervisor and its workers, then SIGCONT"""
    server = stage.pick()
    _stop(stage, [server.supervisor, *server.workers()])


def terminate_server(stage: Stage) -> None:
    """SIGTERM to a supervisor; it is started again"""
    send(signal.SIGTERM, [stage.pick().supervisor])


def terminate_starting(stage: Stage) -> None:
    """SIGKILL to a supervisor, SIGTERM to the next while it starts"""
    server = stage.pick()
    send(signal.SIGKILL, [server.supervisor])
    stage.while_(0.3, 1.5)
    send(signal.SIGTERM, [server.supervisor])


def kill_backend(stage: Stage) -> None:
    """SIGKILL to the process of a connection: Postgres ends all connections and recovers"""
    if backends := _backends(stage):
        send(signal.SIGKILL, [stage.dice.choice(backends)])


def terminate_backends(stage: Stage) -> None:
    """SIGTERM to the processes of all connections"""
    send(signal.SIGTERM, _backends(stage))


def stop_backends(stage: Stage) -> None:
    """SIGSTOP to the processes of all connections, then SIGCONT"""
    _stop(stage, _backends(stage))


def kill_postmaster(stage: Stage) -> None:
    """SIGKILL to the postmaster; it is started again after a while"""
    assert stage.postgres is not None
    stage.postgres.kill()
    stage.while_()
    stage.postgres.start()


def stop_postmaster(stage: Stage) -> None:
    """SIGSTOP to the postmaster and all its processes, then SIGCONT"""
    assert stage.postgres is not None
    _stop(stage, [stage.postgres.pid, *children_of(stage.postgres.pid)])


def restart_postgres(stage: Stage) -> None:
    """a fast shutdown of Postgres; it is started again after a while"""
    assert stage.postgres is not None
    stage.postgres.stop()
    stage.while_()
    stage.postgres.start()


def fill_disk(stage: Stage) -> None:
    """the disk of the database is full for 0.5 to 6.5 s"""
    _filled(stage, lambda: stage.while_())


def fill_disk_and_kill(stage: Stage) -> None:
    """the same, and SIGKILL to a server meanwhile"""

    def meanwhile() -> None:
        stage.while_(0.3, 1.0)
        kill_server(stage)
        stage.while_(0.5, 3.0)

    _filled(stage, meanwhile)


def jump_clock(stage: Stage) -> None:
    """a server's time of day jumps by up to an hour, either way, and back"""
    server = stage.pick()
    stage.clock.set(0)
    server.sees_clock = True
    server.start_anew()
    stage.while_(0.5, 1.5)
    stage.clock.set(stage.dice.randint(-3600, 3600))
    stage.while_(2.0, 4.0)  # it looks every second
    server.sees_clock = False
    server.start_anew()


def _stop(stage: Stage, pids: Sequence[int]) -> None:
    send(signal.SIGSTOP, pids)
    stage.while_()
    send(signal.SIGCONT, pids)


def _backends(stage: Stage) -> list[int]:
    """The processes that serve connections."""
    assert stage.postgres is not None
    return [pid for pid in children_of(stage.postgres.pid) if b"orderfood" in _title(pid)]


def _title(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _filled(stage: Stage, meanwhile: Callable[[], None]) -> None:
    assert stage.volume is not None
    filler = stage.volume / "filler"
    try:
        with filler.open("wb") as file, suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        os.write(file.fileno(), b"\0" * size)
        meanwhile()
    finally:
        filler.unlink()


OF_SERVERS = (
    kill_worker, kill_all_workers, stop_worker, kill_supervisor, kill_server, stop_supervisor,
    stop_server, terminate_server, terminate_starting,
)  # fmt: skip
OF_POSTGRES = (
    kill_backend, terminate_backends, stop_backends, kill_postmaster, stop_postmaster,
    restart_postgres,
)  # fmt: skip
OF_VOLUME = (fill_disk, fill_disk_and_kill)
OF_CLOCK = (jump_clock,)

Fault = Callable[[Stage], None]
ALL: tuple[Fault, ...] = (*OF_SERVERS, *OF_POSTGRES, *OF_VOLUME, *OF_CLOCK)


def possible(stage: Stage) -> list[Fault]:
    """The faults that can befall a stage."""
    faults: list[Fault] = [*OF_SERVERS]
    faults += OF_POSTGRES if stage.postgres else ()
    faults += OF_VOLUME if stage.volume else ()
    faults += OF_CLOCK if stage.clock.can_jump else ()
    return faults
