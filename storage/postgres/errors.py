"""What asyncpg raises, as the errors of a storage."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from storage.errors import (
    InvalidStorageURL,
    MigrationFailed,
    OrderExists,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
    ValueRejected,
)
from storage.records import Migration


class Hopeless(StorageUnavailable):
    """Waiting does not help: the server is there and refuses us, or we refuse it."""


class CredentialsRefused(Hopeless):
    """The server does not let this role in with this password, or from here."""

    reason = "credentials refused"


class NoSuchDatabase(Hopeless):
    """The server has no database of that name."""

    reason = "there is no such database"


class CertificateRefused(Hopeless):
    """The server has no certificate that we trust."""

    reason = "its certificate is not trusted"


class Interrupted(StorageUnavailable):
    """A statement was cut off or given up: what it did is unknown."""


class TimedOut(Interrupted):
    """The server, or the driver, gave up on a statement."""

    reason = "not in time"


class Undone(StorageUnavailable):
    """The server undid the transaction for the sake of another one: nothing was written, and the
    same again is likely to succeed."""


class StatementLost(Undone):
    """A statement that was prepared is not there, or another is in its place: connections share
    sessions, by a transaction pooler. It has not begun."""


class StatementOutdated(Undone):
    """The schema has changed since a statement was prepared, which has not begun."""


class ConnectionSpent(Interrupted):
    """The connection leads to a server that goes, or is gone: the others of the pool do, too."""

    reason = "no connection"


class ReadOnly(StorageUnavailable):
    """The server takes no writes; another one may. Nothing was written."""

    reason = "it is read-only"


_GONE = "the schema is older than the code needs: run database-migration"


@contextmanager
def driver_errors() -> Iterator[None]:
    """What the driver raises in the block comes out translated."""
    try:
        yield
    except Exception as error:
        translation = translated(error)
        if translation is None:
            raise
        if isinstance(error, asyncpg.PostgresError):
            error.detail = None  # "Failing row contains …": it may be a customer's name
        raise translation from error


def translated(error: Exception) -> StorageError | None:
    """The error of ours that stands for one of the driver, of the network or of TLS; None for one
    that is none of theirs.

    What an error is decides, and not what else it is: a certificate that cannot be verified is a
    ValueError, too, and an address of an odd form a UnicodeError.
    """
    match error:
        case asyncpg.PostgresError():
            return _of_server(error)
        case asyncpg.ClientConfigurationError():
            return InvalidStorageURL(f"the Postgres URL cannot be used: {error}")
        case TimeoutError():
            return TimedOut("Postgres does not answer in time")
        case ssl.SSLCertVerificationError():
            return CertificateRefused(f"Postgres has no certificate that can be trusted: {error}")
        case asyncpg.InterfaceError() if isinstance(error, ValueError):
            return ValueRejected(f"Postgres cannot store a value: {error}")
        case OSError() | EOFError():
            return ConnectionSpent(f"Postgres does not answer: {error}")
        case asyncpg.InterfaceError() if "connection is closed" in str(error):
            return ConnectionSpent(f"Postgres does not answer: {error}")
        case asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return StorageUnavailable(f"Postgres does not answer: {error}")
        case UnicodeError() if "idna" in str(error):
            return Hopeless("the host of the Postgres URL is no host name")
        case RuntimeError() if "handler is closed" in str(error):  # uvloop, of a lost connection
            return ConnectionSpent(f"Postgres does not answer: {error}")
        case asyncpg.InterfaceWarning() | asyncpg.PostgresWarning():
            return StorageUnavailable(f"Postgres: {error}")
    return None


def _of_server(error: asyncpg.PostgresError) -> StorageError:
    message = f"Postgres: {error.args[0] if error.args else error!r}"
    match error:
        case (
            asyncpg.UndefinedTableError()
            | asyncpg.UndefinedColumnError()
            | asyncpg.UndefinedFunctionError()
        ):
            return SchemaOutdated(_GONE)
        case asyncpg.InvalidSQLStatementNameError() | asyncpg.DuplicatePreparedStatementError():
            return StatementLost(message)
        case asyncpg.ProtocolViolationError() if "prepared statement" in message:
            return StatementLost(message)  # PgBouncer, where it keeps track of them itself
        case asyncpg.InvalidCachedStatementError():
            return StatementOutdated(message)
        case asyncpg.UniqueViolationError() if error.table_name == "orders":
            return OrderExists("an order of that id is stored already")
        case asyncpg.ReadOnlySQLTransactionError():
            return ReadOnly(message)
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError():
            return Undone(message)
        case asyncpg.DataError() | asyncpg.IntegrityConstraintViolationError():
            return ValueRejected(message)
        case asyncpg.QueryCanceledError() | asyncpg.LockNotAvailableError():
            return TimedOut(message)
        case asyncpg.InvalidAuthorizationSpecificationError():
            return CredentialsRefused(f"credentials refused: {message}")
        case asyncpg.InvalidCatalogNameError():
            return NoSuchDatabase(message)
        case asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError():
            return ConnectionSpent(message)
        case asyncpg.IdleInTransactionSessionTimeoutError():
            return TimedOut(message)
        case _:
            return StorageUnavailable(message)


@contextmanager
def statement_errors(migration: Migration) -> Iterator[None]:
    """A statement that Postgres refuses is the migration's fault; a server that goes is not."""
    try:
        yield
    except asyncpg.PostgresError as error:
        ours = (error.sqlstate or "")[:2] not in _NOT_OURS
        if isinstance(_of_server(error), StorageUnavailable) and not ours:
            raise
        raise MigrationFailed(f"{migration.name} failed: {error}") from error


_NOT_OURS = {"08", "25", "40", "53", "55", "57", "58"}
"""SQLSTATE classes: connection, read-only, rollback, resources, locks, operator and system."""
