"""How connections to Postgres are made, for the pool and beside it."""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio.staggered import staggered_race
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from storage.errors import InvalidStorageURL
from storage.postgres.url import Target, read_url
from storage.secret_files import SecretUnusable, read_secret, read_storage_url

CONNECT_SECONDS = 5.0
"""How long one attempt to connect, or to get a connection out of the pool, may take."""

HEAD_START = 0.2
"""Seconds after which the next host is tried, too, where one alone can be the primary."""

COMMAND_SECONDS = 10.0
"""How long a statement may take before the server counts as gone, outside loads and migrations."""

CREDENTIALS_REFUSED = asyncpg.InvalidAuthorizationSpecificationError
"""Class 28 of SQLSTATE: an unknown role, a wrong password, an address that may not connect."""

if TYPE_CHECKING:
    RawConnection = asyncpg.Connection[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]
else:  # they take a parameter in their stubs alone
    RawConnection, Connection = asyncpg.Connection, PoolConnectionProxy

CACHED_STATEMENTS = 100 if hasattr(RawConnection, "_get_unique_id") else 0
"""How many statements a connection keeps prepared; none with a driver that names them otherwise."""


class NamingConnection(RawConnection):
    """A connection whose statements have names that no other connection has ever used. Behind a
    transaction pooler connections share sessions, and the driver counts: there a statement that
    another program has prepared under the same name would be run in place of ours."""

    def _get_unique_id(self, prefix: str) -> str:
        return f"orderfood_{prefix}_{uuid4().hex}"


class Connector:
    """Connects to what a URL names, or to what a file names now, where the URL stands in one.
    Raises InvalidStorageURL when the URL can name nothing."""

    def __init__(self, url: str, url_file: Path | None = None) -> None:
        self._url, self._url_file = url, url_file
        self._target = read_url(url)

    @property
    def is_pooled(self) -> bool:
        """Whether the URL says that a pooler stands before the server."""
        return self._target.is_pooled

    async def connect(self, _: object = None, **options: Any) -> RawConnection:
        """A new connection, which keeps no statement prepared unless the options say so; a pool
        passes a URL, which it has not. Of several hosts each has its share of the time, so that one
        that is only silent does not keep us from the others; where one alone can be meant, the next
        does not wait for that. Raises what the driver raises, and SecretUnusable for a file that is
        of no use."""
        self._read_url_file()
        target, seconds = self._target, self._seconds
        attempts: list[dict[str, Any]] = [{"host": h, "port": p} for h, p in target.hosts] or [{}]
        if target.options.get("target_session_attrs") == "prefer-standby" and target.hosts:
            attempts = [
                {**attempt, "target_session_attrs": session}
                for session in ("standby", "any")
                for attempt in attempts
            ]
        one_at_most = target.options.get("target_session_attrs") in ("read-write", "primary")
        tries = [partial(self._attempt, one, seconds / len(attempts), options) for one in attempts]
        if one_at_most and len(tries) > 1:
            return await _race(tries)
        return await _one_by_one(tries)

    def _read_url_file(self) -> None:
        """Takes over the URL that stands in the file now."""
        if self._url_file is None or (url := read_storage_url(self._url_file)) == self._url:
            return
        if url.partition("://")[0].lower() not in ("postgresql", "postgres"):
            raise SecretUnusable(
                f"{self._url_file} names another kind of store now: start this program again"
            )
        try:
            self._target = read_url(url)
        except InvalidStorageURL as error:
            raise SecretUnusable(f"{self._url_file}: {error}") from error
        self._url = url

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
                command_timeout=COMMAND_SECONDS,
                timeout=seconds,
                **{"statement_cache_size": 0, **options},
            )

    def _read_password(self, where: dict[str, Any]) -> str:
        """The password that stands in the passfile now."""
        path = Path(self._target.passfile or "")
        text = read_secret(path, "the passfile")
        password = find_password(text, *_login(self._target, where))
        if password is None:
            raise SecretUnusable(f"the passfile {path} has no line for this server and user")
        return password


Try = Callable[[], Coroutine[Any, Any, "RawConnection"]]


async def _one_by_one(tries: Sequence[Try]) -> RawConnection:
    """The connection of the first that gets one."""
    failures: list[Exception] = []
    try:
        for attempt in tries:
            try:
                return await attempt()
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
                failures.append(error)
        raise _most_telling(failures)
    finally:
        failures.clear()  # each refers to frames that refer to all of them, and to sockets


async def _race(tries: Sequence[Try]) -> RawConnection:
    """The connection of the first that gets one; each next begins when the one before has failed,
    or after HEAD_START."""
    made: list[RawConnection] = []
    winner: RawConnection | None = None

    async def take_part(attempt: Try) -> RawConnection:
        made.append(await attempt())
        return made[-1]

    failures: list[Exception | None] = []
    try:
        winner, _, failures = await staggered_race(
            [partial(take_part, attempt) for attempt in tries], HEAD_START
        )
        if winner is None:
            raise _most_telling([error for error in failures if error is not None])
        return winner
    finally:
        failures.clear()  # as above
        for connection in made:
            if connection is not winner:
                connection.terminate()


def _most_telling(failures: list[Exception]) -> Exception:
    """Of what several hosts answered, what somebody has to mend; else what the last one did."""
    refused = (each for each in failures if isinstance(each, CREDENTIALS_REFUSED))
    return next(refused, failures[-1])


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
