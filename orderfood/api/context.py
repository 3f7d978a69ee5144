"""The request context: what all requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orderfood.api.ratelimit import RateLimiter
from orderfood.observe.single_flight import SingleFlight
from orderfood.server.traffic import Traffic
from orderfood.settings import Settings
from orderfood.shop.feed import Hub
from orderfood.shop.observer import NULL_OBSERVER, Observer
from orderfood.shop.order_health import OrderHealth
from orderfood.shop.orders import Shop

if TYPE_CHECKING:
    from orderfood.observe.metrics import Metrics

PROBES = 2
"""Readiness probes of the store per second, however many requests ask for /ready."""


@dataclass(slots=True)
class Context:
    """The shop, the settings, and the limiters, metrics and observers around them."""

    shop: Shop
    settings: Settings
    limiter: RateLimiter | None = None
    """Limits requests by key, or else by address; None when RATE_LIMIT is off."""
    guesses: RateLimiter | None = None
    """Limits wrong keys and unknown coupons by address; None when ABUSE_LIMIT is off."""
    guests: RateLimiter | None = None
    """Limits orders and cancellations of guests by address; None when GUEST_RATE_LIMIT is off."""
    observer: Observer = NULL_OBSERVER
    """Notified of each request when it begins and when it has ended."""
    metrics: Metrics | None = None
    """What GET /metrics exposes; None when metrics are switched off."""
    order_health: OrderHealth | None = None
    """Knows whether orders can be stored."""
    readiness: SingleFlight[str | None] = field(default_factory=lambda: SingleFlight(PROBES))
    """The reason of the last readiness probe why the server is not ready; None when it is."""
    traffic: Traffic = field(default_factory=Traffic)
    feed: Hub | None = None
    """Serves those who follow the event log."""
