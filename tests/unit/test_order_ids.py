"""Ids of orders are UUIDs of version 7."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from orderfood.shop.order_ids import new_order_id

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


def test_the_time_of_the_rfc_s_example() -> None:
    """RFC 9562, A.6: 22 February 2022, 2:22:22.00 PM in GMT-5, is 0x017F22E279B0."""
    id_ = new_order_id(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC))
    assert str(id_).startswith("017f22e2-79b0-7000-")


@given(TIMES)
def test_version_variant_and_time(now: datetime) -> None:
    id_ = new_order_id(now)
    assert (id_.version, id_.variant) == (7, RFC_4122)
    assert id_.int >> 80 == (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(TIMES, st.integers(1, 10**12))
def test_later_ids_sort_after_earlier_ones(now: datetime, microseconds: int) -> None:
    try:
        later = now + timedelta(microseconds=microseconds)
    except OverflowError:
        return
    assert new_order_id(now) < new_order_id(later)


def test_many_of_one_moment_differ() -> None:
    now = datetime.now(UTC)
    ids: set[UUID] = {new_order_id(now) for _ in range(10_000)}
    assert len(ids) == 10_000
