"""What an operator may set: read from the environment once, here, into one frozen object.

Importing this is cheap and touches nothing; :func:`read_settings` does the reading.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

from orderfood.settings import otel_variables

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from limits import RateLimitItem

T = TypeVar("T")

TRACE_CONTEXT = otel_variables.TRACE_CONTEXT

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client knows that it counts for several processes."""

LogFormat = Literal["text", "json"]
HTTPServerName = Literal["httptools", "tornado"]
SpanExporter = Literal["none", "jaeger", "otlp"]


class SettingsError(Exception):
    """A variable makes no sense. The message is one line that names the variable, its value
    (never a password) and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process. The URL may hold a password: ``repr`` leaves it out."""

    storage_url: str = field(repr=False)
    storage_pool_size: int
    storage_wait_seconds: float
    host: str
    port: int
    fixtures_dir: Path
    spool_dir: Path | None
    """None: where the system keeps temporary files, which is looked for when it is needed."""
    environment: str
    service_version: str
    log_level: str
    """A name of the standard library's, in capitals: ``INFO``."""
    log_format: LogFormat
    cors_allowed_origins: tuple[str, ...]
    """Origins as browsers send them, or ``("*",)``."""
    drain_seconds: float
    idle_seconds: float
    http_server: HTTPServerName
    workers: int
    metrics_folder: str
    """Where processes share their counts; empty when there is but one."""
    rate_limit: RateLimitItem | None
    """None when requests are not limited."""
    abuse_limit: RateLimitItem | None
    """None when wrong keys and unknown coupon codes are not limited."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    enable_metrics: bool
    metrics_port: int | None
    """None when the metrics have no port of their own."""
    jaeger_endpoint: str = field(repr=False)
    """Empty when spans do not go there."""
    jaeger_is_assumed: bool
    """Whether nobody has said where Jaeger is, so that it need not be there."""
    span_exporter: SpanExporter
    """Where spans go: decided here so that a program that is not traced never imports the SDK."""
    propagators: tuple[str, ...]
    """By which of OpenTelemetry's propagators an incoming request's trace is found."""
    pod_name: str
    """Empty outside Kubernetes."""


class SettingDescription(NamedTuple):
    """One row of the table in ``--help`` and in the README."""

    name: str
    default: str
    meaning: str


class _Setting(NamedTuple):
    default: str
    meaning: str
    allowed: str
    compute: Callable[[], str] | None = None
    """Finds the default where it is no constant."""
    may_be_empty: bool = False
    """Whether an empty variable is a value, rather than one that is not set."""


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that ``environ`` holds. A variable that is empty counts as not set: that is
    how charts and compose files leave one out. Two differ: an empty JAEGER_ENDPOINT turns it off,
    and an empty STORAGE_URL is refused. Raises SettingsError."""

    def read(name: str, parse: Callable[[str], T]) -> T:
        return _read(environ, name, parse)

    jaeger_endpoint = read("JAEGER_ENDPOINT", _endpoint)
    enable_metrics = read("ENABLE_METRICS", _boolean)
    port, metrics_port = read("PORT", _port), read("METRICS_PORT", _port_or_none)
    return Settings(
        storage_url=read("STORAGE_URL", _storage_url),
        storage_pool_size=read("STORAGE_POOL_SIZE", _whole_number(1, 1000)),
        storage_wait_seconds=read("STORAGE_WAIT_SECONDS", _seconds),
        host=read("HOST", _host),
        port=port,
        fixtures_dir=read("FIXTURES_DIR", _folder),
        spool_dir=read("SPOOL_DIR", _folder_or_none),
        environment=read("ENVIRONMENT", _label),
        service_version=read("SERVICE_VERSION", _label),
        log_level=read("LOG_LEVEL", _log_level),
        log_format=read("LOG_FORMAT", _log_format),
        cors_allowed_origins=read("CORS_ALLOWED_ORIGINS", _origins),
        drain_seconds=read("DRAIN_SECONDS", _seconds),
        idle_seconds=read("IDLE_SECONDS", _seconds_from_one),
        http_server=read("HTTP_SERVER", _http_server),
        workers=read("WORKERS", _workers_of(environ)),
        metrics_folder=_metrics_folder(environ.get(METRICS_FOLDER, "")),
        rate_limit=read("RATE_LIMIT", _rate_limit),
        abuse_limit=read("ABUSE_LIMIT", _rate_limit),
        trusted_proxies=read("TRUSTED_PROXIES", _networks),
        enable_metrics=enable_metrics,
        metrics_port=metrics_port if enable_metrics and metrics_port != (port or None) else None,
        jaeger_endpoint=jaeger_endpoint,
        jaeger_is_assumed="JAEGER_ENDPOINT" not in environ,
        span_exporter=_span_exporter(environ, jaeger_endpoint),
        propagators=otel_variables.propagators(environ),
        pod_name=read("POD_NAME", _optional_label),
    )


