"""The metrics of order-food, for Prometheus.

Only what prometheus-client's multiprocess mode can sum over processes is used: counters,
histograms, and gauges that say how; no info metric and no collector. What every request adds to is
counted here and handed on by :meth:`Metrics.sample`, which also reads what stands in the gauges: at
each scrape, and once a second, for another process may be the one that is asked.

Labels are bounded: methods, routes, statuses, reasons and operations are fixed words.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter as Tally
from collections.abc import Callable
from datetime import UTC, datetime

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from orderfood.observe.buffers import BYTES, SECONDS, HistogramBuffer, RequestBuffers
from orderfood.observe.instruments import Instruments, ProcessMetrics
from orderfood.observe.kitchen_metrics import KitchenMetrics
from orderfood.observe.logs import log_writer
from orderfood.observe.single_flight import SingleFlight
from orderfood.settings import Settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.observer import AnsweredRequest, Observer, RequestKind, StorageCall
from orderfood.shop.order_health import OrderHealth
from storage import Storage
from storage.records import Coupon, CouponKind, Obstacle, Order

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

SAMPLE_SECONDS = 1.0
"""Seconds between two samples of the gauges where several processes share their metrics."""

EXPOSITIONS = 1
"""Expositions per second: one costs as much as dozens of orders."""

MONEY = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
ORDERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

NO_COUPON = "none"

PLACE_ORDER = RequestKind("POST", "/api/order")
"""The method and the route of an order that is placed, or refused."""

REFUSALS = (
    "abuse_limit", "body_size", "closed", "coupon", "coupon_used_up", "cross_origin",
    "expired_key", "guest_coupon", "guest_rate_limit", "idempotency_conflict", "idempotency_key",
    "in_progress", "json", "limit", "media_type", "no_guests", "no_key", "open_orders",
    "price_changed", "rate_limit", "schema", "scope", "sold_out", "unknown_product", "wrong_key",
)  # fmt: skip
"""Reasons of refused orders: initialised to zero, so that the first increase is seen, too."""

OPERATIONS = (
    "add_order", "blank_personal_data", "change_order", "count_open_orders",
    "count_open_orders_of", "delete_events", "delete_expired_keys", "find_coupon",
    "find_obstacle", "find_order_by_key", "get_coupon_uses", "get_order", "get_order_history",
    "get_schema_version", "get_versions", "list_orders", "list_shop_orders", "number_events",
    "read_catalogue", "read_events", "read_shop_state", "set_available", "set_pause",
    "set_sold_out",
)  # fmt: skip
"""The storage calls of a server that runs."""


class Metrics(Observer):
    """All metrics of one process."""

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.registry = CollectorRegistry()
        self._folder = settings.metrics_folder
        self._storage = storage
        self._catalogue: CatalogueCache | None = None
        self._order_health: OrderHealth | None = None
        self._active: Tally[RequestKind] = Tally()
        self._of_request: dict[tuple[RequestKind, int], RequestBuffers] = {}
        self._exposition: SingleFlight[bytes] = SingleFlight(EXPOSITIONS)
        make = Instruments(self.registry)
        self._define_http(make)
        self._define_business(make)
        self._define_operation(make)
        self._define_log(make)
        self.kitchen = KitchenMetrics(make, settings)
        """What becomes of orders: an observer of its own."""
        self._process = ProcessMetrics(make)
        self._build_info(make, settings)

    # --- definitions ---

    def _define_http(self, make: Instruments) -> None:
        kind = ("method", "route", "status")
        self._requests = make.counter("http_server_requests", "Requests answered.", *kind)
        self._seconds = make.histogram(
            "http_server_request_duration_seconds",
            "Duration from a request's head to the end of its answer.",
            SECONDS,
            *kind,
        )
        self._received = make.histogram(
            "http_server_request_body_size_bytes", "Sizes of request bodies.", BYTES, *kind
        )
        self._sent = make.histogram(
            "http_server_response_body_size_bytes", "Sizes of response bodies.", BYTES, *kind
        )
        self._active_requests = make.gauge(
            "http_server_active_requests", "Requests in flight.", "livesum", *kind[:2]
        )

    def _define_business(self, make: Instruments) -> None:
        self._placed = make.counter(
            "orders_placed", "Orders placed, by the kind of their coupon.", "coupon_kind"
        )
        self._refused = make.counter("orders_refused", "Orders refused, by reason.", "reason")
        value = make.histogram("order_value", "Totals of placed orders, in units of money.", MONEY)
        self._value = HistogramBuffer(value, MONEY)
        self._placed_since: Tally[str] = Tally()
        self._placed_with = {k: self._placed.labels(k) for k in (NO_COUPON, *map(str, CouponKind))}
        for reason in REFUSALS:
            self._refused.labels(reason)

    def _define_operation(self, make: Instruments) -> None:
        self._call_seconds = make.histogram(
            "storage_call_duration_seconds", "Duration of storage calls.", SECONDS, "operation"
        )
        self._call_errors = make.counter(
            "storage_errors", "Storage calls that failed.", "operation"
        )
        for operation in OPERATIONS:
            self._call_errors.labels(operation)
        self._call: dict[str, HistogramBuffer] = {}
        self._commit = make.histogram(
            "orders_per_commit", "Orders per commit of the storage.", ORDERS
        )
        self._in_use = make.gauge(
            "storage_connections_in_use", "Storage connections in use.", "livesum"
        )
        self._connections = make.gauge(
            "storage_connections_limit", "Maximum of storage connections.", "livesum"
        )
        self._degraded = make.gauge(
            "orders_degraded",
            "1 while no order can be stored, for this reason, though reads work; else 0.",
            "livemax",
            "reason",
        )
        self._version = make.gauge(
            "catalogue_version", "Version of the catalogue that is served.", "livemin"
        )
        self._age = make.gauge(
            "catalogue_age_seconds",
            "Time since the catalogue that is served was loaded.",
            "livemax",
        )
        self._products = make.gauge("catalogue_products", "Products on the menu.", "livemin")

    def _define_log(self, make: Instruments) -> None:
        self._dropped = make.counter(
            "log_lines_dropped", "Log lines dropped because the reader of the log was too slow."
        )
        self._dropped_before = 0

    def _sample_log(self) -> None:
        dropped = log_writer().dropped
        self._dropped.inc(dropped - self._dropped_before)
        self._dropped_before = dropped

    def _build_info(self, make: Instruments, settings: Settings) -> None:
        names = ("version", "environment", "backend", "python")
        info = make.gauge(
            "orderfood_build_info",
            "Version, environment and backend as labels; always 1.",
            "livemax",
            *names,
        )
        info.labels(
            settings.service_version,
            settings.environment,
            self._storage.backend,
            platform.python_version(),
        ).set(1)

    # --- what happens ---

    def request_began(self, kind: RequestKind) -> None:
        self._active[kind] += 1

    def request_ended(self, request: AnsweredRequest) -> None:
        kind, status = request.kind, request.status
        self._active[kind] -= 1
        found = self._of_request.get((kind, status))
        if found is None:
            found = self._new_kind(kind, status)
        found.add(request.seconds, request.received, request.sent)
        if request.reason is not None and 400 <= status < 499 and kind == PLACE_ORDER:
            self._refused.labels(request.reason).inc()

    def repeated(self, kind: RequestKind, status: int, sent: int) -> Callable[[str, float], None]:
        found = self._of_request.get((kind, status)) or self._new_kind(kind, status)
        return lambda request_id, seconds: found.add(seconds, 0, sent)

    def _new_kind(self, kind: RequestKind, status: int) -> RequestBuffers:
        labels = (*kind, str(status))
        found = self._of_request[kind, status] = RequestBuffers(
            self._requests.labels(*labels),
            HistogramBuffer(self._seconds.labels(*labels), SECONDS),
            HistogramBuffer(self._received.labels(*labels), BYTES),
            HistogramBuffer(self._sent.labels(*labels), BYTES),
        )
        return found

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        self._placed_since[coupon.kind.value if coupon else NO_COUPON] += 1
        self._value.observe(order.total / 100)

    def storage_called(self, call: StorageCall) -> None:
        operation, seconds, failed = call
        buffer = self._call.get(operation)
        if buffer is None:
            histogram = self._call_seconds.labels(operation)
            buffer = self._call[operation] = HistogramBuffer(histogram, SECONDS)
        buffer.observe(seconds)
        if failed:
            self._call_errors.labels(operation).inc()

    def orders_committed(self, count: int) -> None:
        self._commit.observe(count)

    # --- what stands ---

    def watch_catalogue(self, catalogue: CatalogueCache) -> None:
        """Sets the cache whose snapshot the catalogue's gauges report."""
        self._catalogue = catalogue

    def watch_order_health(self, order_health: OrderHealth) -> None:
        """Sets the order health that orders_degraded reports."""
        self._order_health = order_health

    def sample(self) -> None:
        """Flushes all buffers and updates all gauges. Cheap enough for once a second."""
        for requests in self._of_request.values():
            requests.flush()
        for buffer in (*self._call.values(), self._value):
            buffer.flush()
        for kind, placed in self._placed_since.items():
            self._placed_with[kind].inc(placed)
        self._placed_since.clear()
        for (method, route), count in self._active.items():
            self._active_requests.labels(method, route).set(count)
        in_use, limit = self._storage.connections()
        self._in_use.set(in_use)
        self._connections.set(limit)
        if self._order_health is not None:
            for obstacle in Obstacle:
                self._degraded.labels(obstacle.value).set(obstacle is self._order_health.obstacle)
        self._sample_catalogue()
        self._sample_log()
        self.kitchen.sample()
        self._process.sample()

    def _sample_catalogue(self) -> None:
        snapshot = self._catalogue.newest if self._catalogue else None
        if snapshot is None:
            return
        self._version.set(snapshot.version)
        self._products.set(len(snapshot.products))
        if snapshot.loaded_at is not None:
            self._age.set((datetime.now(UTC) - snapshot.loaded_at).total_seconds())

    async def expose(self) -> bytes:
        """All metrics in Prometheus' text format, made at most once a second for all scrapes."""
        return await self._exposition.get(self._expose)

    async def _expose(self) -> bytes:
        """Encodes on a thread, for there may be many series."""
        self.sample()
        return await asyncio.to_thread(generate_latest, self._all())

    def _all(self) -> CollectorRegistry:
        """The registry of this process, or with several workers one that merges those of all."""
        if not self._folder:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._folder)  # type: ignore[no-untyped-call]
        return registry

    async def keep_sampling(self) -> None:
        """Samples until it is cancelled, and once more then, where several workers share their
        metrics: another one may answer the scrape."""
        while self._folder:
            try:
                await asyncio.sleep(SAMPLE_SECONDS)
            finally:
                self.sample()
