"""The router: from a path to its resource, made of the one table of routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from orderfood.shop.observer import RequestKind

if TYPE_CHECKING:
    from orderfood.api.answers import Answer
    from orderfood.api.request import Request
    from orderfood.shop.catalogue import Snapshot


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table: the endpoint that answers ``method`` on the paths of ``template``.

    A template is a path whose parameters stand in braces: ``/api/order/{orderId}``.
    """

    method: str
    template: str
    endpoint: Callable[[Request], Awaitable[Answer]] | None = None
    """None where ``catalogue_endpoint`` or ``page`` answers."""
    scope: str | None = None
    """The scope that a key needs; None where no key is needed."""
    limited: bool = True
    """Whether its requests count for the rate limit."""
    slash: bool = False
    """Whether the path with a slash behind it is the same."""
    reads_body: bool = False
    """Whether the endpoint gets the body; else it is counted and discarded."""
    takes_idempotency_key: bool = False
    limits_guests: bool = False
    """Whether its requests count for GUEST_RATE_LIMIT."""
    catalogue_endpoint: Callable[[Request, Snapshot], Answer] | None = None
    """An endpoint that needs nothing but a snapshot of the catalogue: while that is fresh it is
    called without a task."""
    page: bool = False
    """Whether the Tornado application of HTML pages answers."""


@dataclass(frozen=True, eq=False, slots=True)
class Resource:
    """All routes of one path template."""

    label: str
    """The template as logs, metrics and spans name it: ``/api/order/:orderId``."""
    routes: Mapping[str, Route]
    methods: tuple[str, ...] = ()
    """The methods, as Allow names them: HEAD beside GET."""
    limited: bool = True
    _kinds: dict[str, RequestKind] = field(default_factory=dict)

    def kind(self, method: str) -> RequestKind:
        """The labels that a request is counted by. ``method`` is one of METHODS or OTHER."""
        found = self._kinds.get(method)
        if found is None:
            found = self._kinds[method] = RequestKind(method, self.label)
        return found


class Match(NamedTuple):
    """A resource, and the values of the path's parameters."""

    resource: Resource
    parameters: Mapping[str, str]


_NONE: Mapping[str, str] = MappingProxyType({})
_PARAMETER = re.compile(r"\{(\w+)\}")

UNKNOWN = Resource("unknown", MappingProxyType[str, Route]({}))
"""The resource of every other path: 404."""

EVERYTHING = "*"
"""The target of OPTIONS *: the server as a whole (RFC 9110, 9.3.7)."""


class Router:
    """Finds the resource of a path. Templates without parameters take precedence."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._plain: dict[str, Match] = {}
        self._matched: list[tuple[re.Pattern[str], Resource]] = []
        by_template: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_template.setdefault(route.template, {})[route.method] = route
        for template, of_one in by_template.items():
            self._add(template, of_one)

    @property
    def plain_paths(self) -> Collection[str]:
        """The paths that have no parameter."""
        return self._plain.keys()

    def _add(self, template: str, routes: dict[str, Route]) -> None:
        methods = _allowed(routes)
        if "GET" in routes:
            routes["HEAD"] = routes["GET"]
        limited = all(route.limited for route in routes.values())
        resource = Resource(_PARAMETER.sub(r":\1", template), routes, methods, limited)
        if _PARAMETER.search(template):
            self._matched.append((_pattern_of(template), resource))
            return
        self._plain[template] = Match(resource, _NONE)
        if any(route.slash for route in routes.values()):
            self._plain[f"{template}/"] = Match(resource, _NONE)

    def find(self, path: str) -> Match:
        """The resource of a raw path, UNKNOWN for none. Parameters are percent-decoded; invalid
        UTF-8 becomes U+FFFD, which no id holds."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain
        for pattern, resource in self._matched:
            found = pattern.fullmatch(path)
            if found is not None:
                return Match(resource, {n: unquote(v) for n, v in found.groupdict().items()})
        return Match(UNKNOWN, _NONE)


def _allowed(routes: Iterable[str]) -> tuple[str, ...]:
    named = [method for method in routes if method != "OPTIONS"]
    both = [each for m in named for each in ((m, "HEAD") if m == "GET" else (m,))]
    return (*both, "OPTIONS")


def _pattern_of(template: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(template)  # text, name, text, name, ..., text
    pattern = "".join(
        f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    return re.compile(pattern)
