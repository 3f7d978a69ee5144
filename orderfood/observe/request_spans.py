"""Server spans: Tornado's instrumentation, entered for the requests that are sampled and no others.

The instrumentation costs about 100 µs a request even when the sampler then says no. So the sampler
is asked first, with the incoming traceparent if there is one, and only a request that it wants gets
a handler that is instrumented. All others keep the handler as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import cast

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation import tornado as _tornado
from opentelemetry.instrumentation.tornado import _HANDLER_CONTEXT_KEY, patch_handler_class
from opentelemetry.instrumentation.tornado.version import __version__
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tornado.httputil import HTTPConnection, HTTPHeaders

from orderfood.api.addresses import is_trusted, parse_node
from orderfood.api.endpoint import ApiHandler
from orderfood.observe.exporting import Tracing
from orderfood.observe.tracing import NOT_SAMPLED, fail
from orderfood.server.connection import Exchange
from orderfood.server.heads import RequestHeaders
from orderfood.settings import TRACE_CONTEXT, Settings

REQUEST_HEADERS = ("User-Agent", "Content-Type", "Content-Length", "Accept", "Origin")
RESPONSE_HEADERS = ("Content-Type", "Content-Length", "ETag", "Retry-After", "Allow")
"""The headers that a span shows, when they were sent. More of them may be named in
OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST and …_RESPONSE."""

SECRET_HEADERS = ("api_key", "X-API-Key", "Authorization", "Cookie", "Idempotency-Key")
"""The headers that no span shows, whoever asks for them."""

MAX_CARRIED = 512
"""Characters of a header that is read for a trace: what the specification wants a tracestate to
have room for. Parsing a longer one would be the client's to make dear."""

_ROOT = Context()
_instrument: Callable[..., bool] = patch_handler_class  # the library's hook is untyped


class RequestTracer:
    """Decides for each request whether it is traced, before anything of it is handled."""

    def __init__(self, tracing: Tracing, settings: Settings) -> None:
        self._ids = tracing.ids
        self._sampler = tracing.sampler
        root = getattr(self._sampler, "_root", self._sampler)
        self._ratio = root if type(root) is TraceIdRatioBased else None
        self._tracer = trace.get_tracer(_tornado.__name__, __version__, tracing.provider)
        self._trusted = settings.trusted_proxies
        self._propagator = _propagator(settings.propagators)
        self._carriers = frozenset(name.lower() for name in self._propagator.fields)
        propagate.set_global_textmap(_Found())
        self._traced: dict[type[ApiHandler], type[ApiHandler]] = {}
        self.sampled = False
        """What enter said last: the request is handed on before there is another one."""

    def enter(self, headers: HTTPHeaders, connection: HTTPConnection) -> bool:
        """Whether the request with these headers is sampled. From here on until the next call this
        is the context of a request that is not, or of none."""
        parent = self._parent(headers)
        wanted = self._wants_new() if parent is _ROOT else self._wants(parent, connection)
        self.sampled = wanted and _plain_length(headers)
        if parent is not _ROOT:
            parent = _judged(parent, self.sampled)
        if self.sampled:
            _parent_found.set(parent)
            _enter(_ROOT)  # the instrumentation enters the parent itself
        else:
            _enter(NOT_SAMPLED if parent is _ROOT else parent)
        return self.sampled

    def _wants_new(self) -> bool:
        """The decision on a trace that begins here, with an id that is then the span's."""
        trace_id = self._ids.draw()
        if self._ratio is not None:  # as the sampler does it, at a tenth of the cost
            return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._ratio.bound
        return _samples(self._sampler.should_sample(_ROOT, trace_id, ""))

    def _wants(self, parent: Context, connection: HTTPConnection) -> bool:
        """The decision on a trace that began elsewhere: as for a new one unless the flag comes from
        a proxy that is trusted. Samplers go by the trace's id, which the client has chosen, too."""
        if not self._trusts(connection):
            return self._wants_new()
        return _samples(self._sampler.should_sample(parent, _trace_id(parent), ""))

    def _trusts(self, connection: HTTPConnection) -> bool:
        if not self._trusted:
            return False
        peer = parse_node(cast(Exchange, connection).context.remote_ip)
        return peer is not None and is_trusted(peer, self._trusted)

    def _parent(self, headers: HTTPHeaders) -> Context:
        """The context of the caller's span; _ROOT when there is none."""
        if not self._is_carried(headers):
            return _ROOT
        parent = self._propagator.extract(headers, _ROOT, _BOUNDED)
        return parent if _trace_id(parent) else _ROOT

    def _is_carried(self, headers: HTTPHeaders) -> bool:
        if isinstance(headers, RequestHeaders):
            return not self._carriers.isdisjoint(headers.lowered)
        return any(name in headers for name in self._carriers)

    def traced(self, handler: type[ApiHandler]) -> type[ApiHandler]:
        """The handler with a span around each request."""
        if handler not in self._traced:
            self._traced[handler] = self._instrumented(handler)
        return self._traced[handler]

    def _instrumented(self, handler: type[ApiHandler]) -> type[ApiHandler]:
        names = {"__module__": handler.__module__, "__qualname__": handler.__qualname__}
        made = cast(type[ApiHandler], type(handler.__name__, (_Traced, handler), names))
        _instrument(self._tracer, defaultdict(_Unmeasured), made, _describe)
        # it would end the span before there is an answer, with a status that may be another
        made.log_exception = handler.log_exception  # type: ignore[method-assign]
        return made