def log_format_of(environ: Mapping[str, str] = os.environ) -> LogFormat:
    """LOG_FORMAT alone, for whoever has to say that the settings make no sense; text when it makes
    none itself."""
    try:
        return _read(environ, "LOG_FORMAT", _log_format)
    except SettingsError:
        return "text"


def describe_settings() -> list[SettingDescription]:
    """Every variable with its default and its meaning, in the order of the README's table."""
    return [
        SettingDescription(name, setting.default, setting.meaning)
        for name, setting in _SETTINGS.items()
    ]


def package_version() -> str:
    """The version of the installed package; ``unknown`` in a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow, and not always needed

    try:
        return version("orderfood")
    except PackageNotFoundError:
        return "unknown"


def mask_url(text: str) -> str:
    """``text`` with the password of a URL (or of a libpq connection string) replaced by ``***``.

    Works on what is no valid URL, too, for those are the ones that end up in an error. In doubt
    it hides too much.
    """
    text = _PASSWORD_PARAMETER.sub(r"\1***", text)
    at = text.rfind("@")
    if at < 0:
        return _PASSWORD_WITHOUT_HOST.sub(r"\1***", text)
    scheme = _SCHEME.match(text)
    colon = text.find(":", scheme.end() if scheme else 0, at)
    return text if colon < 0 else f"{text[: colon + 1]}***{text[at:]}"


_PASSWORD_PARAMETER = re.compile(r"((?:password|passwd|pwd)\s*=\s*)(?:'[^']*'|[^&\s]*)", re.I)
_SCHEME = re.compile(r"[\w+.-]*://")
_PASSWORD_WITHOUT_HOST = re.compile(r"(://[^:/?#\[]*:)(?!\d+(?:[/?#,]|$))[^/?#]+")


def pass_over_nonsense(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Takes out of ``environ`` what OpenTelemetry's libraries would fail over, and says so in a
    line for each. Before they are imported: some of it they read then."""
    changes, nonsense = otel_variables.judge(environ)
    lines = [
        f"{name} is {_shown_of(name, environ[name])} and is passed over; allowed: {allowed}"
        for name, allowed in nonsense
    ]
    for name, value in changes.items():
        environ.pop(name, None)
        if value is not None:
            environ[name] = value
    return lines


def _shown_of(name: str, value: str) -> str:
    return "'***'" if name.endswith(("HEADERS", "PASSWORD")) else _shown(value)


