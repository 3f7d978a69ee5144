"""Media types: which are taken (JSON in UTF-8, not compressed), and which are preferred."""

from __future__ import annotations

from collections.abc import Mapping

from orderfood.server.bounded_cache import bounded_cache
from orderfood.shop.refusals import UnsupportedMedia

_CHARSETS = ("utf-8", "utf8")


def check_media(headers: Mapping[str, str], *, takes_body: bool) -> None:
    """Checks Content-Type, its charset and Content-Encoding; the former two only if ``takes_body``.
    A header that came twice counts once if its values are equal. Raises
    UnsupportedMedia, which says which of the three it is."""
    fault = _fault_of(headers.get("content-type") or "") if takes_body else None
    if fault is not None:
        raise UnsupportedMedia(fault)
    coding = headers.get("content-encoding")
    if coding and _values(coding) - {"identity", ""}:
        raise UnsupportedMedia("the Content-Encoding must be identity or absent")


@bounded_cache
def _fault_of(content_type: str) -> str | None:
    values = _values(content_type) - {""}
    if not values:
        return None
    kind, *parameters = (part.strip(" \t") for part in values.pop().split(";"))
    if values or kind != "application/json":
        return "the Content-Type must be application/json"
    charsets = [p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")]
    if any(charset not in _CHARSETS for charset in charsets):
        return "the charset must be UTF-8"
    return None


def _values(header: str) -> set[str]:
    return {value.strip(" \t").lower() for value in header.split(",")}
