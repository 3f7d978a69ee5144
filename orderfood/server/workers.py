"""Several worker processes on one port, and the supervisor that starts and restarts them.

All workers accept on one socket that the supervisor has opened: a connection that waits in its
queue when a worker dies is taken by another one. Each worker is an ``order-food`` of its own, held
by one end of a socket pair: it says there that it listens, and drains when the other end is closed,
so that none outlives a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from orderfood.observe.logs import say
from orderfood.server.drain import bind, received_signals, url_of
from orderfood.server.metrics_port import metrics_socket, metrics_url, urls_text
from orderfood.settings import Settings, worker_environment

logger = logging.getLogger("order-food")

QUICK_SECONDS = 1.0
"""A worker that lived no longer is restarted with backoff."""

ABANDONED_SECONDS = 60.0
"""How old a folder is, at least, that a killed supervisor has left behind."""

LONGEST_PAUSE = 5.0
"""The longest backoff, in seconds."""


class WorkerFailed(Exception):
    """The first worker gave up before it listened; it has said why."""


async def supervise(settings: Settings) -> None:
    """Runs ``settings.workers`` workers until a signal comes. Raises ListenError, WorkerFailed."""
    with (
        bind(settings.host, settings.port) as listening,
        metrics_socket(settings) as metrics,
        _metrics_folder() as (folder, lock),
    ):
        sockets = [listening, *([metrics] if metrics else [])]
        supervisor = _Supervisor(settings, sockets, folder, lock)
        signals = received_signals()
        starting = asyncio.create_task(supervisor.start())
        signal_ = asyncio.create_task(signals.get())
        await asyncio.wait((starting, signal_), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _say_where(settings, listening, metrics)
        else:
            starting.cancel()
        await supervisor.forward_signal(await signal_)
        while not await supervisor.ended(signals):
            pass


def _say_where(settings: Settings, listening: socket.socket, metrics: socket.socket | None) -> None:
    url, more = url_of(listening, settings.host), metrics_url(settings, metrics)
    text = f"order-food listens on {url}{urls_text(more)}"
    say(logger, text, url=url, workers=settings.workers, **more)


@contextmanager
def _metrics_folder() -> Iterator[tuple[str, int]]:
    """The folder of prometheus-client's multiprocess mode, through which workers share their
    metrics, and a descriptor that locks it: the lock lasts until the last process that has it
    ends, so that what was killed is told from what lives."""
    _remove_abandoned_folders()
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, lock
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


_PREFIX = "orderfood-workers-"


def _remove_abandoned_folders() -> None:
    """Removes the folders of supervisors that were killed. One that was just made may not be locked
    yet."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(lock).st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


class _Supervisor:
    def __init__(
        self, settings: Settings, listening: Sequence[socket.socket], folder: str, lock: int
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._listening = listening
        self._folder = folder
        self._processes: set[asyncio.subprocess.Process] = set()
        self._starting: set[asyncio.subprocess.Process] = set()
        self._keepers: set[asyncio.Task[None]] = set()
        self._ending = False

    async def start(self) -> None:
        """Starts the first worker, and the others when it listens: a fault of the settings shows in
        the first. Raises WorkerFailed when it gave up; one that was killed is replaced."""
        first = asyncio.Event()
        self._keep(first)
        ready = asyncio.create_task(first.wait())
        await asyncio.wait({ready, *self._keepers}, return_when=asyncio.FIRST_COMPLETED)
        if not first.is_set():
            ready.cancel()
            raise WorkerFailed("the first worker did not start")
        for _ in range(self._settings.workers - 1):
            self._keep(first)

    def _keep(self, first: asyncio.Event) -> None:
        self._keepers.add(asyncio.create_task(self._keep_alive(first)))

    async def _keep_alive(self, first: asyncio.Event) -> None:
        """Restarts a worker whenever it ends, with backoff, until the shutdown."""
        clock, pause = asyncio.get_running_loop().time, 0.1
        while not self._ending:
            began = clock()
            code = await self._run_worker(first)
            if self._ending or (code >= 0 and not first.is_set()):
                return
            lived_long = clock() - began > QUICK_SECONDS
            pause = 0.1 if lived_long else min(LONGEST_PAUSE, 2 * pause)
            await asyncio.sleep(0 if lived_long else pause)

    async def _run_worker(self, first: asyncio.Event) -> int:
        """Runs a worker to its end, and returns its exit code; a signal's is negative."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                process = await self._spawn(theirs)
            self._processes.add(process)
            self._starting.add(process)
            if self._ending:  # the signal was passed on while this one was being started
                process.terminate()
            with suppress(OSError):
                if await asyncio.get_running_loop().sock_recv(ours, 1):
                    self._starting.discard(process)
                    first.set()
            code = await process.wait()
            self._processes.discard(process)
            self._starting.discard(process)
        self._forget(process.pid)
        if not self._ending and (code < 0 or first.is_set()):
            logger.warning("worker %d ended with code %d: starting another", process.pid, code)
        return code

    async def _spawn(self, control: socket.socket) -> asyncio.subprocess.Process:
        fds = [each.fileno() for each in (control, *self._listening)]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orderfood",
            f"--worker={','.join(map(str, fds))}",
            pass_fds=[*fds, self._lock],
            env=worker_environment(self._folder),
            start_new_session=True,  # Ctrl-C on a terminal is for the supervisor to pass on
        )

    def _forget(self, pid: int) -> None:
        """Removes the live gauges of a worker that has ended; its counters stay."""
        from prometheus_client.multiprocess import mark_process_dead

        with suppress(OSError):
            mark_process_dead(pid, self._folder)  # type: ignore[no-untyped-call]

    async def forward_signal(self, number: int) -> None:
        """Sends a signal to all workers; none is started any more. One that does not know the
        signal yet gets SIGTERM, which ends it without a word."""
        self._ending = True
        logger.info("%s: stopping %d workers", signal.Signals(number).name, len(self._processes))
        for process in list(self._processes):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if process in self._starting else number)

    async def ended(self, signals: asyncio.Queue[int]) -> bool:
        """Waits until all workers have ended, or for another signal, which is passed on."""
        another = asyncio.create_task(signals.get())
        everyone = asyncio.create_task(asyncio.wait(self._keepers))
        await asyncio.wait((another, everyone), return_when=asyncio.FIRST_COMPLETED)
        if another.done():
            await self.forward_signal(another.result())
            return False
        another.cancel()
        return True


class Worker:
    """The worker's side: the sockets it was handed, perhaps one for the metrics, too."""

    def __init__(self, fds: str) -> None:
        self._control, self.listening, *more = (
            socket.socket(fileno=int(fd)) for fd in fds.split(",")
        )
        self.metrics = more[0] if more else None
        self._control.setblocking(False)

    def listens(self) -> None:
        """Reports to the supervisor that this worker listens, and drains when the supervisor
        ends."""
        with suppress(OSError):
            self._control.send(b"1")
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control, self._supervisor_is_gone)

    def _supervisor_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Closes the connection to the supervisor."""
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
