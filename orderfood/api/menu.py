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
from orderfood.shop.catalogue import Snapshot, batches
from orderfood.shop.pricing import parse_product_id
from orderfood.shop.refusals import FieldError, InvalidRequest
from storage.records import Product


@dataclass(frozen=True, slots=True)
class Menu:
    """The encoded products of one version."""

    all: Prepared
    one: dict[str, Prepared] = field(default_factory=dict)
    """Single products, by id, encoded when first asked for."""


async def render(products: Sequence[Product], sold_out: Collection[int] = ()) -> Menu:
    """The encoded menu of these products; ``sold_out`` holds the ids of some. It is encoded in
    batches, between which the event loop runs, and compressed on a thread, for gzip releases the
    GIL."""
    pieces = [encode_product_list(batch, sold_out) async for batch in batches(products)]
    body = b"[" + b",".join(pieces) + b"]"
    encoded = await asyncio.to_thread(encode_bytes, body, JSON_TYPE)
    return Menu(prepare(encoded))


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