def _enter(wanted: Context) -> None:
    if context.get_current() is not wanted:
        context.attach(wanted)


def _samples(result: SamplingResult) -> bool:
    return result.decision is Decision.RECORD_AND_SAMPLE


def _trace_id(parent: Context) -> int:
    return trace.get_current_span(parent).get_span_context().trace_id


def _judged(parent: Context, sampled: bool) -> Context:
    """The caller's span with our own decision as its flag."""
    told = trace.get_current_span(parent).get_span_context()
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    judged = SpanContext(told.trace_id, told.span_id, True, flags, told.trace_state)
    return trace.set_span_in_context(trace.NonRecordingSpan(judged), _ROOT)


def _plain_length(headers: HTTPHeaders) -> bool:
    """Whether the instrumentation, which takes a Content-Length for a number, can read it: Python
    reads no number of thousands of digits."""
    length = headers.get("Content-Length")
    return length is None or (len(length) <= 18 and length.isascii() and length.isdigit())


# --- what a request says of its trace ---


def _propagator(names: Sequence[str]) -> TextMapPropagator:
    """Reads what OTEL_PROPAGATORS names, which is known to be installed."""
    found: list[TextMapPropagator] = []
    for name in names:
        if name == TRACE_CONTEXT:
            found.append(TraceContextTextMapPropagator())
        else:
            found += [e.load()() for e in entry_points(group="opentelemetry_propagator", name=name)]
    return CompositePropagator(found)


class _Bounded(Getter[HTTPHeaders]):
    """Shows a propagator the headers that it asks for, if they are short."""

    def get(self, carrier: HTTPHeaders, key: str) -> list[str] | None:
        value = carrier.get(key)
        return None if value is None or len(value) > MAX_CARRIED else [value]

    def keys(self, carrier: HTTPHeaders) -> list[str]:
        """None: nothing is read that is not asked for by its name."""
        return []


_BOUNDED = _Bounded()

_parent_found: ContextVar[Context] = ContextVar("parent_found", default=_ROOT)


class _Found(TextMapPropagator):
    """Tells the instrumentation, which would read the headers again, what enter has found."""

    def extract(self, *_: object, **__: object) -> Context:
        return _parent_found.get()

    def inject(self, *_: object, **__: object) -> None:
        """Nothing: no request goes on from here."""

    @property
    def fields(self) -> set[str]:
        return set()


class _Unmeasured:
    """Stands for the instruments of OpenTelemetry's metrics: ours are Prometheus'."""

    def record(self, *_: object, **__: object) -> None:
        """Nothing."""

    add = record


class _Traced(ApiHandler):
    """What the instrumentation leaves to its hooks: how the span ends."""

    def on_finish(self) -> None:
        span = self._span()
        if span is not None:
            _describe_answer(span, self)
            if trace.get_current_span() is not span:  # a task that it was not activated in
                self._end_span(span)
        super().on_finish()

    def on_connection_close(self) -> None:
        span = self._span()
        if span is None:
            super().on_connection_close()
            return
        with trace.use_span(span):  # this is the stream's context, not the request's
            super().on_connection_close()
        if not self.in_flight:
            _describe_answer(span, self)
            self._end_span(span)

    def _span(self) -> Span | None:
        activated = getattr(self, _HANDLER_CONTEXT_KEY, None)
        return activated.span if activated else None

    def _end_span(self, span: Span) -> None:
        """Ends it before the instrumentation does, which would also deactivate it: that works in
        its own context alone."""
        delattr(self, _HANDLER_CONTEXT_KEY)
        span.end()


def _describe(span: Span, handler: ApiHandler) -> None:
    """The instrumentation's hook at a request's start: a name by route, for a path may hold
    anything, and what else there is to say."""
    if not span.is_recording():
        return
    span.update_name(f"{handler.method} {handler.route}")
    span.set_attributes(
        {
            "http.method": handler.method,
            "http.request.method": handler.method,
            "request_id": handler.request_id,
            **_shown("http.request.header", REQUEST_HEADERS, handler.request.headers),
        }
    )
    if handler.route != ApiHandler.route:
        span.set_attribute("http.route", handler.route)
    _hide_secrets(span, handler.request.headers)


def _hide_secrets(span: Span, headers: HTTPHeaders) -> None:
    shown = span.attributes if isinstance(span, ReadableSpan) else None
    for name in SECRET_HEADERS:
        attribute = _attribute("http.request.header", name)
        if shown and name in headers and attribute in shown:
            span.set_attribute(attribute, "***")


def _describe_answer(span: Span, handler: ApiHandler) -> None:
    status = handler.get_status()
    span.set_attributes(
        {
            "http.status_code": status,
            "http.response.status_code": status,
            **_shown("http.response.header", RESPONSE_HEADERS, handler._headers),
        }
    )
    if handler.reason is not None:
        span.set_attribute("orderfood.reason", handler.reason)
    if status >= 500 and handler.error is not None:
        fail(span, handler.error)


def _shown(prefix: str, names: tuple[str, ...], headers: HTTPHeaders) -> dict[str, str]:
    # plain texts, not lists as the conventions have them: Jaeger's exporter cannot send lists
    return {_attribute(prefix, name): headers[name] for name in names if name in headers}


def _attribute(prefix: str, name: str) -> str:
    return f"{prefix}.{name.lower().replace('-', '_')}"
