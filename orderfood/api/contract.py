"""The contract that is served, and the page to read it and try it on.

The page is Swagger UI, its files taken as they are from the package flask-swagger-ui: no foreign
host is asked at run time, and nothing of it is copied here. Flask itself is never imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from orderfood.api.wire import Encoded, encode_bytes, encoded

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Only what this host serves. Swagger UI sets styles in its markup, hence the one exception: a
style cannot send anything anywhere while every source is 'self'."""

ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "favicon-32x32.png": "image/png",
        "start.js": "text/javascript; charset=utf-8",
    }
)
"""The files of the page and their types."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>orderfood</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});
"""


@cache
def contract() -> Encoded:
    """openapi.yaml as JSON."""
    import yaml  # slow to import, and needed only when somebody asks

    text = files("orderfood.api").joinpath("openapi.yaml").read_text(encoding="utf-8")
    return encoded(json.dumps(yaml.safe_load(text), ensure_ascii=False))


@cache
def page() -> Encoded:
    """The page itself."""
    return encoded(_PAGE)


def asset(name: str) -> tuple[Encoded, str] | None:
    """A file of the page and its type; None when there is no such file."""
    kind = ASSETS.get(name)
    return None if kind is None else (_file(name), kind)


@cache
def _file(name: str) -> Encoded:
    """One of ASSETS: whoever asks for another name chooses it, and would have it kept."""
    if name == "start.js":
        return encoded(_START)
    return encode_bytes((_swagger_ui() / name).read_bytes())


def _swagger_ui() -> Path:
    spec = find_spec("flask_swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "dist"
