"""The headers of an answer, as cheap as a dict: Tornado's keep two, and a list for each name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar

from tornado.httputil import HTTPHeaders

T = TypeVar("T")


class AnswerHeaders(HTTPHeaders):
    """Headers that a handler has made itself. Names keep Tornado's spelling; what is set is not
    judged here: RequestHandler.set_header has, or the name and the value are our own."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self._more: list[tuple[str, str]] = []

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ",".join(values)

    def __setitem__(self, name: str, value: str) -> None:
        name = spelling(name)
        self._values[name] = value
        if self._more:
            self._forget(name)

    def __delitem__(self, name: str) -> None:
        name = spelling(name)
        del self._values[name]
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._more = [header for header in self._more if header[0] != name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and spelling(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        name = spelling(name)
        if name in self._values:
            self._more.append((name, value))
        else:
            self._values[name] = value

    def get_list(self, name: str) -> list[str]:
        name = spelling(name)
        first = self._values.get(name)
        return [] if first is None else [first, *(v for n, v in self._more if n == name)]

    def get(self, name: str, default: T | None = None) -> str | T | None:  # type: ignore[override]
        if self._more and name in self:
            return self[name]
        return self._values.get(spelling(name), default)

    def get_all(self) -> list[tuple[str, str]]:
        return [*self._values.items(), *self._more]


@lru_cache(maxsize=256)
def spelling(name: str) -> str:
    """The name as Tornado's headers have it: Content-Type."""
    return "-".join(part.capitalize() for part in name.split("-"))
