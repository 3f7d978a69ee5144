"""The menu, row by row of the contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fixtures
from rig.processes import prepare, serving
from tests.api.client import KEY, Client, connect

MENU = json.loads((Path(fixtures.__file__).parent / "products.json").read_text())


def test_the_menu_is_whole_and_ordered_by_id_as_a_number(client: Client) -> None:
    answer = client.get("/api/product")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json == MENU
    assert [p["id"] for p in answer.json] == [str(n) for n in range(1, 11)]


def test_a_slash_at_the_end_of_the_collection_makes_no_difference(client: Client) -> None:
    assert client.get("/api/product/").body == client.get("/api/product").body


def test_one_product(client: Client) -> None:
    for product in MENU:
        answer = client.get(f"/api/product/{product['id']}")
        assert (answer.status, answer.json) == (200, product)


@pytest.mark.parametrize("id_", ["999", "0", "-1", "9223372036854775807", "-9223372036854775808"])
def test_unknown_products(client: Client, id_: str) -> None:
    answer = client.get(f"/api/product/{id_}")
    assert answer.status == 404
    assert answer.json["code"] == 404


@pytest.mark.parametrize(
    "id_",
    [
        "abc", "1.5", "1e0", "0x1", "1_0", "01", "%00", "%EF%BC%91", "9223372036854775808",
        "-9223372036854775809", "-0", "+1", "%201", "1%20", "%ff", "1" * 5000, "a%2Fb", "--1", "-",
    ],
)  # fmt: skip
def test_ids_that_are_no_canonical_int64(client: Client, id_: str) -> None:
    answer = client.get(f"/api/product/{id_}")
    assert answer.status == 400
    assert answer.json["code"] == 400
    assert answer.json["type"] == "error"


@pytest.mark.parametrize("path", ["/api/product", "/api/product/3"])
def test_the_client_that_has_it_gets_304(client: Client, path: str) -> None:
    first = client.get(path)
    etag = first.headers["ETag"]
    for sent in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = client.get(path, **{"If-None-Match": sent})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert client.get(path, **{"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize(
    "path", ["/api/product", "/api/product/1", "/api/product/999", "/health", "/ready"]
)
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    get, head = client.get(path), client.send("HEAD", path)
    assert (head.status, head.body) == (get.status, b"")
    same = ("Content-Type", "Content-Length", "ETag", "Cache-Control")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]


def test_what_a_dish_says_of_itself_stands_in_the_menu_and_in_receipts(
    fresh_url: str, menu: Path
) -> None:
    dish = {
        "id": "1",
        "name": "Chicken Waffle",
        "price": 12.99,
        "category": "Waffle",
        "description": "Crisp, with “gravy” 🧇",
        "image": "/static/1.jpg",
        "allergens": ["gluten", "eggs"],
    }
    plain = {"id": "2", "name": "Tea", "price": 100_000_000, "category": "Drink", "allergens": []}
    (menu / "products.json").write_text(json.dumps([dish, plain]))
    if fresh_url != "memory://":
        prepare(fresh_url, FIXTURES_DIR=menu)
    order = {"items": [{"productId": "2", "quantity": 1000}, {"productId": "1", "quantity": 1}]}
    with (
        serving(fresh_url, FIXTURES_DIR=menu) as server,
        connect(server.url) as client,
    ):
        assert client.get("/api/product").json == [dish, plain]
        assert client.get("/api/product/1").json == dish
        quoted = client.send("POST", "/api/order/quote", order, KEY).json
        placed = client.order(order).json
        assert quoted["products"] == placed["products"] == [plain, dish]
        assert placed["total"] == 100_000_000_012.99
        assert client.get(f"/api/order/{placed['id']}", **KEY).json == placed
        assert placed in client.get("/api/order", **KEY).json["orders"]
