"""What a variable's text means: a function for each kind of value.

Each takes the text and returns the value. Raises ValueError when the text makes no sense; what is
allowed is said beside the setting that uses it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

LogFormat = Literal["text", "json"]
HTTPServerName = Literal["httptools", "tornado"]
SpanExporter = Literal["none", "jaeger", "otlp"]

SECONDS = "a number of seconds from 0 to 86400, such as 5 or 0.5"
LABEL = "1 to 100 visible characters without spaces"
RATE = "off, or a limit such as 100/minute, 5/second or 1000 per 2 hours"


def _matching(pattern: str, value: str) -> str:
    if not re.fullmatch(pattern, value):
        raise ValueError
    return value


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in these bounds."""

    def parse(value: str) -> int:
        number = int(_matching(r"[0-9]{1,9}", value))
        if not least <= number <= most:
            raise ValueError
        return number

    return parse


def port(value: str) -> int:
    """A port; 0 is any free one."""
    return whole_number(0, 65535)(value)


def port_or_none(value: str) -> int | None:
    """A port; None for an empty text."""
    return port(value) if value else None


def seconds(value: str) -> float:
    """From 0 to a day."""
    found = float(_matching(r"[0-9]{1,5}(\.[0-9]{1,9})?", value))
    if found > 86400:
        raise ValueError
    return found


def seconds_from_one(value: str) -> float:
    """From 1 to a day."""
    found = seconds(value)
    if found < 1:
        raise ValueError
    return found


def storage_url(value: str) -> str:
    """Only what can be judged without a driver; the rest open_storage refuses."""
    if value == "memory://":
        return value
    _matching(r"sqlite:///.+|postgres(ql)?://\S+", value)
    if "\0" in value:
        raise ValueError
    if "," not in re.split("[/?#]", value.partition("://")[2], maxsplit=1)[0]:
        # libpq and asyncpg know several hosts, urlsplit does not
        _ = urlsplit(value).port  # ValueError, as for a bracket that is not closed
    return value


def host(value: str) -> str:
    """A name or an address, without a port."""
    if ":" in value:
        from ipaddress import IPv6Address

        return _matching("[!-~]+", str(IPv6Address(value)))  # a zone may hold anything
    return _matching(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", value)


def folder(value: str) -> Path:
    """Any path: whether there is such a folder is found out where it is used."""
    return Path(_matching(r"[^\0]+", value))


def folder_or_none(value: str) -> Path | None:
    """A path; None for an empty text."""
    return folder(value) if value else None


def label(value: str) -> str:
    """Visible characters: the value stands in logs and spans."""
    if not value.isprintable():  # controls of C1, overrides, blanks without a width
        raise ValueError
    return _matching(r"[^\s\ud800-\udfff]{1,100}", value)


def name(value: str) -> str:
    """Visible characters with blanks between them: the value stands on pages."""
    if not value.isprintable():
        raise ValueError
    return _matching(r"[^\s\ud800-\udfff](.{0,58}[^\s\ud800-\udfff])?", value)


def currency(value: str) -> str:
    """In capitals."""
    return _matching("[A-Za-z]{3}", value).upper()


def locale(value: str) -> str:
    """A language that the pages have, with a region or without (BCP 47)."""
    language, hyphen, region = value.replace("_", "-").partition("-")
    tag = f"{language.lower()}{hyphen}{region.upper()}"
    return _matching("(en|de)(-[A-Z]{2})?", tag)


def colour(value: str) -> str:
    """In lower case, as #rrggbb."""
    return _matching("#[0-9a-f]{6}", value.lower())


def image_hosts(value: str) -> tuple[str, ...]:
    """Hosts with commas between, in lower case; empty for ``none``."""
    if value == "none":
        return ()
    return tuple(_host_and_port(each.strip(" ").lower()) for each in value.split(","))


def _host_and_port(value: str) -> str:
    host = _matching(r"(?=.{1,259}$)[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?", value)
    if urlsplit(f"//{host}").port == 0:  # ValueError when it is over 65535
        raise ValueError
    return host


def http_server(value: str) -> HTTPServerName:
    """In any case."""
    return cast(HTTPServerName, _matching(r"httptools|tornado", value.lower()))


def optional_label(value: str) -> str:
    """A label; empty for ``none``."""
    return "" if value == "none" else label(value)


def boolean(value: str) -> bool:
    """In any case."""
    return _matching("true|false", value.lower()) == "true"


def endpoint(value: str) -> str:
    """A URL, or an empty text."""
    if value:
        _matching(r"https?://[^\s/?#]+\S*", value)
        _ = urlsplit(value).port  # ValueError
    return value


class Rate(NamedTuple):
    """At most ``amount`` in ``seconds``."""

    amount: int
    seconds: int


_UNITS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "month": 30 * 86400,
    "year": 360 * 86400,
}

_RATE = re.compile(
    r" *(?P<amount>[0-9]{1,9}) *(/|per) *(?P<count>[0-9]{0,9}) *(?P<unit>[a-z]+?)s? *",
    re.IGNORECASE,
)


def rate_limit(value: str) -> Rate | None:
    """A limit; None for ``off``."""
    if value == "off":
        return None
    found = _RATE.fullmatch(value)
    unit = _UNITS.get(found["unit"].lower()) if found else None
    if found is None or unit is None or int(found["amount"]) < 1:
        raise ValueError
    return Rate(int(found["amount"]), unit * (int(found["count"] or 1) or 1))


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks with commas between; empty for ``none``."""
    if value == "none":
        return ()
    from ipaddress import ip_network

    return tuple(ip_network(network.strip(" ")) for network in value.split(","))


def log_level(value: str) -> str:
    """The standard library's name, in capitals."""
    return _matching(r"DEBUG|INFO|WARNING|ERROR|CRITICAL", value.upper())


def log_format(value: str) -> LogFormat:
    """In any case."""
    return cast(LogFormat, _matching(r"text|json", value.lower()))


def origins(value: str) -> tuple[str, ...]:
    """Origins with commas between, or ``*`` alone."""
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


def packaged_fixtures() -> str:
    """The folder that is installed with the programs."""
    spec = find_spec("fixtures")  # found, not imported: its reader needs pydantic
    assert spec is not None
    assert spec.submodule_search_locations
    return spec.submodule_search_locations[0]


def package_version() -> str:
    """The version of the installed package; ``unknown`` in a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow, and not always needed

    try:
        return version("orderfood")
    except PackageNotFoundError:
        return "unknown"


def fitting_log_format() -> str:
    """The default of LOG_FORMAT: text on a terminal, else json."""
    return "text" if sys.stdout is not None and sys.stdout.isatty() else "json"
