"""Which Postgres URLs can be used, and what becomes of each of their options: judged before
anything connects.

libpq knows more options than the driver, which sends the server whatever it does not know, and
PgBouncer refuses that. So each of libpq's stands here: passed on, honoured here, taken and ignored
because nothing depends on it, or refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from storage.errors import InvalidStorageURL

Check = Callable[[str], str | None]
"""What is wrong with a value: None, or what would be right."""


def one_of(*values: str) -> Check:
    """Whether it is one of these words."""
    return lambda value: None if value in values else f"is one of {', '.join(values)}"


def anything(value: str) -> str | None:
    """Nothing is wrong."""
    return None


def whole_number(value: str) -> str | None:
    """Whether it is a number as libpq reads one."""
    return None if re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value) else "is a whole number"


def refused(why: str) -> Check:
    """It may not stand there."""
    return lambda value: f"cannot be honoured: {why}"


def only(right: Check, why: str) -> Check:
    """Refuses what is not right, and says why."""
    return lambda value: None if right(value) is None else f"cannot be honoured: {why}"


SWITCH = one_of("0", "1")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSIONS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
TLS_VERSIONS = one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

PASSED_ON: dict[str, Check] = {
    "application_name": anything,
    "dbname": anything,
    "gsslib": one_of("gssapi", "sspi"),
    "host": anything,
    "krbsrvname": anything,
    "options": anything,
    "password": anything,
    "port": lambda value: None if all(map(is_port, value.split(","))) else "is a number to 65535",
    "service": anything,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "ssl_min_protocol_version": TLS_VERSIONS,
    "sslcert": anything,
    "sslcrl": anything,
    "sslkey": anything,
    "sslmode": one_of(*SSL_MODES),
    "sslnegotiation": one_of("postgres", "direct"),
    "sslpassword": anything,
    "sslrootcert": anything,
    "target_session_attrs": one_of(*SESSIONS),
    "user": anything,
}
"""What the driver does itself."""

HONOURED: dict[str, Check] = {
    "connect_timeout": whole_number,
    "fallback_application_name": anything,
    "passfile": anything,
    "pgbouncer": one_of("true", "false"),
    "requiressl": SWITCH,
    "ssl": one_of("true"),
}
"""What is done here."""

IGNORED: dict[str, Check] = {
    # the driver binds to no channel; sslmode=verify-full keeps out the same people
    "channel_binding": one_of("disable", "prefer", "require"),
    "client_encoding": only(
        lambda value: None if value.lower() in ("utf8", "utf-8", "unicode", "auto") else "",
        "texts go as UTF-8",
    ),
    "gssdelegation": only(one_of("0"), "no credentials are delegated"),
    "gssencmode": only(one_of("disable", "prefer", "allow"), "only TLS encrypts"),
    # several probes a second keep a connection awake, and no call waits longer than its deadline
    "keepalives": SWITCH,
    "keepalives_count": whole_number,
    "keepalives_idle": whole_number,
    "keepalives_interval": whole_number,
    "load_balance_hosts": one_of("disable", "random"),
    "max_protocol_version": one_of("3.0", "3.2", "latest"),
    "min_protocol_version": only(one_of("3.0"), "the driver speaks 3.0"),
    "replication": only(
        one_of("false", "off", "no", "0"), "a connection for replication takes no orders"
    ),
    "sslcertmode": only(one_of("allow", "disable"), "the server decides whether it asks for one"),
    "sslcompression": SWITCH,
    "sslsni": SWITCH,
    "tcp_user_timeout": whole_number,
}
"""What nothing depends on, as far as it is taken."""

REFUSED: dict[str, Check] = {
    "hostaddr": refused("write the address as the host"),
    "require_auth": refused("the server chooses the way of authentication"),
    "requirepeer": refused("write a host that TLS can verify"),
    "scram_client_key": refused("write a password"),
    "scram_server_key": refused("write a password"),
    "sslcrldir": refused("write a file, as sslcrl"),
    "sslkeylogfile": refused("it would lay the traffic open"),
}
"""What would be weaker, or other, than it says if it were ignored."""

OPTIONS = {**PASSED_ON, **HONOURED, **IGNORED, **REFUSED}


@dataclass(frozen=True)
class Target:
    """A URL as the driver can use it, and what is done beside it."""

    url: str = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...] = ()
    """Several hosts, each to be tried by itself; empty when there is one."""
    connect_seconds: float | None = None
    passfile: str | None = None
    """Read anew for each connection; None when the URL has a password."""
    system_certificates: bool = False
    """Whether the server's certificate is held against those that the system trusts."""
    is_pooled: bool = False
    """Whether a pooler stands before the server, so that no statement is kept prepared."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_url(url: str) -> Target:
    """What a URL asks for. No message quotes it: in one that is malformed, a password may be
    anywhere. Raises InvalidStorageURL."""
    problem = _problem_of(url)
    if problem:
        raise InvalidStorageURL(f"a Postgres URL is postgresql://user:password@host/db; {problem}")
    return _target_of(url)


def _problem_of(url: str) -> str | None:
    try:
        parts = _split(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "this one cannot be read" if "?" not in url else "its options are name=value"
    if "\0" in unquote(url):
        return "it cannot hold %00"
    if parts.fragment or parts.netloc.count("@") > 1:
        return "write @ : / ? and # in a password as %40 %3A %2F %3F and %23"
    if not _ports_are_numbers(parts.netloc.rpartition("@")[2]):
        return "the port is a number to 65535, and / ? # in a password are written %2F %3F %23"
    for name, value in options:
        if name not in OPTIONS:
            return f"it knows no option {name}"
        if value and (problem := OPTIONS[name](value)):
            return f"{name} {problem}"
    return _weak_certificates(dict(options))


def _split(url: str) -> SplitResult:
    """The parts of a URL, which may name several hosts. Raises ValueError.

    ``urlsplit`` knows one host alone: a bracket behind a comma is a fault for it since Python
    3.11.12, 3.12.9 and 3.13.2 (CVE-2025-0938).
    """
    scheme, slashes, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    for host in hosts.split(","):
        urlsplit(f"//{user}{at}{host}")
    return urlsplit(scheme + slashes + rest[len(authority) :])._replace(netloc=authority)


def _weak_certificates(options: Mapping[str, str]) -> str | None:
    mode = options.get("sslmode") or "verify-full"
    if options.get("sslrootcert") == "system" and mode != "verify-full":
        return "sslrootcert=system needs sslmode=verify-full"
    return None


def _ports_are_numbers(hosts: str) -> bool:
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    return all(not port or is_port(port) for port in ports)


def is_port(text: str) -> bool:
    """Whether it is the number of a port; 0 is none to connect to."""
    return re.fullmatch("[0-9]{1,9}", text) is not None and 0 < int(text) < 65536


def _target_of(url: str) -> Target:
    parts = _split(url)
    given = {name: value for name, value in parse_qsl(parts.query) if value}
    passed = {name: value for name, value in given.items() if name in PASSED_ON}
    if given.get("ssl") or given.get("requiressl") == "1":
        passed.setdefault("sslmode", "require")
    if "fallback_application_name" in given:
        passed.setdefault("application_name", given["fallback_application_name"])
    system = passed.get("sslrootcert") == "system"
    if system:
        del passed["sslrootcert"]
        passed["sslmode"] = "verify-full"
    seconds = float(given.get("connect_timeout", "0"))
    user, at, netloc = parts.netloc.rpartition("@")
    has_password = ":" in user or "password" in given
    hosts = _several_hosts(netloc, passed)
    read_by_driver = user + at if hosts else parts.netloc
    return Target(
        url=urlunsplit(parts._replace(netloc=read_by_driver, query=urlencode(passed))),
        hosts=hosts,
        connect_seconds=seconds if seconds > 0 else None,
        passfile=None if has_password else given.get("passfile"),
        system_certificates=system,
        is_pooled=given.get("pgbouncer") == "true",
        options=passed,
    )


def _several_hosts(netloc: str, options: Mapping[str, str]) -> tuple[tuple[str, int | None], ...]:
    texts = (netloc or options.get("host", "")).split(",")
    if len(texts) == 1:
        return ()
    common = [int(port) for port in options.get("port", "").split(",") if port]
    ports: list[int | None] = [*common] if len(common) == len(texts) else []
    ports = ports or [common[0] if common else None] * len(texts)
    return tuple(_host_and_port(text, port) for text, port in zip(texts, ports, strict=False))


def _host_and_port(text: str, port: int | None) -> tuple[str, int | None]:
    if text.startswith("/"):
        return text, port
    host, bracket, rest = text.rpartition("]")
    if not bracket:
        host, _, rest = text.partition(":")
    else:
        rest = rest.removeprefix(":")
    return unquote(host.removeprefix("[")), int(rest) if rest else port
