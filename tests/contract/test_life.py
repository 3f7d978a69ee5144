"""The life of an order: what every action does to an order wherever it stands."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage import Storage
from storage.errors import OrderNotChangeable, OrderNotFound, OrderVersionChanged
from storage.records import (
    Actor,
    Cancellation,
    Catalogue,
    CouponLimits,
    Order,
    OrderEvent,
    OrderStatus,
    Pickup,
)
from tests.contract.database import (
    COOK,
    NOW,
    Database,
    act,
    add,
    cancel,
    execute_sql,
    new_key,
    new_order,
)

ANNA = Actor("demo")
OTHER_COOK = Actor("grill", "600dca7e")
MINUTE = timedelta(minutes=1)

LEADS = {
    # who, action: from → to
    ("customer", "cancel"): {"placed": "cancelled"},
    ("staff", "accept"): {"placed": "accepted"},
    ("staff", "estimate"): {"accepted": "accepted"},
    ("staff", "ready"): {"accepted": "ready"},
    ("staff", "complete"): {"accepted": "completed", "ready": "completed"},
    ("staff", "recall"): {"ready": "accepted", "completed": "ready"},
    ("staff", "cancel"): {"placed": "cancelled", "accepted": "cancelled", "ready": "cancelled"},
}

EVENTS = {
    "accept": "accepted",
    "estimate": "estimated",
    "ready": "ready",
    "complete": "completed",
    "recall": "recalled",
    "cancel": "cancelled",
}

ANSWERS = {
    # leads somewhere, came last: naming no version, the order's, the one before, another
    (True, True): ("repeat", "changed", "repeat", "moved on"),
    (True, False): ("changed", "changed", "moved on", "moved on"),
    (False, True): ("repeat", "repeat", "repeat", "moved on"),
    (False, False): ("refused", "refused", "moved on", "moved on"),
}


@dataclass(frozen=True)
class Step:
    """What somebody does."""

    action: str
    who: str = "staff"
    minutes: int | None = None
    reason: str | None = None

    @property
    def more(self) -> dict[str, Any]:
        ready_in = None if self.minutes is None else self.minutes * MINUTE
        return {"ready_in": ready_in, "reason": self.reason}


ACCEPT, ESTIMATE = Step("accept", minutes=15), Step("estimate", minutes=20)
READY, COMPLETE, RECALL = Step("ready"), Step("complete"), Step("recall")
CANCEL, REGRET = Step("cancel", reason="sold_out"), Step("cancel", "customer")

ATTEMPTS = (
    ACCEPT, ESTIMATE, Step("estimate", minutes=25), READY, COMPLETE, RECALL, CANCEL, REGRET,
)  # fmt: skip

PATHS = {
    # how an order has come where it stands
    (): "placed",
    (ACCEPT,): "accepted",
    (ACCEPT, ESTIMATE): "accepted",
    (ACCEPT, READY, RECALL): "accepted",
    (ACCEPT, READY): "ready",
    (ACCEPT, COMPLETE, RECALL): "ready",
    (ACCEPT, COMPLETE): "completed",
    (ACCEPT, READY, COMPLETE): "completed",
    (REGRET,): "cancelled",
    (CANCEL,): "cancelled",
    (ACCEPT, CANCEL): "cancelled",
    (ACCEPT, READY, CANCEL): "cancelled",
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: "-".join(s.action for s in path) or "new")
async def test_every_action_wherever_an_order_stands(
    database: Database, path: tuple[Step, ...]
) -> None:
    async with database.open_two() as (one, two):
        for attempt in ATTEMPTS:
            leads = PATHS[path] in LEADS[attempt.who, attempt.action]
            # a customer's cancellation is no press of a button on a board: it is never a repeat
            repeats = path[-1:] == (attempt,) and attempt.who == "staff"
            for answer, behind in zip(ANSWERS[leads, repeats], (None, 0, 1, -1), strict=True):
                order = await walked(one, path)
                await check(two, order, attempt, answer, behind)


async def walked(storage: Storage, path: tuple[Step, ...]) -> Order:
    order = await add(storage, new_order(pickup=Pickup("Anna", "no nuts")))
    for minutes, step in enumerate(path, start=1):
        by = COOK if step.who == "staff" else ANNA
        at = NOW + minutes * MINUTE
        order, changed = await act(storage, order.id, step.action, by, at, **step.more)
        assert changed
    return order


async def check(
    storage: Storage, order: Order, attempt: Step, answer: str, behind: int | None
) -> None:
    by = OTHER_COOK if attempt.who == "staff" else ANNA
    at = (order.changed_at or order.created_at) + MINUTE / 2
    expected = None if behind is None else order.version - behind
    doing = act(
        storage, order.id, attempt.action, by, at, expected_version=expected, **attempt.more
    )
    before, events = await storage.get_order_history(order.id)
    assert before == order
    wanted = order
    if answer == "changed":
        wanted = after(order, attempt, at)
        assert await doing == (wanted, True)
    elif answer == "repeat":
        assert await doing == (order, False)
    else:
        error = OrderNotChangeable if answer == "refused" else OrderVersionChanged
        with pytest.raises(error) as caught:
            await doing
        assert caught.value.order == order
    now, events_now = await storage.get_order_history(order.id)
    assert now == wanted == await storage.get_order("demo", order.id)
    assert events_now[: len(events)] == events
    assert [(e.type, e.at, e.by, e.order) for e in events_now[len(events) :]] == (
        [(EVENTS[attempt.action], at, by, wanted)] if answer == "changed" else []
    )


def after(order: Order, attempt: Step, at: datetime) -> Order:
    by_customer, cancels = attempt.who == "customer", attempt.action == "cancel"
    return replace(
        order,
        status=LEADS[attempt.who, attempt.action][order.status],
        version=order.version + 1,
        ready_at=order.ready_at if attempt.minutes is None else at + attempt.minutes * MINUTE,
        cancellation=Cancellation("customer" if by_customer else "shop", attempt.reason)
        if cancels
        else None,
        last_event=EVENTS[attempt.action],
        changed_at=at,
    )


async def test_orders_of_others_do_not_exist_for_a_customer(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage)
        for order_id, by in [
            (order.id, Actor("guest")),
            (uuid.uuid4(), ANNA),
            (uuid.uuid4(), COOK),
        ]:
            for expected in (None, 1, 7):
                with pytest.raises(OrderNotFound):
                    await act(storage, order_id, "cancel", by, expected_version=expected)
        with pytest.raises(OrderNotFound):
            await storage.get_order_history(uuid.uuid4())
        assert (await storage.get_order("demo", order.id)).version == 1


async def test_a_completed_order_is_recalled_within_a_quarter_of_an_hour(
    database: Database,
) -> None:
    completed = NOW + 2 * MINUTE
    late = completed + 15 * MINUTE
    async with database.open() as storage:
        for at, can in [(completed, True), (late, True), (late + timedelta(microseconds=1), False)]:
            order = await walked(storage, (ACCEPT, COMPLETE))
            assert order.changed_at == completed
            if can:
                recalled, _ = await act(storage, order.id, "recall", at=at)
                assert recalled.status == "ready"
            else:
                with pytest.raises(OrderNotChangeable):
                    await act(storage, order.id, "recall", at=at)


async def test_times_of_an_order_never_go_back(database: Database) -> None:
    """Clocks of several machines differ."""
    async with database.open() as storage:
        order = await add(storage)
        early = NOW - timedelta(hours=1)
        accepted, _ = await act(storage, order.id, "accept", at=early, ready_in=15 * MINUTE)
        assert (accepted.changed_at, accepted.ready_at) == (NOW, NOW + 15 * MINUTE)
        ready, _ = await act(storage, order.id, "ready", at=NOW + MINUTE)
        completed, _ = await act(storage, order.id, "complete", at=NOW)
        assert ready.changed_at == completed.changed_at == NOW + MINUTE
        _, events = await storage.get_order_history(order.id)
        assert [event.at for event in events] == [NOW, NOW, NOW + MINUTE, NOW + MINUTE]
        # a repeat is one on whatever machine
        assert await act(storage, order.id, "complete", at=early) == (completed, False)


async def test_an_estimate_is_repeated_by_its_minutes(database: Database) -> None:
    """A moment ago as many minutes are a press that was repeated; later they are a new estimate."""
    async with database.open() as storage:
        order = await add(storage)
        await act(storage, order.id, "accept", ready_in=15 * MINUTE)
        first, _ = await act(storage, order.id, "estimate", at=NOW + MINUTE, ready_in=5 * MINUTE)
        assert first.changed_at is not None
        soon, late = (first.changed_at + timedelta(seconds=seconds) for seconds in (59, 60))
        again = await act(storage, order.id, "estimate", at=soon, ready_in=5 * MINUTE)
        assert again == (first, False)
        other, changed = await act(storage, order.id, "estimate", at=soon, ready_in=6 * MINUTE)
        assert (other.version, changed) == (4, True)
        late += timedelta(seconds=59)
        newer, changed = await act(storage, order.id, "estimate", at=late, ready_in=6 * MINUTE)
        assert (newer.version, changed) == (5, True)
        assert newer.ready_at == late + 6 * MINUTE


async def test_a_pickup_reads_back(database: Database) -> None:
    pickups = [Pickup("Ünï \U0001f355", "no 'nuts' \"please\""), Pickup("Anna"), Pickup(note="x")]
    async with database.open() as storage:
        for pickup in pickups:
            order = await add(storage, new_order(pickup=pickup), key=new_key(str(pickup)))
            assert order.pickup == pickup
            assert await storage.get_order("demo", order.id) == order
            assert await storage.find_order_by_key("demo", new_key(str(pickup))) == order
            _, (event,) = await storage.get_order_history(order.id)
            assert event.order == order
        listed = await storage.list_orders("demo", limit=10)
        assert {order.pickup for order in listed} == set(pickups)


async def test_a_replay_is_the_order_as_it_was_placed(database: Database) -> None:
    placed = new_order(pickup=Pickup("Anna"), coupon_code="TEN")
    async with database.open_two() as (one, two):
        first = await add(one, placed, key=new_key())
        for step in (ACCEPT, READY, COMPLETE):
            await act(two, first.id, step.action, **step.more)
            assert await one.add_order(new_order(), key=new_key()) == first
            assert await two.find_order_by_key("demo", new_key()) == first
        assert await one.get_coupon_uses("TEN", "demo") == (1, 1)


async def test_a_cancellation_says_who_and_why(database: Database) -> None:
    async with database.open() as storage:
        ours, theirs = await add(storage), await add(storage)
        await act(storage, ours.id, "cancel", reason="other", note="Ünï 'x' \U0001f355")
        await cancel(storage, "demo", theirs.id)
        for order_id, by, cancellation in [
            (ours.id, COOK, Cancellation("shop", "other", "Ünï 'x' \U0001f355")),
            (theirs.id, ANNA, Cancellation("customer")),
        ]:
            order, events = await storage.get_order_history(order_id)
            assert order.cancellation == events[-1].order.cancellation == cancellation
            assert events[-1].by == by
            assert events[0].order.cancellation is None


@pytest.mark.parametrize(
    ("reason", "uses"), [("no_show", 1), ("sold_out", 0), ("customer_request", 0), (None, 0)]
)
async def test_whoever_never_came_keeps_the_use_of_the_coupon(
    database: Database, reason: str | None, uses: int
) -> None:
    limits = CouponLimits(max_uses=1)
    async with database.open() as storage:
        order = await add(storage, new_order(coupon_code="ONCE"), limits=limits)
        await act(storage, order.id, "accept", ready_in=MINUTE)
        await act(storage, order.id, "ready")
        await act(storage, order.id, "cancel", reason=reason)
        assert await storage.get_coupon_uses("ONCE", "demo") == (uses, uses)
        _, changed = await act(storage, order.id, "cancel", reason=reason)
        assert not changed
        assert await storage.get_coupon_uses("ONCE", "demo") == (uses, uses)


RACES, AT_ONCE = 1000, 20


async def test_of_an_accept_and_a_cancel_at_once_one_wins(database: Database) -> None:
    """The coupon is as often used as there are orders that were accepted."""
    accepted = 0
    async with database.open_two() as (one, two):
        for begin in range(0, RACES, AT_ONCE):
            races = (race(one, two, begin + n) for n in range(AT_ONCE))
            accepted += sum(await asyncio.gather(*races))
        assert await one.get_coupon_uses("MANY", "demo") == (accepted, accepted)


async def race(one: Storage, two: Storage, number: int) -> bool:
    """Whether a new order was accepted rather than cancelled; who is asked first takes turns."""
    limits = CouponLimits(max_uses=RACES)
    order = await add(one, new_order(coupon_code="MANY"), limits=limits)
    doing = [
        cancel(one, "demo", order.id),
        act(two, order.id, "accept", ready_in=15 * MINUTE),
    ]
    outcomes = await asyncio.gather(*doing[:: 1 if number % 2 else -1], return_exceptions=True)
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(lost, OrderNotChangeable)
    now, events = await one.get_order_history(order.id)
    assert now.version == len(events) == 2
    assert lost.order == now
    return now.status == OrderStatus.ACCEPTED


async def test_two_cooks_make_one_event(database: Database) -> None:
    async with database.open_two() as (one, two):
        order = await add(one)
        for action in ("accept", "estimate", "ready", "recall", "cancel"):
            ready_in = 7 * MINUTE if action in ("accept", "estimate") else None
            cooks = zip([one, two] * 5, itertools.cycle([COOK, OTHER_COOK]), strict=False)
            at = datetime.now(UTC)
            outcomes = await asyncio.gather(
                *(
                    act(storage, order.id, action, cook, at, ready_in=ready_in)
                    for storage, cook in cooks
                )
            )
            assert sum(changed for _, changed in outcomes) == 1
            assert len({order.version for order, _ in outcomes}) == 1
        _, events = await one.get_order_history(order.id)
        assert versions_of(events) == [1, 2, 3, 4, 5, 6]


async def test_of_many_who_know_one_version_one_wins(database: Database) -> None:
    async with database.open_two() as (one, two):
        order = await add(one)
        await act(one, order.id, "accept", ready_in=MINUTE)
        outcomes = await asyncio.gather(
            *(
                act(storage, order.id, "estimate", expected_version=2, ready_in=n * MINUTE)
                for n, storage in enumerate([one, two] * 5, start=2)
            ),
            return_exceptions=True,
        )
        lost = [one for one in outcomes if isinstance(one, BaseException)]
        assert [type(error) for error in lost] == [OrderVersionChanged] * 9
        _, events = await one.get_order_history(order.id)
        assert versions_of(events) == [1, 2, 3]


def versions_of(events: tuple[OrderEvent, ...]) -> list[int]:
    return [event.order.version for event in events]


async def test_numbers_are_dealt_in_turn_and_round_again(database: Database) -> None:
    """By two storages on one database, many at once: 27 times 37 is 999."""
    async with database.open_two() as (one, two):
        numbers: list[int | None] = []
        for storage in [one, two] * 14:
            orders = [storage.add_order(new_order()) for _ in range(37)]
            numbers += [order.number for order in await asyncio.gather(*orders)]
        in_turn = [await (one, two)[n % 2].add_order(new_order()) for n in range(4)]
    assert sorted(filter(None, numbers[:999])) == list(range(1, 1000))
    assert sorted(filter(None, numbers[999:])) == list(range(1, 38))
    assert [order.number for order in in_turn] == [38, 39, 40, 41]


async def test_numbers_go_on_after_a_restart(shared_database: Database) -> None:
    for expected in (1, 2, 3):
        async with shared_database.open() as storage:
            assert (await add(storage)).number == expected


async def test_a_sample_order_has_no_number_and_no_event(database: Database) -> None:
    sample = new_order(status=OrderStatus.COMPLETED, coupon_code="TEN")
    async with database.open() as storage:
        await storage.replace_catalogue(Catalogue(), sample_orders=[sample])
        assert await storage.get_order_history(sample.id) == (sample, ())
        assert (await storage.read_events(0, 10)).events == ()
        assert (await add(storage)).number == 1
        assert (
            await storage.list_shop_orders(["completed"], oldest_first=False, limit=9)
        ).orders == (sample,)
        with pytest.raises(OrderNotChangeable):
            await act(storage, sample.id, "cancel")


async def test_an_order_that_is_older_than_its_events_can_be_changed(
    shared_database: Database,
) -> None:
    """As one that was stored before there were numbers and events."""
    async with shared_database.open() as storage:
        order = await add(storage)
        await storage.number_events()
        for statement in (
            "DELETE FROM order_events",
            "UPDATE orders SET pickup_number = NULL",
        ):
            await execute_sql(shared_database.url, statement)
        accepted, changed = await act(storage, order.id, "accept", at=NOW, ready_in=MINUTE)
        assert changed
        now, events = await storage.get_order_history(order.id)
        assert now == accepted
        assert (now.number, now.version) == (None, 2)
        assert [event.order for event in events] == [accepted]


async def test_a_status_that_is_unknown_is_read(shared_database: Database) -> None:
    """A newer version runs beside this one on the same database."""
    async with shared_database.open() as storage:
        order = await add(storage, new_order(coupon_code="TEN"), key=new_key())
        await act(storage, order.id, "accept", at=NOW, ready_in=MINUTE)
        await storage.number_events()
        for statement in (
            "UPDATE orders SET status = 'tasted', last_event = 'sipped'",
            "UPDATE order_events SET status = 'tasted', type = 'sipped' WHERE version = 2",
        ):
            await execute_sql(shared_database.url, statement)
        tasted, events = await storage.get_order_history(order.id)
        assert (tasted.status, tasted.last_event, tasted.version) == ("tasted", "sipped", 2)
        assert events[-1].order == tasted
        assert events[-1].type == "sipped"
        assert await storage.get_order("demo", order.id) == tasted
        assert await storage.list_orders("demo", limit=1) == [tasted]
        assert await storage.find_order_by_key("demo", new_key()) == order
        listed = await storage.list_shop_orders(["tasted"], oldest_first=True, limit=5)
        assert listed.orders == (tasted,)
        assert sum((await storage.count_open_orders()).counts.values()) == 0
        for step in ATTEMPTS:
            with pytest.raises(OrderNotChangeable) as caught:
                await act(
                    storage,
                    order.id,
                    step.action,
                    COOK if step.who == "staff" else ANNA,
                    **step.more,
                )
            assert caught.value.order == tasted
        assert await storage.get_coupon_uses("TEN", "demo") == (1, 1)
