"""The life of an order: which action leads from where to where, and by whom. Nothing but a table,
and what it says of one action."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from storage.records import OrderChange, OrderStatus

CUSTOMER = "customer"
SHOP = "shop"


class Step(NamedTuple):
    """One row: ``by`` may do ``action`` to an order that is ``source``, which makes it
    ``target``; only so long after it came there as ``within`` says."""

    action: str
    source: OrderStatus
    target: OrderStatus
    by: str
    within: timedelta | None = None


PLACED, ACCEPTED, READY, COMPLETED, CANCELLED = OrderStatus

RECALL_WITHIN = timedelta(minutes=15)
"""How long a completed order can be recalled."""

STEPS = (
    Step("cancel", PLACED, CANCELLED, CUSTOMER),
    Step("accept", PLACED, ACCEPTED, SHOP),
    Step("estimate", ACCEPTED, ACCEPTED, SHOP),
    Step("ready", ACCEPTED, READY, SHOP),
    Step("complete", READY, COMPLETED, SHOP),
    Step("complete", ACCEPTED, COMPLETED, SHOP),
    Step("recall", READY, ACCEPTED, SHOP),
    Step("recall", COMPLETED, READY, SHOP, RECALL_WITHIN),
    Step("cancel", PLACED, CANCELLED, SHOP),
    Step("cancel", ACCEPTED, CANCELLED, SHOP),
    Step("cancel", READY, CANCELLED, SHOP),
)

EVENTS = {
    "accept": "accepted",
    "estimate": "estimated",
    "ready": "ready",
    "complete": "completed",
    "recall": "recalled",
    "cancel": "cancelled",
}
"""The type of the event that each action appends."""

Reason = Literal["sold_out", "closing", "duplicate", "customer_request", "no_show", "other"]
"""Why the shop cancels an order."""

NO_SHOW: Reason = "no_show"
"""The one that keeps the use of the coupon: the customer never came."""


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants of an order: ``name`` and ``by`` as in STEPS. ``ready_in`` is the time
    from now until it is ready."""

    name: str
    by: str
    ready_in: timedelta | None = None
    reason: str | None = None
    note: str | None = None


def order_change(action: Action, now: datetime) -> OrderChange:
    """What the storage is asked for when this is done now."""
    steps = [step for step in STEPS if (step.action, step.by) == (action.name, action.by)]
    return OrderChange(
        event=EVENTS[action.name],
        targets={step.source: step.target for step in steps},
        not_before={step.source: now - step.within for step in steps if step.within is not None},
        ready_in=action.ready_in,
        reason=action.reason,
        note=action.note,
        keeps_use=action.reason == NO_SHOW,
    )
