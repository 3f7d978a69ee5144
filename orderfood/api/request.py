"""What an endpoint gets to see of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from orderfood.api.ratelimit import Allowance

if TYPE_CHECKING:
    from orderfood.api.context import Context
    from orderfood.api.routing import Resource, Route
    from orderfood.shop.observer import RequestKind
    from orderfood.shop.orders import Shop
    from storage.records import User


class Target(NamedTuple):
    """What a request's first line asks for. Requests with the same line have the same one."""

    method: str
    """OTHER for what is no method that HTTP knows."""
    path: str
    query: str
    version: str
    """HTTP/1.1 or HTTP/1.0."""
    kind: RequestKind
    """What it is counted by."""
    resource: Resource
    route: Route | None
    """None where there is none for this method."""
    parameters: Mapping[str, str]
    """What stands in the path, by the template's names."""


class Request:
    """One request. ``headers`` are looked up by their lower-case names; those that came several
    times are one value with commas."""

    body = b""
    user: User | None = None
    """Whose key it came with; known where the route needs one."""
    allowance: Allowance | None = None
    """What the rate limit leaves to this client, once it has been asked."""

    def __init__(
        self, context: Context, target: Target, headers: Mapping[str, str], id_: str, peer: str
    ) -> None:
        self.context = context
        """What all requests share."""
        self.target = target
        self.headers = headers
        self.id = id_
        """The client's name for this request if it is a good one, else a new one."""
        self.peer = peer
        """The address of the other end of the connection."""

    @property
    def method(self) -> str:
        """The method; OTHER for what is none that HTTP knows."""
        return self.target.method

    @property
    def resource(self) -> Resource:
        """What is at the path."""
        return self.target.resource

    @property
    def parameters(self) -> Mapping[str, str]:
        """What stands in the path, by the template's names."""
        return self.target.parameters

    @property
    def shop(self) -> Shop:
        """What the use cases work on."""
        return self.context.shop

    @property
    def known_user(self) -> User:
        """The user, where the route needs one."""
        assert self.user is not None
        return self.user

    @property
    def key(self) -> str | None:
        """The API key, of whichever header; api_key wins."""
        key = self.headers.get("api_key")
        return self.headers.get("x-api-key") if key is None else key

    def query_values(self, name: str) -> list[str]:
        """The values of a query parameter, of which there may be any number beside others; what is
        no UTF-8 becomes text that no limit or cursor equals."""
        fields = (field.partition("=") for field in self.target.query.split("&"))
        return [unquote_plus(value) for field, _, value in fields if _names(field, name)]


def _names(field: str, name: str) -> bool:
    return field == name or ("%" in field and unquote_plus(field) == name)
