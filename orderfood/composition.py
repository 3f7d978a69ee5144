"""Composition root: builds shop, observers, metrics, tracer and HTTP applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderfood.api import menu
from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.events import ServerSentEvents
from orderfood.api.ratelimit import RateLimiter
from orderfood.api.routes import METRICS, ROUTES, build_router
from orderfood.observe.accesslog import AccessLog
from orderfood.observe.instrumented_storage import InstrumentedStorage
from orderfood.observe.tracing import current_tracing, log_tracing_off
from orderfood.settings import Settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.feed import Hub
from orderfood.shop.observer import Observers
from orderfood.shop.orders import Shop
from orderfood.shop.sample_keys import SampleKeyWatch, refused_keys
from orderfood.web.pages import PAGES, pages_application
from orderfood.web.site import make_site
from storage import Storage

if TYPE_CHECKING:
    from orderfood.observe.metrics import Metrics
    from orderfood.observe.request_spans import RequestTracer

NAME = "order-food"
"""The console script's, and the service's in logs."""


def new_context(settings: Settings, inner: Storage) -> Context:
    """The request context: the shop on this storage, its observers, metrics and limiters."""
    metrics = new_metrics(settings, inner)
    access_log, keys = AccessLog(settings, NAME), SampleKeyWatch(settings.environment)
    observer = Observers([access_log, *([metrics, metrics.kitchen] if metrics else []), keys])
    storage = InstrumentedStorage(inner, observer=observer)
    catalogue = CatalogueCache(
        storage, observer=observer, deadlines=storage.deadlines, render=menu.render
    )
    if metrics is not None:
        metrics.watch_catalogue(catalogue)
        metrics.watch_order_health(storage.order_health)
    limits = (settings.rate_limit, settings.abuse_limit, settings.guest_rate_limit)
    limiter, guesses, guests = (RateLimiter(limit) if limit else None for limit in limits)
    feed = Hub(storage, ServerSentEvents(), settings.feed_clients, observer)
    shop = Shop(
        storage,
        catalogue,
        observer=observer,
        refused_keys=refused_keys(settings.environment),
        feed=feed,
    )
    context = Context(
        shop,
        settings,
        limiter,
        guesses,
        guests,
        observer,
        metrics,
        storage.order_health,
        feed=feed,
    )
    context.traffic.leaving.append(feed.end_all)
    return context


def new_metrics(settings: Settings, storage: Storage) -> Metrics | None:
    """The metrics; None when they are switched off, and then their library is not imported."""
    if not settings.enable_metrics:
        return None
    from orderfood.observe.metrics import Metrics

    return Metrics(settings, storage)


def request_tracer(settings: Settings) -> RequestTracer | None:
    """The tracer of requests; None when nothing is traced, and then the instrumentation is not
    imported."""
    tracing = current_tracing()
    if tracing is None:
        return None
    try:
        from orderfood.observe.request_spans import RequestTracer, instrument_pages

        tracer = RequestTracer(tracing, settings)
        instrument_pages(tracing)  # not without a tracer: it would read a client's headers itself
        return tracer
    except Exception as error:  # whatever the environment has made of the instrumentation
        log_tracing_off(error)
        return None


def api_application(context: Context, tracer: RequestTracer | None) -> Api:
    """The application on the main port: all routes and pages; /metrics only where it has no port of
    its own."""
    apart = context.settings.metrics_port is not None
    routes = [route for route in ROUTES if not (apart and route in METRICS)]
    return Api(
        context, build_router(routes, PAGES), tracer, pages_application(make_site(context.settings))
    )


def metrics_application(context: Context) -> Api:
    """The application on METRICS_PORT: /metrics alone."""
    return Api(context, build_router(METRICS, everything=False))
