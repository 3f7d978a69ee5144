"""Placing and reading orders, row by row of the contract."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import fixtures
from tests.api.client import KEY, Client

WAFFLE = {"id": "1", "name": "Chicken Waffle", "price": 12.99, "category": "Waffle"}
PANCAKES = {"id": "3", "name": "Blueberry Pancakes", "price": 9.99, "category": "Pancakes"}
LINE = {"productId": "1", "quantity": 1}
SAMPLES = Path(fixtures.__file__).parent / "orders.json"


def basket(**members: object) -> dict[str, object]:
    return {
        "items": [{"productId": "1", "quantity": 2}, {"productId": "3", "quantity": 1}],
        **members,
    }


def test_an_order_without_a_coupon(client: Client) -> None:
    order = client.place(("1", 2), ("3", 1))
    assert list(order) == [
        "id", "status", "version", "items", "products",
        "subtotal", "discounts", "total", "createdAt", "number",
    ]  # fmt: skip
    assert str(uuid.UUID(order["id"])) == order["id"]
    assert (order["status"], order["version"]) == ("placed", 1)
    assert order["items"] == basket()["items"]
    assert order["products"] == [WAFFLE, PANCAKES]
    assert (order["subtotal"], order["discounts"], order["total"]) == (35.97, 0, 35.97)
    assert datetime.fromisoformat(order["createdAt"]).tzinfo is not None


@pytest.mark.parametrize(
    ("code", "discounts", "total"),
    [("SAVE10", 3.60, 32.37), ("HAPPYHOURS", 6.47, 29.50), ("BUYGETONE", 9.99, 25.98)],
)
def test_the_three_coupons(client: Client, code: str, discounts: float, total: float) -> None:
    for spelling in (code, code.lower(), code.title()):
        order = client.place(("1", 2), ("3", 1), coupon=spelling)
        assert order["couponCode"] == code
        assert (order["subtotal"], order["discounts"], order["total"]) == (35.97, discounts, total)


@pytest.mark.parametrize("members", [{}, {"couponCode": ""}, {"couponCode": None}])
def test_no_coupon(client: Client, members: dict[str, object]) -> None:
    answer = client.order(basket(**members))
    assert answer.status == 200
    assert "couponCode" not in answer.json
    assert answer.json["discounts"] == 0


def test_the_free_unit_needs_another_beside_it(client: Client) -> None:
    answer = client.order({"items": [LINE], "couponCode": "BUYGETONE"})
    assert answer.status == 422
    two = client.place(("1", 2), coupon="BUYGETONE")
    assert (two["discounts"], two["total"]) == (12.99, 12.99)


@pytest.mark.parametrize(
    "code", ["NOPE", " SAVE10", "SAVE10 ", "\u017fave10", "SAVE\uff110", "x" * 10_000]
)
def test_unknown_coupons(client: Client, code: str) -> None:
    answer = client.order(basket(couponCode=code))
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "couponCode"


def test_two_lines_of_one_product_are_merged(client: Client) -> None:
    order = client.place(("3", 1), ("1", 2), ("3", 4))
    assert order["items"] == [
        {"productId": "3", "quantity": 5},
        {"productId": "1", "quantity": 2},
    ]
    assert order["products"] == [PANCAKES, WAFFLE]
    assert order["subtotal"] == 75.93


def test_the_limit_holds_for_the_sum_of_merged_lines(client: Client) -> None:
    assert client.place(("1", 400), ("1", 600))["items"][0]["quantity"] == 1000
    lines = [{"productId": "1", "quantity": 501}, {"productId": "1", "quantity": 500}]
    assert client.order({"items": lines}).status == 422


@pytest.mark.parametrize("quantity", ["1001", "9223372036854775808", "1" + "0" * 5000])
def test_too_many_of_one_product(client: Client, quantity: str) -> None:
    body = f'{{"items": [{{"productId": "1", "quantity": {quantity}}}]}}'
    assert client.order(body).status == 422


def test_too_many_lines_as_sent(client: Client) -> None:
    assert client.order({"items": [LINE] * 100}).status == 200
    assert client.order({"items": [LINE] * 101}).status == 422


@pytest.mark.parametrize(
    "id_", ["999", "abc", "01", "1.0", " 1", "-1", "0", "\uff11", "x" * 100_000]
)
def test_unknown_products_are_named(client: Client, id_: str) -> None:
    answer = client.order({"items": [LINE, {"productId": id_, "quantity": 1}]})
    assert answer.status == 422
    assert id_[:40] in answer.json["message"]
    assert answer.json["errors"] == [{"field": "items[1].productId", "message": "unknown product"}]


BROKEN_BODIES = [
    b"", b"{", b"nonsense", b"null", b"[]", b"1", b'"text"', b'{"items": [],}',
    b'{"items": [{"productId": "1", "quantity": 1}]} x',
    b'{"items": [{"productId": "1", "quantity": 1}]}{}',
    b'{"items": [{"productId": "1", "quantity": NaN}]}',
    b'{"items": [{"productId": "1", "quantity": 1}], "x": NaN}',
    b'{"items": [{"productId": "1", "quantity": 1}], "x": [Infinity]}',
    b'{"items": [{"productId": "1", "quantity": 1}], "x": -Infinity}',
    b"[" * 20_000 + b"]" * 20_000,
    b'{"items": [{"productId": "1", "quantity": 1}], "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"items": [{"productId": "1", "quantity": 1' + b"0" * 5000 + b'}], "x": '
    + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"x":' * 20_000 + b"1" + b"}" * 20_000,
    b'{"items": [{"productId": "\xff", "quantity": 1}]}',
    b'{"items": [{"productId": "1", "quantity": 1}], "couponCode": "\xc3\x28"}',
    b'{"items": [{"productId": "1\\u0000", "quantity": 1}]}',
    b'{"items": [{"productId": "\\ud800", "quantity": 1}]}',
    b'{"items": [{"productId": "1", "quantity": 1}], "couponCode": "A\\u0000"}',
    b'{"items": [{"productId": "1", "quantity": 1}], "couponCode": "\\udc00"}',
    '{"items": [{"productId": "1", "quantity": 1}]}'.encode("utf-16"),
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN_BODIES, ids=range(len(BROKEN_BODIES)))
def test_bodies_that_are_not_json(client: Client, body: bytes) -> None:
    assert_refused(client, body)


def assert_refused(client: Client, body: bytes | str) -> None:
    answer = client.order(body)
    assert answer.status == 400, answer.body
    assert answer.json["code"] == 400
    assert answer.json["type"] == "error"
    assert "line" not in answer.json["message"], "a parser's own text"


@pytest.mark.parametrize(
    "members",
    [
        "{}", '{"items": null}', '{"items": []}', '{"items": {}}', '{"items": "1"}', '{"items": 1}',
        '{"items": [null]}', '{"items": [1]}', '{"items": ["1"]}', '{"items": [[]]}',
        '{"items": [{}]}', '{"items": [{"quantity": 1}]}', '{"items": [{"productId": "1"}]}',
        '{"Items": [{"productId": "1", "quantity": 1}]}',
        '{"items": [{"ProductID": "1", "quantity": 1}]}',
        '{"items": [{"product_id": "1", "quantity": 1}]}',
        '{"items": [{"productId": null, "quantity": 1}]}',
        '{"items": [{"productId": "", "quantity": 1}]}',
        '{"items": [{"productId": 1, "quantity": 1}]}',
        '{"items": [{"productId": "1", "quantity": 1}], "couponCode": 10}',
        '{"items": [{"productId": "1", "quantity": 1}], "couponCode": ["SAVE10"]}',
        '{"items": [{"productId": "1", "quantity": 1}, {"productId": "1", "quantity": 0}]}',
    ],
)  # fmt: skip
def test_bodies_that_are_not_of_the_schema(client: Client, members: str) -> None:
    assert_refused(client, members)


@pytest.mark.parametrize(
    "quantity",
    [
        "null", "0", "-1", "-9223372036854775809", "-1" + "0" * 5000, "1.5", "1.0", "1e0", "1e400",
        '"1"', "true", "false", "[]", "{}", "-0", "01", "+1", "0x1", "1.", ".5",
    ],
)  # fmt: skip
def test_quantities_that_are_no_positive_integers(client: Client, quantity: str) -> None:
    assert_refused(client, f'{{"items": [{{"productId": "1", "quantity": {quantity}}}]}}')


def test_what_is_malformed_is_judged_before_what_cannot_be_fulfilled(client: Client) -> None:
    lines = [{"productId": "999", "quantity": 5000}, {"productId": "1", "quantity": 0}]
    assert client.order({"items": lines, "couponCode": "NOPE"}).status == 400


def test_members_that_the_schema_does_not_name_are_ignored_and_never_echoed(client: Client) -> None:
    line = {"productId": "1", "quantity": 1, "price": 0.01, "note": "hello"}
    answer = client.order({"items": [line], "total": 0, "status": "paid", "userId": "other"})
    assert answer.status == 200
    assert answer.json["total"] == 12.99
    assert b"hello" not in answer.body
    assert b"paid" not in answer.body


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "application/json"}, {"Content-Type": "Application/JSON; Charset=UTF-8"},
     {"Content-Type": 'application/json;charset="utf-8"'}],
)  # fmt: skip
def test_media_types_that_are_json(client: Client, headers: dict[str, str]) -> None:
    assert client.order(basket(), **headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
     {"Content-Type": "multipart/form-data; boundary=x"}, {"Content-Encoding": "br"},
     {"Content-Type": "application/json; charset=latin-1"}, {"Content-Type": "application/jsonx"},
     {"Content-Encoding": "gzip"}],
)  # fmt: skip
def test_media_types_that_are_not(client: Client, headers: dict[str, str]) -> None:
    assert client.order("{", **headers).status == 415


def test_the_shops_own_prices_have_at_most_two_decimals_in_the_text(client: Client) -> None:
    answer = client.order(
        {"items": [{"productId": str(n), "quantity": n * 7} for n in range(1, 11)]}
    )
    numbers = re.findall(rb'"(?:price|subtotal|discounts|total)":([^,}]*)', answer.body)
    assert len(numbers) == 13
    assert all(re.fullmatch(rb"[0-9]+(\.[0-9]{1,2})?", number) for number in numbers)


@pytest.mark.parametrize("line", [b"0", b"{}", b'{"productId": "1", "quantity": 0}'])
def test_half_a_million_faults_are_as_good_as_one(client: Client, line: bytes) -> None:
    body = b'{"items": [' + b",".join([line] * (1_000_000 // (len(line) + 1))) + b"]}"
    answer = client.order(body)
    assert answer.status == 400
    assert len(answer.body) < 1000


# --- reading back ---


def test_an_order_reads_back_exactly_as_it_was_answered(client: Client) -> None:
    placed = client.order(basket(couponCode="save10"))
    read = client.get(f"/api/order/{placed.json['id']}", **KEY)
    assert (read.status, read.body) == (200, placed.body)
    upper = client.get(f"/api/order/{placed.json['id'].upper()}", **KEY)
    assert upper.body == placed.body


@pytest.mark.parametrize("key", ["X-API-Key", "x-api-key", "API_KEY"])
def test_the_key_in_another_header(client: Client, key: str) -> None:
    order = client.place(("1", 1))
    assert client.get(f"/api/order/{order['id']}", **{key: "apitest"}).status == 200


def test_another_users_order_is_not_there(client: Client) -> None:
    order = client.place(("1", 1))
    answer = client.get(f"/api/order/{order['id']}", api_key="apitest-readonly")
    assert answer.status == 404


@pytest.mark.parametrize(
    "id_",
    ["00000000-0000-4000-8000-00000000ffff", "1", "abc", "%00", "%ff", "{id}",
     "00000000000040008000000000000001", "urn:uuid:00000000-0000-4000-8000-000000000001"],
)  # fmt: skip
def test_what_is_no_order_of_ours(client: Client, id_: str) -> None:
    assert client.get(f"/api/order/{id_}", **KEY).status == 404


def test_the_sample_orders_are_the_sample_users(client: Client) -> None:
    samples = json.loads(SAMPLES.read_text())
    assert samples
    for sample in samples:
        answer = client.get(f"/api/order/{sample['id']}", **KEY)
        assert (answer.status, answer.json["total"]) == (200, sample["total"])


def test_a_long_page_is_read_in_parts(client: Client) -> None:
    """Every order comes once, however many are read at a time."""
    lines = [{"productId": str(n % 10 + 1), "quantity": 1} for n in range(10)]
    placed = [client.order({"items": lines}).json for _ in range(60)]
    seen: list[Any] = []
    page = client.get("/api/order?limit=100", **KEY).json
    while True:
        seen += page["orders"]
        if "nextCursor" not in page:
            break
        page = client.get(f"/api/order?limit=100&cursor={page['nextCursor']}", **KEY).json
    assert [order for order in seen if order in placed] == placed[::-1]
    assert len({order["id"] for order in seen}) == len(seen)
