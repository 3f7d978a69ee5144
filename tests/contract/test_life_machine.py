"""Lives of orders in any order of steps, against a model that knows what is written in the table of
test_life.py and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tornado.ioloop import IOLoop

from storage import Storage
from storage.errors import CouponUsedUp, OrderConflict
from storage.records import Actor, CouponLimits, Order, Pickup
from tests.contract.database import COOK, NOW, Database, act, new_order, read_all_events
from tests.contract.test_life import EVENTS, LEADS

T = TypeVar("T")

LIMIT = 2
MINUTE = timedelta(minutes=1)


@dataclass
class Life:
    """What the model knows of an order."""

    order: Order
    events: list[str] = field(default_factory=lambda: ["placed"])
    status: str = "placed"
    holds_use: bool = False


class Lives(RuleBasedStateMachine):
    """On one database; each run has a user and a coupon of its own."""

    storages: tuple[Storage, Storage]
    wait: Callable[[Awaitable[object]], object]

    orders: Bundle[uuid.UUID] = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.user = f"user {uuid.uuid4()}"
        self.coupon = f"CODE {uuid.uuid4()}"
        self.lives: dict[uuid.UUID, Life] = {}
        self.minutes = 0
        self.after = self.do(self.storages[0].read_events(None, 1)).position

    def do(self, step: Awaitable[T]) -> T:
        return type(self).wait(step)  # type: ignore[return-value]

    def storage(self) -> Storage:
        self.minutes += 1
        return self.storages[self.minutes % 2]

    @rule(target=orders, with_coupon=st.booleans(), name=st.none() | st.just("Anna"))
    def place(self, with_coupon: bool, name: str | None) -> uuid.UUID:
        return self.placed(with_coupon, name)

    def placed(self, with_coupon: bool, name: str | None) -> uuid.UUID:
        order = new_order(
            self.user,
            coupon_code=self.coupon if with_coupon else None,
            pickup=Pickup(name) if name else None,
        )
        used = sum(life.holds_use for life in self.lives.values())
        try:
            stored = self.do(self.storage().add_order(order, limits=CouponLimits(LIMIT)))
        except CouponUsedUp:
            assert with_coupon
            assert used == LIMIT
            return self.placed(False, name)
        assert not with_coupon or used < LIMIT
        self.lives[order.id] = Life(stored, holds_use=with_coupon)
        return order.id

    @rule(
        order_id=orders,
        action=st.sampled_from(sorted(EVENTS)),
        by_customer=st.booleans(),
        behind=st.sampled_from([None, None, 0, 1, 2]),
        reason=st.sampled_from(["sold_out", "no_show"]),
    )
    def step(
        self, order_id: uuid.UUID, action: str, by_customer: bool, behind: int | None, reason: str
    ) -> None:
        if by_customer and action != "cancel":
            return
        life = self.lives[order_id]
        who = "customer" if by_customer else "staff"
        expected = None if behind is None else len(life.events) - behind
        changed = False
        with suppress(OrderConflict):
            _, changed = self.do(
                act(
                    self.storage(),
                    order_id,
                    action,
                    Actor(self.user) if by_customer else COOK,
                    NOW + self.minutes * timedelta(seconds=1),
                    expected_version=expected,
                    ready_in=MINUTE if action in ("accept", "estimate") else None,
                    reason=None if by_customer else reason,
                )
            )
        if not changed:
            return
        assert expected in (None, len(life.events))
        life.status = LEADS[who, action][life.status]
        life.events.append(EVENTS[action])
        if action == "cancel" and (by_customer or reason != "no_show"):
            life.holds_use = False

    @rule()
    def nobody_else_is_touched(self) -> None:
        self.do(self.storage().delete_events(NOW - MINUTE, 10))
        self.do(self.storage().blank_personal_data(NOW - MINUTE, 10))

    @invariant()
    def orders_and_events_tell_the_same(self) -> None:
        for order_id, life in self.lives.items():
            order, events = self.do(self.storages[0].get_order_history(order_id))
            assert order.status == life.status
            assert order.version == len(life.events) == len(events)
            assert [event.type for event in events] == life.events
            assert [event.order.version for event in events] == list(range(1, len(events) + 1))
            assert events[-1].order == order
            assert events[0].order == life.order
        uses = sum(life.holds_use for life in self.lives.values())
        reading = self.storages[1].get_coupon_uses(self.coupon, self.user)
        assert self.do(reading) == (uses, uses)

    def teardown(self) -> None:
        events = self.do(read_all_events(self.storages[1], self.after, user_id=self.user))
        assert len(events) == sum(len(life.events) for life in self.lives.values())
        assert [event.seq for event in events] == sorted({event.seq for event in events})


def test_orders_and_events_tell_the_same(database: Database, io_loop: IOLoop) -> None:
    loop: asyncio.AbstractEventLoop = io_loop.asyncio_loop  # type: ignore[attr-defined]
    opening = database.open_two()

    class OnThis(Lives):
        storages = loop.run_until_complete(opening.__aenter__())
        wait = staticmethod(loop.run_until_complete)

    try:
        run_state_machine_as_test(
            OnThis,
            settings=settings(
                max_examples=15,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
