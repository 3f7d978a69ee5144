"""Answers are encoded by another library than the standard one, and must not show it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orderfood.wire import encode_json, money

cents = st.integers(min_value=0, max_value=2**53).map(money)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | cents | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def test_the_dearest_order_is_shown_exactly() -> None:
    assert encode_json(money(10_000_000_000_000_00 - 1)) == b"9999999999999.99"


@given(values)
def test_an_answer_is_encoded_as_json_does_it(value: object) -> None:
    assert encode_json(value) == json.dumps(
        value, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8")
