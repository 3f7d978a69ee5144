"""Which of two media types a client would rather have (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orderfood.server.bounded_cache import bounded_cache


def prefers_json(accept: str | None, other: str) -> bool:
    """Whether the client would rather have application/json than ``other``, such as text/html.
    Where it likes both alike the one counts that it names."""
    if accept is None:
        return False
    ranges = _ranges(accept)
    json = _liking(ranges, "application/json")
    return json[0] > 0 and json > _liking(ranges, other)


@bounded_cache
def _ranges(accept: str) -> Mapping[str, float]:
    """The weights of the media ranges that are named."""
    return dict(_weighted(each) for each in accept.lower().split(","))


def _liking(ranges: Mapping[str, float], media_type: str) -> tuple[float, int]:
    """The weight of a media type, and how closely it was named."""
    kind = media_type.partition("/")[0]
    for closeness, name in enumerate((media_type, f"{kind}/*", "*/*")):
        if name in ranges:
            return ranges[name], -closeness
    return 0.0, -3


def _weighted(media_range: str) -> tuple[str, float]:
    name, *parameters = (part.strip(" \t") for part in media_range.split(";"))
    weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
    if not weights or not re.fullmatch(r"[01](\.[0-9]{0,3})?", weights[0]):
        return name, 1.0
    return name, min(float(weights[0]), 1.0)
