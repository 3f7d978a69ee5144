from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.catalogue_load import CodeReader, CodesFailed, difference, fold_ascii
from storage.records import Change

ENTRIES = st.dictionaries(st.integers(0, 9), st.text("ab", max_size=1)).map(
    lambda entries: list(entries.items())
)


@given(ENTRIES, ENTRIES)
def test_deleting_and_inserting_a_difference_gives_the_new(
    old: list[tuple[int, str]], new: list[tuple[int, str]]
) -> None:
    differs = difference(old, new, lambda entry: entry[0])
    rest = set(old) - set(differs.outdated)
    assert rest | set(differs.fresh) == set(new)
    assert not rest & set(differs.fresh)
    before, after = dict(old), dict(new)
    kept = before.keys() & after.keys()
    changed = sum(before[name] != after[name] for name in kept)
    assert differs.change == Change(
        added=len(after) - len(kept),
        changed=changed,
        removed=len(before) - len(kept),
        unchanged=len(kept) - changed,
    )


@given(st.text())
def test_folding_changes_ascii_letters_alone(code: str) -> None:
    folded = fold_ascii(code)
    assert folded == "".join(c.lower() if c.isascii() else c for c in code)
    assert fold_ascii(folded) == folded


def test_folding_leaves_what_only_unicode_calls_a_case() -> None:
    assert fold_ascii("K\u212aİÄ") == "k\u212aİÄ"


def test_codes_come_in_chunks() -> None:
    reader = CodeReader("abcde", size=2)
    assert [reader.next_chunk() for _ in range(5)] == [["a", "b"], ["c", "d"], ["e"], [], []]


def test_codes_that_fail_carry_their_error() -> None:
    reader = CodeReader((str(1 // (2 - n)) for n in range(3)), size=2)
    reader.next_chunk()
    with pytest.raises(CodesFailed) as caught:
        reader.next_chunk()
    assert isinstance(caught.value.error, ZeroDivisionError)


def test_codes_that_cannot_be_iterated_carry_their_error() -> None:
    with pytest.raises(CodesFailed) as caught:
        CodeReader(None).next_chunk()  # type: ignore[arg-type]
    assert isinstance(caught.value.error, TypeError)
