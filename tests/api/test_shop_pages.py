"""The pages as they are sent, their files and the shop's pictures, on both HTTP servers."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.web import HTTPError

from orderfood.settings import read_settings
from orderfood.web.shop import ImageHandler
from orderfood.web.site import make_site, readable_on
from orderfood.web.static_files import StaticFiles
from rig.processes import RunningServer, serving
from tests.api.client import Client, connect

PAGES = ["/", "/kitchen", "/orders/0190c1f4-0000-7000-8000-000000000000", "/orders/nonsense"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
BUDGET = 60 * 1024


@pytest.fixture(scope="module", params=["httptools", "tornado"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serving("memory://", HTTP_SERVER=request.param) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


def files_of(page: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))


@pytest.mark.parametrize("path", PAGES)
def test_a_page(client: Client, path: str) -> None:
    page = client.get(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-cache"
    known = client.get(path, **{"If-None-Match": page.headers["ETag"]})
    assert (known.status, known.body) == (304, b"")
    assert known.headers["Content-Security-Policy"] == POLICY
    assert client.send("HEAD", path).headers["Content-Length"] == str(len(page.body))
    text = page.body.decode()
    assert not re.search(r"https?://|<style|style=|\son\w+=|<script>", text)


@pytest.mark.parametrize("path", PAGES[:3])
def test_all_files_of_a_page_are_there_for_ever_and_small(client: Client, path: str) -> None:
    page = client.get(path, **{"Accept-Encoding": "gzip"})
    total, seen = len(page.body), set[str]()
    waiting = files_of(client.get(path).body.decode())
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = client.get(name, **{"Accept-Encoding": "gzip"})
        assert answer.status == 200
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", name)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        total += len(answer.body)
        packed = answer.headers["Content-Encoding"] == "gzip"
        text = gzip.decompress(answer.body) if packed else answer.body
        waiting |= set(re.findall(r'"(/static/[^"]+)"', text.decode())) - seen
        assert not re.search(r'(?:from|import)\s*"\.', text.decode())
    assert len(seen) > 5
    assert total < BUDGET


def test_a_file_without_its_digest_is_asked_for_anew(client: Client) -> None:
    for name in ("shared/dom.js", "shared/dom.0123456789ab.js"):  # the latter of another version
        answer = client.get(f"/static/{name}")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        known = {"If-None-Match": answer.headers["ETag"]}
        assert client.get(f"/static/{name}", **known).status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/shared", "/static/shared/", "/static/shared/nothing.js",
        "/static/pages/base.html", "/static/docs/start.js", "/static/shared/..%2Ftexts%2Fen.js",
        "/static/..%2Fshared/dom.js", "/static/shared/dom.js/x", "/static/%ff/%ff",
        "/static/shared/dom.js%00", "/static/shared/" + "a" * 8000, "/kitchen/", "/orders/",
        "/orders/a/b", "//", "/images/", "/images/x.png",
    ],
)  # fmt: skip
def test_what_is_no_page(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.json["code"]) == (404, 404)


def test_programs_get_links(client: Client) -> None:
    answer = client.get("/", Accept="application/json")
    assert answer.headers["Content-Type"].startswith("application/json")
    for name, link in answer.json["links"].items():
        assert client.get(link).status in (200, 401), name
    for accept in ("*/*", "text/html", "", "text/html, application/json;q=0.9", "text/*"):
        assert client.get("/", Accept=accept).headers["Content-Type"].startswith("text/html")


def test_a_cache_tells_both_answers_apart(client: Client) -> None:
    page = client.get("/")
    assert "Accept" in (page.headers.get_all("Vary") or [])
    known = {"If-None-Match": page.headers["ETag"]}
    assert client.get("/", Accept="application/json", **known).status == 200


# --- what the settings change ---


def test_what_a_shop_says_of_itself() -> None:
    settings = {
        "SHOP_NAME": 'Zoë & "Söhne" <script>alert(1)</script>',
        "SHOP_CURRENCY": "chf",
        "SHOP_LOCALE": "de-ch",
        "SHOP_ACCENT": "#FFEE00",
        "IMAGE_HOSTS": "images.example, cdn.example:8443",
        "PREPARATION_MINUTES": 25,
    }
    with serving("memory://", **settings) as server, connect(server.url) as client:
        page = client.get("/")
        text = page.body.decode()
        assert "Zoë &amp; &quot;Söhne&quot; &lt;script&gt;" in text
        assert "<script>alert" not in text
        for part in ('lang="de-CH"', 'data-currency="CHF"', 'data-preparation-minutes="25"'):
            assert part in text
        hosts = "img-src 'self' data: https://images.example https://cdn.example:8443;"
        assert hosts in page.headers["Content-Security-Policy"]
        theme = next(name for name in files_of(text) if "theme" in name)
        assert client.get(theme).body == b":root { --accent: #ffee00; --on-accent: #000000; }\n"
        assert any("texts/de." in name for name in files_of(text))
        assert not any("texts/en." in name for name in files_of(text))


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        ("#000000", "#ffffff"),
        ("#ffffff", "#000000"),
        ("#b3401f", "#ffffff"),
        ("#ffee00", "#000000"),
    ],
)
def test_what_can_be_read_on_a_colour(colour: str, text: str) -> None:
    assert readable_on(colour) == text


def version_of(**environ: str) -> str:
    page = make_site(read_settings(environ)).pages["kitchen"].body.decode()
    found = re.search('data-version="([0-9a-f]{16})"', page)
    assert found
    return found[1]


def test_a_page_knows_its_version() -> None:
    assert version_of() == version_of()
    assert len({version_of(), version_of(SHOP_LOCALE="de"), version_of(SHOP_NAME="Else")}) == 3


def test_a_file_has_another_name_when_what_it_imports_has_changed() -> None:
    sources = {
        "a/one.js": b'import { x } from "../b/two.js";\n',
        "b/two.js": b'export * from "./three.js";\n',
        "b/three.js": b"export const x = 1;\n",
        "b/four.js": b"export const x = 2;\n",
    }
    before = StaticFiles(sources, {})
    after = StaticFiles(sources, {"b/three.js": "b/four.js"})
    assert before.named("a/one.js").url != after.named("a/one.js").url
    assert before.named("b/four.js").url == after.named("b/four.js").url
    assert before.named("a/one.js").imports == ("b/three.js", "b/two.js")
    assert after.named("b/two.js").body.body.decode() == (
        f'export * from "{after.named("b/four.js").url}";\n'
    )


# --- pictures ---

PNG = bytes.fromhex("89504e470d0a1a0a") + b"x" * 200_000


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "waffle.png").write_bytes(PNG)
    (folder / "mark.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (folder / "notes.txt").write_text("secret")
    (folder / "inside.png").mkdir()
    return folder


NO_PICTURES = [
    "notes.txt", "nothing.png", "..%2Fsecret.png", "inside.png", "inside", "%ff.png", "%00.png",
    ".png", "waffle.png%2F", ".%2Fwaffle.png", "a" * 4000 + ".png",
]  # fmt: skip


@pytest.mark.parametrize("name", ["httptools", "tornado"])
def test_pictures_of_a_folder(name: str, pictures: Path) -> None:
    settings = {"HTTP_SERVER": name, "IMAGES_DIR": pictures}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        picture = client.get("/images/waffle.png")
        assert (picture.status, picture.body) == (200, PNG)
        assert picture.headers["Content-Type"] == "image/png"
        assert "sandbox" in picture.headers["Content-Security-Policy"]
        assert client.get("/images/mark.svg").headers["Content-Type"] == "image/svg+xml"
        known = {"If-None-Match": picture.headers["ETag"]}
        assert client.get("/images/waffle.png", **known).status == 304
        (pictures / "waffle.png").write_bytes(PNG[:-1])
        assert client.get("/images/waffle.png", **known).body == PNG[:-1]
        for path in NO_PICTURES:
            assert client.get(f"/images/{path}").status == 404, path
        assert "data-images" in client.get("/").body.decode()


def test_a_picture_that_cannot_be_read_is_none(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)  # root may read all there is
    with pytest.raises(HTTPError) as raised:
        next(iter(ImageHandler.get_content(str(pictures / "waffle.png"))))
    assert raised.value.status_code == 404
