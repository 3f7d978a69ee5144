"""The packaged fixtures into the tables, once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.fastapi_service import models
from benchmarks.menu import FIXTURES
from fixtures import read_fixtures


async def seed(session: AsyncSession) -> None:
    """Does nothing where there are products."""
    if await session.scalar(select(models.Product.id).limit(1)) is not None:
        return
    catalogue = read_fixtures(FIXTURES).catalogue
    session.add_all(
        models.Product(id=one.id, name=one.name, price=one.price, category=one.category)
        for one in catalogue.products
    )
    session.add_all(
        models.ApiKey(
            hash=key.hash,
            user_id=user.id,
            scopes=sorted(key.scopes),
            expires_at=key.expires_at,
        )
        for user in catalogue.users
        for key in user.keys
    )
    session.add_all(
        models.Coupon(
            code=one.code.upper(),
            kind=one.kind.value,
            value=one.value,
            min_subtotal=one.min_subtotal,
            min_items=one.min_items,
            valid_from=one.valid_from,
            valid_until=one.valid_until,
        )
        for one in catalogue.coupons
    )
