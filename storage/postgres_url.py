"""Which Postgres URLs can be used: judged before anything connects."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from storage.errors import InvalidStorageURL

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
OPTIONS = {
    "application_name",
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "service",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "target_session_attrs",
    "krbsrvname",
    "gsslib",
}
"""What may stand behind the question mark, as in libpq. The driver would send the server whatever
else stands there, which PgBouncer refuses."""


def check_url(url: str) -> None:
    """Refuses what the driver would misread or pass on. No message quotes the URL: in one
    that is malformed, a password may be anywhere."""
    problem = _problem_of(url)
    if problem:
        raise InvalidStorageURL(f"a Postgres URL is postgresql://user:password@host/db; {problem}")


def _problem_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        return "this one cannot be read" if "?" not in url else "its options are name=value"
    if parts.fragment or parts.netloc.count("@") > 1:
        return "write @ : / ? and # in a password as %40 %3A %2F %3F and %23"
    if not _ports_are_numbers(parts.netloc.rpartition("@")[2]):
        return "the port is a number, and / ? # in a password are written %2F %3F %23"
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        return f"it knows no option {unknown[0]}"
    if options.get("sslmode", "prefer") not in SSL_MODES:
        return f"sslmode is one of {', '.join(SSL_MODES)}"
    return None


def _ports_are_numbers(hosts: str) -> bool:
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    return all(not port or (port.isascii() and port.isdigit()) for port in ports)
