"""The same service as a FastAPI user would write it: SQLAlchemy's async sessions over asyncpg.

    DATABASE_URL=postgresql+asyncpg://… uvicorn benchmarks.fastapi_service.app:app

It is meant to be good, not slow: uvicorn on uvloop and httptools, one pool, one query for each
thing that is needed, one transaction for an order and its lines, pydantic's own serializer for the
answers. It is asked for the same things: the menu out of the database, the key, prices, the coupon,
the idempotency key. OBSERVED=true adds what order-food always has: Prometheus metrics and
OpenTelemetry's instrumentation of FastAPI and SQLAlchemy; the sampler and the exporter come from
the standard variables.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.fastapi_service.models import (
    ApiKey,
    Base,
    Coupon,
    IdempotencyKey,
    Order,
    OrderLine,
    Product,
)
from benchmarks.fastapi_service.observing import observe
from benchmarks.fastapi_service.pricing import CouponRefused, discount
from benchmarks.fastapi_service.schemas import OrderIn, OrderOut, ProductOut
from benchmarks.fastapi_service.seed import seed

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=0)
new_session = async_sessionmaker(engine, expire_on_commit=False)
MENU = TypeAdapter(list[ProductOut])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with new_session.begin() as session:
        await seed(session)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
if os.environ.get("OBSERVED") == "true":
    observe(app, engine)


async def session_of_request() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session_of_request)]


async def user_of_request(
    session: Session,
    api_key: Annotated[str | None, Header(convert_underscores=False)] = None,
) -> str:
    if not api_key:
        raise HTTPException(401, "an API key is required")
    digest = f"sha256:{hashlib.sha256(api_key.encode()).hexdigest()}"
    found = await session.get(ApiKey, digest)
    if found is None or "create_order" not in found.scopes:
        raise HTTPException(403, "forbidden")
    if found.expires_at is not None and datetime.now(UTC) >= found.expires_at:
        raise HTTPException(403, "the key has expired")
    return found.user_id


User = Annotated[str, Depends(user_of_request)]


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.get("/api/product")
async def list_products(request: Request, response: Response, session: Session) -> Response:
    products = await session.scalars(select(Product).order_by(Product.id))
    body = MENU.dump_json([ProductOut.of(one) for one in products])
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@app.get("/api/product/{product_id}")
async def get_product(product_id: int, session: Session) -> ProductOut:
    product = await session.get(Product, product_id)
    if product is None:
        raise HTTPException(404, "not found")
    return ProductOut.of(product)


@app.post("/api/order", response_model_exclude_none=True)
async def place_order(
    wanted: OrderIn,
    user: User,
    session: Session,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> OrderOut:
    order = await new_order(session, user, wanted)
    if idempotency_key is not None:
        first = await first_order(session, user, idempotency_key, wanted, order.id)
        if first is not None:
            return OrderOut.of(first)
    session.add(order)
    await session.commit()
    return OrderOut.of(order)


async def first_order(
    session: AsyncSession, user: str, key: str, wanted: OrderIn, order_id: uuid.UUID
) -> Order | None:
    """Takes the key for this order, or finds the order that it was taken for."""
    fingerprint = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    taken = await session.execute(
        insert(IdempotencyKey)
        .values(user_id=user, key=key, fingerprint=fingerprint, order_id=order_id)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.order_id)
    )
    if taken.scalar() is not None:
        return None
    stored = await session.get_one(IdempotencyKey, (user, key))
    if stored.fingerprint != fingerprint:
        raise HTTPException(422, "this Idempotency-Key was used with another request")
    return await session.get_one(Order, stored.order_id)


async def new_order(session: AsyncSession, user: str, wanted: OrderIn) -> Order:
    lines = await order_lines(session, wanted)
    subtotal = sum(line.price * line.quantity for line in lines)
    code, discounts = None, 0
    if wanted.coupon_code:
        code, discounts = await coupon_discount(session, wanted.coupon_code, lines, subtotal)
    return Order(
        id=uuid.uuid4(),
        user_id=user,
        subtotal=subtotal,
        discounts=discounts,
        total=subtotal - discounts,
        coupon_code=code,
        status="placed",
        created_at=datetime.now(UTC),
        lines=lines,
    )


async def order_lines(session: AsyncSession, wanted: OrderIn) -> list[OrderLine]:
    """The lines with the products' names and prices, those of one product merged."""
    quantities: dict[int, int] = {}
    for item in wanted.items:
        if not item.product_id.isdecimal():
            raise HTTPException(422, "unknown product")
        id_ = int(item.product_id)
        quantities[id_] = quantities.get(id_, 0) + item.quantity
    found = await session.scalars(select(Product).where(Product.id.in_(quantities)))
    products = {product.id: product for product in found}
    if len(products) < len(quantities):
        raise HTTPException(422, "unknown product")
    return [
        OrderLine(
            position=position,
            product_id=id_,
            name=products[id_].name,
            price=products[id_].price,
            category=products[id_].category,
            quantity=quantity,
        )
        for position, (id_, quantity) in enumerate(quantities.items())
    ]


async def coupon_discount(
    session: AsyncSession, code: str, lines: list[OrderLine], subtotal: int
) -> tuple[str, int]:
    coupon = await session.get(Coupon, code.upper())
    if coupon is None:
        raise HTTPException(422, "unknown coupon")
    try:
        return coupon.code, discount(coupon, lines, subtotal, datetime.now(UTC))
    except CouponRefused as refused:
        raise HTTPException(422, str(refused)) from None
