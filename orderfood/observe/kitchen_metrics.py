"""The metrics of what becomes of orders, and of those who follow it.

Labels are fixed words, and each series of a counter stands from the start: the first increase is
seen, too.
"""

from __future__ import annotations

import asyncio
from asyncio import sleep
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orderfood.observe.buffers import HistogramBuffer
from orderfood.shop.followers import STREAM_ENDINGS, STREAM_KINDS
from orderfood.shop.lifecycle import EVENTS, STEPS
from orderfood.shop.observer import Observer
from orderfood.shop.orders import ACTION_OUTCOMES
from storage.errors import StorageError
from storage.records import OPEN_STATUSES, PLACED_EVENT, Coupon, OpenOrders, Order

if TYPE_CHECKING:
    from orderfood.observe.instruments import Instruments
    from orderfood.settings import Settings
    from storage import Storage

COUNT_SECONDS = 5.0
"""Seconds between two counts of the orders that wait."""

COUNT_PAUSE = 200.0
"""The least pause after a count, as a multiple of the time that it took: where a million orders
wait it costs the database no more than half a percent of its time, for each process."""

COUNT_LONGEST_PAUSE = 60.0
"""The longest pause in seconds: one count that a busy store answers late, or not at all, does not
hide for minutes what waits since."""

LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WAITS = (60, 120, 180, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200)
"""1 to 120 minutes: promtool wants seconds."""


class KitchenMetrics(Observer):
    """Those of one process, but for the orders that wait: these are all there are, in the store."""

    def __init__(self, make: Instruments, settings: Settings) -> None:
        self._define_orders(make)
        self._define_waiting(make)
        self._define_feed(make)
        self._alert.set(settings.accept_alert_minutes * 60)

    # --- definitions ---

    def _define_orders(self, make: Instruments) -> None:
        self._events = make.counter(
            "order_events", "Events written: what has become of orders, by type.", "type"
        )
        self._event = {name: self._events.labels(name) for name in (PLACED_EVENT, *EVENTS.values())}
        self._placed_since = 0
        self._actions = make.counter(
            "order_actions", "Actions on orders, by their outcome.", "action", "by", "outcome"
        )
        for action, by in dict.fromkeys((step.action, step.by) for step in STEPS):
            for outcome in ACTION_OUTCOMES:
                self._actions.labels(action, by, outcome)
        self._until = {
            EVENTS["accept"]: make.histogram(
                "order_accepted_after_seconds", "Time from placed to accepted.", WAITS
            ),
            EVENTS["ready"]: make.histogram(
                "order_ready_after_seconds", "Time from placed to ready.", WAITS
            ),
        }

    def _define_waiting(self, make: Instruments) -> None:
        newest = "livemostrecent"  # each process counts the same, one after the other
        self._open = make.gauge(
            "orders_open", "Orders that wait for something, by status.", newest, "status"
        )
        self._oldest = make.gauge(
            "orders_oldest_placed_age_seconds",
            "Age of the oldest order that nobody has accepted; 0 when there is none.",
            newest,
        )
        self._alert = make.gauge(
            "orders_accept_alert_seconds",
            "Age from which an order that nobody has accepted is an alert; 0: never.",
            "livemax",
        )

    def _define_feed(self, make: Instruments) -> None:
        self._clients = make.gauge("feed_clients", "Streams of the feed.", "livesum", "kind")
        self._streams: Tally[str] = Tally()
        self._endings = make.counter(
            "feed_streams_ended", "Streams that have ended, by reason.", "kind", "reason"
        )
        for kind in STREAM_KINDS:
            for reason in STREAM_ENDINGS:
                self._endings.labels(kind, reason)
        self._written = make.counter(
            "feed_events_written", "Events written to those who follow: once for each stream."
        )
        lag = make.histogram(
            "feed_lag_seconds",
            "Time from an event until it was written to all who follow and take it.",
            LAGS,
        )
        self._lag, self._written_since = HistogramBuffer(lag, LAGS), 0

    # --- what happens ---

    def order_placed(self, order: Order, coupon: Coupon | None) -> None:
        self._placed_since += 1

    def order_changed(self, order: Order) -> None:
        self._event[order.last_event].inc()
        until = self._until.get(order.last_event)
        if until is not None and order.changed_at is not None:
            until.observe((order.changed_at - order.created_at).total_seconds())

    def action_ended(self, action: str, by: str, outcome: str) -> None:
        self._actions.labels(action, by, outcome).inc()

    def stream_began(self, kind: str) -> None:
        self._streams[kind] += 1

    def stream_ended(self, kind: str, reason: str) -> None:
        self._streams[kind] -= 1
        self._endings.labels(kind, reason).inc()

    def events_delivered(self, lags: Sequence[float], written: int) -> None:
        if not written:  # nobody follows these orders
            return
        self._written_since += written
        for lag in lags:
            self._lag.observe(lag)

    # --- what stands ---

    def sample(self) -> None:
        """Flushes all buffers and updates the gauge of those who follow."""
        self._event[PLACED_EVENT].inc(self._placed_since)
        self._written.inc(self._written_since)
        self._placed_since = self._written_since = 0
        self._lag.flush()
        for kind in STREAM_KINDS:
            self._clients.labels(kind).set(self._streams[kind])

    async def keep_counting(self, storage: Storage) -> None:
        """Counts the orders that wait until it is cancelled. A store that does not answer leaves
        the gauges as they are."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            with suppress(StorageError):
                self.show(await storage.count_open_orders(), datetime.now(UTC))
            pause = min(COUNT_PAUSE * (clock() - began), COUNT_LONGEST_PAUSE)
            await sleep(max(COUNT_SECONDS, pause))

    def show(self, waiting: OpenOrders, now: datetime) -> None:
        """Sets the gauges of the orders that wait."""
        for status in OPEN_STATUSES:
            self._open.labels(status.value).set(waiting.counts.get(status, 0))
        since = waiting.oldest_placed
        self._oldest.set(0 if since is None else max(0.0, (now - since).total_seconds()))
