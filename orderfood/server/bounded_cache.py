"""Remembering what was worked out, where a client chooses what it is worked out for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
Text = TypeVar("Text", str, bytes)

MAX_ENTRIES = 256
"""How many results are kept of one function."""

MAX_KEY_LENGTH = 128
"""Characters of what a result is kept for: hardly any good client sends more, and others might fill
the memory."""


def bounded_cache(function: Callable[[Text], T]) -> Callable[[Text], T]:
    """``function`` with its results kept for texts that are short."""
    cached = lru_cache(maxsize=MAX_ENTRIES)(function)

    @wraps(function)
    def wrapper(text: Text) -> T:
        return cached(text) if len(text) <= MAX_KEY_LENGTH else function(text)

    return wrapper
