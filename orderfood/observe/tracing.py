"""Tracing: the programs' spans, through the OpenTelemetry API.

Only the OpenTelemetry API is imported here: it is small, and does nothing until
:func:`start_tracing` has found that something is to be exported and brought in the SDK.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context as ContextVars
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

from orderfood.observe.logs import MAX_TRACEBACK, add_log_context
from orderfood.settings import Settings, pass_over_nonsense
from orderfood.settings.secrets import hide_passwords

_nonsense = pass_over_nonsense()  # the API reads its variables when it is imported

from opentelemetry import trace  # noqa: E402
from opentelemetry.context import Context, attach, detach, get_current  # noqa: E402
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode  # noqa: E402
from opentelemetry.util.types import AttributeValue  # noqa: E402

if TYPE_CHECKING:
    from orderfood.observe.exporting import Tracing

__all__ = [
    "Attributes",
    "Span",
    "SpanKind",
    "current_span",
    "current_tracing",
    "enter",
    "entered",
    "fail",
    "is_untraced",
    "recorded_in",
    "span",
    "start_span",
    "start_tracing",
]

Attributes = Mapping[str, AttributeValue]
"""What a span says of its work: texts, numbers, booleans, or lists of one of them."""

logger = logging.getLogger(__name__)

_tracer = trace.get_tracer("orderfood")


def start_tracing(settings: Settings, service: str) -> Tracing | None:
    """Sends spans to where the settings say, as spans of this service; None where that is nowhere.

    The SDK, the exporter and what they need are imported only now: a program that is not traced
    does not wait for them. What they cannot do is said, and is no reason to do nothing else.
    """
    while _nonsense:
        logger.warning("%s", _nonsense.pop(0))
    if settings.span_exporter == "none":
        return None
    try:
        from orderfood.observe.exporting import Tracing

        _started.append(Tracing(settings, service))
    except Exception as error:
        log_tracing_off(error)
        return None
    add_log_context(log_ids)
    return _started[-1]


def log_tracing_off(error: Exception) -> None:
    """Says why nothing, or no request, is traced."""
    why = f"{type(error).__name__}: {error}"
    logger.warning("nothing is traced: %s", hide_passwords(why))


_started: list[Tracing] = []


def current_tracing() -> Tracing | None:
    """What this process has started."""
    return _started[-1] if _started else None


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    harmless: tuple[type[BaseException], ...] = (),
) -> Iterator[Span]:
    """A span as long as the block, and a child of the span around it. What the block raises is
    recorded in it; an error of ``harmless`` is an outcome rather than a failure."""
    with _tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            _record(current, error)
            if not isinstance(error, harmless):
                _mark_failed(current, error)
            raise


def current_span() -> Span:
    """The span that what happens here and now belongs to; where there is none, one that records
    nothing."""
    return trace.get_current_span()


def start_span(
    name: str,
    attributes: Attributes | None = None,
    *,
    parent: Span | None = None,
    links: Sequence[Span] = (),
    kind: SpanKind = SpanKind.INTERNAL,
) -> Span:
    """A span that somebody else ends, perhaps on another thread; it becomes no one's context."""
    return _tracer.start_span(
        name,
        context=None if parent is None else trace.set_span_in_context(parent, Context()),
        kind=kind,
        attributes=attributes,
        links=[Link(span.get_span_context()) for span in links],
    )


def fail(failed: Span, error: BaseException) -> None:
    """Records the error in a span, and that it failed."""
    if failed.is_recording():
        _record(failed, error)
        _mark_failed(failed, error)


def _record(failed: Span, error: BaseException) -> None:
    """Without passwords: drivers like to quote the URL that they were given."""
    stack = "".join(traceback.format_exception(error))
    failed.record_exception(
        error,
        {
            "exception.message": hide_passwords(str(error)),
            "exception.stacktrace": hide_passwords(stack, MAX_TRACEBACK),
        },
    )


def _mark_failed(failed: Span, error: BaseException) -> None:
    kind = type(error).__name__
    failed.set_attribute("error.type", kind)
    failed.set_status(Status(StatusCode.ERROR, f"{kind}: {hide_passwords(str(error))}"))


def recorded_in(contexts: Iterable[ContextVars]) -> list[Span]:
    """The spans of these contexts, as far as they are recorded."""
    spans = [context.run(trace.get_current_span) for context in contexts]
    return [found for found in spans if found.is_recording()]


def enter(wanted: Context) -> None:
    """Has what happens from here on belong to this context, until something else is entered."""
    if _entered.get() is not wanted:
        attach(wanted)
        _entered.set(wanted)


@contextmanager
def entered(wanted: Context) -> Iterator[None]:
    """Has what the block does belong to this context, wherever it is called."""
    token, before = attach(wanted), _entered.set(wanted)
    try:
        yield
    finally:
        _entered.reset(before)
        detach(token)


_entered: ContextVar[Context | None] = ContextVar("entered", default=None)
"""What was entered last; what the tracing API keeps itself takes longer to look up."""


def is_untraced() -> bool:
    """Whether what happens here and now belongs to no span, as far as that is cheap to tell: most
    requests belong to none, and looking for one costs each of them more."""
    return _entered.get() is NOT_SAMPLED or not get_current()


def log_ids() -> Mapping[str, str]:
    """What a log line needs to be found from a trace, and the trace from it."""
    if _entered.get() is NOT_SAMPLED or is_untraced():  # for most lines the first is enough
        return _NO_IDS
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or context.trace_id == _NOT_SAMPLED.trace_id:
        return _NO_IDS
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


_NOT_SAMPLED = trace.SpanContext(2**128 - 1, 2**64 - 1, is_remote=False)
"""The context of a trace that is not recorded. Its id is the highest of all, which no sampler that
goes by the ratio of ids picks."""

_NO_SPAN = trace.NonRecordingSpan(_NOT_SAMPLED)
_NO_IDS: Mapping[str, str] = MappingProxyType({})

NOT_SAMPLED = trace.set_span_in_context(_NO_SPAN, Context())
"""The context of a request that is not sampled: what begins in it is not sampled either."""
