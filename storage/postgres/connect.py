"""How connections to Postgres are made, for the pool and beside it."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import asyncpg

from storage.errors import StorageUnavailable
from storage.postgres.url import Target, read_url

CONNECT_SECONDS = 5.0
"""How long one attempt to connect, or to get a connection out of the pool, may take."""

COMMAND_SECONDS = 10.0
"""How long a statement may take before the server counts as gone, outside loads and migrations."""

if TYPE_CHECKING:
    RawConnection = asyncpg.Connection[asyncpg.Record]


class Connector:
    """Connects to what a URL names. Raises InvalidStorageURL when it can name nothing."""

    def __init__(self, url: str) -> None:
        self._target = read_url(url)

    async def connect(self, _: object = None, **options: Any) -> RawConnection:
        """A new connection; a pool passes a URL, which it has not. Of several hosts each has its
        share of the time, so that one that is only silent does not keep us from the others.
        Raises what the driver raises."""
        target, seconds = self._target, self._seconds
        attempts: list[dict[str, Any]] = [{"host": h, "port": p} for h, p in target.hosts] or [{}]
        if target.options.get("target_session_attrs") == "prefer-standby" and target.hosts:
            attempts = [
                {**attempt, "target_session_attrs": session}
                for session in ("standby", "any")
                for attempt in attempts
            ]
        for number, attempt in enumerate(attempts, start=1):
            try:
                return await self._attempt(attempt, seconds / len(attempts), options)
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
                if number == len(attempts):
                    raise
        raise AssertionError("there is always one attempt")

    @property
    def _seconds(self) -> float:
        return min(CONNECT_SECONDS, self._target.connect_seconds or CONNECT_SECONDS)

    async def _attempt(
        self, where: dict[str, Any], seconds: float, options: dict[str, Any]
    ) -> RawConnection:
        if self._target.passfile is not None:
            where = {**where, "password": self._read_password(where)}
        if self._target.system_certificates:
            where = {**where, "ssl": system_certificates(self._target)}
        async with asyncio.timeout(seconds):
            return await asyncpg.connect(
                self._target.url,
                **where,
                statement_cache_size=0,
                command_timeout=COMMAND_SECONDS,
                timeout=seconds,
                **options,
            )

    def _read_password(self, where: dict[str, Any]) -> str:
        """The password that stands in the passfile now."""
        path = Path(self._target.passfile or "")
        try:
            if path.exists() and not path.is_file():  # a FIFO would be waited for, for ever
                raise StorageUnavailable(f"the passfile {path} is no regular file")
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise StorageUnavailable(f"the passfile {path} cannot be read: {error}") from error
        password = find_password(text, *_login(self._target, where))
        if password is None:
            raise StorageUnavailable(f"the passfile {path} has no line for this server and user")
        return password


def _login(target: Target, where: dict[str, Any]) -> tuple[str | None, ...]:
    """Host, port, database and user, as a passfile names them; None for what the URL leaves out."""
    parts, options = urlsplit(target.url), target.options
    one = None if target.hosts else parts
    host = where.get("host") or (one and one.hostname) or options.get("host")
    port = where.get("port") or (one and one.port) or options.get("port")
    database = unquote(parts.path[1:]) or options.get("dbname")
    user = unquote(parts.username or "") or options.get("user")
    local = host is not None and host.startswith("/")
    return "localhost" if local else host, str(port or 5432), database, user


def find_password(text: str, *login: str | None) -> str | None:
    r"""The password of the first line of a passfile that fits host, port, database and user, each
    of which may be an asterisk there; a backslash stands before a colon or another backslash.

    >>> find_password("db:5432:*:shop:se\\:cret", "db", "5432", "orders", "shop")
    'se:cret'
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        fields = [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"(?:\\.|[^:\\])+", line)]
        if len(fields) == 5 and all(
            wanted is None or field in ("*", wanted)
            for field, wanted in zip(fields, login, strict=False)
        ):
            return fields[4]
    return None


def system_certificates(target: Target) -> ssl.SSLContext:
    """What holds a server's certificate against those that the system trusts, and shows our own
    where the URL names one."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    options = target.options
    if "sslcert" in options:
        context.load_cert_chain(
            options["sslcert"], options.get("sslkey"), password=options.get("sslpassword", "")
        )
    for name, attribute in (("min", "minimum_version"), ("max", "maximum_version")):
        if version := options.get(f"ssl_{name}_protocol_version"):
            setattr(context, attribute, ssl.TLSVersion[version.replace(".", "_")])
    return context
