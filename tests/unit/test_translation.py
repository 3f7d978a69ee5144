"""What drivers, TLS and the system raise, as errors of the storage: by what it is."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import asyncpg
import pytest

from orderfood.api.failures import failure_of
from storage.errors import (
    InvalidStorageURL,
    OrderExists,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
    ValueRejected,
)
from storage.postgres import errors as postgres_errors
from storage.sqlite import errors as sqlite_errors

Translate = Callable[[], AbstractContextManager[None]]


def below(*kinds: type[Exception]) -> Iterator[type[Exception]]:
    """These classes and all that are made of them."""
    for kind in kinds:
        yield kind
        yield from below(*kind.__subclasses__())


SYSTEM = sorted({*below(OSError), ssl.SSLError, ssl.SSLCertVerificationError}, key=repr)
POSTGRES = sorted(
    {*below(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)}, key=repr
)
SQLITE = sorted({*below(sqlite3.Error)}, key=repr)


def raised(error: Exception, translate: Translate) -> StorageError:
    with pytest.raises(StorageError) as caught, translate():
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("translate", [postgres_errors.driver_errors, sqlite_errors.driver_errors])
@pytest.mark.parametrize(
    "kind", [k for k in SYSTEM if k.__module__ in ("builtins", "ssl", "socket")]
)
def test_what_the_system_and_tls_raise_is_a_store_that_does_not_answer(
    kind: type[Exception], translate: Translate
) -> None:
    for error in (kind(), kind(1, "certificate verify failed")):
        translated = raised(error, translate)
        assert isinstance(translated, StorageUnavailable)
        assert failure_of(translated).status == 503


def expected(kind: type[Exception]) -> type[StorageError] | tuple[type[StorageError], ...]:
    if issubclass(kind, asyncpg.ClientConfigurationError):
        return InvalidStorageURL
    if issubclass(kind, ValueError):  # the driver's own, of an argument
        return ValueRejected
    if issubclass(kind, asyncpg.PostgresError):
        if (kind.sqlstate or "")[:2] in ("22", "23"):
            return (ValueRejected, OrderExists)
        if kind.sqlstate in ("42P01", "42703", "42883"):
            return SchemaOutdated
    return StorageUnavailable


@pytest.mark.parametrize("kind", POSTGRES)
def test_every_error_of_asyncpg_is_one_of_ours(kind: type[Exception]) -> None:
    translated = raised(kind("x"), postgres_errors.driver_errors)
    assert isinstance(translated, expected(kind))


@pytest.mark.parametrize("kind", SQLITE)
def test_every_error_of_sqlite_is_one_of_ours(kind: type[Exception]) -> None:
    translated = raised(kind("x"), sqlite_errors.driver_errors)
    rejected = issubclass(kind, sqlite3.IntegrityError | sqlite3.DataError)
    assert isinstance(translated, ValueRejected if rejected else StorageUnavailable)


def named(kind: type[sqlite3.Error], name: str) -> sqlite3.Error:
    error = kind("x")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    "name", ["SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_MISUSE", "SQLITE_NOMEM"]
)
@pytest.mark.parametrize("kind", [sqlite3.InterfaceError, sqlite3.OperationalError])
def test_a_file_that_fails_is_no_fault_of_a_value(kind: type[sqlite3.Error], name: str) -> None:
    assert isinstance(raised(named(kind, name), sqlite_errors.driver_errors), StorageUnavailable)


def test_what_is_none_of_theirs_passes_through() -> None:
    for translate in (postgres_errors.driver_errors, sqlite_errors.driver_errors):
        with pytest.raises(ZeroDivisionError), translate():
            raise ZeroDivisionError
