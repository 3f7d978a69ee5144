"""A deploy under both pages: two replicas behind one address, one after the other made new."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from rig.nginx import nginx_before
from rig.ports import free_port
from rig.processes import RunningServer, serving
from tests.browser.conftest import Visit
from tests.browser.kitchen import button
from tests.browser.people import Guest, Kitchen, open_kitchen
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch
from tests.versions import copy_tree

OLD_WORDS, NEW_WORDS = "Pay at the counter.", "Pay at the till."
CUSTOMER = {"X-API-Key": "apitest"}
"""nginx drops headers whose names have underscores."""

MINUTE = 60_000
LESS_THAN_SILENCE = 20_000
"""Milliseconds: after them the next beat still is in time."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of the project whose pages say something else, and so have other files."""
    tree = copy_tree(tmp_path_factory.mktemp("newer") / "tree")
    for language in tree.glob("orderfood/web/static/texts/en.js"):
        text = language.read_text()
        assert OLD_WORDS in text
        language.write_text(text.replace(OLD_WORDS, NEW_WORDS))
    return tree


class Replicas:
    """Two servers of this version on one database, and one address before them."""

    def __init__(self, database: str, running: ExitStack) -> None:
        self._database, self._running = database, running
        self.servers = [self._start(), self._start()]
        ports = [server.port for server in self.servers]
        # the pages' origin is the address that the browser knows
        before = nginx_before(*ports, more="proxy_set_header Host $http_host;")
        self.url = f"http://127.0.0.1:{running.enter_context(before)}"

    def _start(self, **settings: object) -> RunningServer:
        settings = {"PORT": free_port(), "DRAIN_SECONDS": 2, **settings}
        return self._running.enter_context(serving(self._database, **settings))

    def replace(self, place: int, tree: Path) -> None:
        """Ends one as a deploy does, and starts its successor in its place."""
        old = self.servers[place]
        assert old.stop() == 0
        self.servers[place] = self._start(PORT=old.port, PYTHONPATH=tree, SHOP_ACCENT="#1b6e3c")


@pytest.fixture
def replicas(postgres_database: str) -> Iterator[Replicas]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not on PATH")
    with ExitStack() as running:
        yield Replicas(postgres_database, running)


@contextmanager
def customers(url: str) -> Iterator[list[str]]:
    """Orders go on being placed; the numbers of those that were answered."""
    placed: list[str] = []
    failed: list[bytes] = []
    over = threading.Event()

    def order() -> None:
        while not over.wait(0.3):
            body = {"items": [{"productId": "2", "quantity": 1}]}
            answer = ShopApi(url).send("POST", "/api/order", body, CUSTOMER)
            if answer.status == 200:
                placed.append(str(answer.json["number"]))
            else:
                failed.append(answer.body)

    thread = threading.Thread(target=order)
    thread.start()
    try:
        yield placed
    finally:
        over.set()
        thread.join()
    assert not failed


def version_of(page: Page) -> str | None:
    return page.locator("html").get_attribute("data-version")


def look_around(guest: Guest, passer_by: Page) -> None:
    """Opens each page anew, a few times: its files come from whichever replica."""
    tab = guest.page.context.new_page()
    for _ in range(2):
        tab.goto(guest.page.url)
        expect(tab.get_by_role("heading", level=1)).to_have_text(re.compile(r"^Order \d+$"))
        passer_by.goto("/")
        expect(button(passer_by, "Add Chicken Waffle")).to_be_enabled()
        passer_by.goto("/kitchen")
        expect(passer_by.get_by_label("Staff key")).to_be_visible()
    tab.close()


def serve_all(kitchen: Kitchen, api: ShopApi) -> None:
    """The kitchen has nothing left to do."""
    for order in api.orders("placed"):
        api.act(order, "accept")
    for order in api.orders():
        api.act(order, "complete")
    expect(kitchen.page.get_by_role("region", name="New").get_by_role("article")).to_have_count(0)


def test_a_deploy_under_both_pages(replicas: Replicas, newer: Path, visit: Visit) -> None:
    url = replicas.url
    kitchen, guest, passer_by = open_kitchen(visit, url), Guest(visit(url)), visit(url)
    kitchen.page.clock.install()
    number, before = guest.order(name="Ada"), version_of(kitchen.page)
    with customers(url) as placed:
        expect(kitchen.column("New").get_by_role("article")).not_to_have_count(1)
        replicas.replace(0, newer)
        kitchen.press(number, "Accept")
        expect(guest.state).to_have_text(re.compile("^In the kitchen"))
        look_around(guest, passer_by)
        replicas.replace(1, newer)
        kitchen.press(number, "Ready")
        expect(guest.state).to_have_text("Ready: please collect")
    new = kitchen.column("New").get_by_role("heading", level=3)
    expect(new).to_have_count(len(placed))
    assert sorted(new.all_inner_texts()) == sorted(f"Order {each}" for each in placed)
    assert version_of(kitchen.page) == before
    serve_all(kitchen, ShopApi(replicas.servers[0].url))
    kitchen.page.clock.fast_forward(MINUTE)  # until it looks again
    expect(kitchen.page.locator(f"html:not([data-version='{before}'])")).to_be_attached()
    expect(kitchen.column("Last completed").get_by_role("article")).not_to_have_count(0)
    Guest(passer_by).order("Greek Salad")
    expect(passer_by.get_by_text(NEW_WORDS)).to_be_visible()


def test_the_board_is_new_after_a_deploy_in_which_an_old_page_answered_last(
    postgres_database: str, newer: Path, watch: Watch, visit: Visit
) -> None:
    """The board's stream was a new replica's already while its question went to an old one: nothing
    more happens to the stream, and the board finds out by itself."""
    watch.allow("net::ERR_")
    with serving(postgres_database, PORT=free_port()) as server:
        kitchen = open_kitchen(visit, server.url)
        kitchen.page.clock.install()
        before = version_of(kitchen.page)
        old_page = kitchen.page.request.get("/kitchen").text()
        server.stop()
    asked: list[str] = []

    def answer_as_the_old(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(content_type="text/html", body=old_page)

    kitchen.page.route("**/kitchen", answer_as_the_old)
    with serving(postgres_database, PORT=server.port, PYTHONPATH=newer):
        wait_until(kitchen.page, lambda: bool(asked))
        kitchen.page.unroute("**/kitchen")
        assert version_of(kitchen.page) == before
        for _ in range(4):
            pass_some_time(kitchen, ShopApi(server.url))
        expect(kitchen.page.locator(f"html:not([data-version='{before}'])")).to_be_attached()


def pass_some_time(kitchen: Kitchen, api: ShopApi) -> None:
    """The board hears of something now and then: its stream is well."""
    order = api.place()
    for action in ("accept", "complete"):
        api.act(order, action)
    expect(kitchen.card(str(order["number"]), "Last completed")).to_be_visible()
    kitchen.page.clock.fast_forward(LESS_THAN_SILENCE)


def wait_until(page: Page, is_so: Callable[[], bool]) -> None:
    while not is_so():
        page.wait_for_timeout(50)
