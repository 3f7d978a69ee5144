"""database-load as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import read_fixtures
from rig.processes import PATIENCE
from storage import SCHEMA_VERSION, open_storage
from tests.jobs.jobs import (
    PACKAGED,
    copy_fixtures,
    finish,
    read_catalogue,
    read_entries,
    refusal,
    run_job,
    run_well,
    start_job,
    write_entries,
)


def counts(lines: list[str]) -> dict[str, str]:
    """What the job says of each kind, without its last line."""
    return dict(line.split(": ", 1) for line in lines[:-1])


async def test_loads_and_says_what_it_did(migrated: str) -> None:
    lines = run_well("load", STORAGE_URL=migrated)
    said = counts(lines)
    assert said["products"] == "10 added, 0 changed, 0 removed, 0 unchanged"
    assert said["users"] == "3 added, 0 changed, 0 removed, 0 unchanged"
    assert said["coupons"] == "3 added, 0 changed, 0 removed, 0 unchanged"
    assert lines[-1].startswith("loaded in ")
    assert (await read_catalogue(migrated)).catalogue == read_fixtures(PACKAGED).catalogue


async def test_loads_the_sample_orders_once(loaded: str) -> None:
    run_well("load", STORAGE_URL=loaded)
    samples = read_fixtures(PACKAGED).sample_orders
    async with open_storage(loaded) as storage:
        orders = await storage.list_orders("demo", limit=100)
        assert sorted(orders, key=lambda o: o.id) == sorted(samples, key=lambda o: o.id)


async def test_an_equal_load_changes_nothing(loaded: str) -> None:
    before = await read_catalogue(loaded)
    said = counts(run_well("load", STORAGE_URL=loaded))
    assert said["products"] == "0 added, 0 changed, 0 removed, 10 unchanged"
    assert await read_catalogue(loaded) == before


async def test_adds_changes_and_removes(loaded: str, tmp_path: Path) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    products = read_entries(folder, "products")
    products[0]["price"] = 1.5
    products[9]["id"] = "11"
    write_entries(folder, "products", products)
    write_entries(folder, "coupons", [])
    said = counts(run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))
    assert said["products"] == "1 added, 1 changed, 1 removed, 8 unchanged"
    assert said["users"] == "0 added, 0 changed, 0 removed, 3 unchanged"
    assert said["coupons"] == "0 added, 0 changed, 3 removed, 0 unchanged"
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(folder).catalogue


async def test_orders_stay_when_everything_else_goes(loaded: str, tmp_path: Path) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    write_entries(folder, "products", [{"id": "99", "name": "X", "price": 1, "category": "Y"}])
    for kind in ("users", "coupons", "orders"):
        write_entries(folder, kind, [])
    lines = run_well("load", "--force", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert "WARNING database-load: forced: 10 of 10 products go" in lines[-1]
    async with open_storage(loaded) as storage:
        for order in read_fixtures(PACKAGED).sample_orders:
            assert await storage.get_order("demo", order.id) == order


async def test_three_at_once(migrated: str) -> None:
    jobs = [start_job("load", STORAGE_URL=migrated) for _ in range(3)]
    for finished in [finish(job) for job in jobs]:
        assert (finished.returncode, finished.stderr) == (0, "")
    read = await read_catalogue(migrated)
    assert (read.version, read.catalogue) == (1, read_fixtures(PACKAGED).catalogue)


async def test_a_dry_run_changes_nothing(migrated: str) -> None:
    lines = run_well("load", "--dry-run", STORAGE_URL=migrated)
    assert counts(lines)["products"] == "10 added, 0 changed, 0 removed, 0 unchanged"
    assert lines[-1].startswith("would load in ")
    read = await read_catalogue(migrated)
    assert (read.version, read.catalogue.products) == (0, ())


def test_json_summary_carries_the_figures(migrated: str) -> None:
    lines = run_well("load", STORAGE_URL=migrated, LOG_FORMAT="json", ENVIRONMENT="test")
    entry = json.loads(lines[-1])
    assert entry["products"] == {"added": 10, "changed": 0, "removed": 0, "unchanged": 0}
    assert (entry["catalogue_version"], entry["dry_run"]) == (1, False)
    assert isinstance(entry["duration_ms"], float)
    assert (entry["service"], entry["environment"]) == ("database-load", "test")


def test_a_missing_schema_names_the_command_to_run(shared_url: str) -> None:
    line = refusal(run_job("load", STORAGE_URL=shared_url))
    assert str(SCHEMA_VERSION) in line
    assert "database-migration" in line


def test_memory_only_checks(tmp_path: Path) -> None:
    lines = run_well("load", STORAGE_URL="memory://")
    (line,) = (line for line in lines if "coupon files: reading" not in line)  # if that is slow
    assert line.startswith("memory:// is loaded by order-food itself")
    nowhere = str(tmp_path / "nowhere")
    assert nowhere in refusal(run_job("load", STORAGE_URL="memory://", FIXTURES_DIR=nowhere))


def _missing_file(folder: Path) -> None:
    (folder / "coupons.json").unlink()


def _bad_json(folder: Path) -> None:
    (folder / "orders.json").write_text("[{]")


def _bad_text(folder: Path) -> None:
    (folder / "users.json").write_bytes(b'[{"id": "\xff"}]')


def _no_array(folder: Path) -> None:
    (folder / "users.json").write_text("{}")


def _no_products(folder: Path) -> None:
    write_entries(folder, "products", [])


def _duplicate_id(folder: Path) -> None:
    write_entries(folder, "products", read_entries(folder, "products") * 2)


def _price(price: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        products = read_entries(folder, "products")
        products[2]["price"] = price
        write_entries(folder, "products", products)

    return spoil


def _unknown_member(folder: Path) -> None:
    coupons = read_entries(folder, "coupons")
    coupons[1]["percentage"] = 10
    write_entries(folder, "coupons", coupons)


def _wrong_total(folder: Path) -> None:
    orders = read_entries(folder, "orders")
    orders[0]["total"] = 1
    write_entries(folder, "orders", orders)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_missing_file, "coupons.json: cannot be read"),
        (_bad_json, "orders.json: is not JSON"),
        (_bad_text, "users.json: is not UTF-8"),
        (_no_array, "users.json: must hold an array"),
        (_no_products, "products.json: there must be at least one product"),
        (_duplicate_id, 'products.json: entry 11 (id "1"): id stands in entry 1 already'),
        (_price(-1), 'products.json: entry 3 (id "3"): price is negative'),
        (_price(9.999), 'products.json: entry 3 (id "3"): price has more than two decimals'),
        (_unknown_member, 'coupons.json: entry 2 (code "HAPPYHOURS"): percentage is unknown'),
        (_wrong_total, "orders.json: entry 1 (id "),
    ],
)
async def test_broken_fixtures_change_nothing(
    loaded: str, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    before = await read_catalogue(loaded)
    folder = copy_fixtures(tmp_path / "fixtures")
    products = read_entries(folder, "products")
    products[0]["name"] = "Something new that must not get in"
    write_entries(folder, "products", products)
    spoil(folder)
    line = refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))
    assert line.startswith(f"database-load: {expected}")
    assert await read_catalogue(loaded) == before


def test_a_load_that_waits_begins_when_the_schema_is_there(shared_url: str) -> None:
    waiting = start_job("load", "--wait-for-schema", STORAGE_URL=shared_url)
    assert waiting.stdout
    assert "waiting for database-migration" in waiting.stdout.readline()
    run_well("migrate", STORAGE_URL=shared_url)
    finished = finish(waiting)
    assert finished.returncode == 0, finished
    assert "loaded in" in finished.stdout


def test_a_load_that_does_not_wait_says_what_to_run(shared_url: str) -> None:
    assert "run database-migration first" in run_job("load", STORAGE_URL=shared_url).stderr


def test_it_gives_way_to_whoever_serves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    process = start_job("load", "--wait-for-schema", STORAGE_URL=url)
    try:
        wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        deadline = time.monotonic() + PATIENCE
        while os.getpriority(os.PRIO_PROCESS, process.pid) != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


# --- loads that would gut the shop ---


def _fewer(kind: str, kept: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        write_entries(folder, kind, read_entries(folder, kind)[:kept])
        write_entries(folder, "orders", [])

    return spoil


def _cheaper(count: int, factor: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        products = read_entries(folder, "products")
        for product in products[:count]:
            product["price"] = int(product["price"] * 100 * factor) / 100
        write_entries(folder, "products", products)

    return spoil


def _fewer_and_cheaper(folder: Path) -> None:
    _fewer("products", 6)(folder)
    _cheaper(4, 0.1)(folder)


def _keyless(folder: Path) -> None:
    users = read_entries(folder, "users")
    write_entries(folder, "users", [user | {"keys": []} for user in users])


def _other_keys(folder: Path) -> None:
    users = read_entries(folder, "users")
    for number, user in enumerate(users):
        user["keys"][0]["hash"] = f"sha256:{number:064}"
    write_entries(folder, "users", users)


def _codes(*codes: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "coupons")
        (folder / "coupons").mkdir()
        for name in ("one", "two"):
            lines = [*codes, f"ONLY{name:>6}"]
            (folder / "coupons" / name).write_text("\n".join(lines))

    return spoil


def _no_coupon_files(folder: Path) -> None:
    shutil.rmtree(folder / "coupons")


def _more_than_coupon_files(folder: Path) -> None:
    """4 of 8 codes of the files and 3 of 3 coupons: 7 of 11."""
    _codes("HAPPYHRS", "FIFTYOFF", "BIRTHDAY", "BUYGETON")(folder)
    write_entries(folder, "coupons", [])


GUTTING = [
    (_fewer("products", 4), "6 of 10 products go (5, 6, 7, 8, 9, …)"),
    (_keyless, "3 of 3 keys go (auditor, demo, kitchen)"),
    (_other_keys, "3 of 3 keys go (auditor, demo, kitchen)"),
    (_fewer("users", 0), "3 of 3 keys go (auditor, demo, kitchen)"),
    (_no_coupon_files, "8 of 8 codes of coupon files go"),
    (_codes("HAPPYHRS", "FIFTYOFF", "BIRTHDAY"), "5 of 8 codes of coupon files go"),
    (_more_than_coupon_files, "7 of 11 coupon codes go"),
    (_cheaper(6, 0.1), "6 of 10 prices fall by 90 % or more (1, 2, 3, 4, 5, …)"),
    (_cheaper(10, 0), "10 of 10 prices fall by 90 % or more (1, 2, 3, 4, 5, …)"),
    (_fewer_and_cheaper, "4 of 6 prices fall by 90 % or more (1, 2, 3, 4)"),
]

SOUND = [
    _fewer("products", 5),
    _fewer("users", 2),
    _codes("HAPPYHRS", "FIFTYOFF", "BIRTHDAY", "BUYGETON"),
    _cheaper(5, 0.1),
    _cheaper(10, 0.11),
]


@pytest.mark.one_backend
@pytest.mark.parametrize(("spoil", "problem"), GUTTING)
async def test_a_load_that_would_gut_the_shop_needs_force(
    loaded: str, tmp_path: Path, spoil: Callable[[Path], None], problem: str
) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    spoil(folder)
    settings = {"STORAGE_URL": loaded, "FIXTURES_DIR": str(folder)}
    before = await read_catalogue(loaded)
    expected = (
        f"database-load: this load would gut the shop: {problem}; nothing has been changed;"
        " if that is what you want, load with --force"
    )
    assert refusal(run_job("load", **settings)) == expected
    rehearsed = run_job("load", "--dry-run", **settings)
    assert refusal(rehearsed) == expected
    assert "products: " in rehearsed.stdout
    assert await read_catalogue(loaded) == before
    assert run_well("load", "--dry-run", "--force", **settings)[-1].endswith(f"forced: {problem}")
    assert await read_catalogue(loaded) == before
    assert run_well("load", "--force", **settings)[-1].endswith(f"forced: {problem}")
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(folder).catalogue


@pytest.mark.parametrize("spoil", SOUND)
async def test_up_to_half_may_go(
    loaded: str, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    spoil(folder)
    run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(folder).catalogue


async def test_two_loads_at_once_cannot_gut_the_shop_together(loaded: str, tmp_path: Path) -> None:
    """Each keeps another half: whichever is second would leave nothing of the first."""
    folders = []
    for number, kept in enumerate((slice(0, 5), slice(5, 10))):
        folder = copy_fixtures(tmp_path / f"fixtures{number}")
        write_entries(folder, "products", read_entries(folder, "products")[kept])
        write_entries(folder, "orders", [])
        folders.append(folder)
    jobs = [start_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(f)) for f in folders]
    codes = [finish(job).returncode for job in jobs]
    assert sorted(codes) == [0, 1]
    winner = folders[codes.index(0)]
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(winner).catalogue


# --- files that are none ---


@pytest.mark.parametrize("name", ["products.json", "coupon_files.json", "coupons/couponbase2.gz"])
async def test_a_fifo_is_refused_at_once(loaded: str, tmp_path: Path, name: str) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    line = refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))
    assert line.startswith(f"database-load: {name}: cannot be read")
    assert line.endswith("it is a FIFO, and no regular file")


TERM = 1 << (signal.SIGTERM - 1)


def test_a_signal_ends_the_reading_of_large_files(tmp_path: Path) -> None:
    folder = copy_fixtures(tmp_path / "fixtures")
    dish = {"id": "1", "name": "x" * 150, "price": 1, "category": "y" * 150}
    dishes = ",".join(json.dumps(dish | {"id": str(n)}) for n in range(1, 170_000))
    (folder / "products.json").write_text(f"[{dishes}]")
    process = start_job(
        "load", STORAGE_URL="memory://", FIXTURES_DIR=str(folder), LOG_LEVEL="debug"
    )
    status = Path(f"/proc/{process.pid}/status")
    while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) & TERM:
        time.sleep(0.05)  # its imports are not done yet
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert refusal(finish(process), 143) == "database-load: stopped by SIGTERM"
