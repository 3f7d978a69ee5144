"""Server spans: one for each request that is sampled, by the public tracing API.

The sampler is asked first, with the incoming trace context if there is one: a request without one
that it does not want costs a count (sampling.py). Attributes are those of OpenTelemetry's HTTP
conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/); a span is named by
method and route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.http import (
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE,
    get_custom_headers,
)
from opentelemetry.util.types import AttributeValue

from orderfood.observe.addresses import is_trusted, parse_node
from orderfood.observe.exporting import Tracing
from orderfood.observe.sampling import NewTraces, samples
from orderfood.observe.tracing import NOT_SAMPLED, enter, entered, fail
from orderfood.settings import TRACE_CONTEXT, Settings
from orderfood.shop.observer import RequestKind

REQUEST_HEADERS = ("user-agent", "content-type", "content-length", "accept", "origin")
RESPONSE_HEADERS = ("content-type", "etag", "retry-after", "allow")
"""The headers that a span shows, when they were sent. More of them may be named in
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST and …_RESPONSE."""

SECRET_HEADERS = ("api_key", "x-api-key", "authorization", "cookie", "idempotency-key")
"""Headers whose values are always masked in spans."""

MAX_CARRIED = 512
"""Characters of a header that is read for a trace: what the specification wants a tracestate to
have room for. Parsing a longer one would be the client's to make dear."""


UNKNOWN = "unknown"
"""Stands for the route of a path that leads nowhere."""

_ROOT = Context()


class RequestTracer:
    """Decides for each request whether it is traced, before anything of it is handled."""

    def __init__(self, tracing: Tracing, settings: Settings) -> None:
        self._sampler = tracing.sampler
        self._new_traces = NewTraces(tracing.sampler)
        self._ids = tracing.ids
        self._tracer = trace.get_tracer("orderfood", tracer_provider=tracing.provider)
        self._trusted = settings.trusted_proxies
        self._propagator = _propagator(settings.propagators)
        self._carriers = sorted(name.lower() for name in self._propagator.fields)
        self._request_headers = _captured(
            REQUEST_HEADERS, OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST
        )
        self._response_headers = _captured(
            RESPONSE_HEADERS, OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE
        )

    def begin(
        self,
        kind: RequestKind,
        path: str,
        request_id: str,
        headers: Mapping[str, str],
        peer: str,
    ) -> RequestSpan | None:
        """The span of a request with these headers; None when it is not sampled. From here on until
        the next call it, or that there is none, is what everything else belongs to. ``peer`` is the
        address of the other end of the connection."""
        if (parent := self._parent(headers)) is _ROOT:
            trace_id = self._new_traces.next_id()
            if trace_id is None:
                enter(NOT_SAMPLED)
                return None
            self._ids.use(trace_id)
        else:
            wanted = self._wants(parent, peer)
            parent = _with_flag(parent, wanted)
            if not wanted:
                enter(parent)
                return None
        attributes = {
            "http.request.method": kind.method,
            "url.path": path,
            "url.scheme": "http",
            "request_id": request_id,
            **_shown("http.request.header", self._request_headers, headers),
        }
        if kind.route != UNKNOWN:
            attributes["http.route"] = kind.route
        name = f"{kind.method} {kind.route}"
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        within = trace.set_span_in_context(span, parent)
        enter(within)
        return RequestSpan(span, within, self._response_headers)

    def skips(self) -> bool:
        """Whether the next request, which carries no trace context, is not sampled. It is counted
        then, and all that is left of ``begin``: what happens from here on belongs to no span. To be
        called instead of ``begin``, which has to be called where this is False."""
        traces = self._new_traces
        if not traces.passed_over:
            return False
        traces.passed_over -= 1
        enter(NOT_SAMPLED)
        return True

    # --- the decision ---

    def _wants(self, parent: Context, peer: str) -> bool:
        """The decision on a trace that began elsewhere: as for a new one unless the flag comes from
        a proxy that is trusted. Samplers go by the trace's id, which the client has chosen, too."""
        if not self._trusts(peer):
            return self._new_traces.next_id() is not None
        return samples(self._sampler, parent, _trace_id(parent))

    def _trusts(self, peer: str) -> bool:
        address = parse_node(peer) if self._trusted else None
        return address is not None and is_trusted(address, self._trusted)

    def _parent(self, headers: Mapping[str, str]) -> Context:
        """The context of the caller's span; _ROOT when there is none."""
        for name in self._carriers:
            if name in headers:
                break
        else:
            return _ROOT
        parent = self._propagator.extract(headers, _ROOT, _BOUNDED)
        return parent if _trace_id(parent) else _ROOT


