"""What is stored, as frozen values. Money is integer cents; times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from storage.frozen import frozen


@frozen
class Product:
    """One dish of the menu. ``price`` is in cents; ``id`` is a positive int64.

    What is None is not known: ``allergens`` that are empty say that there are none.
    """

    id: int
    name: str
    price: int
    category: str
    description: str | None = None
    image: str | None = None
    allergens: tuple[str, ...] | None = None


@frozen
class ApiKey:
    """A key by its hash (``sha256:`` and 64 hex digits); the key itself is stored nowhere."""

    hash: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


@frozen
class User:
    """Who orders. Each of the user's keys opens the same orders."""

    id: str
    name: str
    keys: tuple[ApiKey, ...] = ()


class CouponKind(StrEnum):
    """How a coupon's discount is computed."""

    PERCENT = "percent"
    AMOUNT = "amount"
    CHEAPEST_FREE = "cheapest_free"


@frozen
class Coupon:
    """A discount by code. Codes compare without ASCII case; ``code`` is the stored spelling.

    ``value`` is hundredths of a percent for ``percent`` (10 % is 1000), cents for ``amount`` and 0
    for ``cheapest_free``. ``valid_from`` is the first moment it counts, ``valid_until`` the first
    moment it no longer does. A limit that is None does not limit.
    """

    code: str
    kind: CouponKind
    value: int = 0
    min_subtotal: int = 0
    min_items: int = 0
    max_discount: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    max_uses: int | None = None
    max_uses_per_user: int | None = None


class OrderStatus(StrEnum):
    """Where an order stands. A newer version may know others: whoever reads one must bear it."""

    PLACED = "placed"
    ACCEPTED = "accepted"
    READY = "ready"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


OPEN_STATUSES = (OrderStatus.PLACED, OrderStatus.ACCEPTED, OrderStatus.READY)
"""Those of orders that wait for something."""

ENDED_STATUSES = (OrderStatus.COMPLETED, OrderStatus.CANCELLED)
"""Those of orders to which nothing happens any more, once a completed one is not recalled."""

PLACED_EVENT = "placed"
"""The type of the first event of every order."""


@frozen
class OrderLine:
    """A product as it was when the order was placed, and how many of it."""

    product: Product
    quantity: int


@frozen
class Pickup:
    """What the customer says of fetching the order: personal data, in no log, span or metric."""

    name: str | None = None
    note: str | None = None


@frozen
class Cancellation:
    """Who has cancelled an order (``customer`` or ``shop``), and what the shop says of it."""

    by: str
    reason: str | None = None
    note: str | None = None


@frozen
class Order:
    """A receipt: what was bought never changes. What moves is where it stands, from ``status`` on,
    and after a while ``pickup`` and the cancellation's note are blanked.

    ``created_at`` has microseconds, no more: every backend must give it back exactly.
    """

    id: UUID
    user_id: str
    lines: tuple[OrderLine, ...]
    subtotal: int
    discounts: int
    total: int
    created_at: datetime
    coupon_code: str | None = None
    pickup: Pickup | None = None
    number: int | None = None
    """1 to 999, to be called out; dealt when the order is stored. None for a sample order, and for
    one that is older than the numbers."""
    status: str = OrderStatus.PLACED
    version: int = 1
    """The number of its events."""
    ready_at: datetime | None = None
    cancellation: Cancellation | None = None
    last_event: str = PLACED_EVENT
    """The type of its newest event."""
    changed_at: datetime | None = None
    """When that happened; None when the order was only placed."""


@frozen
class Actor:
    """Who changes an order: its customer, or staff."""

    user: str
    key: str | None = None
    """Of staff, the first eight hex digits of their key's hash; None for a customer."""


@frozen
class OrderChange:
    """A step in the life of an order: the type of its event, and where it leads."""

    event: str
    targets: Mapping[str, str]
    """By the status that it starts from, the status that it leads to."""
    not_before: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    """By the status that it starts from, since when the order must stand there."""
    ready_in: timedelta | None = None
    """From this moment to the new ready_at; None leaves that as it is."""
    reason: str | None = None
    note: str | None = None
    """Of a cancellation by the shop."""
    keeps_use: bool = False
    """Whether a cancellation keeps the use of the coupon."""


@frozen
class OrderEvent:
    """One event of the log. ``order`` is the order as it was with this event."""

    seq: int
    """Its place in the log: once one is visible, no smaller one appears."""
    type: str
    at: datetime
    by: Actor
    order: Order


@frozen
class EventPage:
    """A part of the log, in the order of ``seq``."""

    events: tuple[OrderEvent, ...]
    position: int
    """The log was looked through up to here: the next page begins behind it."""
    first: int
    """The smallest number that is kept; ``last`` + 1 when none is."""
    last: int
    """The greatest number that was given; 0 before the first."""

    def follows(self, position: int) -> bool:
        """Whether all events behind a position are kept, and the log was ever there."""
        return self.first - 1 <= position <= self.last


@frozen
class ArchivedEvent:
    """What an archive keeps of an event of the log. Without ``staff_user`` it was the customer."""

    seq: int
    version: int
    type: str
    status: str
    at: datetime
    ready_at: datetime | None = None
    reason: str | None = None
    staff_user: str | None = None
    staff_key: str | None = None


