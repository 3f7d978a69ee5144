"""The fixtures' reader: each entry that is wrong is named by file and place."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from fixtures import FixtureError, read_fixtures
from tests.unit.sound_fixtures import (
    COUPON,
    HASH,
    KEY,
    LINE,
    ORDER,
    PRODUCT,
    USER,
    Change,
    Write,
    refusal,
)

# --- what is refused: an entry ---


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ("12.999", "has more than two decimals"),
        ("12.990", "has more than two decimals"),
        ("-0.01", "is negative"),
        ("-1", "is negative"),
        ("100000000.01", "is over 100000000"),
        ("1e400", "must be written in plain digits"),
        ("1e1", "must be written in plain digits"),
        ("1299E-2", "must be written in plain digits"),
        ("1e99999999999999999999", "must be written in plain digits"),
        ("NaN", "must be written in plain digits"),
        ("-Infinity", "must be written in plain digits"),
        ("9" * 30, "is over 100000000"),
        ("9" * 100_000, "must be written in plain digits"),
        ('"12.99"', "must be a number"),
        ("true", "must be a number"),
        ("null", "must be a number"),
        ("[]", "must be a number"),
    ],
)
def test_prices_that_are_none(write: Write, price: str, problem: str) -> None:
    sound = json.dumps(PRODUCT | {"id": "9"})
    text = f"[{sound}, {json.dumps(PRODUCT | {'id': '4'}).replace('12.99', price)}]"
    expected = f'products.json: entry 2 (id "4"): price {problem}'
    assert refusal(write(products=text)).startswith(expected)


def test_a_member_that_stands_twice(write: Write) -> None:
    text = json.dumps([PRODUCT]).replace('"price"', '"price": 1, "price"')
    assert 'entry 1 (id "1"): price (again) is unknown' in refusal(write(products=text))


def test_a_member_that_stands_twice_deep_inside(write: Write) -> None:
    text = json.dumps([ORDER]).replace('"quantity"', '"quantity": 1, "quantity"')
    assert "items.1.quantity (again) is unknown" in refusal(write(orders=text))


def refuse_entry(write: Write, file: str, sound: Change, change: Change, problem: str) -> None:
    entry = {name: value for name, value in (sound | change).items() if value is not ...}
    label = next(member for member in ("id", "code") if member in sound)
    message = refusal(write(**{file: json.dumps([entry])}))
    named = f" ({label} {json.dumps(entry[label])})" if isinstance(entry.get(label), str) else ""
    assert message.startswith(f"{file}.json: entry 1{named}: {problem}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": ...}, "id is missing"),
        ({"name": ...}, "name is missing"),
        ({"price": ...}, "price is missing"),
        ({"category": ...}, "category is missing"),
        ({"extra": 1}, "extra is unknown"),
        ({"Name": "x"}, "Name is unknown"),
        ({"a\n": "x"}, r"a\n is unknown"),
        ({"\ud800": "x"}, "should be a valid string"),
        ({"id": 1}, "id should be a valid string"),
        ({"id": 1.5}, "id should be a valid string"),
        *(
            ({"id": id_}, "id must be a whole number")
            for id_ in ("", "0", "-1", "01", "1.0", "1e0")
        ),
        *(
            ({"id": id_}, "id must be a whole number")
            for id_ in ("\u0661", " 1", "1\n", str(2**63))
        ),
        ({"name": 1.5}, "name should be a valid string"),
        ({"name": None}, "name should be a valid string"),
        ({"name": ""}, "name should have at least 1 character"),
        ({"name": " "}, "name must not begin or end with a blank"),
        ({"name": "\u3000Ramen"}, "name must not begin or end with a blank"),
        ({"name": "a\0"}, "name holds U+0000, a control character"),
        ({"name": "a\nb"}, "name holds U+000A, a control character"),
        ({"name": "a\x85b"}, "name holds U+0085, a control character"),
        ({"name": "a\x9bb"}, "name holds U+009B, a control character"),
        ({"name": "a\u2028b"}, "name holds U+2028, a line separator"),
        ({"name": "a\u202eb"}, "name holds U+202E, a bidirectional override"),
        ({"name": "a\u2067b"}, "name holds U+2067, a bidirectional override"),
        ({"name": "a\ue000b"}, "name holds U+E000, a character for private use"),
        ({"name": "a\U0010fffdb"}, "name holds U+10FFFD, a character for private use"),
        ({"name": "\ud800"}, "name holds U+D800, half a surrogate pair"),
        ({"category": "\ud800"}, "category holds U+D800, half a surrogate pair"),
        ({"description": ""}, "description should have at least 1 character"),
        ({"description": "x" * 501}, "description should have at most 500 characters"),
        ({"description": "a\u202db"}, "description holds U+202D"),
        ({"description": 1.5}, "description should be a valid string"),
        *(
            ({"image": image}, "image must be an https URL")
            for image in (
                "http://shop.example/1.jpg",
                "//shop.example/1.jpg",
                "/\\shop.example/1.jpg",
                "1.jpg",
                "javascript:alert(1)",
                "data:image/png;base64,AA==",
                "https:/shop.example/1.jpg",
                "https://",
                "https:///1.jpg",
                "https://user@shop.example/1.jpg",
                "https://shop.example:x/1.jpg",
                "https://shop.example:99999/1.jpg",
                "https://[::1/1.jpg",
                "https://shop.example/a b.jpg",
                "https://shop.example/1.jpg\n",
                "/1.jpg\n",
                "/a\tb.jpg",
                '/1.jpg"onerror=',
                "/é.jpg",
            )
        ),
        ({"image": ""}, "image should have at least 1 character"),
        ({"image": "/" + "x" * 2000}, "image should have at most 2000 characters"),
        ({"allergens": "milk"}, "allergens should be a valid tuple"),
        ({"allergens": ["Milk"]}, "allergens.1 should be 'gluten'"),
        ({"allergens": ["milk", "wheat"]}, "allergens.2 should be 'gluten'"),
        ({"allergens": ["milk", "milk"]}, "allergens holds a word twice"),
        ({"name": "x" * 201}, "name should have at most 200 characters"),
        ({"category": ""}, "category should have at least 1 character"),
    ],
)
def test_products_that_are_none(write: Write, change: Change, problem: str) -> None:
    refuse_entry(write, "products", PRODUCT, change, problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": ""}, "id should have at least 1 character"),
        ({"id": "a b"}, "id should match pattern"),
        ({"keys": ...}, "keys is missing"),
        ({"keys": {}}, "keys should be a valid list"),
        ({"keys": [KEY | {"hash": "apitest"}]}, "keys.1.hash should match pattern"),
        ({"keys": [KEY | {"hash": HASH.upper()}]}, "keys.1.hash should match pattern"),
        ({"keys": [KEY | {"hash": HASH + "\n"}]}, "keys.1.hash should match pattern"),
        ({"keys": [KEY | {"key": "apitest"}]}, "keys.1.key is unknown"),
        ({"keys": [KEY | {"scopes": []}]}, "keys.1.scopes should have at least 1 item"),
        ({"keys": [KEY | {"scopes": ["admin"]}]}, "keys.1.scopes.1 should be 'create_order'"),
        ({"keys": [KEY | {"expiresAt": "2027"}]}, "keys.1.expiresAt must be a time"),
    ],
)
def test_users_that_are_none(write: Write, change: Change, problem: str) -> None:
    refuse_entry(write, "users", USER, change, problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": ""}, "code should have at least 1 character"),
        ({"code": "A B"}, "code should match pattern"),
        ({"kind": "free"}, "kind should be 'percent'"),
        ({"value": ...}, "value must be over 0 with kind percent"),
        ({"value": 0}, "value must be over 0 with kind percent"),
        ({"value": -1}, "value is negative"),
        ({"value": 100.01}, "value is over 100 percent"),
        ({"value": 1.234}, "value has more than two decimals"),
        ({"kind": "amount", "value": 0}, "value must be over 0 with kind amount"),
        ({"kind": "cheapest_free"}, "value has no meaning with kind cheapest_free"),
        ({"minItems": 0}, "minItems should be greater than or equal to 1"),
        ({"minItems": 1.5}, "minItems should be a valid integer"),
        ({"maxUses": True}, "maxUses should be a valid integer"),
        ({"maxUsesPerUser": 10**30}, "maxUsesPerUser should be"),
        ({"minSubtotal": "1"}, "minSubtotal must be a number"),
        ({"validFrom": "2026-01-01T00:00:00"}, "validFrom must be a time"),
        ({"validFrom": "2026-13-01T00:00:00Z"}, "validFrom must be a time"),
        ({"validFrom": "0001-01-01T00:00:00+01:00"}, "validFrom must be a time"),
        ({"validUntil": 1}, "validUntil must be a time"),
        (
            {"validFrom": "2026-01-01T00:00:00Z", "validUntil": "2026-01-01T00:00:00Z"},
            "validFrom must be before validUntil",
        ),
    ],
)
def test_coupons_that_are_none(write: Write, change: Change, problem: str) -> None:
    refuse_entry(write, "coupons", COUPON, change, problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": ORDER["id"].upper().replace("0", "A")}, "id must be a UUID"),  # type: ignore[attr-defined]
        ({"id": "1"}, "id must be a UUID"),
        ({"user": "nobody"}, "user is not in users.json"),
        ({"items": []}, "items should have at least 1 item"),
        ({"items": [LINE] * 101}, "items should have at most 100 items"),
        ({"items": [LINE, LINE]}, "items has a product on two lines"),
        ({"items": [LINE | {"quantity": 0}]}, "items.1.quantity should be greater"),
        ({"items": [LINE | {"quantity": 1001}]}, "items.1.quantity should be less"),
        ({"items": [LINE | {"price": 1.999}]}, "items.1.price has more than two decimals"),
        ({"items": [LINE | {"total": 1}]}, "items.1.total is unknown"),
        ({"subtotal": 25.97}, "subtotal is not the sum of the items"),
        ({"total": 25}, "total is not subtotal minus discounts"),
        ({"discounts": 30, "total": 0}, "total is not subtotal minus discounts"),
        ({"discounts": 30, "total": -4.02}, "total is negative"),
        ({"discounts": 1, "total": 24.98}, "discounts must be 0 without couponCode"),
        ({"status": "placed"}, "status is unknown"),
        ({"createdAt": "yesterday"}, "createdAt must be a time"),
        ({"createdAt": "2026-01-31T12:00:00.1234567Z"}, "createdAt must be a time"),
    ],
)
def test_orders_that_are_none(write: Write, change: Change, problem: str) -> None:
    refuse_entry(write, "orders", ORDER, change, problem)


# --- what is refused: entries together ---


@pytest.mark.parametrize(
    ("file", "first", "second", "label", "what"),
    [
        ("products", PRODUCT, PRODUCT | {"name": "Other"}, 'id "1"', "id"),
        ("users", USER, USER | {"keys": []}, 'id "demo"', "id"),
        ("users", USER, USER | {"id": "other"}, 'id "other"', "key hash"),
        ("coupons", COUPON, COUPON | {"code": "save10"}, 'code "save10"', "code"),
        ("orders", ORDER, ORDER, f'id "{ORDER["id"]}"', "id"),
    ],
)
def test_repeats(
    write: Write, file: str, first: Change, second: Change, label: str, what: str
) -> None:
    message = refusal(write(**{file: json.dumps([first, second])}))
    assert message == f"{file}.json: entry 2 ({label}): {what} stands in entry 1 already"


def test_one_hash_twice_for_one_user(write: Write) -> None:
    message = refusal(write(users=json.dumps([USER | {"keys": [KEY, KEY]}])))
    assert message == 'users.json: entry 1 (id "demo"): key hash stands in entry 1 already'


# --- whatever comes ---

JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(strategies.characters(codec=None)),
    lambda values: (
        strategies.lists(values, max_size=3)
        | strategies.dictionaries(strategies.text(max_size=5), values, max_size=3)
    ),
    max_leaves=5,
)
SOUND: dict[str, dict[str, Any]] = {
    "products": PRODUCT,
    "users": USER,
    "coupons": COUPON,
    "orders": ORDER,
}


@strategies.composite
def spoilt_entries(draw: strategies.DrawFn) -> tuple[str, list[Any]]:
    """A file, and what it holds: a sound entry with one member replaced, or anything at all."""
    file = draw(strategies.sampled_from(sorted(SOUND)))
    member = draw(strategies.sampled_from(sorted(SOUND[file])))
    spoilt: Any = SOUND[file] | {member: draw(JSON)}
    return file, [draw(strategies.sampled_from([spoilt, draw(JSON)]))]


@given(spoilt_entries())
def test_whatever_comes_is_read_or_refused(spoilt: tuple[str, list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file, entry in SOUND.items():
            entries = spoilt[1] if file == spoilt[0] else [entry]
            (Path(folder) / f"{file}.json").write_text(json.dumps(entries))
        with suppress(FixtureError):
            read_fixtures(Path(folder))
