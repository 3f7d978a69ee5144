"""Beyond one machine: two versions side by side, a pooler between, and a backup that restores."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rig.postgres import NamedServer, find_binaries, unprivileged_user
from rig.processes import PATIENCE, prepare, run, serving
from storage import SCHEMA_VERSION
from tests.api.client import KEY, Client, connect
from tests.versions import EXPAND, add_migration, copy_tree

CLIENTS = 64
BASKET = {"items": [{"productId": "1", "quantity": 2}], "couponCode": "SAVE10"}


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """A tree whose code needs one migration more."""
    tree = copy_tree(tmp_path / "next")
    add_migration(tree, 1, EXPAND)
    return tree


@pytest.fixture
def shared_database(fresh_url: str) -> str:
    if fresh_url == "memory://":
        pytest.skip("memory:// has no second process")
    prepare(fresh_url)
    return fresh_url


def assert_both_serve(one: Client, other: Client) -> None:
    """Each reads, cancels and repeats what the other stored."""
    for writer, reader in ((one, other), (other, one)):
        first = writer.order(BASKET, **{"Idempotency-Key": os.urandom(8).hex()})
        placed = first.json
        assert reader.get(f"/api/order/{placed['id']}", **KEY).json == placed
        assert reader.get("/api/order?limit=1", **KEY).json["orders"] == [placed]
        assert reader.send("POST", f"/api/order/{placed['id']}/cancel", headers=KEY).status == 200


def test_old_and_new_code_serve_side_by_side_on_one_schema(
    shared_database: str, next_version: Path
) -> None:
    with serving(shared_database) as old:
        too_early = run("order-food", PYTHONPATH=next_version, STORAGE_URL=shared_database, PORT=0)
        assert too_early.returncode == 1
        assert "run database-migration first" in too_early.stderr
        migrated = run("database-migration", PYTHONPATH=next_version, STORAGE_URL=shared_database)
        assert f"applied {SCHEMA_VERSION + 1:04}_step" in migrated.stdout
        with (
            serving(shared_database, PYTHONPATH=next_version) as new,
            connect(old.url) as one,
            connect(new.url) as other,
        ):
            assert_both_serve(one, other)
            # the old version's init containers, when one of its pods is started anew
            prepare(shared_database)
            assert_both_serve(one, other)


# --- PgBouncer ---


def wait_for_price(client: Client, price: float) -> None:
    deadline = time.monotonic() + PATIENCE
    while client.get("/api/product/1").json["price"] != price:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_servers_behind_pgbouncer_see_each_load(pooled_url: str, menu: Path) -> None:
    """No notice comes through: the probe alone brings the new price."""
    prepare(pooled_url)
    with (
        serving(pooled_url) as first,
        serving(pooled_url) as second,
        connect(first.url) as one,
        connect(second.url) as other,
    ):
        assert_both_serve(one, other)
        products = menu / "products.json"
        products.write_text(products.read_text().replace("12.99", "13.49"))
        done = run("database-load", STORAGE_URL=pooled_url, FIXTURES_DIR=menu)
        assert done.returncode == 0, done.stderr
        for client in (one, other):
            wait_for_price(client, 13.49)


def test_no_order_fails_or_is_doubled_when_pgbouncer_shows_itself(pooled_url: str) -> None:
    """Two servers keep statements prepared in two sessions until one is not found again."""
    prepare(pooled_url)
    with serving(pooled_url) as first, serving(pooled_url) as second, connect(first.url) as client:
        samples = len(all_orders(client))

        def place_twice(number: int) -> str:
            key = {"Idempotency-Key": f"client-{number}"}
            with connect(first.url) as one, connect(second.url) as other:
                pair = (one, other) if number % 2 else (other, one)
                placed, again = (each.order(BASKET, **key) for each in pair)
            assert placed.status == again.status == 200, placed.body + again.body
            assert placed.body == again.body
            return str(placed.json["id"])

        with ThreadPoolExecutor(CLIENTS) as pool:
            placed = list(pool.map(place_twice, range(CLIENTS)))
        stored = [order["id"] for order in all_orders(client)]
        assert set(placed) <= set(stored)
        assert len(stored) == samples + CLIENTS
        for server in (first, second):
            assert server.stop() == 0
        said = [
            [line["level"] for line in server.lines if "do not last" in line["message"]]
            for server in (first, second)
        ]
        # which of them meets a session of the other's is chance; each says it once
        assert sorted(said) in ([[], ["warning"]], [["warning"], ["warning"]])


# --- backup and restore ---


def postgres_tool(name: str, url: str, *arguments: str) -> None:
    """One of the server's own tools, on the database of a URL."""
    parts = urlsplit(url)
    folder = find_binaries(unprivileged_user())
    if not (folder / name).exists():
        pytest.skip(f"{name} is not beside the server's binaries in {folder}")
    subprocess.run([folder / name, f"--dbname={parts.geturl()}", *arguments], check=True)


def all_orders(client: Client) -> list[Any]:
    orders, cursor = [], ""
    while True:
        page = client.get(f"/api/order?limit=100{cursor}", **KEY).json
        orders += page["orders"]
        if "nextCursor" not in page:
            return orders
        cursor = f"&cursor={page['nextCursor']}"


def test_a_restored_dump_holds_the_same_orders(
    postgres_server: NamedServer, postgres_url: str, tmp_path: Path
) -> None:
    prepare(postgres_url)
    with serving(postgres_url) as server, connect(server.url) as client:
        orders = [client.order(BASKET, **{"Idempotency-Key": f"key-{n}"}).json for n in range(20)]
        client.send("POST", f"/api/order/{orders[0]['id']}/cancel", headers=KEY)
        before = all_orders(client)
        dump = tmp_path / "orders.dump"
        postgres_tool("pg_dump", postgres_url, "--format=custom", f"--file={dump}")
    restored = postgres_server.create_database()
    postgres_tool("pg_restore", restored, "--exit-on-error", "--no-owner", str(dump))
    assert "nothing to do" in run("database-migration", STORAGE_URL=restored).stdout
    with serving(restored) as server, connect(server.url) as client:
        assert all_orders(client) == before
        again = client.order(BASKET, **{"Idempotency-Key": "key-7"})
        assert again.json == orders[7]
    postgres_server.drop_database(restored)
