"""Frozen values whose fields are set at full speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """A dataclass with slots that is compared and hashed by its fields, and that the type checker
    lets nobody change. The interpreter does not check that once more: what dataclass(frozen=True)
    makes sets each field by a call, which was 5 to 8 % of the time that an order takes."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
