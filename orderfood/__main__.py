"""order-food: settings → storage → shop → listen → drain → close."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from fixtures import FixtureError
from orderfood.background import background, tune_garbage_collector
from orderfood.composition import (
    NAME,
    api_application,
    metrics_application,
    new_context,
    request_tracer,
)
from orderfood.observe.logs import say
from orderfood.program import Program, run_program
from orderfood.server.drain import ListenError, Server, bind, serve_until_signal, url_of
from orderfood.server.metrics_port import metrics_served, urls_text
from orderfood.server.workers import Worker, WorkerFailed, supervise
from orderfood.settings import Settings
from orderfood.store import prepare_storage, storage_of

logger = logging.getLogger(NAME)


async def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves until a signal comes, or has several workers do so."""
    worker = Worker(arguments.worker) if arguments.worker else None
    if worker is None and settings.workers > 1:
        await supervise(settings)
        return
    async with storage_of(settings) as storage:
        await prepare_storage(storage, settings)
        context = new_context(settings, storage)
        handed = worker.metrics if worker else None
        metrics_server = Server(metrics_application(context), settings, context.traffic)
        async with background(context), metrics_served(metrics_server, settings, handed) as more:
            front = api_application(context, request_tracer(settings))
            server = Server(front, settings, context.traffic)
            tune_garbage_collector()
            await listen(server, settings, worker, more)
            await serve_until_signal(server, settings.drain_seconds)
            context.observer.flush()
            if worker is not None:
                worker.close()


async def listen(
    server: Server, settings: Settings, worker: Worker | None, more: dict[str, str]
) -> None:
    """Listens, and says so: to the person who started this, or to the supervisor. Raises
    ListenError."""
    if worker is not None:
        await server.listen(worker.listening)
        worker.listens()
        return
    listening = bind(settings.host, settings.port)
    url = url_of(listening, settings.host)
    await server.listen(listening)
    say(logger, f"order-food listens on {url}{urls_text(more)}", url=url, **more)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed: it needs about half the time for a request."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


PROGRAM = Program(
    name=NAME,
    description="Serves the API: the menu, and orders.",
    work=serve,
    add_arguments=lambda parser: parser.add_argument("--worker", help=argparse.SUPPRESS),
    expected_errors=(ListenError, FixtureError, WorkerFailed),
    loop_factory=new_event_loop,
)


def main() -> None:
    """The console script."""
    sys.exit(run_program(PROGRAM))


if __name__ == "__main__":
    main()
