"""The shop's pages, as they are sent: made once, of templates, static files and settings.

A page is the same for everybody: what it shows it asks the API for. So it has an ETag, and nothing
of a request stands in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.template import DictLoader

from orderfood.server.bodies import Encoded, encode_bytes
from orderfood.web.static_files import StaticFiles

if TYPE_CHECKING:
    from orderfood.settings import Settings

logger = logging.getLogger("order-food")

HTML_TYPE = "text/html; charset=utf-8"

PAGES = ("storefront", "order", "kitchen")
"""Each has a template pages/<name>.html and a script <name>/main.js."""

FOLDERS = ("shared", "texts", *PAGES)
"""The folders of the files that are served under /static/."""

NO_SCRIPT: Mapping[str, str] = {
    "en": "This page needs JavaScript.",
    "de": "Diese Seite braucht JavaScript.",
}
"""The one text that is no script's, by language."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the handlers of the pages serve."""

    static: StaticFiles
    pages: Mapping[str, Encoded]
    """By their names."""
    policy: str
    """The Content-Security-Policy of the pages."""
    images: Path | None
    """The folder of the shop's pictures; None for none."""


def make_site(settings: Settings) -> Site:
    """The site of these settings."""
    if settings.images_dir is not None and not settings.images_dir.is_dir():
        logger.warning("IMAGES_DIR is no folder (yet): %s", settings.images_dir)
    language = settings.shop_locale[:2]
    sources = _packaged() | _generated(settings)
    static = StaticFiles(sources, {"texts/en.js": f"texts/{language}.js"})
    templates = {f"{name}.html": _read("pages", f"{name}.html") for name in ("base", *PAGES)}
    loader = DictLoader({name: text.decode() for name, text in templates.items()})
    values = {
        "settings": settings,
        "no_script": NO_SCRIPT[language],
        "version": _version_of(templates, static, sources, settings),
        "url": lambda name: static.named(name).url,
        "imports": lambda name: static.named(name).imports,
    }
    pages = {name: loader.load(f"{name}.html").generate(**values, page=name) for name in PAGES}
    encoded = {name: encode_bytes(html, HTML_TYPE) for name, html in pages.items()}
    return Site(static, encoded, content_security_policy(settings), settings.images_dir)


def _version_of(
    templates: Mapping[str, bytes],
    static: StaticFiles,
    sources: Mapping[str, bytes],
    settings: Settings,
) -> str:
    """A digest of all that the pages are made of, by which a page knows that it is not the newest
    one."""
    parts = [*templates.values(), *(static.named(name).url.encode() for name in sources)]
    shown = (settings.shop_name, settings.shop_currency, settings.shop_locale, settings.image_hosts)
    parts.append(repr((shown, settings.preparation_minutes, bool(settings.images_dir))).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def content_security_policy(settings: Settings) -> str:
    """Only what this host serves, and no text that becomes markup or a script: the pages show
    strangers' text to staff (https://www.w3.org/TR/trusted-types/)."""
    images = "".join(f" https://{host}" for host in settings.image_hosts)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' data:{images}; connect-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _read(folder: str, name: str) -> bytes:
    return _static().joinpath(folder, name).read_bytes()


def _static() -> Traversable:
    return files("orderfood.web").joinpath("static")


def _packaged() -> dict[str, bytes]:
    return dict(_files_of(_static()))


def _files_of(static: Traversable) -> Iterator[tuple[str, bytes]]:
    for folder in FOLDERS:
        for each in static.joinpath(folder).iterdir():
            if each.is_file():
                yield f"{folder}/{each.name}", each.read_bytes()


def _generated(settings: Settings) -> dict[str, bytes]:
    """Files that hold settings: a style attribute is what the policy forbids."""
    accent = settings.shop_accent
    theme = f":root {{ --accent: {accent}; --on-accent: {readable_on(accent)}; }}\n"
    manifest = {"name": settings.shop_name, "display": "standalone", "start_url": "/"}
    return {
        "shared/theme.css": theme.encode(),
        "shared/shop.webmanifest": json.dumps(manifest).encode(),
    }


def readable_on(colour: str) -> str:
    """Black or white, whichever has more contrast on ``colour`` (#rrggbb), by WCAG 2.2's relative
    luminance: they are alike at 0.179."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels
    )
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"
