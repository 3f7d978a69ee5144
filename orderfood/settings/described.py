"""How a field says that it is a setting: its default, meaning and parser, in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """A variable makes no sense. The message is one line that names the variable, its value
    (never a password) and what is allowed."""


class SettingDescription(NamedTuple):
    """One row of the table in ``--help`` and in docs/configuration.md."""

    name: str
    default: str
    meaning: str


Others = Mapping[str, Any]
"""The fields that stand above one, by their names: what they were read as."""


class Described(NamedTuple):
    """What stands in the metadata of a field that one variable gives."""

    default: str
    meaning: str
    allowed: str
    parse: Callable[[str], object]
    compute: Callable[[], str] | None
    fit: Callable[[Any, Others], object] | None
    empty: Literal["not set", "a value", "refused"]


def setting(
    default: str,
    meaning: str,
    allowed: str,
    parse: Callable[[str], T],
    *,
    compute: Callable[[], str] | None = None,
    fit: Callable[[T, Others], T] | None = None,
    empty: Literal["not set", "a value", "refused"] = "not set",
    secret: bool = False,
) -> T:
    """A field that one variable gives. ``default``, ``meaning`` and ``allowed`` are what is shown;
    ``parse`` raises ValueError. ``compute`` finds the default where it is no constant; ``fit`` gets
    the fields above, and returns the value or raises ValueError; ``empty`` says what an empty
    variable is; a ``secret`` is left out of ``repr``."""
    described = Described(default, meaning, allowed, parse, compute, fit, empty)
    made: T = field(metadata={"setting": described}, repr=not secret)
    return made


def derived(derive: Callable[[Mapping[str, str], Others], T]) -> T:
    """A field that follows from variables that are not ours, and from the fields above."""
    made: T = field(metadata={"derive": derive})
    return made
