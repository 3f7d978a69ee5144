"""A table that is read in portions again and again, while it changes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import portions
from storage.portions import KnownCatalogue, Portions
from storage.records import ApiKey, User

SIZE = 3
TABLES = st.lists(st.dictionaries(st.integers(0, 20), st.sampled_from("ab")), max_size=6)


class Table:
    """Rows by key, and how many records were made of them."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.made = 0
        self.portions: Portions[tuple[int, str]] = Portions(self._make)

    def _make(self, key: int, value: str) -> tuple[int, str]:
        self.made += 1
        return key, value

    def read(self) -> list[tuple[int, str]]:
        reading = self.portions.begin()
        while not reading.is_done:
            rows = [
                row
                for row in sorted(self.rows.items())
                if not reading.behind or (row[0],) > reading.behind
            ]
            reading.take(json.dumps(rows[:SIZE][::-1]))
        return reading.records


@pytest.fixture(autouse=True, scope="module")
def _small_portions() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(portions, "PORTION_SIZE", SIZE)
    yield
    patch.undo()


@given(TABLES)
def test_every_reading_is_of_the_table_as_it_is(tables: list[dict[int, str]]) -> None:
    table = Table()
    for rows in tables:
        table.rows = rows
        assert table.read() == sorted(rows.items())
        made = table.made
        assert table.read() == sorted(rows.items())
        assert table.made == made, "of the same rows nothing is made"


def test_what_stays_is_the_same_object() -> None:
    table = Table()
    table.rows = dict.fromkeys(range(10), "a")
    before, made = table.read(), table.made
    table.rows[4] = "b"
    after = table.read()
    assert [old is new for old, new in zip(before, after, strict=True)] == [
        n != 4 for n in range(10)
    ]
    assert table.made == made + SIZE, "one portion was taken apart"


def test_two_readings_at_once_are_each_of_what_they_were_given() -> None:
    table = Table()
    one, other = table.portions.begin(), table.portions.begin()
    for text in ('[[1, "a"], [2, "a"], [3, "a"]]', "[]"):
        one.take(text)
        other.take(text.replace("a", "b"))
    assert one.records == [(1, "a"), (2, "a"), (3, "a")]
    assert other.records == [(1, "b"), (2, "b"), (3, "b")]


def test_keys_are_in_order_whatever_order_they_come_in() -> None:
    users = KnownCatalogue(lambda time: time).users.begin()
    users.take('[["demo", "Demo", [[1, "second", ["b"], null], [0, "first", ["a", "b"], null]]]]')
    first, second = ApiKey("first", frozenset("ab")), ApiKey("second", frozenset("b"))
    assert users.records == [User("demo", "Demo", (first, second))]
