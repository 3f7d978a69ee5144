"""The tables, as SQLAlchemy's own tutorial would write them. Money is integer cents."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The declarative base."""


class Product(Base):
    """A dish of the menu."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    price: Mapped[int] = mapped_column(BigInteger)
    category: Mapped[str]


class ApiKey(Base):
    """A key by its hash, and whose it is."""

    __tablename__ = "api_keys"
    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Coupon(Base):
    """A discount; ``value`` is hundredths of a percent, or cents. The code is in upper case."""

    __tablename__ = "coupons"
    code: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    value: Mapped[int] = mapped_column(BigInteger)
    min_subtotal: Mapped[int] = mapped_column(BigInteger)
    min_items: Mapped[int] = mapped_column(BigInteger)
    valid_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    valid_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Order(Base):
    """A receipt."""

    __tablename__ = "orders"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    subtotal: Mapped[int] = mapped_column(BigInteger)
    discounts: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    coupon_code: Mapped[str | None]
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    lines: Mapped[list[OrderLine]] = relationship(
        order_by="OrderLine.position", lazy="selectin", cascade="all, delete-orphan"
    )


class OrderLine(Base):
    """A product as it was when it was ordered."""

    __tablename__ = "order_lines"
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    price: Mapped[int] = mapped_column(BigInteger)
    category: Mapped[str]
    quantity: Mapped[int]


class IdempotencyKey(Base):
    """The client's name for one request, and the order that it made."""

    __tablename__ = "idempotency_keys"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    order_id: Mapped[uuid.UUID]
