"""The one table from an exception to its HTTP answer."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from tornado.httputil import HTTPInputError

from orderfood.api.answers import JSON_HEADERS, Answer
from orderfood.api.wire import encode_json, error_json, order_json, quote_json
from orderfood.server.bodies import Fields
from orderfood.shop import refusals
from orderfood.shop.refusals import Refusal, TooManyRequests
from storage import errors as stored

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
"""Bytes of a request's body; one more is 413."""

RETRY_AFTER = "1"
"""Seconds after which a client may try again what was answered with 503 or 409."""

WARN_SECONDS = 5.0
"""Seconds between two log lines of the same failure of the store."""

MAX_WARNED = 100
"""How many different failures are told apart for that."""


class NotFound(Exception):
    """Nothing is at this path, or nothing of that id."""


class MethodNotAllowed(Exception):
    """Something is at this path, but not by this method. ``methods`` are those that are."""

    def __init__(self, methods: tuple[str, ...]) -> None:
        super().__init__(", ".join(methods))
        self.methods = methods


class BodyTooLarge(Exception):
    """The body is over MAX_BODY bytes, or announced so."""


class Failure(NamedTuple):
    """Status, reason and message of one kind of error. Where ``reason`` and ``message`` are None
    the Refusal has them. A driver's or a parser's own text is never sent."""

    status: int
    reason: str | None = None
    message: str | None = None


FAILURES: dict[type[BaseException], Failure] = {
    NotFound: Failure(404, "not_found", "not found"),
    MethodNotAllowed: Failure(405, "method", "this method is not allowed here"),
    HTTPInputError: Failure(400, "malformed", "the request is not valid"),
    BodyTooLarge: Failure(413, "body_size", f"the body is over {MAX_BODY} bytes"),
    refusals.KeyMissing: Failure(401),
    refusals.KeyRefused: Failure(403),
    refusals.InvalidRequest: Failure(400),
    refusals.UnsupportedMedia: Failure(415),
    refusals.Unprocessable: Failure(422),
    refusals.PriceChanged: Failure(409),
    refusals.StillInProgress: Failure(409),
    refusals.TooManyRequests: Failure(429),
    refusals.FeedFull: Failure(503),
    stored.OrderNotFound: Failure(404, "no_such_order", "no such order"),
    stored.IdempotencyConflict: Failure(
        422, "idempotency_conflict", "this Idempotency-Key was used with another request"
    ),
    stored.CouponUsedUp: Failure(422, "coupon_used_up", "the coupon is used up"),
    stored.OrderNotChangeable: Failure(409, "not_changeable", "the order cannot be changed so"),
    stored.OrderVersionChanged: Failure(412, "version", "the order has another version"),
    stored.ValueRejected: Failure(422, "value", "the order holds a value that cannot be stored"),
    stored.StorageBusy: Failure(503, "store_busy", "the store does not answer; try again"),
    stored.StorageError: Failure(503, "store", "the store does not answer; try again"),
    Exception: Failure(500, "defect", "internal error"),
}
"""The first class in the error's MRO that has a row counts."""


def failure_of(error: BaseException) -> Failure:
    """The row of the table for this error."""
    return next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)


def reason_of(error: BaseException) -> str:
    """The reason of a failure: a fixed word, for logs, metrics and spans."""
    if isinstance(error, Refusal):
        return error.reason
    return failure_of(error).reason or "defect"


def failure_answer(error: BaseException, request_id: str) -> Answer:
    """The answer to a request that failed with ``error``. The body has the one shape of every
    error."""
    status, _, message = failure_of(error)
    text = error.message if isinstance(error, Refusal) else message
    if isinstance(error, stored.OrderNotChangeable):
        text = STANDS.get(error.order.status, message)
    details = error.errors if isinstance(error, Refusal) else ()
    body = error_json(status, text or "", request_id, details, reason_of(error))
    if isinstance(error, refusals.PriceChanged):
        body["quote"] = quote_json(error.lines, error.coupon_code, error.prices)
    elif isinstance(error, stored.OrderConflict):
        body["order"] = order_json(error.order)
    headers = _headers_of(error, status)
    return Answer(encode_json(body), status, JSON_HEADERS, headers, reason_of(error))


STANDS: dict[str, str] = {
    "placed": "the shop has not accepted the order yet",
    "accepted": "the shop is preparing it",
    "ready": "the order is ready",
    "completed": "the order is completed",
    "cancelled": "the order is cancelled",
}
"""By an order's status, why it cannot be changed as was asked."""


def _headers_of(error: BaseException, status: int) -> Fields:
    if isinstance(error, TooManyRequests):
        return (("Retry-After", str(error.retry_after)),)
    if status == 503 or isinstance(error, refusals.StillInProgress):
        return (("Retry-After", RETRY_AFTER),)
    if status == 401:
        return (("WWW-Authenticate", 'ApiKey realm="orderfood"'),)
    if isinstance(error, MethodNotAllowed):
        return (("Allow", ", ".join(error.methods)),)
    return ()


def is_guess(error: BaseException) -> bool:
    """Whether it is the refusal of a key or a coupon that does not exist."""
    if isinstance(error, refusals.KeyRefused):
        return error.reason == "wrong_key"
    return isinstance(error, refusals.UnknownCoupon)


def log_failure(error: BaseException, request_id: str, label: str) -> None:
    """Logs a defect (500) with its traceback, and a failure of the store (503) at most once in
    WARN_SECONDS for equal texts. A client's own errors are not logged here."""
    status = failure_of(error).status
    if status == 500:
        fields = {"request_id": request_id, "route": label}
        logger.error("a request failed", exc_info=error, extra={"fields": fields})
    elif status == 503 and not isinstance(error, Refusal):
        _warn_of_store(str(error))


def _warn_of_store(text: str) -> None:
    now = time.monotonic()
    if now - _warned.get(text, float("-inf")) >= WARN_SECONDS:
        if len(_warned) >= MAX_WARNED:
            _warned.clear()
        _warned[text] = now
        logger.warning("the store failed: %s", text)


_warned: dict[str, float] = {}
