"""Loading a catalogue: its parameters, its difference to the stored one, what it takes away. Pure
functions, the same for every backend."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from storage.base import Approve, Watch
from storage.errors import ValueRejected
from storage.records import Catalogue, Change, Coupon, Loss, Losses, Order, Product, User

Entry = TypeVar("Entry")

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold_ascii(code: str) -> str:
    """The code in lower case as far as ASCII goes: what two spellings of one code have in common.

    >>> fold_ascii("SÄVE10")
    'sÄve10'
    """
    return code.lower() if code.isascii() else code.translate(_LOWER)


@dataclass(frozen=True, slots=True)
class Difference(Generic[Entry]):
    """How to get from the stored entries to new ones: delete ``outdated``, insert ``fresh``."""

    outdated: tuple[Entry, ...]
    fresh: tuple[Entry, ...]
    change: Change


def difference(
    old: Iterable[Entry], new: Iterable[Entry], key: Callable[[Entry], Hashable]
) -> Difference[Entry]:
    """What differs between two sets of entries that ``key`` tells apart."""
    before, after = {key(entry): entry for entry in old}, {key(entry): entry for entry in new}
    same = {name for name, entry in after.items() if before.get(name) == entry}
    fresh = tuple(entry for name, entry in after.items() if name not in same)
    outdated = tuple(entry for name, entry in before.items() if name not in same)
    changed = len(before.keys() & {key(entry) for entry in fresh})
    return Difference(
        outdated,
        fresh,
        Change(
            added=len(fresh) - changed,
            changed=changed,
            removed=len(outdated) - changed,
            unchanged=len(after) - len(fresh),
        ),
    )


@dataclass(frozen=True, slots=True)
class CatalogueDifference:
    """What a load has to write, apart from the codes of the coupon files and the orders."""

    products: Difference[Product]
    users: Difference[User]
    coupons: Difference[Coupon]
    file_coupon_differs: bool

    @property
    def empty(self) -> bool:
        """Whether both catalogues are equal."""
        parts = (self.products, self.users, self.coupons)
        return not (self.file_coupon_differs or any(p.outdated or p.fresh for p in parts))

    def changes(self, codes: Change, orders: Change) -> Mapping[str, Change]:
        """The changes by kind, as a load reports them. Codes that stay have changed when what they
        are worth has."""
        return MappingProxyType(
            {
                "products": self.products.change,
                "users": self.users.change,
                **self.coupon_changes(codes),
                "orders": orders,
            }
        )

    def coupon_changes(self, codes: Change) -> Mapping[str, Change]:
        """The changes of the coupons and of the codes of the coupon files."""
        if self.file_coupon_differs:
            codes = replace(codes, changed=codes.unchanged, unchanged=0)
        return {"coupons": self.coupons.change, "coupon_codes": codes}


def compare(old: Catalogue, new: Catalogue) -> CatalogueDifference:
    """What differs between two catalogues."""
    return CatalogueDifference(
        difference(old.products, new.products, lambda product: product.id),
        difference(old.users, new.users, lambda user: user.id),
        difference(old.coupons, new.coupons, lambda coupon: fold_ascii(coupon.code)),
        old.file_coupon != new.file_coupon,
    )


FALLEN = 10
"""A price that is divided by so much, or more, has fallen."""

NAMED = 5
"""How many of what is lost are named."""


def losses(old: Catalogue, new: Catalogue, codes: Change) -> Losses:
    """What a load takes from a shop: ``codes`` says it of the coupon files' codes. What has ended
    already, an expired key or coupon, is as good as none, before and after."""
    now = datetime.now(UTC)
    old, new, codes = (
        _in_force(old, now),
        _in_force(new, now),
        _codes_in_force(old, new, codes, now),
    )
    prices = {product.id: product.price for product in new.products}
    stay = [product for product in old.products if product.id in prices and product.price]
    fallen = [product for product in stay if prices[product.id] * FALLEN <= product.price]
    coupons = {fold_ascii(coupon.code) for coupon in new.coupons}
    lost_coupons = [one for one in old.coupons if fold_ascii(one.code) not in coupons]
    hashes = {key.hash for user in new.users for key in user.keys}
    owners = [(user.id, key.hash) for user in old.users for key in user.keys]
    file_codes = codes.changed + codes.removed + codes.unchanged
    return Losses(
        products=_loss(old.products, [p.id for p in old.products if p.id not in prices]),
        keys=_loss(owners, [user for user, hash_ in owners if hash_ not in hashes]),
        codes=Loss(file_codes + len(old.coupons), codes.removed + len(lost_coupons)),
        file_codes=Loss(file_codes, codes.removed),
        prices=_loss(stay, [product.id for product in fallen]),
    )


def _in_force(catalogue: Catalogue, now: datetime) -> Catalogue:
    users = [
        replace(user, keys=tuple(k for k in user.keys if not _has_ended(k.expires_at, now)))
        for user in catalogue.users
    ]
    coupons = tuple(one for one in catalogue.coupons if not _has_ended(one.valid_until, now))
    return replace(catalogue, users=tuple(users), coupons=coupons)


def _codes_in_force(old: Catalogue, new: Catalogue, codes: Change, now: datetime) -> Change:
    """The codes of the coupon files are worth what one coupon says, and end with it."""
    before, after = (_has_value(each.file_coupon, now) for each in (old, new))
    if not before:
        return Change()
    if not after:
        return Change(removed=codes.changed + codes.removed + codes.unchanged)
    return codes


def _has_value(coupon: Coupon | None, now: datetime) -> bool:
    return coupon is not None and not _has_ended(coupon.valid_until, now)


def _has_ended(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now


def _loss(before: Sequence[object], names: Sequence[object]) -> Loss:
    return Loss(len(before), len(names), tuple(map(str, dict.fromkeys(names)))[:NAMED])


def unapproved(lost: Losses) -> None:
    """Approves every load."""


def unwatched(part: str, changes: Mapping[str, Change] | None) -> None:
    """Ignores the progress of a load."""


def normalized(catalogue: Catalogue) -> Catalogue:
    """The catalogue in the order in which it reads back. Raises ValueRejected when an entry stands
    in it twice."""
    _refuse_repeats("product", (product.id for product in catalogue.products))
    _refuse_repeats("user", (user.id for user in catalogue.users))
    _refuse_repeats("key", (key.hash for user in catalogue.users for key in user.keys))
    _refuse_repeats("coupon", (fold_ascii(coupon.code) for coupon in catalogue.coupons))
    return Catalogue(
        products=tuple(sorted(catalogue.products, key=lambda product: product.id)),
        users=tuple(sorted(catalogue.users, key=lambda user: user.id)),
        coupons=tuple(sorted(catalogue.coupons, key=lambda coupon: coupon.code)),
        file_coupon=catalogue.file_coupon and replace(catalogue.file_coupon, code=""),
    )


def _refuse_repeats(kind: str, names: Iterable[Hashable]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueRejected(f"{kind} {repeated[0]} stands twice in the catalogue")


class CodesFailed(Exception):
    """Carries what iterating the codes raised past the translation of the driver's errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class CodeReader:
    """Reads codes in chunks; :meth:`next_chunk` may run on another thread."""

    def __init__(self, codes: Iterable[str], size: int = 20_000) -> None:
        self._codes: Iterator[str] | None = None
        self._source = codes
        self._size = size

    def next_chunk(self) -> list[str]:
        """The next codes; empty after the last. Raises CodesFailed."""
        try:
            if self._codes is None:
                self._codes = iter(self._source)
            return list(islice(self._codes, self._size))
        except Exception as error:
            raise CodesFailed(error) from error


class Load(NamedTuple):
    """What ``replace_catalogue`` was called with."""

    wanted: Catalogue
    codes: CodeReader
    sample_orders: Sequence[Order]
    watch: Watch
    approve: Approve
    dry_run: bool