def prefer_avx2(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keeps numpy, which reads this when it is imported, from sorting with AVX-512, unless the
    operator has told it otherwise.

    Its sort with AVX-512 stores compressed vectors to memory, which AMD's Zen 4 does in microcode:
    sorting a million numbers takes 86 ms there, and 18 ms with AVX2. Where AVX-512 is fast, AVX2
    is hardly slower.
    """
    environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4")


def _packaged_fixtures() -> str:
    spec = find_spec("fixtures")  # found, not imported: its reader needs pydantic
    assert spec is not None
    assert spec.submodule_search_locations
    return spec.submodule_search_locations[0]


def _fitting_log_format() -> str:
    return "text" if sys.stdout is not None and sys.stdout.isatty() else "json"


_SECONDS = "a number of seconds from 0 to 86400, such as 5 or 0.5"
_LABEL = "1 to 100 visible characters without spaces"

_RATE = "off, or a limit such as 100/minute, 5/second or 1000 per 2 hours"

_SETTINGS = {
    "STORAGE_URL": _Setting(
        "sqlite:///orderfood.db",
        "where the facts are kept: memory://, sqlite:///path or"
        " postgresql://user:password@host/db?options (postgres:// too; sslmode as in libpq)",
        "memory://, sqlite:///path or postgresql://user:password@host/db?options",
    ),
    "STORAGE_POOL_SIZE": _Setting(
        "10", "Postgres connections of one process", "a whole number from 1 to 1000"
    ),
    "STORAGE_WAIT_SECONDS": _Setting(
        "30",
        "how long a program waits for a database that is not up yet, then one clear error and"
        " exit 1",
        _SECONDS,
    ),
    "HOST": _Setting(
        "127.0.0.1",
        "the address where order-food listens; :: is all addresses of both families",
        "a host name or an IP address, without a port",
    ),
    "PORT": _Setting(
        "8080",
        "the port where order-food listens; 0 is any free one",
        "a whole number from 0 to 65535",
    ),
    "FIXTURES_DIR": _Setting(
        "the packaged fixtures",
        "the folder that database-load reads",
        "the path of a folder",
        _packaged_fixtures,
    ),
    "SPOOL_DIR": _Setting(
        "the system's folder for temporary files",
        "the folder where database-load keeps what is too much for memory while it reads the coupon"
        " files: 8 bytes for each of their lines, in a file without a name; small files need none",
        "the path of a folder",
        lambda: "",
    ),
    "ENVIRONMENT": _Setting(
        "dev",
        "reported in logs, spans and metrics; where it is prod or production the sample keys open"
        " nothing",
        _LABEL,
    ),
    "SERVICE_VERSION": _Setting(
        "the package's version", "reported in logs, spans and metrics", _LABEL, package_version
    ),
    "LOG_LEVEL": _Setting(
        "info",
        "the least that is logged: debug, info, warning, error or critical",
        "debug, info, warning, error or critical",
    ),
    "LOG_FORMAT": _Setting(
        "text on a terminal, else json",
        "text, or json: one object a line",
        "text or json",
        _fitting_log_format,
    ),
    "CORS_ALLOWED_ORIGINS": _Setting(
        "*",
        "the web origins that may call the API: * for all, or several with commas between",
        "*, or origins such as https://shop.example or http://localhost:3000, with commas between",
    ),
    "DRAIN_SECONDS": _Setting(
        "5",
        "on SIGTERM: how long new requests are still served while /ready is 503 (it ends sooner"
        " when no connection is open); requests in flight get at most as long again. SIGINT"
        " skips the wait",
        _SECONDS,
    ),
    "IDLE_SECONDS": _Setting(
        "75",
        "how long a connection may be silent between two requests; to be longer than the load"
        " balancer keeps its own, so that it and not the server ends them",
        "a number of seconds from 1 to 86400, such as 75 or 620",
    ),
    "HTTP_SERVER": _Setting(
        "httptools",
        "who parses HTTP: httptools, a parser in C, or tornado, Tornado's own server",
        "httptools or tornado",
    ),
    "WORKERS": _Setting(
        "1",
        "how many processes serve, on one port; memory:// has one",
        "a whole number from 1 to 64, and 1 with memory://",
    ),
    "RATE_LIMIT": _Setting(
        "off",
        "how many requests a client may send, such as 100/minute: counted for each good key, or"
        " else for each address (IPv6: each /64), in each process; not for /health, /ready and"
        " /metrics",
        _RATE,
    ),
    "ABUSE_LIMIT": _Setting(
        "off",
        "how many wrong keys and unknown coupon codes may come from one address, such as 30/minute;"
        " more are 429. Behind a proxy it needs TRUSTED_PROXIES, or all customers are one address",
        _RATE,
    ),
    "TRUSTED_PROXIES": _Setting(
        "none",
        "the networks of the proxies that are believed, with commas between: who they say that a"
        " client is (X-Forwarded-For, Forwarded), and whether its request is traced (traceparent)",
        "none, or addresses or networks such as 10.0.0.0/8, with commas between",
    ),
    "ENABLE_METRICS": _Setting(
        "true", "whether order-food counts and serves GET /metrics; false: 404", "true or false"
    ),
    "METRICS_PORT": _Setting(
        "the same as PORT",
        "a port of its own for GET /metrics, which then is 404 on PORT; 0 is any free one",
        "a whole number from 0 to 65535",
        lambda: "",
    ),
    "JAEGER_ENDPOINT": _Setting(
        "http://localhost:14268/api/traces",
        "where spans go, as thrift over HTTP; set and empty: nowhere. OTEL_EXPORTER_OTLP_ENDPOINT"
        " takes its place; OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER and the other standard variables"
        " count",
        "an http:// or https:// URL, or nothing at all",
        may_be_empty=True,
    ),
    "POD_NAME": _Setting("none", "the pod's name, reported in spans", _LABEL),
}


_NEVER_EMPTY = ("STORAGE_URL",)
"""What is not left out by being empty: a secret that is empty must not send orders elsewhere."""


def _read(environ: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T:
    setting = _SETTINGS[name]
    if name in _NEVER_EMPTY and environ.get(name) == "":
        raise SettingsError(f"{name} is empty; allowed: {setting.allowed}")
    value = environ.get(name)
    if value is None or (value == "" and not setting.may_be_empty):
        value = setting.compute() if setting.compute else setting.default
    try:
        return parse(value)
    except ValueError:
        raise SettingsError(f"{name} is {_shown(value)}; allowed: {setting.allowed}") from None


def _shown(value: str) -> str:
    text = ascii(mask_url(value))
    return text if len(text) <= 200 else f"{text[:200]}..."


def _matching(pattern: str, value: str) -> str:
    if not re.fullmatch(pattern, value):
        raise ValueError
    return value


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(_matching(r"[0-9]{1,9}", value))
        if not least <= number <= most:
            raise ValueError
        return number

    return parse


def _port(value: str) -> int:
    return _whole_number(0, 65535)(value)


def _port_or_none(value: str) -> int | None:
    return _port(value) if value else None


def _seconds(value: str) -> float:
    seconds = float(_matching(r"[0-9]{1,5}(\.[0-9]{1,9})?", value))
    if seconds > 86400:
        raise ValueError
    return seconds


def _seconds_from_one(value: str) -> float:
    seconds = _seconds(value)
    if seconds < 1:
        raise ValueError
    return seconds


def _storage_url(value: str) -> str:
    """Only what can be judged without a driver; the rest open_storage refuses."""
    if value == "memory://":
        return value
    _matching(r"sqlite:///.+|postgres(ql)?://\S+", value)
    if "\0" in value:
        raise ValueError
    parts = urlsplit(value)  # ValueError, as for a bracket that is not closed
    if "," not in parts.netloc:  # libpq and asyncpg know several hosts, urlsplit does not
        _ = parts.port  # ValueError
    return value


def _host(value: str) -> str:
    if ":" in value:
        from ipaddress import IPv6Address

        return _matching("[!-~]+", str(IPv6Address(value)))  # a zone may hold anything
    return _matching(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", value)


def _folder(value: str) -> Path:
    return Path(_matching(r"[^\0]+", value))


def _folder_or_none(value: str) -> Path | None:
    return _folder(value) if value else None


def _label(value: str) -> str:
    if not value.isprintable():  # controls of C1, overrides, blanks without a width
        raise ValueError
    return _matching(r"[^\s\ud800-\udfff]{1,100}", value)


def _workers_of(environ: Mapping[str, str]) -> Callable[[str], int]:
    def parse(value: str) -> int:
        workers = _whole_number(1, 64)(value)
        if workers > 1 and environ.get("STORAGE_URL") == "memory://":
            raise ValueError
        return workers

    return parse


def _metrics_folder(value: str) -> str:
    """Raises SettingsError: prometheus-client would raise what nobody expects."""
    if value and not (os.path.isdir(value) and os.access(value, os.W_OK)):
        raise SettingsError(
            f"{METRICS_FOLDER} is {_shown(value)}; allowed: a folder that can be written to"
        )
    return value


def worker_environment(metrics_folder: str) -> dict[str, str]:
    """What a worker process is started with: the same, and where to share its counts."""
    return {**os.environ, METRICS_FOLDER: metrics_folder}


def _http_server(value: str) -> HTTPServerName:
    return cast(HTTPServerName, _matching(r"httptools|tornado", value.lower()))


def _optional_label(value: str) -> str:
    return "" if value == "none" else _label(value)


def _boolean(value: str) -> bool:
    return _matching("true|false", value.lower()) == "true"


def _endpoint(value: str) -> str:
    if value:
        _matching(r"https?://[^\s/?#]+\S*", value)
        _ = urlsplit(value).port  # ValueError
    return value


def _span_exporter(environ: Mapping[str, str], jaeger_endpoint: str) -> SpanExporter:
    """By OpenTelemetry's own variables; what else there is of them the SDK reads itself."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return "none"
    otlp = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if any(environ.get(name) for name in otlp):
        return "otlp"
    return "jaeger" if jaeger_endpoint else "none"


def _rate_limit(value: str) -> RateLimitItem | None:
    if value == "off":
        return None
    from limits import parse  # only who wants a limit pays for the import

    limit = parse(value)
    if limit.amount < 1 or ";" in value:
        raise ValueError
    return limit


def _networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if value == "none":
        return ()
    from ipaddress import ip_network

    return tuple(ip_network(network.strip(" ")) for network in value.split(","))


def _log_level(value: str) -> str:
    return _matching(r"DEBUG|INFO|WARNING|ERROR|CRITICAL", value.upper())


def _log_format(value: str) -> LogFormat:
    return cast(LogFormat, _matching(r"text|json", value.lower()))


def _origins(value: str) -> tuple[str, ...]:
    if value == "*":
        return ("*",)
    return tuple(_origin(origin.strip(" ")) for origin in value.split(","))


def _origin(value: str) -> str:
    """In lower case, as browsers send it."""
    host = r"([a-z0-9_]([a-z0-9_.-]{0,252})|\[[0-9a-f:.]+\])"
    origin = _matching(rf"[a-z][a-z0-9+.-]*://{host}(:[0-9]{{1,5}})?", value.lower())
    port = urlsplit(origin).port  # ValueError when it is over 65535
    if port == 0:
        raise ValueError
    return origin
