"""Metrics and traces by the libraries that FastAPI's users take."""

from __future__ import annotations

import os

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.jaeger.thrift import JaegerExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_fastapi_instrumentator import Instrumentator
from sqlalchemy.ext.asyncio import AsyncEngine


def observe(app: FastAPI, engine: AsyncEngine) -> None:
    """The sampler is that of OTEL_TRACES_SAMPLER."""
    provider = TracerProvider(resource=Resource.create({"service.name": "fastapi-service"}))
    exporter = JaegerExporter(collector_endpoint=os.environ["JAEGER_ENDPOINT"])
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    Instrumentator().instrument(app).expose(app)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="health,metrics")
    SQLAlchemyInstrumentor().instrument(engine=engine.sync_engine)
