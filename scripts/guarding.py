"""The guard of a load: refuses one that takes much of the shop away, unless it is forced."""

from __future__ import annotations

from collections.abc import Iterator

from storage.records import Loss, Losses


class LoadRefused(Exception):
    """The load would take too much away. The message says what, and how to load all the same."""


class Guard:
    """Checks what a load takes away, within the load's own transaction. With ``lenient``, for dry
    runs and forced loads, it only records the problem."""

    def __init__(self, *, lenient: bool) -> None:
        self._lenient = lenient
        self.problem = ""
        """What is wrong with the load; empty when nothing is."""

    def __call__(self, losses: Losses) -> None:
        """Raises LoadRefused, unless lenient."""
        self.problem = describe(losses)
        if not self._lenient:
            self.refuse()

    def refuse(self) -> None:
        """Raises LoadRefused if there is a problem."""
        if self.problem:
            raise LoadRefused(
                f"this load would gut the shop: {self.problem}; nothing has been changed;"
                " if that is what you want, load with --force"
            )


def describe(losses: Losses) -> str:
    """What is too much of a loss, in words; empty when nothing is. A shop without anything can lose
    nothing."""
    return ", ".join(_phrases(losses))


def _phrases(losses: Losses) -> Iterator[str]:
    if is_too_much(losses.products):
        yield f"{_count(losses.products)} products go{_named(losses.products)}"
    if is_too_much(losses.keys):
        yield f"{_count(losses.keys)} keys go{_named(losses.keys)}"
    if is_too_much(losses.file_codes):
        yield f"{_count(losses.file_codes)} codes of coupon files go"
    elif is_too_much(losses.codes):
        yield f"{_count(losses.codes)} coupon codes go"
    if is_too_much(losses.prices):
        yield f"{_count(losses.prices)} prices fall by 90 % or more{_named(losses.prices)}"


def is_too_much(loss: Loss) -> bool:
    """More than half."""
    return 2 * loss.gone > loss.before


def _count(loss: Loss) -> str:
    return f"{loss.gone} of {loss.before}"


def _named(loss: Loss) -> str:
    return f" ({', '.join(loss.names)}{', …' if len(loss.names) < loss.gone else ''})"
