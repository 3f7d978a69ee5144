"""How the programs log: the standard library's logging, one record a line on stdout.

What a machine is to find goes into ``extra={"fields": {...}}``; see also :func:`say`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

from orderfood.observe.logwriter import LineWriter, writer_to
from orderfood.settings import LogFormat, Settings
from orderfood.settings.secrets import hide_passwords

logger = logging.getLogger(__name__)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, a field of every line that is logged within it."""


MAX_TRACEBACK = 64 * 1024
"""As many of a traceback, whose end tells the most."""

_QUOTING = {"tornado.general": logging.ERROR, "opentelemetry": logging.CRITICAL}
"""Loggers of libraries that quote what a client has sent, as often as it likes, and the least that
they may say, whatever LOG_LEVEL is. (OpenTelemetry's errors quote contexts, with all that is in
them; what becomes of the spans is told by our own exporter.)"""


def configure_logging(settings: Settings, service: str) -> None:
    """Sends all that is logged to stdout, in the settings' format and from their level on.

    A second call replaces what the first set up; handlers of others stay.
    """
    handler = _LineHandler(writer_to(sys.stdout, shared=settings.workers > 1, on_flow=_say_dropped))
    handler.setFormatter(
        JSONFormatter(
            service=service,
            version=settings.service_version,
            environment=settings.environment,
        )
        if settings.log_format == "json"
        else TextFormatter()
    )
    close_logs()
    _log_what_is_printed()
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name, level in _QUOTING.items():
        logging.getLogger(name).setLevel(max(level, root.level))


def _say_dropped(lines: int) -> None:
    logger.warning(
        "%d log lines were dropped: their reader was too slow",
        lines,
        extra={"fields": {"lines": lines}},
    )


def _log_what_is_printed() -> None:
    """Warnings, and what ends a thread or cannot be raised, become lines as all others."""
    logging.captureWarnings(True)
    threading.excepthook = lambda failed: logger.error(
        "a thread has failed", exc_info=failed.exc_value or failed.exc_type()
    )
    sys.unraisablehook = lambda failed: logger.error(
        "%s: %r", failed.err_msg or "exception ignored in", failed.object, exc_info=failed.exc_value
    )


def log_writer() -> LineWriter:
    """The writer of this process' log lines, also of those without a logging record."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LineHandler):
            return handler.writer
    return writer_to(sys.stdout)


def close_logs() -> None:
    """Waits until all lines are written, with a bound for a reader that stalls."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LineHandler):
            handler.writer.close()


def write_last_line(service: str, message: str, level: int, log_format: LogFormat) -> None:
    """Says on stderr how a program ends, in the format of its log: one line, whatever it holds."""
    line = " ".join(message.split())  # a driver's message may have several lines
    if log_format == "json":
        record = logging.LogRecord(service, level, "", 0, line, (), None)
        text = JSONFormatter(service=service).format(record)
    else:
        text = f"{service}: {line.translate(_VISIBLE_CONTROLS)}"
    writer = writer_to(sys.stderr)
    writer.write(text + "\n")
    writer.close()


def say(logger: logging.Logger, message: str, **fields: object) -> None:
    """Logs a result that a person waits for: in text the bare message, which has to say it all,
    in JSON an info record with ``fields``. It is shown at every level, for it is the program's
    answer rather than its chatter."""
    extra = {"fields": fields, "plain": True}
    record = logger.makeRecord(
        logger.name, logging.INFO, "", 0, message, (), None, func=None, extra=extra
    )
    logger.handle(record)


def add_log_context(provider: Callable[[], Mapping[str, str]]) -> None:
    """Adds the fields that ``provider`` returns, such as a span's ids, to every line."""
    if provider not in _providers:
        _providers.append(provider)


_providers: list[Callable[[], Mapping[str, str]]] = []


def provided_context() -> dict[str, str]:
    """The fields of all providers in the current context."""
    context: dict[str, str] = {}
    for provider in _providers:
        if provided := provider():
            context.update(provided)
    return context


def log_context() -> dict[str, str]:
    """The fields of every line that is logged in the current context."""
    context = provided_context()
    if current := request_id.get():
        context["request_id"] = current
    return context


class JSONFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, so that nothing in a record can break the line."""

    def __init__(self, **constants: str) -> None:
        super().__init__()
        self._constants = constants

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "timestamp": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_passwords(record.getMessage()),
            **self._constants,
        }
        for name, value in _fields(record).items():
            entry.setdefault(name, value)
        if problem := self._problem(record):
            entry["exception"] = problem
        return json.dumps(entry, default=str)

    def _problem(self, record: logging.LogRecord) -> str:
        """The traceback and the stack, as far as the record has them."""
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        text = "\n".join(filter(None, (exception, record.stack_info)))
        return hide_passwords(text, MAX_TRACEBACK)


class TextFormatter(logging.Formatter):
    """A line for a person: time, level, logger, message and fields; a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        below = [self.formatException(record.exc_info)] if record.exc_info else []
        below += [record.stack_info] if record.stack_info else []
        text = "\n".join([self.formatMessage(record), *map(_indented, below)])
        return hide_passwords(text, MAX_TRACEBACK)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        message = hide_passwords(record.message).translate(_VISIBLE_CONTROLS)
        if getattr(record, "plain", False):
            return message
        fields = "".join(f" {name}={_text(value)}" for name, value in _fields(record).items())
        return f"{_timestamp(record)} {record.levelname:<7} {record.name}: {message}{fields}"


class _LineHandler(logging.Handler):
    """A logging handler: one line for each record, passed to the writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # its arguments do not fit its message: that is no reason to end
            problem = logging.makeLogRecord({"name": record.name, "levelno": logging.ERROR})
            problem.levelname, problem.msg = "ERROR", "a line cannot be made: %r"
            problem.args = (error,)
            line = self.format(problem)
        self.writer.write(line + "\n")


def _indented(text: str) -> str:
    """The lines below a record's own, none of which can be taken for one."""
    return "\n".join(f"  {line.translate(_VISIBLE_CONTROLS)}" for line in text.split("\n"))


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return {**fields, **log_context()}


def _text(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(value, default=str)


_UNSEEN = (
    *range(32),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
"""Controls, of C1 as well, what ends a line in Unicode, and what turns the text around it."""

_VISIBLE_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSEEN
} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}
