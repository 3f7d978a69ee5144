"""The fixtures' reader: what it gives, and that each thing wrong is named by file and entry."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

import fixtures
from fixtures import FixtureError, read_fixtures
from storage.records import ApiKey, Coupon, CouponKind, Product

PACKAGED = Path(fixtures.__file__).parent

PRODUCT = {"id": "1", "name": "Waffle", "price": 12.99, "category": "Waffle"}
HASH = "sha256:" + "0" * 64
KEY = {"hash": HASH, "scopes": ["read_order"]}
USER = {"id": "demo", "name": "Demo", "keys": [KEY]}
COUPON = {"code": "SAVE10", "kind": "percent", "value": 10}
LINE = {"productId": "1", "name": "Waffle", "category": "Waffle", "price": 12.99, "quantity": 2}
ORDER = {
    "id": "00000000-0000-4000-8000-000000000001",
    "user": "demo",
    "items": [LINE],
    "subtotal": 25.98,
    "discounts": 0,
    "total": 25.98,
    "createdAt": "2026-01-31T12:00:00Z",
}

Write = Callable[..., Path]
Change = dict[str, Any]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a folder of sound fixtures, with the text of some files replaced."""

    def write(**texts: str) -> Path:
        sound = {"products": [PRODUCT], "users": [USER], "coupons": [COUPON], "orders": [ORDER]}
        for name, entries in sound.items():
            (tmp_path / f"{name}.json").write_text(texts.get(name, json.dumps(entries)))
        return tmp_path

    return write


