"""Remembering what was worked out, where a client chooses what it is worked out for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
Text = TypeVar("Text", str, bytes)

MOST = 256
"""How many results are kept of one function."""

LONGEST = 128
"""Characters of what a result is kept for: hardly any good client sends more, and others might fill
the memory."""


def bounded_cache(function: Callable[[Text], T]) -> Callable[[Text], T]:
    """``function`` with its results kept for texts that are short."""
    cached = lru_cache(maxsize=MOST)(function)

    @wraps(function)
    def remembering(text: Text) -> T:
        return cached(text) if len(text) <= LONGEST else function(text)

    return remembering
