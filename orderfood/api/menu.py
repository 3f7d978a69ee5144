"""Endpoints of the menu, which is encoded once for each version of the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from orderfood.api.answers import Answer, Prepared, prepare, prepared_answer
from orderfood.api.failures import NotFound
from orderfood.api.request import Request
from orderfood.api.wire import JSON_TYPE, encode_product, encode_product_list
from orderfood.server.bodies import encode_bytes
from orderfood.shop.catalogue import Snapshot
from orderfood.shop.pricing import parse_product_id
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Product

PIECE_SIZE = 200
"""Products that are encoded in one turn of the event loop: about a millisecond."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Products that follow each other, which of them are sold out, and the JSON of them."""

    products: Sequence[Product]
    sold_out: frozenset[int]
    encoded: bytes

    def shows(self, products: Sequence[Product], sold_out: frozenset[int]) -> bool:
        """Whether it is of these."""
        return self.products == products and self.sold_out == sold_out


@dataclass(frozen=True, slots=True)
class Menu:
    """The encoded products of one version."""

    all: Prepared
    pieces: Sequence[Piece] = ()
    """What stands between the brackets."""
    one: dict[str, Prepared] = field(default_factory=dict)
    """Single products, by id, encoded when first asked for."""


async def render(
    products: Sequence[Product], sold_out: Collection[int] = (), known: Menu | None = None
) -> Menu:
    """The encoded menu of these products; ``sold_out`` holds the ids of some, ``known`` is the menu
    before. What differs from that is encoded, piece by piece, and the event loop runs after each.
    The whole is compressed on a thread, for gzip releases the GIL."""
    pieces = await _encode_pieces(tuple(products), sold_out, known.pieces if known else ())
    body = b"[" + b",".join([piece.encoded for piece in pieces]) + b"]"
    encoded = await asyncio.to_thread(encode_bytes, body, JSON_TYPE)
    return Menu(prepare(encoded), pieces)


async def _encode_pieces(
    products: Sequence[Product], sold_out: Collection[int], known: Sequence[Piece]
) -> list[Piece]:
    pieces: list[Piece] = []
    for begin in range(0, len(products), PIECE_SIZE):
        some, before = products[begin : begin + PIECE_SIZE], known[len(pieces) : len(pieces) + 1]
        gone = frozenset(product.id for product in some if product.id in sold_out)
        if before and before[0].shows(some, gone):
            pieces += before
            continue
        pieces.append(Piece(some, gone, encode_product_list(some, gone)))
        await asyncio.sleep(0)
    return pieces


def list_products(request: Request, snapshot: Snapshot) -> Answer:
    """GET /api/product: all products, ordered by id."""
    menu: Menu = snapshot.rendered
    return prepared_answer(menu.all, request.headers)


def get_product(request: Request, snapshot: Snapshot) -> Answer:
    """GET /api/product/{productId}: one product. Raises InvalidRequest, NotFound."""
    product = product_of(request, snapshot)
    return prepared_answer(_prepared(snapshot, product), request.headers)


def product_of(request: Request, snapshot: Snapshot) -> Product:
    """The product in the path. Raises InvalidRequest, NotFound."""
    product_id = parse_product_id(request.parameters["productId"])
    if product_id is None:
        error = FieldError("productId", "must be a canonical decimal int64")
        raise InvalidRequest("path", "the product id is not valid", (error,))
    product = snapshot.products.get(str(product_id))
    if product is None:
        raise NotFound
    return product


def _prepared(snapshot: Snapshot, product: Product) -> Prepared:
    menu: Menu = snapshot.rendered
    found = menu.one.get(str(product.id))
    if found is None:
        sold_out = product.id in snapshot.sold_out
        found = menu.one[str(product.id)] = prepare(encode_product(product, sold_out=sold_out))
    return found
