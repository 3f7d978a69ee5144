"""Export of spans: the SDK, its exporter, and what happens without a collector.

Whatever becomes of the collector, the program goes on: spans wait in a bounded queue, the oldest
are dropped, a failure is logged once, and the end of the program waits for it FLUSH_SECONDS at
most.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Sequence
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from orderfood.settings import Settings
from orderfood.settings.secrets import hide_passwords, mask_url

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.5
"""How long the end of the program waits for the last spans to be taken."""


class Tracing:
    """Spans of one service, on their way out from now on until :meth:`stop`."""

    def __init__(self, settings: Settings, service: str) -> None:
        exporter, where = _exporter(settings)
        self.ids = DrawnIds()
        self.provider = TracerProvider(
            resource=_resource(settings, service),
            id_generator=self.ids,
            shutdown_on_exit=False,  # its shutdown may take half a minute; ours has an end
        )
        self.sampler = self.provider.sampler
        """What the operator has chosen, for traces that begin here."""
        self.provider.sampler = _RemoteParentSampler(self.sampler)
        expected = not settings.jaeger_is_assumed or settings.span_exporter != "jaeger"
        self._reporting = ReportingExporter(exporter, where, expected)
        self.provider.add_span_processor(BatchSpanProcessor(self._reporting))
        trace.set_tracer_provider(self.provider)

    def stop(self, seconds: float = FLUSH_SECONDS) -> None:
        """Sends what is left, and gives up when that takes too long. Ends with the process."""
        stopping = threading.Thread(target=self.provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(seconds)
        if stopping.is_alive():
            self._reporting.give_up(seconds)


class _RemoteParentSampler(Sampler):
    """Follows the sampled flag of a remote parent, which was checked where it was read; for all
    other spans ``inner`` decides."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        if not (parent.is_valid and parent.is_remote):
            return self._inner.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        wanted = parent.trace_flags.sampled
        decision = Decision.RECORD_AND_SAMPLE if wanted else Decision.DROP
        return SamplingResult(decision, attributes, parent.trace_state)

    def get_description(self) -> str:
        return self._inner.get_description()


class DrawnIds(RandomIdGenerator):
    """An id generator that uses the trace id which the sampling decision was made with: samplers
    decide alike for equal ids, so the decision is made once."""

    def __init__(self) -> None:
        self._drawn: ContextVar[int | None] = ContextVar("drawn", default=None)

    def use(self, trace_id: int) -> None:
        """Has the next trace of this context have this id."""
        self._drawn.set(trace_id)

    def generate_trace_id(self) -> int:
        drawn = self._drawn.get()
        if drawn is None:
            return super().generate_trace_id()
        self._drawn.set(None)
        return drawn


class ReportingExporter(SpanExporter):
    """Exports spans by ``inner``, and logs once when that fails and once when it works again: as a
    warning only if a collector is ``expected``, as it is where an endpoint was set."""

    def __init__(self, inner: SpanExporter, where: str, expected: bool = True) -> None:
        self._inner = inner
        self._where = where
        self._level = logging.WARNING if expected else logging.INFO
        self._failing = False
        self._complaints = _overhear(inner)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._complaints.clear()
        try:
            result = self._inner.export(spans)
        except Exception as error:
            return self._failed(len(spans), f"{type(error).__name__}: {error}")
        if result is not SpanExportResult.SUCCESS or self._complaints:
            return self._failed(len(spans), " ".join(self._complaints) or "refused")
        if self._failing:
            logger.info("spans are exported again to %s", self._where)
        self._failing = False
        return result

    def _failed(self, count: int, why: str) -> SpanExportResult:
        level = logging.DEBUG if self._failing else self._level
        self._failing = True
        text = "spans cannot be exported to %s and are dropped: %s"
        fields = {"dropped": count}
        logger.log(level, text, self._where, hide_passwords(why), extra={"fields": fields})
        return SpanExportResult.FAILURE

    def give_up(self, seconds: float) -> None:
        """Says that the end of the program did not wait any longer."""
        level = logging.DEBUG if self._failing else self._level
        logger.log(level, "%s did not take the last spans within %g s", self._where, seconds)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _Overheard(logging.Filter):
    """Keeps what an exporter logs instead of raising it, and lets nothing through."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self._messages = messages

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            self._messages.append(record.getMessage())
        return False


def _overhear(exporter: SpanExporter) -> list[str]:
    messages: list[str] = []
    modules = [base.__module__ for base in type(exporter).__mro__]
    spoken = [name for name in modules if name.startswith("opentelemetry.exporter.")]
    for name in {*spoken, *(f"{module}.send" for module in spoken)}:
        speaker = logging.getLogger(name)
        speaker.setLevel(logging.ERROR)
        speaker.addFilter(_Overheard(messages))
    return messages


def _exporter(settings: Settings) -> tuple[SpanExporter, str]:
    if settings.span_exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(), "the OTLP endpoint"
    with warnings.catch_warnings():
        # the maintainers would rather have us use OTLP; an operator who has it names its endpoint
        warnings.filterwarnings(
            "ignore", r"Call to deprecated method __init__\. \(Since v1\.35", DeprecationWarning
        )
        from orderfood.observe.jaeger import BatchExporter

        exporter = BatchExporter(collector_endpoint=settings.jaeger_endpoint)
    return exporter, mask_url(settings.jaeger_endpoint)


def _resource(settings: Settings, service: str) -> Resource:
    """Who the spans are of; OTEL_RESOURCE_ATTRIBUTES may add to it."""
    attributes = {
        "service.name": service,
        "service.version": settings.service_version,
        "deployment.environment": settings.environment,
    }
    if settings.pod_name:
        attributes["k8s.pod.name"] = settings.pod_name
    return OTELResourceDetector().detect().merge(Resource(attributes))
