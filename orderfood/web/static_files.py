"""The files of the pages: each by a name that holds its digest, so that it may be kept for ever.

A file names others by relative paths (``import … from "../shared/dom.js"``). Those are replaced by
digested names before its own digest is made; so a file whose content, or whose imports', has
changed has another name.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orderfood.server.bodies import Encoded, encode_bytes

TYPES: Mapping[str, str] = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}

_IMPORT = re.compile(r'(?P<before>\b(?:from|import)\s*)"(?P<path>\.{1,2}/[\w./-]+)"')
_DIGESTED = re.compile(r"(?P<stem>.+)\.(?P<digest>[0-9a-f]{12})\.(?P<kind>\w+)")


class StaticFile(NamedTuple):
    """A file as it is served."""

    url: str
    """By its digested name."""
    body: Encoded
    imports: tuple[str, ...]
    """The names of the files that it needs, those of its imports included, each before its
    importer."""


class StaticFiles:
    """All files. ``sources`` are their contents by name, such as ``shared/dom.js``;
    ``instead`` are names of files whose imports get another one. Imports must not be circular."""

    def __init__(self, sources: Mapping[str, bytes], instead: Mapping[str, str]) -> None:
        self._sources = sources
        self._instead = instead
        self._files: dict[str, StaticFile] = {}
        for name in sources:
            self.named(name)

    def named(self, name: str) -> StaticFile:
        """The file of that name. Raises KeyError for none."""
        if name not in self._files:
            self._files[name] = self._make(name)
        return self._files[name]

    def find(self, name: str) -> StaticFile | None:
        """The file that is served as ``name``, with a digest or without; None for no file. A digest
        that is not the file's own is of an older or a newer program, beside which this one runs for
        the time of a deploy: it gets the file, too."""
        digested = _DIGESTED.fullmatch(name)
        plain = f"{digested['stem']}.{digested['kind']}" if digested else name
        return self._files.get(plain)

    def _make(self, name: str) -> StaticFile:
        body, needed = self._sources[name], dict[str, None]()
        if name.endswith(".js"):
            text = body.decode()
            for path in self._imports(name, text):
                needed |= dict.fromkeys((*self.named(path).imports, path))
            body = _IMPORT.sub(lambda found: self._linked(name, found), text).encode()
        stem, _, kind = name.rpartition(".")
        url = f"/static/{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{kind}"
        return StaticFile(url, encode_bytes(body, TYPES[kind]), tuple(needed))

    def _imports(self, name: str, text: str) -> Iterator[str]:
        return (self._resolved(name, found["path"]) for found in _IMPORT.finditer(text))

    def _resolved(self, name: str, path: str) -> str:
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        return self._instead.get(resolved, resolved)

    def _linked(self, name: str, found: re.Match[str]) -> str:
        return f'{found["before"]}"{self.named(self._resolved(name, found["path"])).url}"'
