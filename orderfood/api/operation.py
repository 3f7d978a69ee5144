"""Endpoints about the server itself: OPTIONS, OpenAPI document, probes, metrics."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from orderfood.api.answers import (
    JSON_HEADERS,
    Answer,
    Prepared,
    json_answer,
    prepare,
    prepared_answer,
)
from orderfood.api.context import Context
from orderfood.api.failures import RETRY_AFTER, NotFound
from orderfood.api.request import Request
from orderfood.api.routing import EVERYTHING
from orderfood.api.wire import JSON_TYPE, encode_json, error_json
from orderfood.server.bodies import Encoded, Headers, encode_bytes
from storage import SCHEMA_VERSION
from storage import errors as stored

ALLOWED_HEADERS = (
    "api_key, x-api-key, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
    "x-request-id, traceparent, tracestate"
)
"""What a browser may send: what the API reads, and what front ends' libraries add by themselves."""

ALL = ("GET", "HEAD", "POST", "OPTIONS")
"""What the server as a whole can do."""

NO_HEADERS = Headers(())


async def options(request: Request) -> Answer:
    """The answer to OPTIONS, a CORS preflight among them: the allowed methods and headers."""
    methods = ", ".join(request.resource.methods if request.resource.label != EVERYTHING else ALL)
    return Answer(
        b"",
        204,
        NO_HEADERS,
        (
            ("Allow", methods),
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
            ("Access-Control-Max-Age", "600"),
        ),
    )


async def get_openapi(request: Request) -> Answer:
    """The OpenAPI document as JSON."""
    return prepared_answer(_prepared_document(), request.headers)


@cache
def _prepared_document() -> Prepared:
    return prepare(openapi_document())


@cache
def openapi_document() -> Encoded:
    """openapi.yaml as an encoded JSON body; read and parsed once."""
    import yaml  # slow to import, and needed only when somebody asks

    text = files("orderfood.api").joinpath("openapi.yaml").read_text(encoding="utf-8")
    body = json.dumps(yaml.safe_load(text), ensure_ascii=False).encode()
    return encode_bytes(body, JSON_TYPE)


async def get_health(request: Request) -> Answer:
    """The liveness probe: 200 as long as the process answers."""
    return json_answer({"status": "healthy"})


async def get_ready(request: Request) -> Answer:
    """The readiness probe: 200, or 503 with the reason why no requests should be sent here."""
    reason = await not_ready(request.context)
    if reason is None:
        return json_answer({"status": "ready", **degraded(request.context)})
    body = encode_json(error_json(503, reason, request.id))
    return Answer(body, 503, JSON_HEADERS, (("Retry-After", RETRY_AFTER),))


async def get_metrics(request: Request) -> Answer:
    """The metrics in Prometheus' text format. Raises NotFound when metrics are switched off."""
    metrics = request.context.metrics
    if metrics is None:
        raise NotFound
    headers = (("Content-Type", metrics.CONTENT_TYPE), ("Cache-Control", "no-store"))
    return Answer(await metrics.expose(), 200, Headers(headers))


async def not_ready(context: Context) -> str | None:
    """Why this server is not ready; None when it is."""
    if context.traffic.draining:
        return "the server is draining"
    return await context.readiness.get(lambda: _probe(context))


async def _probe(context: Context) -> str | None:
    try:
        version = await context.shop.storage.get_schema_version()
        snapshot = await context.shop.catalogue.refresh()
    except stored.SchemaOutdated:
        version = 0
    except stored.StorageError as error:
        return f"the store does not answer{error.reason and ': '}{error.reason}"
    if version < SCHEMA_VERSION:
        return "the schema is older than the code: run database-migration"
    return None if snapshot.products else "the store holds no products: run database-load"


def degraded(context: Context) -> dict[str, str]:
    """The member ``degraded`` of the readiness answer: the obstacle that keeps orders from being
    stored while reads work; empty without one. Such a server stays ready, because every replica
    shares the obstacle and the menu can still be read."""
    obstacle = context.order_health and context.order_health.obstacle
    return {"degraded": obstacle.value} if obstacle else {}
