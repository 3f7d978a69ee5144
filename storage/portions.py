"""Tables in portions of JSON, which are made into records anew only where they have changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from storage.records import ApiKey, Product, User
from storage.rows import read_product

Record = TypeVar("Record")

PORTION_SIZE = 500
"""Rows of a portion: about a millisecond where it has changed."""


@dataclass(frozen=True, slots=True)
class Portion(Generic[Record]):
    """Rows that follow each other: the JSON array of them, the last one's key, their records."""

    text: str = "[]"
    last: Any = None
    records: tuple[Record, ...] = ()


class Portions(Generic[Record]):
    """One table as it was read last. A portion that reads the same gives the same records, of one
    that has changed those that have not are the same: nearly nothing is new to Python then, so that
    there is nothing to make, to collect or to free."""

    def __init__(self, record: Callable[..., Record]) -> None:
        self._record = record
        self._known: dict[int, Portion[Record]] = {}

    def begin(self) -> Reading[Record]:
        """A reading of the whole table."""
        return Reading(self)

    def take(self, number: int, text: str) -> Portion[Record]:
        """The portion whose rows are this JSON array; each begins with its key."""
        known = self._known.get(number, Portion())
        if known.text != text:
            known = self._known[number] = self._read(text, known.records)
        return known

    def forget(self, count: int) -> None:
        """Forgets all portions but so many. Another thread may be reading, too."""
        for number in list(self._known):
            if number >= count:
                self._known.pop(number, None)

    def _read(self, text: str, known: Iterable[Record]) -> Portion[Record]:
        rows = sorted(json.loads(text), key=_first)
        shared = {record: record for record in known}
        records = (self._record(*row) for row in rows)
        last = rows[-1][0] if rows else None
        return Portion(text, last, tuple(shared.get(record, record) for record in records))


class Reading(Generic[Record]):
    """Reads a table from its first portion to its last."""

    def __init__(self, portions: Portions[Record]) -> None:
        self._portions = portions
        self._count = 0
        self.records: list[Record] = []
        self.behind: tuple[Any, ...] = ()
        """The key behind which the next portion begins; without one it is the first."""
        self.is_done = False

    def take(self, text: str) -> None:
        """Takes the next portion."""
        portion = self._portions.take(self._count, text)
        self._count += 1
        self.records += portion.records
        self.behind = (portion.last,)
        if len(portion.records) < PORTION_SIZE:
            self.is_done = True
            self._portions.forget(self._count)


class KnownCatalogue:
    """Products and users as they were read last. ``to_time`` reads a time; None gives None."""

    def __init__(self, to_time: Callable[[Any], datetime | None]) -> None:
        self._to_time = to_time
        self.products: Portions[Product] = Portions(read_product)
        self.users: Portions[User] = Portions(self._read_user)

    def _read_user(self, id_: str, name: str, keys: list[tuple[int, str, list[str], Any]]) -> User:
        """A user with keys of position, hash, scopes and end."""
        ordered = sorted(keys, key=_first)
        return User(id_, name, tuple(self._read_key(*key[1:]) for key in ordered))

    def _read_key(self, hash_: str, scopes: list[str], expires_at: Any) -> ApiKey:
        return ApiKey(hash_, frozenset(scopes), self._to_time(expires_at))


def _first(row: Any) -> Any:
    return row[0]