def instrument_pages(tracing: Tracing) -> None:
    """Has Tornado's handlers, which answer the pages, tell their part of a trace: a span within the
    request's, which is there already."""
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor

    TornadoInstrumentor().instrument(tracer_provider=tracing.provider)


class RequestSpan:
    """The span of a request that is sampled."""

    __slots__ = ("_response_headers", "_span", "_within")

    def __init__(self, span: Span, within: Context, response_headers: Sequence[str]) -> None:
        self._span = span
        self._within = within
        self._response_headers = response_headers

    def entered(self) -> AbstractContextManager[None]:
        """Has what the block does belong to the span, wherever it is called."""
        return entered(self._within)

    def fail(self, error: BaseException) -> None:
        """Records what the server has failed with."""
        fail(self._span, error)

    def end(self, status: int, reason: str | None, headers: Iterable[tuple[str, str]]) -> None:
        """Ends it: the request was answered so. ``reason`` says why not as it wished."""
        sent = {name.lower(): value for name, value in headers}
        shown = _shown("http.response.header", self._response_headers, sent)
        attributes: dict[str, AttributeValue] = {"http.response.status_code": status, **shown}
        if reason is not None:
            attributes["orderfood.reason"] = reason
        self._span.set_attributes(attributes)
        self._span.end()


def _trace_id(parent: Context) -> int:
    return trace.get_current_span(parent).get_span_context().trace_id


def _with_flag(parent: Context, sampled: bool) -> Context:
    """The caller's span with our own decision as its flag."""
    remote = trace.get_current_span(parent).get_span_context()
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    sampled_anew = SpanContext(remote.trace_id, remote.span_id, True, flags, remote.trace_state)
    return trace.set_span_in_context(trace.NonRecordingSpan(sampled_anew), _ROOT)


# --- what a request says of its trace, and what a span says of a request ---


def _propagator(names: Sequence[str]) -> TextMapPropagator:
    """Reads what OTEL_PROPAGATORS names, which is known to be installed."""
    found: list[TextMapPropagator] = []
    for name in names:
        if name == TRACE_CONTEXT:
            found.append(TraceContextTextMapPropagator())
        else:
            found += [e.load()() for e in entry_points(group="opentelemetry_propagator", name=name)]
    return CompositePropagator(found)


class _Bounded(Getter[Mapping[str, str]]):
    """Shows a propagator the headers that it asks for, if they are short."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = carrier.get(key.lower())
        return None if value is None or len(value) > MAX_CARRIED else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        """None: nothing is read that is not asked for by its name."""
        return []


_BOUNDED = _Bounded()


def _captured(usual: Sequence[str], variable: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*usual, *(name.lower() for name in get_custom_headers(variable))]))


def _shown(prefix: str, names: Sequence[str], headers: Mapping[str, str]) -> dict[str, str]:
    # plain texts, not lists as the conventions have them: Jaeger's exporter cannot send lists
    return {
        f"{prefix}.{name.replace('-', '_')}": _masked(name, headers[name])
        for name in names
        if name in headers
    }


def _masked(name: str, value: str) -> str:
    return "***" if name in SECRET_HEADERS else value
