"""Guests: users of whom nothing is stored but their orders.

A guest is whoever has a secret of 256 random bits, which a browser keeps in a cookie. The user id
is made of its hash, so that no log and no order gives the secret away.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from orderfood.shop.refusals import FieldError, Unprocessable
from storage.records import Coupon, User

MAX_OPEN_ORDERS = 3
"""Orders of one guest that may wait at once: whoever has paid nothing yet must not fill the
kitchen."""

_PREFIX = "guest "
"""Holds a blank, which no id of a fixture does."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """256 random bits in base64url."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether new_secret could have made it."""
    return _SECRET.fullmatch(text) is not None


def guest_of(secret: str) -> User:
    """The guest who has this secret."""
    digest = hashlib.sha256(f"orderfood guest {secret}".encode()).hexdigest()
    return User(f"{_PREFIX}{digest[:32]}", "Guest", ())


def is_guest(user: User) -> bool:
    """Whether guest_of made this user."""
    return user.id.startswith(_PREFIX)


def is_guest_id(user_id: str) -> bool:
    """Whether it is the id of a guest."""
    return user_id.startswith(_PREFIX)


def check_coupon(coupon: Coupon | None) -> None:
    """Raises Unprocessable for a coupon that is limited for each user: whoever has used it up would
    become another guest."""
    if coupon is not None and coupon.max_uses_per_user is not None:
        message = "the coupon is for customers with a key"
        raise Unprocessable("guest_coupon", message, (FieldError("couponCode", message),))


def check_open(count: int) -> None:
    """Raises Unprocessable when a guest with so many open orders may not place another one."""
    if count >= MAX_OPEN_ORDERS:
        message = f"{MAX_OPEN_ORDERS} orders wait already; a guest can have no more at once"
        raise Unprocessable("open_orders", message)
