"""A real Chromium, a real server on each backend, and pages that are watched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from rig.ports import free_port
from rig.processes import RunningServer, serving
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch
from tests.conftest import BACKENDS, Stages

PHONE: ViewportSize = {"width": 360, "height": 740}
TABLET: ViewportSize = {"width": 1280, "height": 800}

PATIENCE = 15_000
"""Milliseconds after which what should have happened counts as hung, on a busy machine, too."""

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
"""Of what Debian makes of Chromium, the one without a window takes half of the processor."""

# nothing here says when sound may begin: it waits for a press, as it does for everybody. Then it
# goes nowhere: otherwise a device is looked for, which may fail on a machine without one
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-audio-output",
]

expect.set_options(timeout=PATIENCE)


class Visit(Protocol):
    """Opens a page for somebody new, with cookies and a localStorage of their own, which is blank
    until it goes somewhere: ``page.goto("/kitchen")``. ``page.context.new_page()`` is one more tab
    of the same person. Options are those of playwright's ``Browser.new_context``: ``viewport``
    (PHONE, unless told), ``color_scheme``, ``reduced_motion``, ``locale``."""

    def __call__(self, url: str, **options: Any) -> Page: ...


def read_untouched(page: Page, expression: str) -> Any:
    """What an expression is on a page that nobody has touched. Whatever else playwright looks up,
    be it for an ``expect``, counts as a press: the page may play sounds from then on."""
    session = page.context.new_cdp_session(page)
    asked = {"expression": expression, "returnByValue": True}
    answer = session.send("Runtime.evaluate", asked)
    session.detach()
    return answer["result"]["value"]


@pytest.fixture(autouse=True)
def _fresh_loop() -> None:
    """None: playwright's loop is its own."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # not for the whole session: while it is there, its loop runs, and no other test can run one
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test at its end for what its pages should not have done, unless it took or allowed
    that."""
    watching = Watch()
    yield watching
    complaints = watching.take()
    assert not complaints, "\n".join(["its pages did what none should:", *complaints])


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, watch: Watch) -> Iterator[Visit]:
    """See Visit; every page is watched, and is closed before its server ends."""
    if "serve" in request.fixturenames:
        request.getfixturevalue("serve")
    with ExitStack() as opened:

        def new_page(url: str, **options: Any) -> Page:
            context = browser.new_context(base_url=url, **{"viewport": PHONE, **options})
            opened.callback(context.close)
            context.set_default_timeout(PATIENCE)
            watch.follow(context, url)
            return context.new_page()

        yield new_page
        watch.hear_all()


@pytest.fixture
def sqlite_database(sqlite_url: str, stages: Stages) -> str:
    stages.prepare(sqlite_url)
    return sqlite_url


@pytest.fixture
def postgres_database(postgres_url: str, stages: Stages) -> str:
    stages.prepare(postgres_url)
    return postgres_url


@pytest.fixture(params=[name for name in BACKENDS if name != "memory"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each backend, migrated and loaded, for this test alone."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
def serve(database: str) -> Iterator[Callable[..., RunningServer]]:
    """Starts a server with some settings over this test's database: one more, or with ``PORT`` the
    next one where the last was killed."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(
            serving(database, **{"PORT": free_port(), **settings})
        )


@pytest.fixture
def server(serve: Callable[..., RunningServer]) -> RunningServer:
    return serve()


@pytest.fixture
def api(server: RunningServer) -> ShopApi:
    return ShopApi(server.url)
