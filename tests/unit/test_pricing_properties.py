"""What holds for every basket: prices are exact, never negative, and do not depend on order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor

from hypothesis import assume, given, strategies

from fixtures.entries import MAX_PRICE, MAX_SUM
from orderfood.api.wire import encode_product
from orderfood.shop.coupons import least_items, round_half_up
from orderfood.shop.pricing import (
    MAX_LINES,
    MAX_QUANTITY,
    Basket,
    Item,
    Prices,
    price,
    resolve_lines,
)
from orderfood.shop.refusals import Unprocessable
from storage.records import Coupon, CouponKind, OrderLine, Product

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

PRICES = strategies.integers(0, MAX_PRICE) | strategies.integers(0, 2000)
LINES = strategies.lists(
    strategies.builds(
        OrderLine,
        strategies.builds(
            Product,
            id=strategies.integers(1, 2**63 - 1),
            name=strategies.just("Waffle"),
            price=PRICES,
            category=strategies.just("Waffle"),
        ),
        strategies.integers(1, MAX_QUANTITY) | strategies.integers(1, 3),
    ),
    min_size=1,
    max_size=MAX_LINES,
    unique_by=lambda line: line.product.id,
)
MAX_DISCOUNTS = strategies.none() | PRICES
PERCENTS = strategies.builds(
    Coupon,
    code=strategies.just("P"),
    kind=strategies.just(CouponKind.PERCENT),
    value=strategies.integers(1, 100_00),
    max_discount=MAX_DISCOUNTS,
)
AMOUNTS = strategies.builds(
    Coupon,
    code=strategies.just("A"),
    kind=strategies.just(CouponKind.AMOUNT),
    value=strategies.integers(1, MAX_PRICE),
    max_discount=MAX_DISCOUNTS,
)
FREE = strategies.builds(
    Coupon,
    code=strategies.just("F"),
    kind=strategies.just(CouponKind.CHEAPEST_FREE),
    max_discount=MAX_DISCOUNTS,
)
RULES = strategies.builds(
    lambda coupon, subtotal, items: Coupon(
        coupon.code, coupon.kind, coupon.value, subtotal, items, coupon.max_discount
    ),
    PERCENTS | AMOUNTS | FREE,
    strategies.integers(0, 10_000),
    strategies.integers(0, 10),
)
COUPONS = strategies.none() | PERCENTS | AMOUNTS | FREE | RULES


def priced(lines: list[OrderLine], coupon: Coupon | None) -> Prices | None:
    """None when the coupon does not apply."""
    try:
        return price(lines, coupon, NOW)
    except Unprocessable:
        return None


def exact(lines: list[OrderLine], coupon: Coupon) -> Fraction:
    """The discount before it is rounded to a cent."""
    subtotal = sum(Fraction(line.product.price) * line.quantity for line in lines)
    if coupon.kind is CouponKind.PERCENT:
        amount = subtotal * Fraction(coupon.value, 100) / 100
    elif coupon.kind is CouponKind.AMOUNT:
        amount = Fraction(coupon.value)
    else:
        amount = Fraction(min(line.product.price for line in lines))
    return amount


@given(LINES, COUPONS)
def test_nothing_is_ever_negative(lines: list[OrderLine], coupon: Coupon | None) -> None:
    prices = priced(lines, coupon)
    if prices is not None:
        assert min(prices.subtotal, prices.discounts, prices.total) >= 0
        assert prices.total == prices.subtotal - prices.discounts
        assert prices.subtotal <= MAX_SUM


@given(LINES, COUPONS, strategies.randoms())
def test_the_order_of_lines_does_not_matter(
    lines: list[OrderLine], coupon: Coupon | None, random: object
) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert priced(shuffled, coupon) == priced(lines, coupon)


@given(LINES)
def test_without_a_coupon_there_is_no_discount(lines: list[OrderLine]) -> None:
    subtotal = sum(line.product.price * line.quantity for line in lines)
    assert priced(lines, None) == Prices(subtotal, 0, subtotal)


@given(LINES, PERCENTS | AMOUNTS | FREE)
def test_discounts_are_exact_to_the_cent(lines: list[OrderLine], coupon: Coupon) -> None:
    assume(sum(line.quantity for line in lines) >= least_items(coupon))
    prices = price(lines, coupon, NOW)
    rounded = floor(exact(lines, coupon) + Fraction(1, 2))
    assert prices.discounts == min(
        rounded, prices.subtotal, prices.subtotal if coupon.max_discount is None
        else coupon.max_discount,
    )  # fmt: skip


@given(LINES, PERCENTS)
def test_a_percentage_is_what_a_decimal_says(lines: list[OrderLine], coupon: Coupon) -> None:
    """In the currency itself, as a person would check the bill."""
    assume(coupon.max_discount is None)
    prices = price(lines, coupon, NOW)
    subtotal = sum((Decimal(x.product.price) / 100 * x.quantity for x in lines), Decimal(0))
    percent = Decimal(coupon.value) / 100
    discount = (subtotal * percent / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert Decimal(prices.discounts) / 100 == discount
    assert Decimal(prices.total) / 100 == subtotal - discount


@given(strategies.integers(0, MAX_SUM * 10_000), strategies.integers(1, 10_000))
def test_rounding_goes_half_up(dividend: int, divisor: int) -> None:
    exactly = Fraction(dividend, divisor)
    rounded = round_half_up(dividend, divisor)
    assert abs(rounded - exactly) <= Fraction(1, 2)
    if abs(rounded - exactly) == Fraction(1, 2):
        assert rounded > exactly


@given(LINES, COUPONS, strategies.data())
def test_how_a_quantity_is_spread_over_lines_does_not_matter(
    lines: list[OrderLine], coupon: Coupon | None, data: strategies.DataObject
) -> None:
    lines = lines[: MAX_LINES // 2]
    products = {str(line.product.id): line.product for line in lines}
    items = []
    for line in lines:
        first = data.draw(strategies.integers(0, line.quantity))
        parts = [part for part in (first, line.quantity - first) if part]
        items += [Item(str(line.product.id), part) for part in parts]
    merged = list(resolve_lines(Basket(tuple(items)), products))
    assert priced(merged, coupon) == priced(lines, coupon)


@given(PRICES)
def test_cents_leave_as_exact_decimals(cents: int) -> None:
    body = encode_product(Product(1, "Waffle", cents, "Waffle")).body.decode()
    written = body.partition('"price":')[2].partition(",")[0]
    assert Decimal(written) * 100 == cents
    assert Decimal(written) == Decimal(written).quantize(Decimal("0.01"), ROUND_FLOOR)
