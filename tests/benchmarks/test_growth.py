"""The benchmark of growth fills what a shop would have left, and writes its table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.growth import MARKS, check_room, write
from benchmarks.growth_fill import fill
from rig.processes import ROOT, prepare
from storage import Storage, open_storage
from storage.records import Order
from tests.contract.database import read_all_events

ORDERS = 700


async def orders_of_demo(storage: Storage) -> list[Order]:
    return await storage.list_orders("demo", limit=ORDERS)


async def test_what_is_filled_is_what_orders_leave(shared_url: str) -> None:
    prepare(shared_url)
    fill(shared_url, ORDERS)
    async with open_storage(shared_url) as storage:
        orders = [order for order in await orders_of_demo(storage) if order.number is not None]
        assert len(orders) == ORDERS // 10
        assert len({order.status for order in orders}) == 5
        for order in orders:
            assert order.subtotal == sum(line.product.price * line.quantity for line in order.lines)
            assert order.total == order.subtotal - order.discounts
        with_coupon = [o for o in orders if o.coupon_code and o.status != "cancelled"]
        uses = await storage.get_coupon_uses("SAVE10", "demo")
        assert uses[1] == len(with_coupon)

        for order in (order for order in orders if order.pickup):
            stored, events = await storage.get_order_history(order.id)
            assert [event.order.version for event in events] == list(range(1, order.version + 1))
            assert events[-1].order == stored == order
        log = await read_all_events(storage)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert sorted(log, key=lambda event: event.at) == log


def test_a_small_run_writes_its_table(tmp_path: Path) -> None:
    output = tmp_path / "scaling.md"
    output.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    options = ("--orders", "8000", "--base", "5000", "--rounds", "1", "--backends", "sqlite")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", *options, "--output", output],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    text = output.read_text()
    assert "| sqlite | 5,000 orders | 8,000 orders | ratio |" in text, done.stderr
    assert text.count(" ms | ") == 2 * 12
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text.split()
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.md"]


def test_a_file_without_marks_and_a_disk_without_room_are_named(tmp_path: Path) -> None:
    output = tmp_path / "scaling.md"
    output.write_text("nothing")
    with pytest.raises(ValueError, match=r"scaling\.md has no <!-- growth -->"):
        write(output, "table")
    with pytest.raises(SystemExit, match=r"need up to .* GB in .*: set TMPDIR"):
        check_room(10**12, tmp_path)
