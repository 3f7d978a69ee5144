"""What an operator may set: read from the environment once, here, into one frozen object.

A field of :class:`Settings` is a setting: its name in capitals is the environment variable, its
default, meaning and parser stand beside it. Importing this is cheap and touches nothing;
:func:`read_settings` does the reading.
"""

# ruff: noqa: RUF009  # setting and derived make a field, as dataclasses.field does

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from orderfood.settings import otel_variables, values
from orderfood.settings.described import Others, SettingDescription, SettingsError, setting
from orderfood.settings.secrets import shown
from orderfood.settings.service import METRICS_FOLDER, ServiceSettings
from orderfood.settings.values import HTTPServerName, LogFormat, Rate, SpanExporter, package_version

__all__ = [
    "METRICS_FOLDER",
    "TRACE_CONTEXT",
    "HTTPServerName",
    "LogFormat",
    "SettingDescription",
    "Settings",
    "SettingsError",
    "SpanExporter",
    "describe_settings",
    "log_format_of",
    "package_version",
    "pass_over_nonsense",
    "read_settings",
    "worker_environment",
]

TRACE_CONTEXT = otel_variables.TRACE_CONTEXT


@dataclass(frozen=True, slots=True)
class Settings(ServiceSettings):
    """The settings of one process, in the order of the documented table: what the service is, and
    then what a browser is shown."""

    guest_orders: bool = setting(
        "true",
        "whether guests may order in a browser without a key; if false, every order needs a key",
        "true or false",
        values.boolean,
    )
    guest_rate_limit: Rate | None = setting(
        "60/minute",
        "how many orders and cancellations guests may send from one address; off: no limit."
        " Behind a proxy it needs TRUSTED_PROXIES; otherwise all guests count as one address",
        values.RATE,
        values.rate_limit,
    )
    """None when guests are not limited."""
    shop_name: str = setting(
        "orderfood",
        "the name of the shop, on its pages",
        "1 to 60 visible characters, blanks between them",
        values.name,
    )
    shop_currency: str = setting(
        "EUR",
        "the currency of all prices, on the pages",
        "three letters of ISO 4217, such as EUR or USD",
        values.currency,
    )
    shop_locale: str = setting(
        "en",
        "the language of the pages, and how they write numbers and times",
        "en or de, or one of them with a region such as en-GB or de-AT",
        values.locale,
    )
    shop_accent: str = setting(
        "#b3401f",
        "the one colour of the shop, on its pages",
        "a colour such as #b3401f",
        values.colour,
    )
    """As #rrggbb, in lower case."""
    images_dir: Path | None = setting(
        "none",
        "the folder whose pictures are served at /images/",
        "none, or the path of a folder",
        values.folder_or_none,
        compute=lambda: "",
    )
    """None when no pictures are served."""
    image_hosts: tuple[str, ...] = setting(
        "none",
        "the hosts that pictures of products may come from by https, with commas between",
        "none, or hosts such as images.example or images.example:8443, with commas between",
        values.image_hosts,
    )


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that ``environ`` holds. A variable that is empty counts as not set: that is
    how charts and compose files leave one out. Two differ: an empty JAEGER_ENDPOINT turns it off,
    and an empty STORAGE_URL is refused. Raises SettingsError."""
    found: dict[str, Any] = {}
    for each in fields(Settings):
        derive = each.metadata.get("derive")
        found[each.name] = derive(environ, found) if derive else _read(environ, each, found)
    return Settings(**found)


def log_format_of(environ: Mapping[str, str] = os.environ) -> LogFormat:
    """LOG_FORMAT alone, for the line that reports invalid settings; text when it is invalid
    itself."""
    try:
        log_format: LogFormat = _read(environ, Settings.__dataclass_fields__["log_format"], {})
    except SettingsError:
        return "text"
    return log_format


def describe_settings() -> list[SettingDescription]:
    """Every variable with its default and its meaning, in the order of the documented table."""
    return [
        SettingDescription(each.name.upper(), described.default, described.meaning)
        for each in fields(Settings)
        if (described := each.metadata.get("setting"))
    ]


def _read(environ: Mapping[str, str], of: Field[Any], others: Others) -> Any:
    name, described = of.name.upper(), of.metadata["setting"]
    value = environ.get(name)
    file = others.get(f"{of.name}_file")
    if file:
        value = _read_file(name, value, file)
    if value == "" and described.empty == "refused":
        raise SettingsError(f"{name} is empty; allowed: {described.allowed}")
    if value is None or (value == "" and described.empty == "not set"):
        value = described.compute() if described.compute else described.default
    try:
        parsed = described.parse(value)
        return described.fit(parsed, others) if described.fit else parsed
    except ValueError:
        told = f"{name} is {shown(value)}"
        if file:  # whose content may be any secret, such as the password alone
            told = f"{name}_FILE is {shown(str(file))}, and what it holds makes no sense"
        raise SettingsError(f"{told}; allowed: {described.allowed}") from None


def _read_file(name: str, value: str | None, path: Path) -> str:
    """The value that stands in the file, which stands in for the variable."""
    from storage.errors import StorageUnavailable  # the package imports much
    from storage.secret_files import read_storage_url

    if value is not None:
        raise SettingsError(f"{name} and {name}_FILE are both set; allowed: one of them")
    try:
        return read_storage_url(path)
    except StorageUnavailable as error:
        raise SettingsError(f"{name}_FILE is {shown(str(path))}: {error}") from error


def worker_environment(metrics_folder: str) -> dict[str, str]:
    """What a worker process is started with: the same, and where to share its counts."""
    return {**os.environ, METRICS_FOLDER: metrics_folder}


def pass_over_nonsense(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Takes out of ``environ`` what OpenTelemetry's libraries would fail over, and says so in a
    line for each. Before they are imported: some of it they read then."""
    changes, nonsense = otel_variables.check_variables(environ)
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
    return "'***'" if name.endswith(("HEADERS", "PASSWORD")) else shown(value)
