"""Whose request it is: the address behind the proxies that are trusted.

X-Forwarded-For and Forwarded (RFC 7239) count only as far as proxies that are trusted have written
them: from the right, the first address that is none of them. How much of them is looked at is
bounded, for a client may send as much of them as a head may hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_HOPS = 16
"""How many entries of a header are looked at; who has more proxies in a row is none of ours."""

MAX_NODE = 64
"""Characters of an address with its port, if it is one."""

MAX_ELEMENT = 512
"""Characters of what one proxy writes into Forwarded."""

_PORT = re.compile(r":[0-9]{1,5}")
_NAME = r"[\w!#$%&'*+.^`|~-]+"
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;=\\]*)'
_PAIR = rf"[ \t]*(?:{_NAME}={_VALUE}[ \t]*)?"
_ELEMENT = re.compile(rf"{_PAIR}(?:;{_PAIR})*", re.ASCII)
_PAIRS = re.compile(rf"({_NAME})=({_VALUE})", re.ASCII)


def client_address(
    peer: str, forwarded_for: str | None, forwarded: str | None, trusted: Sequence[Network]
) -> str:
    """The address that a request came from, as it is counted: IPv6 by its /64, which is what one
    customer of a provider has. ``peer`` when it is no proxy that is trusted, and when the two
    headers disagree: the proxy has written but one of them, and it is unknown which."""
    nearest = parse_node(peer)
    if nearest is None or not is_trusted(nearest, trusted):
        return _counted(nearest, peer)
    named = [
        _behind(nearest, nodes_of(header), trusted)
        for header, nodes_of in ((forwarded_for, _nodes), (forwarded, _nodes_of_elements))
        if header is not None
    ]
    agreed = named[0] if named and named[0] == named[-1] else None
    return _counted(agreed or nearest, peer)


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    """Whether it is in one of these networks."""
    return any(address in network for network in trusted)


def parse_node(text: str) -> Address | None:
    """An address, with a port or without: 203.0.113.8:4711, [2001:db8::1]:4711, 2001:db8::1. None
    for what is none. An IPv4 address in the clothes of IPv6 is the IPv4 address."""
    text = text.strip(" \t")
    if len(text) > MAX_NODE:
        return None
    try:
        address = ip_address(_without_port(text))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(node: str) -> str:
    """Raises ValueError for what cannot be a port."""
    if node.startswith("["):
        host, _, port = node[1:].rpartition("]")
    elif node.count(":") == 1:
        host, port = node[: node.index(":")], node[node.index(":") :]
    else:
        return node
    if port and not _PORT.fullmatch(port):
        raise ValueError(node)
    return host


def _behind(
    nearest: Address, nodes: Iterator[Address | None], trusted: Sequence[Network]
) -> Address | None:
    """The first address from the right that is no trusted proxy's; the last one if all are. None
    when something else stands in its place."""
    address: Address | None = nearest
    for address in nodes:
        if address is None or not is_trusted(address, trusted):
            break
    return address


def _nodes(header: str) -> Iterator[Address | None]:
    """Those of X-Forwarded-For, from the right."""
    return map(parse_node, _from_the_right(header))


def _from_the_right(header: str) -> Iterator[str]:
    return reversed(header.rsplit(",", MAX_HOPS)[-MAX_HOPS:])


def _nodes_of_elements(header: str) -> Iterator[Address | None]:
    """Those of Forwarded, from the right. A comma may stand in a quoted value, which a client may
    have a hand in: an element is what is well-formed as a whole, as no end of such a value is."""
    element = ""
    for part in _from_the_right(header):
        element = f"{part},{element}" if element else part
        if len(element) > MAX_ELEMENT:
            break
        if _ELEMENT.fullmatch(element):
            yield _node_of_element(element)
            element = ""
    if element:
        yield None


def _node_of_element(element: str) -> Address | None:
    """Of ``for=192.0.2.43;proto=https``."""
    values = [value for name, value in _PAIRS.findall(element) if name.lower() == "for"]
    return parse_node(values[0].strip('"')) if len(values) == 1 else None


def _counted(address: Address | None, otherwise: str) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return otherwise if address is None else str(address)
