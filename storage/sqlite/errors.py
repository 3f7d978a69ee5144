"""What sqlite3 raises, as the errors of a storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import SchemaOutdated, StorageError, StorageUnavailable, ValueRejected

_MISSING = ("no such table", "no such column", "no such index", "has no column named")
"""What SQLite says of a schema that lacks something."""


@contextmanager
def driver_errors() -> Iterator[None]:
    """What the driver raises in the block comes out translated."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OSError) as error:
        raise translated(error) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise ValueRejected(f"SQLite cannot store a value: {error}") from error


def translated(error: Exception) -> StorageError:
    """The error of ours that stands for one of sqlite3 or of the system."""
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_ERROR" and any(words in str(error) for words in _MISSING):
        return SchemaOutdated("the schema is older than the code needs: run database-migration")
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return ValueRejected(f"SQLite refuses a value: {error}")
    if code == "SQLITE_NOTADB":
        return StorageUnavailable("the file is not an SQLite database")
    return StorageUnavailable(f"SQLite: {error}")
