"""Where the facts are kept: one interface, three backends, picked by a URL."""

from __future__ import annotations

from pathlib import Path

from storage.base import MIGRATION_TIMEOUT, MOST_LINES, SCHEMA_VERSION, Storage
from storage.errors import InvalidStorageURL

__all__ = ["MIGRATION_TIMEOUT", "MOST_LINES", "SCHEMA_VERSION", "Storage", "open_storage"]


def open_storage(
    url: str, *, pool_size: int = 10, wait_seconds: float = 30.0, url_file: Path | None = None
) -> Storage:
    """The storage that ``url`` names; ``async with`` (or connect and close) opens and closes it.

    ``memory://`` · ``sqlite:///path`` (relative; four slashes: absolute) ·
    ``postgresql://user:password@host/db?options`` (``postgres://`` too). ``pool_size`` is the
    number of Postgres connections, ``wait_seconds`` how long connect waits for a database that is
    not up yet. ``url_file`` is the file that the URL was read from, where it was: a new connection
    to Postgres reads it anew. Raises InvalidStorageURL.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme == "memory":
        from storage.memory.storage import MemoryStorage

        return MemoryStorage(url)
    if scheme == "sqlite":
        from storage.sqlite.storage import SQLiteStorage

        return SQLiteStorage(url, wait_seconds=wait_seconds)
    if scheme in ("postgresql", "postgres"):
        from storage.postgres.storage import PostgresStorage

        return PostgresStorage(
            url, pool_size=pool_size, wait_seconds=wait_seconds, url_file=url_file
        )
    raise InvalidStorageURL("a storage URL starts with memory://, sqlite:/// or postgresql://")
