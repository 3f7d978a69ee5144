"""The cookies of sessions, and what tells that a request comes from a page of this origin.

A guest's cookie holds a secret, the staff's a key; scripts see neither (HttpOnly), and browsers
send them along with requests of pages of the same site alone (SameSite=Strict, RFC 6265bis). Over
https their names begin with __Host-, which no other host of the domain can set.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from orderfood.observe.addresses import is_trusted, parse_node
from orderfood.server.bodies import Fields
from orderfood.shop.guests import is_secret

GUEST = "orderfood-guest"
STAFF = "orderfood-staff"

GUEST_SECONDS = 180 * 24 * 3600
STAFF_SECONDS = 12 * 3600
"""A shift; then the key is asked for anew."""

_SECURE = "__Host-"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_https(
    headers: Mapping[str, str], peer: str, trusted: Sequence[IPv4Network | IPv6Network]
) -> bool:
    """Whether the browser speaks https to whatever stands before this server: by its own Origin,
    which it sends with every POST, or by what a trusted proxy says."""
    if (headers.get("origin") or "").lower().startswith("https://") and is_same_origin(headers):
        return True
    proto = headers.get("x-forwarded-proto")
    address = parse_node(peer) if proto is not None else None
    if proto is None or address is None or not is_trusted(address, trusted):
        return False
    return proto.rpartition(",")[2].strip(" \t").lower() == "https"


def find_cookie(headers: Mapping[str, str], name: str, *, https: bool) -> str | None:
    """The value of a session's cookie; None for none. Where it is known to be https the plain name,
    which another host of the domain may have set, does not count."""
    header = headers.get("cookie")
    if header is None or name not in header:
        return None
    # not by commas: one may stand in the value of a cookie that another host has set
    pairs = dict(each.strip(" \t").partition("=")[::2] for each in header.split(";"))
    secure = pairs.get(f"{_SECURE}{name}")
    return secure if secure is not None or https else pairs.get(name)


def guest_secret(headers: Mapping[str, str], *, https: bool) -> str | None:
    """The secret in the guest's cookie; None where there is none, or nothing that is one."""
    value = find_cookie(headers, GUEST, https=https)
    return value if value is not None and is_secret(value) else None


def staff_key(headers: Mapping[str, str], *, https: bool) -> str | None:
    """The key in the staff's cookie; None where there is none."""
    value = find_cookie(headers, STAFF, https=https)
    try:
        return base64.urlsafe_b64decode(value).decode() if value else None
    except ValueError:
        return None


def guest_cookie(secret: str, *, https: bool) -> Fields:
    """The header that makes a browser this guest's."""
    return (_set_cookie(GUEST, secret, GUEST_SECONDS, https=https),)


def staff_cookie(key: str, *, https: bool) -> Fields:
    """The header that signs a browser in."""
    value = base64.urlsafe_b64encode(key.encode()).decode()
    return (_set_cookie(STAFF, value, STAFF_SECONDS, https=https),)


def ended_cookies(*names: str, https: bool) -> Fields:
    """The headers that take these cookies away."""
    return tuple(
        _set_cookie(name, "", 0, https=secure) for name in names for secure in ({False, https})
    )


def _set_cookie(name: str, value: str, seconds: int, *, https: bool) -> tuple[str, str]:
    prefix, secure = (_SECURE, "; Secure") if https else ("", "")
    attributes = f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    return "Set-Cookie", f"{prefix}{name}={value}; {attributes}"


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the browser says that a page of this origin sends the request (Fetch Metadata); one
    that does not say so has to send an Origin that is this host's."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return _is_of_host(headers.get("origin") or "", headers.get("host") or "")


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether the browser says that a page of another origin sends the request. False for what is
    no browser, and says nothing."""
    says = "sec-fetch-site" in headers or "origin" in headers
    return says and not is_same_origin(headers)


def _is_of_host(origin: str, host: str) -> bool:
    try:
        parts, here = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS[parts.scheme]
        there = (parts.hostname, parts.port or default)
        return parts.hostname is not None and there == (here.hostname, here.port or default)
    except (KeyError, ValueError):  # no web origin, or no port
        return False
