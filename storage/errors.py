"""The errors that come out of a storage; a driver's own error is their cause, never the surface.

StorageError
├── InvalidStorageURL        the URL names no backend, or not completely
├── StorageUnavailable       does not answer, is full or read-only; what a write did is unknown
│   └── StorageBusy          refused before anything was written: too much is waiting already
├── ValueRejected            a value that cannot be stored, such as a lone surrogate; nothing was
├── SchemaError
│   ├── SchemaOutdated       older than the code needs
│   ├── MigrationChanged     an applied migration differs from its file
│   ├── MigrationFailed      the statements of a migration failed; nothing of it stays
│   └── MigrationTimeout     ran or waited too long; nothing of it stays
├── NotFound
│   └── OrderNotFound        no such order for this user
└── Conflict
    ├── IdempotencyConflict  the key was used before, with another request
    ├── CouponUsedUp         no use of the coupon is left
    ├── OrderExists          an order of that id is stored already
    └── OrderConflict
        ├── OrderNotChangeable   it stands where the change does not start
        └── OrderVersionChanged  it has another version than the caller expects
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.records import Order


class StorageError(Exception):
    """Whatever a storage raises."""

    reason = ""
    """A fixed phrase that everybody may read, where more is known than that it does not answer. The
    message is for the log: it may name hosts and roles."""


class InvalidStorageURL(StorageError):
    """The URL names no backend, or not completely. The message holds no password."""


class StorageUnavailable(StorageError):
    """The store does not answer, is full or is read-only. After a write its outcome is unknown:
    a retry under the same idempotency key is safe."""


class StorageBusy(StorageUnavailable):
    """Too many writes wait already; this one was refused before anything was written."""


class ValueRejected(StorageError):
    """A value that cannot be stored: a NUL or a lone surrogate in a text, an integer beyond int64,
    an id twice in one catalogue. Nothing was written."""


class SchemaError(StorageError):
    """Something is wrong with the schema rather than with a row."""


class SchemaOutdated(SchemaError):
    """The schema is older than the code needs."""


class MigrationChanged(SchemaError):
    """A migration that was applied differs from the file of that name."""


class MigrationFailed(SchemaError):
    """A statement of a migration failed; nothing of that migration stays."""


class MigrationTimeout(SchemaError):
    """A migration ran, or waited for its lock, too long; nothing of it stays."""


class NotFound(StorageError):
    """What was asked for does not exist."""


class OrderNotFound(NotFound):
    """The user has no order of that id."""


class Conflict(StorageError):
    """The request is sound, but what is stored already forbids it."""


class IdempotencyConflict(Conflict):
    """The user sent this idempotency key before, with another request."""


class CouponUsedUp(Conflict):
    """No use of the coupon is left, for anyone or for this user."""


class OrderExists(Conflict):
    """An order of that id is stored already, and not under the same idempotency key."""


class OrderConflict(Conflict):
    """``order`` is as it stands."""

    def __init__(self, message: str, order: Order) -> None:
        super().__init__(message)
        self.order = order


class OrderNotChangeable(OrderConflict):
    """The order's status is none that the change starts from."""


class OrderVersionChanged(OrderConflict):
    """The order has another version than the caller expects."""