def refusal(folder: Path) -> str:
    with pytest.raises(FixtureError) as caught:
        read_fixtures(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    return message


# --- what is packaged ---


def test_the_packaged_menu() -> None:
    products = read_fixtures(PACKAGED).catalogue.products
    assert [product.id for product in products] == list(range(1, 11))
    assert products[0] == Product(1, "Chicken Waffle", 1299, "Waffle")
    assert products[9] == Product(10, "Veggie Burger", 1049, "Burger")


def test_the_packaged_users_are_known_by_the_hash_of_their_key() -> None:
    auditor, demo = read_fixtures(PACKAGED).catalogue.users
    digest = sha256(b"apitest").hexdigest()
    both = frozenset({"create_order", "read_order"})
    assert demo.keys == (ApiKey(f"sha256:{digest}", both),)
    assert [key.scopes for key in auditor.keys] == [frozenset({"read_order"})]
    assert "apitest" not in (PACKAGED / "users.json").read_text()


def test_the_packaged_coupons() -> None:
    assert read_fixtures(PACKAGED).catalogue.coupons == (
        Coupon("BUYGETONE", CouponKind.CHEAPEST_FREE, min_items=2),
        Coupon("HAPPYHOURS", CouponKind.PERCENT, 1800),
        Coupon("SAVE10", CouponKind.PERCENT, 1000),
    )


def test_the_packaged_orders_agree_with_the_menu() -> None:
    packaged = read_fixtures(PACKAGED)
    assert len(packaged.sample_orders) >= 2
    for order in packaged.sample_orders:
        assert order.user_id == "demo"
        assert {line.product for line in order.lines} <= set(packaged.catalogue.products)


def test_the_readme_describes_every_member() -> None:
    readme = (PACKAGED / "README.md").read_text()
    for model in fixtures.entries.Entry.__subclasses__():
        for field in model.model_fields.values():
            assert str(field.alias) in readme


# --- what is accepted ---


def test_catalogue_is_ordered(write: Write) -> None:
    products = [PRODUCT | {"id": id_} for id_ in ("10", "2", "9223372036854775807")]
    coupons = [COUPON | {"code": code} for code in ("b", "A")]
    catalogue = read_fixtures(
        write(products=json.dumps(products), coupons=json.dumps(coupons), orders="[]")
    ).catalogue
    assert [product.id for product in catalogue.products] == [2, 10, 2**63 - 1]
    assert [coupon.code for coupon in catalogue.coupons] == ["A", "b"]


@pytest.mark.parametrize(
    ("written", "cents"),
    [("12.99", 1299), ("12.9", 1290), ("12", 1200), ("0", 0), ("100000000", 10**10), ("0.07", 7)],
)
def test_prices_are_exact(write: Write, written: str, cents: int) -> None:
    text = json.dumps([PRODUCT]).replace("12.99", written)
    assert read_fixtures(write(products=text)).catalogue.products[0].price == cents


@pytest.mark.parametrize(
    "name",
    [
        "ラーメン\u3000大盛り",
        "\u0646\u0627\u0646\u200c\u062e\u0627\u0645\u0647",
        "Chef's \U0001f468\u200d\U0001f373",
        "Crêpe\u00a0Suzette",
        "Kaiser\u00adschmarrn",
        "\U000323b0\U0001fae9",
        "שקשוקה\u200f!",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "x" * 200,
        "\U0001f9c7" * 200,
    ],
)
def test_names_of_dishes_from_anywhere(write: Write, name: str) -> None:
    products = [PRODUCT | {"name": name, "category": name, "description": name}]
    (read,) = read_fixtures(write(products=json.dumps(products))).catalogue.products
    assert (read.name, read.category, read.description) == (name, name, name)


@pytest.mark.parametrize(
    ("members", "read"),
    [
        ({}, (None, None, None)),
        ({"description": None, "image": None, "allergens": None}, (None, None, None)),
        ({"allergens": []}, (None, None, ())),
        ({"allergens": ["milk", "gluten"]}, (None, None, ("milk", "gluten"))),
        ({"description": "x" * 500}, ("x" * 500, None, None)),
        *(
            ({"image": image}, (None, image, None))
            for image in (
                "/",
                "/static/waffle.jpg?v=2#top",
                "https://shop.example",
                "HTTPS://shop.example:8443/%C3%A9.jpg",
                "https://[2001:db8::1]/1.jpg",
            )
        ),
    ],
)
def test_what_a_product_may_say(write: Write, members: Change, read: tuple[object, ...]) -> None:
    line = LINE | members
    orders = json.dumps([ORDER | {"items": [line]}])
    found = read_fixtures(write(products=json.dumps([PRODUCT | members]), orders=orders))
    for product in (found.catalogue.products[0], found.sample_orders[0].lines[0].product):
        assert (product.description, product.image, product.allergens) == read


@pytest.mark.parametrize("file", ["products", "users", "coupons", "orders", "coupon_files"])
def test_a_byte_order_mark_is_passed_over(write: Write, file: str) -> None:
    folder = write()
    (folder / "coupon_files.json").write_text('[{"kind": "percent", "value": 5}]')
    path = folder / f"{file}.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_fixtures(folder).catalogue.products) == 1


def test_the_dearest_order_is_exact(write: Write) -> None:
    lines = [
        LINE | {"productId": str(number), "price": 100_000_000, "quantity": 1000}
        for number in range(1, 101)
    ]
    total = 10_000_000_000_000
    order = ORDER | {"items": lines, "subtotal": total, "total": total}
    (read,) = read_fixtures(write(orders=json.dumps([order]))).sample_orders
    assert read.total == total * 100


def test_a_coupon_with_everything(write: Write) -> None:
    coupon = {
        "code": "Ten",
        "kind": "amount",
        "value": 10.5,
        "minSubtotal": 20,
        "minItems": 2,
        "maxDiscount": 9.99,
        "validFrom": "2026-01-01T00:00:00+02:00",
        "validUntil": "2026-02-01T00:00:00.123456Z",
        "maxUses": 100,
        "maxUsesPerUser": 1,
    }
    assert read_fixtures(write(coupons=json.dumps([coupon]))).catalogue.coupons == (
        Coupon(
            code="Ten",
            kind=CouponKind.AMOUNT,
            value=1050,
            min_subtotal=2000,
            min_items=2,
            max_discount=999,
            valid_from=datetime(2025, 12, 31, 22, tzinfo=UTC),
            valid_until=datetime(2026, 2, 1, 0, 0, 0, 123456, tzinfo=UTC),
            max_uses=100,
            max_uses_per_user=1,
        ),
    )


def test_a_key_may_expire(write: Write) -> None:
    user = USER | {"keys": [KEY | {"expiresAt": "2027-01-01T00:00:00Z"}]}
    (read,) = read_fixtures(write(users=json.dumps([user]))).catalogue.users
    assert read.keys[0].expires_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_users_and_coupons_may_be_none(write: Write) -> None:
    read = read_fixtures(write(users="[]", coupons="[]", orders="[]"))
    assert (read.catalogue.users, read.catalogue.coupons, read.sample_orders) == ((), (), ())


def test_a_sample_order_does_not_depend_on_the_menu(write: Write) -> None:
    products = json.dumps([PRODUCT | {"id": "7", "price": 1}])
    assert len(read_fixtures(write(products=products, coupons="[]")).sample_orders) == 1


# --- what is refused: the file ---


def test_missing_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"{tmp_path}/nowhere: there is no such folder"


@pytest.mark.parametrize("file", ["products.json", "users.json", "coupons.json", "orders.json"])
def test_missing_file(write: Write, file: str) -> None:
    folder = write()
    (folder / file).unlink()
    assert refusal(folder).startswith(f"{file}: cannot be read")
    (folder / file).mkdir()
    assert refusal(folder).startswith(f"{file}: cannot be read")


@pytest.mark.parametrize("file", ["products.json", "users.json", "coupons.json", "orders.json"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"[", "is not JSON"),
        (b"[] []", "is not JSON"),
        (b"[{'id': 1}]", "is not JSON"),
        (b"\xef\xbb\xbf", "is not JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf[]", "is not JSON"),
        (b'["\xff"]', "is not UTF-8"),
        (b"{}", "must hold an array"),
        (b"null", "must hold an array"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[1]", "entry 1: must be an object"),
        (b"[null]", "entry 1: must be an object"),
        (b"[NaN]", "entry 1: must be an object"),
    ],
)
def test_broken_file(write: Write, file: str, content: bytes, problem: str) -> None:
    folder = write()
    (folder / file).write_bytes(content)
    assert refusal(folder).startswith(f"{file}: {problem}")


@pytest.mark.parametrize(
    "file", ["products.json", "users.json", "orders.json", "coupon_files.json"]
)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/dev/zero", path), "a device"),
        (lambda path: os.symlink("/dev/tty", path), "a device"),
        (lambda path: bind_socket(path), "a socket"),
    ],
)
def test_what_is_no_regular_file(
    write: Write, file: str, make: Callable[[Path], object], kind: str
) -> None:
    folder = write()
    (folder / file).unlink(missing_ok=True)
    make(folder / file)
    expected = f"{file}: cannot be read in {folder}: it is {kind}, and no regular file"
    assert refusal(folder) == expected


def bind_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def test_a_link_to_a_regular_file_is_one(write: Write) -> None:
    """As Kubernetes mounts a ConfigMap."""
    folder = write()
    (folder / "..2026").mkdir()
    (folder / "..data").symlink_to("..2026")
    (folder / "products.json").rename(folder / "..2026" / "products.json")
    (folder / "products.json").symlink_to("..data/products.json")
    assert len(read_fixtures(folder).catalogue.products) == 1


def test_a_file_that_is_too_large(write: Write) -> None:
    folder = write()
    with (folder / "orders.json").open("ab") as file:
        file.write(b" " * (64 * 2**20 - file.tell()))
    assert len(read_fixtures(folder).sample_orders) == 1
    with (folder / "orders.json").open("ab") as file:
        file.write(b" ")
    assert refusal(folder) == "orders.json: is larger than 64 MiB"


def test_an_empty_menu(write: Write) -> None:
    assert refusal(write(products="[]")) == "products.json: there must be at least one product"


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
