"""The request as endpoints see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from orderfood.api.cookies import guest_secret, is_https, staff_key
from orderfood.api.ratelimit import Allowance

if TYPE_CHECKING:
    from orderfood.api.context import Context
    from orderfood.api.routing import Resource, Route
    from orderfood.shop.observer import RequestKind
    from orderfood.shop.orders import Shop
    from storage.records import User


class Target(NamedTuple):
    """The routing result of a request line; shared by requests with an equal line."""

    method: str
    """OTHER for a method that is none of METHODS."""
    path: str
    query: str
    version: str
    """HTTP/1.1 or HTTP/1.0."""
    kind: RequestKind
    """The labels of its metrics."""
    resource: Resource
    route: Route | None
    """None where there is none for this method."""
    parameters: Mapping[str, str]
    """The path parameters, by the template's names."""


class Request:
    """One request. ``headers`` are looked up by their lower-case names; those that came several
    times are one value with commas."""

    body = b""
    user: User | None = None
    """The user whose key was sent; set where the route has a scope."""
    allowance: Allowance | None = None
    """What the rate limit leaves to this client; None when it was not counted."""

    def __init__(
        self, context: Context, target: Target, headers: Mapping[str, str], id_: str, peer: str
    ) -> None:
        self.context = context
        """What all requests share."""
        self.target = target
        self.method = target.method
        """The method; OTHER for one that is none of METHODS."""
        self.resource = target.resource
        """The routes at the path."""
        self.headers = headers
        self.id = id_
        """X-Request-ID as the client sent it if it is valid, else a new id."""
        self.peer = peer
        """The address of the other end of the connection."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """The path parameters, by the template's names."""
        return self.target.parameters

    @property
    def shop(self) -> Shop:
        """The shop that the use cases work on."""
        return self.context.shop

    @property
    def known_user(self) -> User:
        """The authenticated user, on a route with a scope."""
        assert self.user is not None
        return self.user

    @property
    def sent_key(self) -> str | None:
        """The API key that was sent in a header, whichever; api_key wins."""
        key = self.headers.get("api_key")
        return self.headers.get("x-api-key") if key is None else key

    @property
    def key(self) -> str | None:
        """The API key: the one that was sent, or else, for what the shop's staff does, that of its
        cookie."""
        key = self.sent_key
        if key is not None or not self._is_for_staff:
            return key
        return staff_key(self.headers, https=self.is_https)

    @property
    def counted_key(self) -> str | None:
        """The key that the rate limit counts the request for: the one that was sent, or that of the
        staff's cookie, whatever is asked; the board needs more than what staff alone may ask."""
        key = self.sent_key
        return key if key is not None else staff_key(self.headers, https=self.is_https)

    @property
    def guest_secret(self) -> str | None:
        """The secret of the guest who asks; None where a key was sent, or the staff is asked."""
        if self.sent_key is not None or self._is_for_staff:
            return None
        return guest_secret(self.headers, https=self.is_https)

    @property
    def _is_for_staff(self) -> bool:
        return self.target.path.startswith("/api/shop/")

    @property
    def is_https(self) -> bool:
        """Whether the browser is known to speak https."""
        return is_https(self.headers, self.peer, self.context.settings.trusted_proxies)

    def query_values(self, name: str) -> list[str]:
        """All values of a query parameter, decoded; invalid UTF-8 becomes U+FFFD, which no valid
        limit or cursor holds."""
        fields = (field.partition("=") for field in self.target.query.split("&"))
        return [unquote_plus(value) for field, _, value in fields if _names(field, name)]


def _names(field: str, name: str) -> bool:
    return field == name or ("%" in field and unquote_plus(field) == name)
