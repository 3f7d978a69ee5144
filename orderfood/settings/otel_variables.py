"""OpenTelemetry's own variables: what of them makes sense to the libraries that are used here.

The libraries validate them one by one and late: some with a traceback, some with an exception while
a program starts or a request is served. Tracing must not stop a shop, and the specification wants
invalid values to be reported and ignored; so that is done here, before a library reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PREFIX = "OTEL_"

TRACE_CONTEXT = "tracecontext"
"""The propagator of W3C's trace context, which is read where nothing else is said."""

QUEUE, BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
USUAL_QUEUE, USUAL_BATCH = 2048, 512
"""The SDK's defaults: a batch has to fit into the queue."""

LENGTH, SPAN_LENGTH = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
MAX_ATTRIBUTE = 1024
"""Characters of a span's attribute where nothing else is said: a client chooses some of them, and
thousands of spans may wait for a collector."""


class Nonsense(NamedTuple):
    """A variable that is passed over, and what it might have been."""

    name: str
    allowed: str


class _Check(NamedTuple):
    is_good: Callable[[str], bool]
    allowed: str


def check_variables(environ: Mapping[str, str]) -> tuple[dict[str, str | None], list[Nonsense]]:
    """What to change in ``environ`` (None: to be removed) so that no library fails over it, and
    what of it made no sense. What is empty counts as not set."""
    changes: dict[str, str | None] = {}
    nonsense: list[Nonsense] = []
    for name in [name for name in environ if name.startswith(PREFIX)]:
        value, check = environ[name], _check_for(name)
        if value.strip() == "" or name in _OURS_TO_CHOOSE:
            changes[name] = None
        if value.strip() and check is not None and not check.is_good(value):
            changes[name] = None
            nonsense.append(Nonsense(name, check.allowed))
    left = {name: value for name, value in environ.items() if name not in changes}
    changes |= _fitting_batch(left) | _bounded_length(left)
    return changes, nonsense


def propagators(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names in OTEL_PROPAGATORS; W3C's trace context where there are none."""
    value = environ.get("OTEL_PROPAGATORS", "").strip()
    names = tuple(dict.fromkeys(_listed(value or TRACE_CONTEXT)))
    return () if "none" in map(str.lower, names) else names


def _fitting_batch(environ: Mapping[str, str]) -> dict[str, str | None]:
    queue = int(environ.get(QUEUE, USUAL_QUEUE))
    return {} if int(environ.get(BATCH, USUAL_BATCH)) <= queue else {BATCH: str(queue)}


def _bounded_length(environ: Mapping[str, str]) -> dict[str, str | None]:
    return {} if {LENGTH, SPAN_LENGTH} & environ.keys() else {SPAN_LENGTH: str(MAX_ATTRIBUTE)}


# --- checks ---


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value.strip()) is not None


def _one_of(*words: str) -> _Check:
    return _Check(lambda value: value.strip().lower() in words, " or ".join(words))


def _listed(value: str) -> Iterator[str]:
    return (part.strip() for part in value.split(","))


def _installed(group: str) -> Callable[[str], bool]:
    """Whether each of the names is among the entry points of this group."""

    def is_good(value: str) -> bool:
        from importlib.metadata import entry_points  # slow, and not always needed

        return all(name.lower() == "none" or entry_points(group=group, name=name)
                   for name in _listed(value))  # fmt: skip

    return is_good


def _is_url(value: str) -> bool:
    try:
        _ = urlsplit(value).port
    except ValueError:
        return False
    return re.fullmatch(r"https?://[^\s/?#]+\S*", value) is not None


def _are_patterns(value: str) -> bool:
    try:
        re.compile("|".join(_listed(value)))
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _are_pairs(value: str) -> bool:
    pairs = [unquote(pair).partition("=") for pair in _listed(value) if pair]
    return all(key.strip() and equals and (key + text).isprintable() for key, equals, text in pairs)


_FROM_0 = _Check(_matches("[0-9]{1,9}"), "a whole number from 0 to 999999999")
_FROM_1 = _Check(_matches("0*[1-9][0-9]{0,8}"), "a whole number from 1 to 999999999")
_SECONDS = _Check(_matches(r"[0-9]{1,5}(\.[0-9]{1,9})?"), "a number of seconds, such as 10 or 0.5")
_URL = _Check(_is_url, "an http:// or https:// URL")
_PAIRS = _Check(_are_pairs, "key=value pairs with commas between")
_PATTERNS = _Check(_are_patterns, "regular expressions with commas between")

_OURS_TO_CHOOSE = (
    "OTEL_PYTHON_CONTEXT",
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_PYTHON_METER_PROVIDER",
)
"""What the library would set up while it is imported, instead of what the programs need."""

_NUMBER = _matches(r"0*(0?\.[0-9]{1,18}|[01](\.0*)?)([eE]-?[0-9]{1,2})?")


def _is_a_share(value: str) -> bool:
    return _NUMBER(value) and 0 <= float(value) <= 1


_CHECKS: dict[str, _Check] = {
    "OTEL_SDK_DISABLED": _one_of("true", "false"),
    "OTEL_PROPAGATORS": _Check(
        _installed("opentelemetry_propagator"),
        "none, tracecontext, baggage, or others that are installed, with commas between",
    ),
    "OTEL_TRACES_SAMPLER": _one_of(
        "always_on", "always_off", "parentbased_always_on", "parentbased_always_off",
        "traceidratio", "parentbased_traceidratio",
    ),
    "OTEL_TRACES_SAMPLER_ARG": _Check(_is_a_share, "a number from 0 to 1"),
    "OTEL_TRACES_EXPORTER": _one_of("jaeger", "otlp", "none"),
    QUEUE: _FROM_1,
    BATCH: _FROM_1,
    "OTEL_BSP_SCHEDULE_DELAY": _FROM_1,
    "OTEL_BSP_EXPORT_TIMEOUT": _FROM_1,
    LENGTH: _FROM_0,
    SPAN_LENGTH: _FROM_0,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _FROM_0,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _FROM_0,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _FROM_0,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _FROM_0,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _FROM_0,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _FROM_0,
    "OTEL_RESOURCE_ATTRIBUTES": _PAIRS,
    "OTEL_EXPORTER_OTLP_ENDPOINT": _URL,
    "OTEL_EXPORTER_OTLP_PROTOCOL": _one_of("http/protobuf"),
    "OTEL_EXPORTER_OTLP_TIMEOUT": _SECONDS,
    "OTEL_EXPORTER_OTLP_COMPRESSION": _one_of("none", "gzip", "deflate"),
    "OTEL_EXPORTER_OTLP_HEADERS": _PAIRS,
    "OTEL_EXPORTER_JAEGER_AGENT_PORT": _Check(_matches("[0-9]{1,5}"), "a port"),
    "OTEL_EXPORTER_JAEGER_TIMEOUT": _FROM_1,
    "OTEL_PYTHON_CONTEXT": _one_of("contextvars_context"),
    "OTEL_PYTHON_TRACER_PROVIDER": _one_of("sdk_tracer_provider", "default_tracer_provider"),
    "OTEL_PYTHON_METER_PROVIDER": _one_of("sdk_meter_provider", "default_meter_provider"),
    "OTEL_PYTHON_EXCLUDED_URLS": _PATTERNS,
    "OTEL_PYTHON_TORNADO_EXCLUDED_URLS": _PATTERNS,
}  # fmt: skip


def _check_for(name: str) -> _Check | None:
    """OTLP's variables have a second form, for traces alone."""
    return _CHECKS.get(name) or _CHECKS.get(name.replace("_OTLP_TRACES_", "_OTLP_"))
