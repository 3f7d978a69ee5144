"""Holds every answer against the OpenAPI document that is served."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from orderfood.api.operation import openapi_document

ROOT = "urn:openapi"


@cache
def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(openapi_document().body)
    return value


@cache
def registry() -> Registry[Any]:
    registry: Registry[Any] = Registry()
    return registry.with_resource(ROOT, DRAFT202012.create_resource(document()))  # type: ignore[no-any-return]


def validate(schema: dict[str, Any], instance: object) -> None:
    pointed = json.loads(json.dumps(schema).replace('"#/', f'"{ROOT}#/'))
    Draft202012Validator(pointed, registry=registry(), format_checker=FormatChecker()).validate(
        instance
    )


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = document()
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def find_operation(method: str, path: str) -> dict[str, Any] | None:
    """The operation of a request; None where the OpenAPI document has none."""
    path = urlsplit(path).path
    if path in ("/api/product/", "/api/order/"):
        path = path[:-1]
    literal = [t for t in document()["paths"] if t == path]
    for template in literal or document()["paths"]:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            item = document()["paths"][template]
            found: dict[str, Any] | None = item.get("get" if method == "HEAD" else method.lower())
            return found
    return None


def check(method: str, path: str, status: int, headers: HTTPMessage, body: bytes) -> None:
    """Raises when an answer is none that the OpenAPI document allows."""
    assert re.fullmatch("[!-~]{1,128}", headers["X-Request-ID"])
    if path.startswith(("/docs/", "/static/", "/images/")) and status in (200, 304):
        return  # the files of a page are its own business
    operation = find_operation(method, path)
    if operation is None:
        assert status in (204, 404, 405, 429), (method, path, status)
        if status != 204 and method != "HEAD":
            validate(document()["components"]["schemas"]["Error"], json.loads(body))
        return
    assert str(status) in operation["responses"], f"{method} {path}: {status} is not documented"
    response = resolve(operation["responses"][str(status)])
    for name, header in response.get("headers", {}).items():
        check_header(name, resolve(header), headers[name])
    if method != "HEAD":
        check_body(response, headers, body)


def check_header(name: str, header: dict[str, Any], value: str | None) -> None:
    assert value is not None or not header.get("required"), f"{name} is missing"
    if value is not None:
        validate(header["schema"], value)


def check_body(response: dict[str, Any], headers: HTTPMessage, body: bytes) -> None:
    content = response.get("content")
    if content is None:
        assert body == b""
        return
    kind = headers["Content-Type"].partition(";")[0]
    assert kind in content, f"{kind} is not documented"
    if kind == "application/json":
        packed = headers["Content-Encoding"] == "gzip"
        validate(content[kind]["schema"], json.loads(gzip.decompress(body) if packed else body))
