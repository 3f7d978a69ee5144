"""order-food: settings → storage → catalogue → app → listen → drain → close."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fixtures import FixtureError, read_fixtures
from orderfood.api import menu
from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.ratelimit import RateLimiter
from orderfood.api.routes import METRICS, ROUTES, build_router
from orderfood.couponfiles.watching import coupon_codes
from orderfood.metrics_port import metrics_served, told
from orderfood.observe.accesslog import AccessLog
from orderfood.observe.logs import say
from orderfood.observe.storage import ObservedStorage
from orderfood.observe.tracing import current_tracing, say_untraced
from orderfood.program import Program, require_schema, run_program, storage_of
from orderfood.server.drain import ListenError, Server, bind, serve_until_signal, url_of
from orderfood.server.workers import Worker, WorkerFailed, supervise
from orderfood.settings import Settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.observer import Observers
from orderfood.shop.orders import Shop
from orderfood.shop.sample_keys import SampleKeyWatch, refused_keys
from orderfood.web.pages import PAGES, pages_application
from storage import Storage
from storage.errors import StorageError

if TYPE_CHECKING:
    from orderfood.observe.metrics import Metrics
    from orderfood.observe.request_spans import RequestTracer

logger = logging.getLogger("order-food")

CLEANUP_SECONDS = 60.0
"""How often expired idempotency keys are looked for."""

PORTION = 25
"""How many of them are deleted at a time: each lies on a page of its own, and an order that comes
meanwhile waits for all of these."""

PORTION_SECONDS = 0.02
"""The least pause between two portions of them."""

PORTION_PAUSES = 20.0
"""How often as long as a portion has taken the pause after it lasts at least: a database that is
busy, or slow, is left alone for longer."""


async def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves until a signal comes, or has several workers do so."""
    worker = Worker(arguments.worker) if arguments.worker else None
    if worker is None and settings.workers > 1:
        await supervise(settings)
        return
    async with storage_of(settings) as inner:
        await prepare_storage(inner, settings)
        context = new_context(settings, inner)
        handed = worker.metrics if worker else None
        async with background(context), metrics_served(context, handed) as metrics:
            tracer = request_tracer(settings)
            server = Server(front_door(context, tracer), settings, context.traffic)
            spare_the_collector()
            await listen(server, settings, worker, metrics)
            await serve_until_signal(server, settings.drain_seconds)
            context.observer.flush()
            if worker is not None:
                worker.close()


YOUNG_OBJECTS = 20_000
"""How many objects more than before there may be until Python looks for garbage among them.
Requests leave no cycles behind (tests/unit/test_garbage.py), and Python's own figure of 700 is soon
reached by those of a few orders in flight, which it would look through for nothing."""


def spare_the_collector() -> None:
    """Takes what there is now out of Python's garbage collection: modules, classes and the menu
    live as long as the process, and to look through them again and again costs orders between 3 and
    10 % of their time. What comes later is looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


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
    say(logger, f"order-food listens on {url}{told(more)}", url=url, **more)


def front_door(context: Context, tracer: RequestTracer | None) -> Api:
    """Who answers every request; the metrics only where they have no port of their own."""
    apart = context.settings.metrics_port is not None
    routes = [route for route in ROUTES if not (apart and route in METRICS)]
    return Api(context, build_router(routes, PAGES), tracer, pages_application())


def new_context(settings: Settings, inner: Storage) -> Context:
    """The shop on this storage, and who watches over it."""
    metrics = new_metrics(settings, inner)
    access_log, keys = AccessLog(settings, PROGRAM.name), SampleKeyWatch(settings.environment)
    observer = Observers([access_log, *([metrics] if metrics else []), keys])
    storage = ObservedStorage(inner, observer=observer)
    catalogue = CatalogueCache(
        storage, observer=observer, deadlines=storage.deadlines, show=menu.show
    )
    if metrics is not None:
        metrics.watch(catalogue)
        metrics.watch_orders(storage.watch)
    limits = (settings.rate_limit, settings.abuse_limit)
    limiter, guesses = (RateLimiter(limit) if limit else None for limit in limits)
    shop = Shop(
        storage, catalogue, observer=observer, refused_keys=refused_keys(settings.environment)
    )
    return Context(shop, settings, limiter, guesses, observer, metrics, storage.watch)


def new_metrics(settings: Settings, storage: Storage) -> Metrics | None:
    """None when nobody wants them; then their library is not imported either."""
    if not settings.enable_metrics:
        return None
    from orderfood.observe.metrics import Metrics

    return Metrics(settings, storage)


def request_tracer(settings: Settings) -> RequestTracer | None:
    """None when no request is traced; then the instrumentation is not imported either."""
    tracing = current_tracing()
    if tracing is None:
        return None
    try:
        from orderfood.observe.request_spans import RequestTracer, instrument_pages

        instrument_pages(tracing)
        return RequestTracer(tracing, settings)
    except Exception as error:  # whatever the environment has made of the instrumentation
        say_untraced(error)
        return None


async def prepare_storage(storage: Storage, settings: Settings) -> None:
    """Refuses a schema that is too old. In memory there is nothing yet, and no job could bring it:
    there the fixtures are loaded here. Raises SchemaOutdated, FixtureError."""
    await require_schema(storage)
    if storage.backend == "memory":
        loaded = await asyncio.to_thread(read_fixtures, settings.fixtures_dir)
        async with coupon_codes(loaded, settings) as codes:
            await storage.replace_catalogue(
                loaded.catalogue, codes=codes, sample_orders=loaded.sample_orders
            )


@asynccontextmanager
async def background(context: Context) -> AsyncIterator[None]:
    """What goes on beside the requests: probing the catalogue, deleting expired keys."""
    shop = context.shop
    if context.watch is not None:
        await context.watch.check()
    tasks = [
        asyncio.create_task(shop.catalogue.run(), name="catalogue"),
        asyncio.create_task(delete_expired_keys(shop.storage), name="expired keys"),
    ]
    if context.watch is not None:
        tasks.append(asyncio.create_task(context.watch.run(), name="orders"))
    if context.metrics is not None:
        tasks.append(asyncio.create_task(context.metrics.keep_sampling(), name="metrics"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def delete_expired_keys(storage: Storage) -> None:
    """Deletes expired idempotency keys for ever, in portions, so that no order waits for it."""
    clock = asyncio.get_running_loop().time
    while True:
        deleted, began = 0, clock()
        with suppress(StorageError):
            deleted = await storage.delete_expired_keys(PORTION)
        pause = max(PORTION_SECONDS, PORTION_PAUSES * (clock() - began))
        await asyncio.sleep(CLEANUP_SECONDS if deleted < PORTION else pause)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed: it needs about half the time for a request."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


PROGRAM = Program(
    name="order-food",
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
