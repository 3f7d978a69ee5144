"""What goes over the wire, as pydantic models: the same JSON that order-food speaks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from benchmarks.fastapi_service import models


class Wire(BaseModel):
    """JSON's names are in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ItemIn(Wire):
    """One line of an order."""

    product_id: str
    quantity: Annotated[int, Field(ge=1, le=1000)]


class OrderIn(Wire):
    """The body of an order."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=100)]
    coupon_code: str | None = None


class ProductOut(Wire):
    """A dish of the menu."""

    id: str
    name: str
    price: float
    category: str

    @classmethod
    def of(cls, product: models.Product) -> ProductOut:
        return cls(
            id=str(product.id),
            name=product.name,
            price=product.price / 100,
            category=product.category,
        )

    @classmethod
    def of_line(cls, line: models.OrderLine) -> ProductOut:
        return cls(
            id=str(line.product_id),
            name=line.name,
            price=line.price / 100,
            category=line.category,
        )


class OrderOut(Wire):
    """A receipt."""

    id: UUID
    status: str
    items: list[ItemIn]
    products: list[ProductOut]
    coupon_code: str | None
    subtotal: float
    discounts: float
    total: float
    created_at: datetime

    @classmethod
    def of(cls, order: models.Order) -> OrderOut:
        return cls(
            id=order.id,
            status=order.status,
            items=[
                ItemIn(product_id=str(line.product_id), quantity=line.quantity)
                for line in order.lines
            ],
            products=[ProductOut.of_line(line) for line in order.lines],
            coupon_code=order.coupon_code,
            subtotal=order.subtotal / 100,
            discounts=order.discounts / 100,
            total=order.total / 100,
            created_at=order.created_at,
        )
