"""The kitchen's board when something fails: the line, the server, the key, the old version."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from rig.processes import ROOT, RunningServer, run
from tests.browser.conftest import TABLET, Visit
from tests.browser.kitchen import COUNT_TONES, button, order, region, sign_in
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch

Serve = Callable[..., RunningServer]


@pytest.fixture
def board(server: RunningServer, visit: Visit) -> Page:
    page = visit(server.url, viewport=TABLET)
    page.context.add_init_script(COUNT_TONES)
    page.clock.install()
    sign_in(page)
    expect(region(page, "New")).to_be_visible()
    return page


def restart(serve: Serve, server: RunningServer, **settings: object) -> RunningServer:
    server.stop(signal.SIGKILL)
    return serve(PORT=server.port, **settings)


def test_it_says_when_it_is_not_live(board: Page, server: RunningServer, api: ShopApi) -> None:
    placed = api.place()
    expect(order(board, placed)).to_be_visible()
    sent: list[str] = []
    board.on("request", lambda request: sent.append(request.url))
    server.process.send_signal(signal.SIGSTOP)
    try:
        board.clock.fast_forward(41_000)
        alert = board.get_by_role("alert")
        expect(alert).to_contain_text("Not live since ")
        button(order(board, placed), "Accept").click()
        expect(order(board, placed)).to_contain_text("Accept: waits until the service answers")
        expect(alert).to_contain_text("Presses that wait: 1.")
        assert not [url for url in sent if url.endswith("/accept")]
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    expect(alert).to_be_hidden()
    assert api.order(placed["id"])["version"] == 2


def test_nothing_is_missed_when_the_server_is_killed(
    board: Page, server: RunningServer, serve: Serve, watch: Watch
) -> None:
    watch.allow("net::ERR")
    api = ShopApi(server.url)
    first = api.place()
    button(order(board, first), "Accept").click()
    expect(order(region(board, "In the kitchen"), first)).to_be_visible()
    restarted = ShopApi(restart(serve, server).url)
    others = [restarted.place() for _ in range(3)]
    restarted.act(first, "ready")
    for placed in others:
        expect(order(region(board, "New"), placed)).to_be_visible()
    expect(order(region(board, "Ready"), first)).to_be_visible()


def test_a_press_outlives_the_server(
    board: Page, server: RunningServer, serve: Serve, watch: Watch
) -> None:
    watch.allow("net::ERR")
    placed = ShopApi(server.url).place()
    expect(order(board, placed)).to_be_visible()
    server.stop(signal.SIGKILL)
    button(order(board, placed), "Accept").click()
    expect(order(board, placed)).to_contain_text("waits until the service answers")
    api = ShopApi(serve(PORT=server.port).url)
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    assert api.order(placed["id"])["version"] == 2


def without_kitchen(folder: Path) -> Path:
    """Fixtures in which nobody may run the kitchen."""
    shutil.copytree(ROOT / "fixtures", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    users: list[dict[str, Any]] = json.loads((folder / "users.json").read_text())
    kept = [{**user, "keys": []} if user["id"] == "kitchen" else user for user in users]
    (folder / "users.json").write_text(json.dumps(kept))
    return folder


def load(database: str, fixtures: Path) -> None:
    done = run("database-load", STORAGE_URL=database, FIXTURES_DIR=fixtures)
    assert done.returncode == 0, done.stderr


def test_a_key_that_is_revoked_in_mid_shift(
    board: Page, api: ShopApi, database: str, tmp_path: Path, watch: Watch
) -> None:
    watch.allow("status of (401|403)")
    placed = api.place()
    expect(order(board, placed)).to_be_visible()
    board.route("**/accept", lambda route: route.abort())
    watch.allow("net::ERR_FAILED")
    button(order(board, placed), "Accept").click()
    expect(order(board, placed)).to_contain_text("waits until the service answers")
    load(database, without_kitchen(tmp_path / "fixtures"))
    expect(board.get_by_text("Presses that wait: 1.")).to_be_visible()
    board.unroute("**/accept")
    load(database, ROOT / "fixtures")
    while api.send("GET", "/api/shop/order").status != 200:
        board.wait_for_timeout(100)
    board.get_by_label("Staff key").fill("apikitchen")
    button(board, "Start shift").click()
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()
    after = api.place()
    expect(order(board, after)).to_be_visible()


def test_it_becomes_the_new_one_after_a_deploy(
    board: Page, server: RunningServer, serve: Serve, watch: Watch
) -> None:
    watch.allow("net::ERR")
    version = "document.documentElement.dataset.version"
    old = board.evaluate(version)
    placed = ShopApi(server.url).place()
    expect(order(board, placed)).to_be_visible()
    api = ShopApi(restart(serve, server, SHOP_NAME="The other shop").url)
    later = api.place()
    expect(order(board, later)).to_be_visible()
    board.clock.fast_forward(6_000)
    assert board.evaluate(version) == old, "it is not idle while something is new"
    api.act(placed, "accept")
    api.act(later, "accept")
    expect(region(board, "New").get_by_role("article")).to_have_count(0)
    board.clock.fast_forward(6_000)
    board.wait_for_function(f"() => {version} !== {old!r}")
    expect(order(region(board, "In the kitchen"), placed)).to_be_visible()


def test_what_came_while_it_replaced_itself_is_new(
    board: Page, server: RunningServer, serve: Serve, watch: Watch
) -> None:
    watch.allow("net::ERR")
    api = ShopApi(server.url)
    old = api.act(api.place(), "accept")
    expect(order(region(board, "In the kitchen"), old)).to_be_visible()
    listing, placed = "**/api/shop/order?limit=500", []

    def place_before(route: Route) -> None:
        placed.append(api.place())
        route.continue_()

    board.route(listing, place_before, times=1)
    restart(serve, server, SHOP_NAME="The other shop")
    while not placed:
        board.wait_for_timeout(100)
    expect(order(region(board, "New"), placed[0])).to_be_visible()
    start = button(board, "Start shift")
    if start.is_visible():
        start.click()
    board.wait_for_function("() => tones >= 2")
