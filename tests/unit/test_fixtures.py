"""The fixtures' reader: what it gives, and which files it refuses."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

import fixtures
from fixtures import read_fixtures
from storage.records import ApiKey, Coupon, CouponKind, Product
from tests.unit.sound_fixtures import (
    COUPON,
    KEY,
    LINE,
    ORDER,
    PACKAGED,
    PRODUCT,
    USER,
    Change,
    Write,
    refusal,
)

# --- what is packaged ---


def test_the_packaged_menu() -> None:
    products = read_fixtures(PACKAGED).catalogue.products
    assert [product.id for product in products] == list(range(1, 11))
    assert products[0] == Product(1, "Chicken Waffle", 1299, "Waffle")
    assert products[9] == Product(10, "Veggie Burger", 1049, "Burger")


def test_the_packaged_users_are_known_by_the_hash_of_their_key() -> None:
    auditor, demo, kitchen = read_fixtures(PACKAGED).catalogue.users
    digest = sha256(b"apitest").hexdigest()
    both = frozenset({"create_order", "read_order"})
    assert demo.keys == (ApiKey(f"sha256:{digest}", both),)
    assert [key.scopes for key in auditor.keys] == [frozenset({"read_order"})]
    assert [key.scopes for key in kitchen.keys] == [frozenset({"manage_orders"})]
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
