"""Whole batches, encoded at once, against the bytes that Jaeger's exporter has thrift write."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from orderfood.observe.jaeger import encode_batch

VALUES: dict[str, AttributeValue] = {
    "text": "grüße, 寿司 🍣 \x00",
    "empty": "",
    "yes": True,
    "no": False,
    "small": -1,
    "large": 2**63 - 1,
    "negative": -(2**63),
    "number": 1.5,
    "infinite": float("inf"),
    "list": ["a", "b"],
    "": "no name",
}


_JAEGER = "opentelemetry.exporter.jaeger.thrift"
_translating: Any = import_module(f"{_JAEGER}.translate")  # which have no types
_generated: Any = import_module(f"{_JAEGER}.gen.jaeger.Collector")
_protocol: Any = import_module("thrift.protocol.TBinaryProtocol")
_transport: Any = import_module("thrift.transport.TTransport")


def of_exporter(spans: tuple[ReadableSpan, ...]) -> bytes:
    """As opentelemetry-exporter-jaeger-thrift does it."""
    translated = _translating.Translate(spans)._translate(_translating.ThriftTranslator(None))
    process = _generated.Process(serviceName="order-food")
    buffer = _transport.TMemoryBuffer()
    _generated.Batch(spans=translated, process=process).write(_protocol.TBinaryProtocol(buffer))
    return bytes(buffer.getvalue())


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(kept: InMemorySpanExporter) -> trace.Tracer:
    resource = Resource({"service.name": "order-food", "odd": [1, 2], "replicas": 3})
    limits = SpanLimits(max_span_attributes=12, max_events=2, max_links=2, max_event_attributes=2)
    provider = TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider.get_tracer("orderfood", "1.2")


def test_every_kind_of_span_is_the_same_bytes(
    tracer: trace.Tracer, kept: InMemorySpanExporter
) -> None:
    far = SpanContext(2**128 - 2, 2**64 - 2, is_remote=True, trace_flags=TraceFlags(1))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(far))
    for kind in SpanKind:
        tracer.start_span(f"of {kind.name}", kind=kind).end()
    tracer.start_span("all values", parent, attributes=VALUES).end()
    tracer.start_span("too many", attributes={f"a{n}": n for n in range(20)}).end()
    tracer.start_span("linked", links=[Link(far), Link(far, {"why": "x"}), Link(far)]).end()
    with tracer.start_as_current_span("around") as around:
        for number in range(3):
            around.add_event("event ä", {"a": number, "b": 0.1, "c": ["x"]})
        with tracer.start_as_current_span("within") as within:
            within.record_exception(ValueError("nö"))
            within.set_status(Status(StatusCode.ERROR, "ValueError: nö"))
        around.set_status(StatusCode.OK)
    spans = kept.get_finished_spans()
    for span in spans:
        assert encode_batch((span,)) == of_exporter((span,)), span.name
    assert encode_batch(spans) == of_exporter(spans)


def test_a_span_of_a_tracer_without_a_version(kept: InMemorySpanExporter) -> None:
    provider = TracerProvider(
        resource=Resource({"service.name": "order-food"}), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer("orderfood").start_span("x" * 70_000).end()
    assert encode_batch(kept.get_finished_spans()) == of_exporter(kept.get_finished_spans())
