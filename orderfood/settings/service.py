"""The settings of the service itself: the store, how it listens, its limits, what is observed."""

# ruff: noqa: RUF009  # setting and derived make a field, as dataclasses.field does

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orderfood.settings import otel_variables, values
from orderfood.settings.described import Others, SettingsError, derived, setting
from orderfood.settings.secrets import shown
from orderfood.settings.values import HTTPServerName, LogFormat, Rate, SpanExporter, package_version

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client knows that it counts for several processes."""


def _fitting_workers(workers: int, others: Others) -> int:
    if workers > 1 and others["storage_url"] == "memory://":
        raise ValueError
    return workers


def _fitting_metrics_port(port: int | None, others: Others) -> int | None:
    of_its_own = others["enable_metrics"] and port != (others["port"] or None)
    return port if of_its_own else None


def _span_exporter(environ: Mapping[str, str], others: Others) -> SpanExporter:
    """By OpenTelemetry's own variables; what else there is of them the SDK reads itself."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return "none"
    otlp = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if any(environ.get(name) for name in otlp):
        return "otlp"
    return "jaeger" if others["jaeger_endpoint"] else "none"


def _metrics_folder(environ: Mapping[str, str], others: Others) -> str:
    """The folder as set. Raises SettingsError when it cannot be written to, before
    prometheus-client fails on it with a traceback."""
    value = environ.get(METRICS_FOLDER, "")
    if value and not (os.path.isdir(value) and os.access(value, os.W_OK)):
        raise SettingsError(
            f"{METRICS_FOLDER} is {shown(value)}; allowed: a folder that can be written to"
        )
    return value


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings of one process but for its pages. The URLs may hold a password: ``repr`` leaves
    them out."""

    storage_url_file: Path | None = setting(
        "none",
        "a file that contains the URL, used instead of STORAGE_URL; read again for each new"
        " connection to Postgres, so that a changed password needs no restart",
        "the path of a file that holds a storage URL",
        values.folder_or_none,
        compute=lambda: "",
    )
    """None when the URL stands in a variable."""
    storage_url: str = setting(
        "sqlite:///orderfood.db",
        "the database: memory://, sqlite:///path or postgresql://user:password@host/db?options"
        " (postgres:// also works; sslmode as in libpq)",
        "memory://, sqlite:///path or postgresql://user:password@host/db?options",
        values.storage_url,
        empty="refused",  # a secret that is empty must not send orders elsewhere
        secret=True,
    )
    storage_pool_size: int = setting(
        "10",
        "Postgres connections of one process",
        "a whole number from 1 to 1000",
        values.whole_number(1, 1000),
    )
    storage_wait_seconds: float = setting(
        "30",
        "how long a program waits for a database that has not started yet; after that it prints"
        " one error and ends with exit code 1",
        values.SECONDS,
        values.seconds,
    )
    host: str = setting(
        "127.0.0.1",
        "the address where order-food listens; :: means all IPv4 and IPv6 addresses",
        "a host name or an IP address, without a port",
        values.host,
    )
    port: int = setting(
        "8080",
        "the port where order-food listens; 0 is any free one",
        "a whole number from 0 to 65535",
        values.port,
    )
    fixtures_dir: Path = setting(
        "the packaged fixtures",
        "the folder that database-load reads",
        "the path of a folder",
        values.folder,
        compute=values.packaged_fixtures,
    )
    spool_dir: Path | None = setting(
        "the system's folder for temporary files",
        "the folder where database-load stores data that does not fit into memory while it reads"
        " the coupon files: 8 bytes for each line, in a file without a name; small coupon files"
        " need no such file",
        "the path of a folder",
        values.folder_or_none,
        compute=lambda: "",
    )
    """None: where the system keeps temporary files, which is looked for when it is needed."""
    environment: str = setting(
        "dev",
        "reported in logs, spans and metrics; if it is prod or production, the sample keys are"
        " rejected",
        values.LABEL,
        values.label,
    )
    service_version: str = setting(
        "the package's version",
        "reported in logs, spans and metrics",
        values.LABEL,
        values.label,
        compute=package_version,
    )
    log_level: str = setting(
        "info",
        "the lowest level that is logged: debug, info, warning, error or critical",
        "debug, info, warning, error or critical",
        values.log_level,
    )
    """A name of the standard library's, in capitals: ``INFO``."""
    log_format: LogFormat = setting(
        "text on a terminal, else json",
        "text, or json: one object a line",
        "text or json",
        values.log_format,
        compute=values.fitting_log_format,
    )
    cors_allowed_origins: tuple[str, ...] = setting(
        "*",
        "the web origins that may call the API: * for all, or several with commas between",
        "*, or origins such as https://shop.example or http://localhost:3000, with commas between",
        values.origins,
    )
    """Origins as browsers send them, or ``("*",)``."""
    drain_seconds: float = setting(
        "5",
        "after SIGTERM: how long new requests are still served while /ready is 503 (shorter if no"
        " connection is open). After that, requests in flight get at most the same time again."
        " SIGINT skips the wait",
        values.SECONDS,
        values.seconds,
    )
    idle_seconds: float = setting(
        "75",
        "how long a connection may be idle between two requests; must be longer than the idle"
        " timeout of the load balancer, so that the load balancer closes idle connections, not the"
        " server",
        "a number of seconds from 1 to 86400, such as 75 or 620",
        values.seconds_from_one,
    )
    http_server: HTTPServerName = setting(
        "httptools",
        "the HTTP server: httptools (a parser in C) or tornado (Tornado's own server)",
        "httptools or tornado",
        values.http_server,
    )
    workers: int = setting(
        "1",
        "the number of server processes, all on one port; must be 1 with memory://",
        "a whole number from 1 to 64, and 1 with memory://",
        values.whole_number(1, 64),
        fit=_fitting_workers,
    )
    feed_clients: int = setting(
        "2000",
        "the maximum number of event streams in each process; further streams get 503",
        "a whole number from 0 to 1000000",
        values.whole_number(0, 1_000_000),
    )
    rate_limit: Rate | None = setting(
        "off",
        "how many requests a client may send, such as 100/minute; counted for each valid key, or"
        " for each address if there is no valid key (IPv6: each /64), in each process; not for"
        " /health, /ready and /metrics",
        values.RATE,
        values.rate_limit,
    )
    """None when requests are not limited."""
    abuse_limit: Rate | None = setting(
        "off",
        "how many wrong keys and unknown coupon codes may come from one address, such as"
        " 30/minute; further ones get 429. Behind a proxy it needs TRUSTED_PROXIES; otherwise all"
        " customers count as one address",
        values.RATE,
        values.rate_limit,
    )
    """None when wrong keys and unknown coupon codes are not limited."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        "none",
        "the networks of trusted proxies, separated by commas. The service accepts from them the"
        " client's address (X-Forwarded-For, Forwarded) and the decision whether a request is"
        " traced (traceparent)",
        "none, or addresses or networks such as 10.0.0.0/8, with commas between",
        values.networks,
    )
    preparation_minutes: int = setting(
        "15",
        "in how many minutes an accepted order is expected to be ready, if the kitchen gives no"
        " other time",
        "a whole number from 1 to 240",
        values.whole_number(1, 240),
    )
    accept_alert_minutes: int = setting(
        "10",
        "after how many minutes an order that nobody has accepted causes an alert; 0: never",
        "a whole number from 0 to 1440",
        values.whole_number(0, 1440),
    )
    personal_data_days: int = setting(
        "30",
        "how many days the names and notes of an order are kept after it was completed or"
        " cancelled; 0 keeps them forever",
        "a whole number from 0 to 36500",
        values.whole_number(0, 36500),
    )
    event_days: int = setting(
        "30",
        "how many days the events of orders are kept, and a feed can be resumed; 0 keeps them for"
        " ever",
        "a whole number from 0 to 36500",
        values.whole_number(0, 36500),
    )
    enable_metrics: bool = setting(
        "true",
        "whether order-food collects metrics and serves GET /metrics; if false, it is 404",
        "true or false",
        values.boolean,
    )
    metrics_port: int | None = setting(
        "the same as PORT",
        "a separate port for GET /metrics, which is then 404 on PORT; 0 means any free port",
        "a whole number from 0 to 65535",
        values.port_or_none,
        compute=lambda: "",
        fit=_fitting_metrics_port,
    )
    """None when the metrics have no port of their own."""
    jaeger_endpoint: str = setting(
        "http://localhost:14268/api/traces",
        "the collector to which spans are sent, as thrift over HTTP; empty: none."
        " OTEL_EXPORTER_OTLP_ENDPOINT replaces it; OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER and the"
        " other standard variables also apply",
        "an http:// or https:// URL, or nothing at all",
        values.endpoint,
        empty="a value",
        secret=True,
    )
    """Empty when spans do not go there."""
    pod_name: str = setting(
        "none",
        "the pod's name, reported in spans",
        values.LABEL,
        values.optional_label,
    )
    """Empty outside Kubernetes."""

    metrics_folder: str = derived(_metrics_folder)
    """Where processes share their counts; empty when there is but one."""
    jaeger_is_assumed: bool = derived(lambda environ, others: "JAEGER_ENDPOINT" not in environ)
    """Whether JAEGER_ENDPOINT is not set, so that an unreachable collector is no warning."""
    span_exporter: SpanExporter = derived(_span_exporter)
    """Where spans go: decided here so that a program that is not traced never imports the SDK."""
    propagators: tuple[str, ...] = derived(
        lambda environ, others: otel_variables.propagators(environ)
    )
    """By which of OpenTelemetry's propagators an incoming request's trace is found."""
