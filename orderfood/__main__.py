"""order-food: settings → storage → catalogue → app → listen → drain → close."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fixtures import FixtureError, read_fixtures
from orderfood.app import build_app
from orderfood.catalogue import CatalogueCache
from orderfood.handlers import Context
from orderfood.logs import say
from orderfood.observed import ObservedStorage
from orderfood.observer import RequestObserver
from orderfood.program import Program, require_schema, run_program, storage_of
from orderfood.ratelimit import RateLimiter
from orderfood.server import ListenError, Server, serve_until_signal
from orderfood.service import Shop
from orderfood.settings import Settings
from orderfood.telemetry import current_tracing
from storage import Storage
from storage.errors import StorageError

if TYPE_CHECKING:
    from orderfood.metrics import Metrics
    from orderfood.traced import RequestTracer

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 60.0
"""How often expired idempotency keys are looked for."""

PORTION_SECONDS = 0.1
"""The pause between two portions of them."""


async def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves until a signal comes."""
    async with storage_of(settings) as inner:
        await prepare_storage(inner, settings)
        context = new_context(settings, inner)
        async with background(context):
            server = Server(build_app(context, request_tracer()), context)
            url = server.listen(settings.host, settings.port)
            say(logger, f"order-food listens on {url}", url=url)
            await serve_until_signal(server, settings.drain_seconds)


def new_context(settings: Settings, inner: Storage) -> Context:
    """The shop on this storage, and who watches over it."""
    metrics = new_metrics(settings, inner)
    storage = ObservedStorage(inner, metrics=metrics)
    catalogue = CatalogueCache(storage)
    limiter = RateLimiter(settings.rate_limit) if settings.rate_limit else None
    if metrics is None:
        return Context(Shop(storage, catalogue), settings, limiter)
    metrics.watch(catalogue)
    shop = Shop(storage, catalogue, on_placed=metrics.order_placed)
    return Context(shop, settings, limiter, RequestObserver(metrics))


def new_metrics(settings: Settings, storage: Storage) -> Metrics | None:
    """None when nobody wants them; then their library is not imported either."""
    if not settings.enable_metrics:
        return None
    from orderfood.metrics import Metrics

    return Metrics(settings, storage)


def request_tracer() -> RequestTracer | None:
    """None when no request is traced; then the instrumentation is not imported either."""
    tracing = current_tracing()
    if tracing is None:
        return None
    from orderfood.traced import RequestTracer

    return RequestTracer(tracing)


async def prepare_storage(storage: Storage, settings: Settings) -> None:
    """Refuses a schema that is too old. In memory there is nothing yet, and no job could bring it:
    there the fixtures are loaded here. Raises SchemaOutdated, FixtureError."""
    await require_schema(storage)
    if storage.backend == "memory":
        loaded = read_fixtures(settings.fixtures_dir)
        await storage.replace_catalogue(loaded.catalogue, sample_orders=loaded.sample_orders)


@asynccontextmanager
async def background(context: Context) -> AsyncIterator[None]:
    """What goes on beside the requests: probing the catalogue, deleting expired keys,
    sampling metrics."""
    shop = context.shop
    tasks = [
        asyncio.create_task(shop.catalogue.run(), name="catalogue"),
        asyncio.create_task(delete_expired_keys(shop.storage), name="expired keys"),
    ]
    if context.observer.metrics is not None:
        tasks.append(asyncio.create_task(context.observer.metrics.run(), name="metrics"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def delete_expired_keys(storage: Storage) -> None:
    """Deletes expired idempotency keys for ever, in portions, so that no order waits for it."""
    while True:
        deleted = 0
        with suppress(StorageError):
            deleted = await storage.delete_expired_keys()
        await asyncio.sleep(PORTION_SECONDS if deleted else CLEANUP_SECONDS)


PROGRAM = Program(
    name="order-food",
    description="Serves the API: the menu, and orders.",
    work=serve,
    expected_errors=(ListenError, FixtureError),
)


def main() -> None:
    """The console script."""
    sys.exit(run_program(PROGRAM))


if __name__ == "__main__":
    main()
