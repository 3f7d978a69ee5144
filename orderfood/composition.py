"""What one server consists of: the shop, who watches over it, who answers its requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orderfood.api.endpoint import Context
from orderfood.api.ratelimit import RateLimiter
from orderfood.observe.accesslog import AccessLog
from orderfood.observe.requests import RequestObserver
from orderfood.observe.storage import ObservedStorage
from orderfood.observe.tracing import current_tracing, say_untraced
from orderfood.settings import Settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.orders import Shop
from orderfood.shop.sample_keys import refused_keys, warn_of_sample_keys
from storage import Storage

if TYPE_CHECKING:
    from orderfood.observe.metrics import Metrics
    from orderfood.observe.request_spans import RequestTracer

NAME = "order-food"
"""The console script's, and the service's in logs."""


def new_context(settings: Settings, inner: Storage) -> Context:
    """The shop on this storage, and who watches over it."""
    metrics = new_metrics(settings, inner)
    storage = ObservedStorage(inner, metrics=metrics)
    warn = partial(warn_of_sample_keys, settings.environment)
    catalogue = CatalogueCache(storage, on_change=warn, deadlines=storage.deadlines)
    refused = refused_keys(settings.environment)
    limits = (settings.rate_limit, settings.abuse_limit)
    limiter, guesses = (RateLimiter(limit) if limit else None for limit in limits)
    observer = RequestObserver(metrics, AccessLog(settings, NAME))
    if metrics is None:
        shop = Shop(storage, catalogue, refused_keys=refused)
    else:
        metrics.watch(catalogue)
        metrics.watch_orders(storage.watch)
        shop = Shop(storage, catalogue, on_placed=metrics.order_placed, refused_keys=refused)
    return Context(shop, settings, limiter, guesses, observer, storage.watch)


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
        from orderfood.observe.request_spans import RequestTracer

        return RequestTracer(tracing, settings)
    except Exception as error:  # whatever the environment has made of the instrumentation
        say_untraced(error)
        return None
