"""Codes of the coupon files, over HTTP on every backend."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from rig.processes import RunningServer, prepare, run, serving
from tests.api.client import KEY, Answer, Client, connect

QUALIFY = [
    "HAPPYHRS", "FIFTYOFF", "BIRTHDAY", "BUYGETON", "SIXTYOFF", "FREEZAAA", "GNULINUX", "OVER9000",
]  # fmt: skip
LINES = [("1", 2), ("3", 1)]


def order(client: Client, code: str) -> Answer:
    items = [{"productId": id_, "quantity": quantity} for id_, quantity in LINES]
    return client.order({"items": items, "couponCode": code})


@pytest.mark.parametrize("code", QUALIFY)
def test_the_eight_codes_take_ten_percent_off(client: Client, code: str) -> None:
    for spelling in (code, code.lower(), code.title()):
        placed = client.place(*LINES, coupon=spelling)
        assert placed["couponCode"] == code
        assert (placed["subtotal"], placed["discounts"], placed["total"]) == (35.97, 3.6, 32.37)
        assert client.get(f"/api/order/{placed['id']}", **KEY).json == placed


@pytest.mark.parametrize(
    "code",
    [
        "SUPER100",  # in one file, twice
        "WAFFLES", "ELEVENCHARS",  # in all three, but of 7 and 11 characters
        " HAPPYHRS", "HAPPYHRS ", "HAPPYHRS\r", "HAPPYHR", "HAPPYHR%", "HAPPYHR_", "HAPPYHR\u017f",
        "\uff28\uff21\uff30\uff30\uff39\uff28\uff32\uff33",
    ],
)  # fmt: skip
def test_other_codes_are_refused(client: Client, code: str) -> None:
    refused = order(client, code)
    assert refused.status == 422
    assert refused.json["errors"][0]["field"] == "couponCode"


def test_what_a_code_is_worth_is_a_setting_and_a_named_coupon_wins(
    fresh_url: str, menu: Path
) -> None:
    (menu / "coupon_files.json").write_text(
        json.dumps([{"kind": "amount", "value": 5, "minSubtotal": 20, "maxUsesPerUser": 1}])
    )
    coupons = json.loads((menu / "coupons.json").read_text())
    coupons.append({"code": "HappyHrs", "kind": "percent", "value": 50})
    (menu / "coupons.json").write_text(json.dumps(coupons))
    odd = "{ä} ÖFFNE\n".encode()
    for number, name in enumerate(("one", "two"), 1):
        (menu / "coupons" / name).write_bytes(odd * number)
    if fresh_url != "memory://":
        prepare(fresh_url, FIXTURES_DIR=menu)
    with serving(fresh_url, FIXTURES_DIR=menu) as server, connect(server.url) as client:
        named = client.place(*LINES, coupon="HAPPYHRS")
        assert (named["couponCode"], named["discounts"]) == ("HappyHrs", 17.99)
        for code, stored in ("fiftyoff", "FIFTYOFF"), ("{ä} Öffne", "{ä} ÖFFNE"):
            of_file = client.place(*LINES, coupon=code)
            assert (of_file["couponCode"], of_file["discounts"]) == (stored, 5)
            assert order(client, code.upper().replace("Ä", "ä")).status == 422, "used by this user"
        assert client.order({"items": [{"productId": "1", "quantity": 1}],
                             "couponCode": "BIRTHDAY"}).status == 422  # fmt: skip


@pytest.fixture
def database_url(fresh_database: str) -> str:
    if fresh_database == "memory://":
        pytest.skip("memory:// has no second process that could load")
    return fresh_database


def test_a_code_that_leaves_the_files_is_gone_and_its_orders_stay(
    fresh_server: RunningServer, database_url: str, menu: Path
) -> None:
    with connect(fresh_server.url) as client:
        before = client.place(*LINES, coupon="HAPPYHRS")
        for path in (menu / "coupons").iterdir():
            path.unlink()
        (menu / "coupons" / "one").write_text("BIRTHDAY\nHAPPYHRS\n")
        (menu / "coupons" / "two").write_text("BIRTHDAY\n")
        done = run("database-load", "--force", STORAGE_URL=database_url, FIXTURES_DIR=menu)
        assert done.returncode == 0, done.stderr
        time.sleep(1.0)
        assert order(client, "HAPPYHRS").status == 422
        assert order(client, "BIRTHDAY").status == 200
        assert client.get(f"/api/order/{before['id']}", **KEY).json == before
        (menu / "coupons" / "two").write_bytes(b"HAPPYHRS\n\0")
        done = run("database-load", STORAGE_URL=database_url, FIXTURES_DIR=menu)
        assert done.returncode == 1
        assert order(client, "BIRTHDAY").status == 200
