"""What all requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orderfood.api.ratelimit import RateLimiter
from orderfood.observe.single_flight import SingleFlight
from orderfood.server.traffic import Traffic
from orderfood.settings import Settings
from orderfood.shop.observer import NULL_OBSERVER, Observer
from orderfood.shop.order_health import OrderHealth
from orderfood.shop.orders import Shop

if TYPE_CHECKING:
    from orderfood.observe.metrics import Metrics

PROBES = 2
"""How often a second the store is asked whether it answers, however many want to know."""


@dataclass(slots=True)
class Context:
    """The shop, the settings, and who counts and watches."""

    shop: Shop
    settings: Settings
    limiter: RateLimiter | None = None
    """Counts requests by key, or else by address; None when nobody limits them."""
    guesses: RateLimiter | None = None
    """Counts wrong keys and unknown coupons by address; None when nobody limits them."""
    observer: Observer = NULL_OBSERVER
    """Told of each request when it begins and when it has ended."""
    metrics: Metrics | None = None
    """What GET /metrics tells; None when nobody counts."""
    order_health: OrderHealth | None = None
    """Knows whether orders can be stored."""
    readiness: SingleFlight[str | None] = field(default_factory=lambda: SingleFlight(PROBES))
    """What a probe of the store has found."""
    traffic: Traffic = field(default_factory=Traffic)
