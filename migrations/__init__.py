"""The one reader of the SQL files. Twins of equal name do the same to SQLite and to Postgres."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from importlib.resources.abc import Traversable

from storage.records import Migration

_NAME = re.compile(r"(?P<version>\d{4})_[a-z0-9_]+\.sql")
_HEADER = re.compile(r"(?:\s*--.*\n)*")
_STATED = re.compile(r"^\s*--\s*statement_timeout\b(?P<value>.*)$", re.MULTILINE)
_SECONDS = re.compile(r":\s*(?P<number>[1-9][0-9]{0,4})\s*(?P<unit>s|min)\s*")
_UNITS = {"s": 1.0, "min": 60.0}
_FOLDERS = {"memory": None, "sqlite": "sqlite", "postgresql": "postgres"}


def read_migrations(backend: str) -> list[Migration]:
    """The migrations of a backend (``Storage.backend``), in order; none for memory.

    Raises ValueError for a file whose name is not NNNN_name.sql, for a number that is missing or
    stands twice, as a hole is a file that somebody forgot to commit, and for a header that cannot
    be read.
    """
    folder = _FOLDERS[backend]
    return [] if folder is None else read_folder(resources.files(__name__) / folder)


def read_folder(folder: Traversable) -> list[Migration]:
    """The migrations that lie in a folder."""
    files = sorted((file for file in folder.iterdir() if file.is_file()), key=lambda f: f.name)
    migrations = [_read(file) for file in files]
    versions = [migration.version for migration in migrations]
    if versions != list(range(1, len(versions) + 1)):
        raise ValueError(f"migrations are numbered 1, 2, 3 and so on, without holes: {versions}")
    return migrations


def _read(file: Traversable) -> Migration:
    match = _NAME.fullmatch(file.name)
    if match is None:
        raise ValueError(f"a migration is named NNNN_name.sql, not {file.name}")
    content = file.read_bytes()
    sql = content.decode()
    return Migration(
        version=int(match["version"]),
        name=file.name.removesuffix(".sql"),
        sql=sql,
        checksum=hashlib.sha256(content).hexdigest(),
        statement_timeout=_statement_timeout(file.name, sql),
    )


def _statement_timeout(name: str, sql: str) -> float | None:
    """What the comments at the top of a migration ask for: ``-- statement_timeout: 60s``."""
    header = _HEADER.match(sql)
    stated = _STATED.search(header[0]) if header else None
    if stated is None:
        return None
    value = _SECONDS.fullmatch(stated["value"])
    if value is None:
        raise ValueError(f"{name}: a migration states its statement_timeout as 60s or 5min")
    return int(value["number"]) * _UNITS[value["unit"]]
