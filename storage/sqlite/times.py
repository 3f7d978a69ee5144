"""Times as SQLite keeps them: whole microseconds since 1970, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MICROSECOND = timedelta(microseconds=1)


def from_time(moment: datetime | None) -> int | None:
    """The microseconds of a time; None for None."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def to_time(microseconds: int | None) -> datetime | None:
    """The time of microseconds; None for None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def moment(microseconds: int) -> datetime:
    """The time of microseconds."""
    return _EPOCH + timedelta(microseconds=microseconds)


def current_time() -> int:
    """The microseconds of this moment."""
    return (datetime.now(UTC) - _EPOCH) // _MICROSECOND