@frozen
class ArchivedOrder:
    """What an archive keeps of an order: all of it, and those of its events that were kept."""

    order: Order
    events: tuple[ArchivedEvent, ...] = ()


@frozen
class ShopOrders:
    """Orders of all users, and the place in the event log of the same consistent view: every event
    up to it is in these orders, every later one comes after it."""

    orders: tuple[Order, ...]
    position: int
    more: bool = False
    """Whether there are less orders than were asked for, for they have many lines, and others
    follow."""


@frozen
class OpenOrders:
    """How many orders wait, by status, and when the oldest that is only placed was."""

    counts: Mapping[str, int]
    oldest_placed: datetime | None = None


@frozen
class Pause:
    """The shop takes no orders, until a moment, or until it resumes."""

    until: datetime | None = None
    message: str | None = None


@frozen
class ShopState:
    """What the shop says of itself, which no load touches."""

    version: int = 0
    sold_out: Mapping[int, datetime | None] = field(default_factory=lambda: MappingProxyType({}))
    """By product id, until when; None: until it is available again. Times that are over count no
    more; ids may name no product."""
    pause: Pause | None = None


@frozen
class Versions:
    """The versions of the catalogue and of the shop's state: each grows when that changes."""

    catalogue: int = 0
    shop: int = 0


KEPT_LOAD_RUNS = 100
"""The newest runs of database-load that a storage remembers."""


@frozen
class LoadRun:
    """A run of database-load."""

    id: UUID
    host: str
    """The pod's name, or the machine's."""
    began_at: datetime
    ended_at: datetime | None = None
    """None while it runs, and for ever when it was killed."""
    outcome: Literal["loaded", "failed"] | None = None
    message: str | None = None
    """Why it has failed, in one line; None when it has not."""


class Obstacle(StrEnum):
    """Why no order can be stored while reads work: fixed words, for clients and metrics."""

    READ_ONLY = "read-only"
    FULL = "full"
    NOT_PERMITTED = "not permitted"


@frozen
class IdempotencyKey:
    """The client's name for one request. ``fingerprint`` is equal exactly for equal requests.

    ``expires_at`` is when the key may be used anew; keys belong to the order's user.
    """

    key: str
    fingerprint: str
    expires_at: datetime


@frozen
class CouponLimits:
    """How often the order's coupon may be used: in all, and by the order's user. None: no limit."""

    max_uses: int | None = None
    max_uses_per_user: int | None = None


@frozen
class Cursor:
    """A position in a listing of orders, newest first: the next page begins behind this order."""

    created_at: datetime
    id: UUID


@frozen
class Catalogue:
    """The reference data, whole: what fixtures hold and a load replaces.

    Products are ordered by id, users by id, coupons by code. ``file_coupon`` is what a code out of
    the coupon files is worth (its own ``code`` is empty); the codes themselves are looked up by
    ``Storage.find_coupon``, for they may be many.
    """

    products: tuple[Product, ...] = ()
    users: tuple[User, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    file_coupon: Coupon | None = None


@frozen
class FoundCoupon:
    """What a code stands for in the catalogue of ``version``: a coupon of that name, else a code of
    the coupon files in its stored spelling, else nothing."""

    version: int
    coupon: Coupon | None = None
    file_code: str | None = None


@frozen
class VersionedCatalogue:
    """A catalogue as it stood at ``version``, which grows with every load that changes it."""

    version: int
    loaded_at: datetime | None
    catalogue: Catalogue


@frozen
class Change:
    """How many entries of one kind a load added, changed, removed and left as they were."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


@frozen
class LoadReport:
    """What a load did, by kind: ``products``, ``users``, ``coupons``, ``coupon_codes``, ``orders``.

    A code out of the coupon files has changed when what such a code is worth has. ``version`` is
    the catalogue's after the load; after a dry run it is what stands in the database.
    """

    version: int
    changes: Mapping[str, Change] = field(default_factory=lambda: MappingProxyType({}))


@frozen
class Loss:
    """How many of ``before`` a load takes away, and some of their names."""

    before: int
    gone: int
    names: tuple[str, ...] = ()


@frozen
class Losses:
    """What a load takes from the shop."""

    products: Loss
    keys: Loss
    """Named by their users."""
    codes: Loss
    """Codes of the coupon files and named coupons together."""
    file_codes: Loss
    prices: Loss
    """Of the products that stay: those that cost a tenth or less of what they did."""


STATEMENT_TIMEOUT = 10.0
"""Seconds that a migration may run unless it asks for more."""


@frozen
class Migration:
    """One step of the schema. ``name`` is the file's without its ending (0001_create_tables),
    ``version`` its number, ``checksum`` the hex SHA-256 of its text. While it runs others may wait
    for its locks: it is undone after ``statement_timeout`` seconds. Without that it has
    STATEMENT_TIMEOUT, and gives way to who waits, where the backend knows of them."""

    version: int
    name: str
    sql: str
    checksum: str
    statement_timeout: float | None = None

    @property
    def seconds(self) -> float:
        """How long it may run."""
        return STATEMENT_TIMEOUT if self.statement_timeout is None else self.statement_timeout


@frozen
class AppliedMigration:
    """The record that a migration left in the database."""

    version: int
    name: str
    checksum: str
    applied_at: datetime
