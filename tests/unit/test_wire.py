"""Answers are encoded by another library than the standard one, or by hand, and must not show
it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from orderfood.pricing import Prices
from orderfood.wire import (
    encode_json,
    encode_products,
    money,
    order_json,
    page_json,
    quote_json,
)
from storage.records import Order, OrderLine, OrderStatus, Product

cents = st.integers(min_value=0, max_value=2**53).map(money)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | cents | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values)
def test_an_answer_is_encoded_as_json_does_it(value: object) -> None:
    assert encode_json(value) == json.dumps(
        value, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8")


amounts = st.integers(0, 2**53)
products = st.builds(Product, st.integers(1, 2**63 - 1), texts, amounts, texts)
lines = st.lists(st.builds(OrderLine, products, st.integers(1, 2**31)), max_size=4).map(tuple)
orders = st.builds(
    Order,
    id=st.uuids(),
    user_id=texts,
    lines=lines,
    subtotal=amounts,
    discounts=amounts,
    total=amounts,
    created_at=st.datetimes(timezones=st.just(UTC)),
    coupon_code=st.none() | texts,
    status=st.sampled_from(OrderStatus),
    version=st.integers(1, 2**31),
)


def product_members(product: Product) -> dict[str, object]:
    return {
        "id": str(product.id),
        "name": product.name,
        "price": product.price / 100,
        "category": product.category,
    }


def order_members(order: Order) -> dict[str, object]:
    members: dict[str, object] = {
        "id": str(order.id),
        "status": order.status.value,
        "version": order.version,
        **priced_members(order.lines, order.coupon_code, order),
        "createdAt": order.created_at.isoformat(timespec="microseconds"),
    }
    return members


def priced_members(
    lines: Sequence[OrderLine], coupon_code: str | None, prices: Prices | Order
) -> dict[str, object]:
    return {
        "items": [{"productId": str(line.product.id), "quantity": line.quantity} for line in lines],
        "products": [product_members(line.product) for line in lines],
        **({} if coupon_code is None else {"couponCode": coupon_code}),
        "subtotal": prices.subtotal / 100,
        "discounts": prices.discounts / 100,
        "total": prices.total / 100,
    }


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(st.lists(products, max_size=3))
def test_a_menu_put_together_by_hand_is_what_json_makes_of_it(menu: list[Product]) -> None:
    wanted = as_json([product_members(product) for product in menu])
    assert encode_products(menu).body == wanted.encode()


@given(orders)
def test_an_order_put_together_by_hand_is_what_json_makes_of_it(order: Order) -> None:
    assert order_json(order) == as_json(order_members(order))


@given(st.lists(orders, max_size=3), st.none() | texts)
def test_a_page_put_together_by_hand_is_what_json_makes_of_it(
    page: list[Order], following: str | None
) -> None:
    cursor = {} if following is None else {"nextCursor": following}
    assert page_json(page, following) == as_json({"orders": [*map(order_members, page)], **cursor})


@given(lines, st.none() | texts, st.builds(Prices, amounts, amounts, amounts))
def test_a_quote_put_together_by_hand_is_what_json_makes_of_it(
    lines: Sequence[OrderLine], code: str | None, prices: Prices
) -> None:
    assert quote_json(lines, code, prices) == as_json(priced_members(lines, code, prices))
