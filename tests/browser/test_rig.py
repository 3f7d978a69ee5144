"""The rig itself: what a page must not do is noticed, and what it may do is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Error, Page, expect

from rig.processes import RunningServer
from tests.browser.accessible import assert_accessible
from tests.browser.conftest import PHONE, TABLET, Visit, read_untouched
from tests.browser.shop_api import ShopApi
from tests.browser.watching import Watch

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/style.css">%s</head>
<body><main><h1>A page</h1>%s</main></body></html>"""

SCRIPTS = {
    "/complain.js": 'console.error("it is broken"); console.warn("it may break")',
    "/throw.js": 'throw new Error("never caught")',
    "/markup.js": 'try { document.body.innerHTML = "<p>" } catch { /* nobody hears of it */ }',
    "/fetch.js": """for (const path of ["422/api/order", "401/api/order", "503/x"]) {
        fetch("/status/" + path);
    }""",
    "/sound.js": "self.sound = new AudioContext(); onclick = () => sound.resume()",
}
ALONE = {f"/page{path}": PAGE % (f'<script defer src="{path}"></script>', "") for path in SCRIPTS}

PAGES = {
    "/sound": PAGE % ("", "<p>All is well.</p><button>Press</button>"),
    "/inline": PAGE % ("<script>1</script>", '<p style="color: red">Red</p>'),
    "/foreign": PAGE % ("", '<img alt="" src="http://127.0.0.2:9/secret.png">'),
    "/unlabelled": PAGE % ("", "<input><p class=pale>Hard to read</p>"),
    **ALONE,
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/status/"):
            self.answer("text/plain", "", int(self.path.split("/")[2]))
        elif self.path in PAGES:
            self.answer("text/html", PAGES[self.path])
        elif self.path == "/style.css":
            self.answer("text/css", ".pale { color: #ccc; background: #fff }")
        else:
            self.answer("text/javascript", SCRIPTS[self.path])

    def answer(self, kind: str, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        # what a foreign image would need is not there for it to be asked, but where it is allowed
        if self.path != "/foreign":
            self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(visit: Visit, url: str) -> Page:
    return visit(url)


def said(watch: Watch) -> str:
    return "\n".join(watch.take())


def test_a_sound_page_is_no_complaint(page: Page, watch: Watch) -> None:
    page.goto("/sound")
    assert_accessible(page)
    assert watch.take() == []


def test_what_the_console_is_told(page: Page, watch: Watch) -> None:
    page.goto("/page/complain.js")
    complaints = said(watch)
    assert "error: it is broken" in complaints
    assert "warning: it may break" in complaints


def test_what_nobody_catches(page: Page, watch: Watch) -> None:
    page.goto("/page/throw.js")
    assert "never caught" in said(watch)


def test_what_breaks_the_policy(page: Page, watch: Watch) -> None:
    page.goto("/inline")
    complaints = said(watch)
    assert "policy: script-src-elem forbids inline" in complaints
    assert "policy: style-src-attr forbids inline" in complaints
    page.goto("/page/markup.js")
    assert "policy: require-trusted-types-for forbids trusted-types-sink" in said(watch)


def test_a_foreign_host(page: Page, watch: Watch) -> None:
    page.goto("/foreign")
    assert "foreign: GET http://127.0.0.2:9/secret.png" in said(watch)


def test_in_another_tab(page: Page, watch: Watch) -> None:
    page.context.new_page().goto("/page/complain.js")
    page.context.pages[1].close()
    assert "error: it is broken" in said(watch)


def test_answers_that_are_no_complaint(page: Page, watch: Watch) -> None:
    page.goto("/page/fetch.js")
    page.wait_for_load_state("networkidle")
    complaints = said(watch)
    assert "422" not in complaints
    assert "status of 401" in complaints
    assert "status 503: " in complaints


def test_what_a_test_allows(page: Page, watch: Watch) -> None:
    watch.allow("it is broken|it may break")
    page.goto("/page/complain.js")
    assert watch.take() == []


def test_what_axe_finds(page: Page) -> None:
    page.goto("/unlabelled")
    with pytest.raises(AssertionError) as raised:
        assert_accessible(page)
    assert "- label (critical)" in str(raised.value)
    assert "- color-contrast (serious)" in str(raised.value)
    assert "- region" not in str(raised.value)


def test_sound_waits_for_a_press(page: Page, watch: Watch) -> None:
    watch.allow("AudioContext was not allowed to start")
    page.goto("/page/sound.js")
    assert read_untouched(page, "navigator.userActivation.hasBeenActive") is False
    assert read_untouched(page, "sound.state") == "suspended"
    page.get_by_role("heading").click()
    page.wait_for_function("sound.state === 'running'")


def test_how_a_visitor_comes(visit: Visit, url: str) -> None:
    asked = "[innerWidth, navigator.language, matchMedia('(prefers-color-scheme: dark)').matches]"
    guest = visit(url, color_scheme="dark", locale="de-DE")
    guest.goto("/sound")
    assert guest.evaluate(asked) == [PHONE["width"], "de-DE", True]
    cook = visit(url, viewport=TABLET)
    cook.goto("/sound")
    assert cook.evaluate(asked) == [TABLET["width"], "en-US", False]


def test_a_script_tag_would_not_run(page: Page, watch: Watch) -> None:
    """What tests put into a page obeys its policy, but for what they evaluate."""
    page.goto("/sound")
    with pytest.raises(Error):
        page.add_script_tag(content="1")
    assert "policy: " in said(watch)
    expect(page.get_by_role("heading")).to_be_visible()


def test_a_shop_is_killed_and_comes_back(
    serve: Callable[..., RunningServer], visit: Visit, watch: Watch
) -> None:
    watch.allow("net::ERR_|favicon.ico")
    first = serve()
    api, page = ShopApi(first.url), visit(first.url)
    order = api.act(api.place(("1", 2), pickup={"name": "Ada"}), "accept", {"minutes": 5})
    page.goto("/health")
    first.process.kill()
    first.process.wait()
    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        page.goto("/health")
    serve(PORT=first.port)
    page.goto("/health")
    assert [o["id"] for o in api.orders()] == [order["id"]]
    assert [event["type"] for event in api.order(order["id"])["events"]][-1] == "order.accepted"
