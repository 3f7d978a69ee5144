"""Answers are encoded by another library than the standard one, and must not show it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfood.api.parsing import parse_basket, parse_order
from orderfood.api.wire import encode_json, money
from orderfood.shop.pricing import Basket, Item
from orderfood.shop.refusals import InvalidRequest, Refusal, Unprocessable

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


# --- what comes in ---

LINE = b'{"productId":"1","quantity":1}'
ONE = (Basket((Item("1", 1),)), None)


def order(rest: bytes = b"") -> bytes:
    """An order of one line, and what else stands in it."""
    return b'{"items":[' + LINE + b"]" + rest + b"}"


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b',"couponCode":null',
        b',"couponCode":""',
        b',"expectedTotal":null',
        b',"x":["NaN","Infinity",{"a\\"NaN":1}]',
        b',"x":"' + b"[[" * 60_000 + b'"',
        b',"x":' + b"9" * 100_000,
        b',"x":-' + b"9" * 4301 + b"." + b"1" * 5000 + b"e" + b"0" * 5000,
        b',"x":[' + b",".join([b"9" * 5000] * 3) + b"]",
        b',"x":1e400',
        b',"items":[' + LINE + b"]",
    ],
)
def test_what_nobody_asks_for_is_passed_over(rest: bytes) -> None:
    assert parse_order(order(rest)) == ONE


@pytest.mark.parametrize(
    "rest",
    [
        b',"x":NaN',
        b',"x":[-Infinity]',
        b',"x":{"a":Infinity,"b":"NaN"}',
        b',"x":' + b"9" * 5000 + b',"y":NaN',
        b',"x":0' + b"9" * 5000,
        b',"x":' + b"[[" * 60_000 + b"]]" * 60_000,
        b',"x":"\\ud800"',
        b',"x":"\xff"',
        b',"x":"\t"',
        b',"x":01',
        b',"x":1}',
        b',"x"',
        b',"x":"',
        b"," + b'"\\"' * 1000,
    ],
)
def test_what_is_no_json_is_refused_wherever_it_stands(rest: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_order(order(rest))
    assert caught.value.reason == "json"


def faults(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        parse_order(body)
    return [(error.field, error.message) for error in caught.value.errors]


def test_a_small_body_is_told_all_its_faults() -> None:
    body = b'{"items":[{},{"productId":1,"quantity":0},7],"couponCode":1,"expectedTotal":"1"}'
    assert faults(body) == [
        ("items[0].productId", "is required"),
        ("items[0].quantity", "is required"),
        ("items[1].productId", "must be a string"),
        ("items[1].quantity", "must be at least 1"),
        ("items[2]", "must be an object"),
        ("couponCode", "must be a string"),
        ("expectedTotal", "must be a number"),
    ]


def test_a_malformed_line_behind_too_many_is_malformed() -> None:
    lines = b",".join([LINE] * 150)
    with pytest.raises(Unprocessable, match="at most 100 lines"):
        parse_order(b'{"items":[' + lines + b"]}")
    assert faults(b'{"items":[' + lines + b",7]}") == [("items[150]", "must be an object")]


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        (b"12.99", 1299),
        (b"12.9", 1290),
        (b"12.990", 1299),
        (b"0", 0),
        (b"-0.0", 0),
        (b"1e2", 10_000),
        (b"9999999999999.99", 999_999_999_999_999),
    ],
)
def test_an_expected_total(written: bytes, cents: int) -> None:
    assert parse_order(order(b',"expectedTotal":' + written)) == (ONE[0], cents)
    assert parse_basket(order(b',"expectedTotal":' + written)) == ONE[0]


@pytest.mark.parametrize("written", [b"1e22", b"123456789012345678", b"9" * 300])
def test_a_total_that_no_order_has(written: bytes) -> None:
    assert parse_order(order(b',"expectedTotal":' + written))[1] not in (None, 1299)


@pytest.mark.parametrize(
    "written",
    [
        b"12.999",
        b"0.001",
        b"1e-3",
        b"-0.01",
        b"-1",
        b"1e400",
        b"-1e400",
        b'"12.99"',
        b"true",
        b"[]",
        b"{}",
    ],
)
def test_a_total_that_is_none(written: bytes) -> None:
    assert [field for field, _ in faults(order(b',"expectedTotal":' + written))] == [
        "expectedTotal"
    ]
    assert parse_basket(order(b',"expectedTotal":' + written)) == ONE[0]


# --- what it may cost ---

LARGE = 2**20
HUGE = b"9" * 5000


def repeat(unit: bytes, before: bytes = order(b',"x":[')[:-1], after: bytes = b"]}") -> bytes:
    """A body of a mebibyte that says one thing again and again."""
    count = (LARGE - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * count) + after


def lines(unit: bytes, after: bytes = b"]}") -> bytes:
    return repeat(unit, b'{"items":[', after)


def unlike(kind: bytes) -> bytes:
    return b",".join(kind % number for number in range(90_000))


SHAPES = {
    "integers for lines": lines(b"1"),
    "integers and one of thousands of digits": lines(b"1", b"," + HUGE + b"]}"),
    "integers aside and one of thousands of digits": repeat(b"1", after=b"," + HUGE + b"]}"),
    "integers of thousands of digits": repeat(HUGE),
    "good lines": lines(LINE),
    "good lines and one of thousands of digits": lines(LINE, b'],"x":' + HUGE + b"}"),
    "good lines and a bad one": lines(LINE, b",7]}"),
    "lines twice": lines(LINE)[:-1] + b',"items":[]}',
    "bad lines": lines(b'{"productId":1,"quantity":0}'),
    "empty lines": lines(b"{}"),
    "lines of others": lines(b'{"":1}'),
    "lines with much beside": lines(
        b'{"productId":"1","quantity":1,"x":[' + b"[]," * 3000 + b"1]}"
    ),
    "empty lists": repeat(b"[]"),
    "lists": repeat(b"[1]"),
    "lists in lists": repeat(b"[" * 100 + b"]" * 100),
    "lists in lists with blanks": repeat(b"[ " * 100 + b"]" * 100),
    "objects in objects": repeat(b'{"":' * 100 + b"1" + b"}" * 100),
    "too deep": order(b',"x":' + b"[" * 500_000),
    "deep at once": b"[" * 100 + repeat(b"[" * 99 + b"]" * 99, b"", b"") + b"]" * 100,
    "many members": order(b"," + unlike(b'"%x":1')),
    "many members of a line": b'{"items":[{"productId":"1",' + unlike(b'"%x":1') + b"}]}",
    "many texts": repeat(b'"a"'),
    "many unlike texts": order(b',"x":[' + unlike(b'"%x"') + b"]"),
    "many texts of NaN": repeat(b'"NaN"'),
    "a large text": order(b',"x":"' + b"x" * 1_000_000 + b'"'),
    "a large text of escapes": order(b',"x":"' + b"\\u00e9" * 170_000 + b'"'),
    "a large text of quotes without an end": order(b',"x":"' + b'\\"' * 500_000),
    "the same and NaN": order(b',"x":NaN,"y":"' + b'\\"' * 500_000),
    "the same and lists": order(b',"x":"' + b"[[" * 60_000 + b'\\"' * 400_000),
    "a large product": b'{"items":[{"productId":"' + b"x" * 1_000_000 + b'","quantity":1}]}',
    "a large product of escapes": (
        b'{"items":[{"productId":"' + b"\\u00e9" * 170_000 + b'","quantity":1}]}'
    ),
    "a large coupon": order(b',"couponCode":"' + "é".encode() * 500_000 + b'"'),
    "floats": repeat(b"1.5"),
    "floats that are hard": repeat(b"2.2250738585072011e-308"),
    "floats of many digits": repeat(b"0." + b"1" * 3000),
    "a float of many digits": order(b',"x":0.' + b"1" * 1_000_000),
    "a total of many digits": order(b',"expectedTotal":0.' + b"1" * 1_000_000),
    "an integer of a million digits": order(b',"x":' + b"9" * 1_000_000),
    "blanks": order(b" " * 1_000_000),
    "no list of lines": b"[" + b",".join([b"1"] * 500_000) + b"]",
    "an error at the end": repeat(b"1") + b"}",
}


def least_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, of several the least: what else goes on only adds to it."""
    taken = []
    for _ in range(5):
        before = time.process_time()
        with suppress(Refusal):
            work()
        taken.append(time.process_time() - before)
    return min(taken)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_body_costs_more_than_a_few_times_its_reading(shape: str) -> None:
    """A list of half a million integers takes json.loads some 20 ms."""
    body = SHAPES[shape][:LARGE]
    integers = b"[" + b",".join([b"1"] * (LARGE // 2 - 1)) + b"]"
    allowed = 2.5 * least_seconds(lambda: json.loads(integers))
    assert least_seconds(lambda: parse_order(body)) < allowed
