"""An LRU cache for functions of texts that a client chooses: bounded in entries and in bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
Text = TypeVar("Text", str, bytes)

MAX_ENTRIES = 256
"""Entries of one function's cache."""

MAX_KEY_LENGTH = 128
"""Characters of a cached text. Longer ones are computed each time, or a client could fill the
memory."""


def bounded_cache(function: Callable[[Text], T]) -> Callable[[Text], T]:
    """``function`` with an LRU cache for texts of at most MAX_KEY_LENGTH characters."""
    cached = lru_cache(maxsize=MAX_ENTRIES)(function)

    @wraps(function)
    def wrapper(text: Text) -> T:
        return cached(text) if len(text) <= MAX_KEY_LENGTH else function(text)

    return wrapper
