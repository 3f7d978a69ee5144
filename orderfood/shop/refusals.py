"""Exceptions for refused requests, independent of HTTP.

    Refusal
    ├── KeyMissing          no key was sent
    ├── KeyRefused          the key is wrong, has expired or lacks the scope
    ├── InvalidRequest      not JSON, or not of the schema
    ├── UnsupportedMedia    the body is announced as something else than JSON in UTF-8
    ├── TooManyRequests     over the rate limit
    ├── Unprocessable       well-formed, but it cannot be fulfilled
    │   └── UnknownCoupon   there is no such coupon
    ├── PriceChanged        the order costs something else than the client expects
    ├── FeedFull            too many follow the feed in this process
    └── StillInProgress     the first request under this idempotency key has not ended yet

The storage raises those of storage.errors; orderfood/api/failures.py turns both into answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderfood.shop.pricing import Prices
    from storage.records import OrderLine


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one member: ``field`` as a path (``items[0].quantity``)."""

    field: str
    message: str


class Refusal(Exception):
    """A refused request. ``reason`` is a fixed word (a metric's label), ``message`` is for the
    client, ``errors`` name the members at fault."""

    def __init__(self, reason: str, message: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.errors = errors


class KeyMissing(Refusal):
    """No key was sent, or an empty one."""


class KeyRefused(Refusal):
    """The key is wrong, has expired or lacks the scope."""


class InvalidRequest(Refusal):
    """The request is not JSON, or not of the schema."""


class Unprocessable(Refusal):
    """The request is well-formed, but it cannot be fulfilled."""


class UnsupportedMedia(Refusal):
    """The body is announced as something else than JSON in UTF-8."""

    def __init__(self, message: str) -> None:
        super().__init__("media_type", message)


class TooManyRequests(Refusal):
    """The client has sent more requests, or made more guesses, than it may; ``retry_after`` is in
    seconds."""

    def __init__(self, reason: str, message: str, retry_after: int) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class UnknownCoupon(Unprocessable):
    """There is no such coupon. It counts as a guess for ABUSE_LIMIT."""


class PriceChanged(Refusal):
    """The order does not cost what the client expects. ``prices`` are what it costs now."""

    def __init__(self, lines: Sequence[OrderLine], coupon_code: str | None, prices: Prices) -> None:
        super().__init__("price_changed", "the order does not cost what was expected")
        self.lines = lines
        self.coupon_code = coupon_code
        self.prices = prices


class FeedFull(Refusal):
    """As many follow the feed as this process serves."""


class StillInProgress(Refusal):
    """The first request under this idempotency key has not ended yet."""
