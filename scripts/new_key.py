"""Prints a new API key, once, and what to add to users.json for it. Writes nothing anywhere.

python -m scripts.new_key --user demo --scope create_order --scope read_order --expires 90d
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from fixtures.entries import KeyMembers, Word
from orderfood.shop.orders import SCOPES, hash_key

KEY_BYTES = 32
"""256 bits cannot be guessed, so a plain SHA-256 is enough: docs/decisions/0004-key-hash.md."""

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def new_entry(key: str, scopes: Sequence[str], lifetime: timedelta | None) -> dict[str, object]:
    """The object for the key among a user's keys in users.json, as the load will accept it."""
    entry: dict[str, object] = {"hash": hash_key(key), "scopes": sorted(set(scopes))}
    if lifetime is not None:
        expires_at = datetime.now(UTC) + lifetime
        entry["expiresAt"] = expires_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    KeyMembers.model_validate(entry)
    return entry


def parse_lifetime(text: str) -> timedelta:
    """``90d``: a number of hours, days or weeks."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})([hdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of 12h, 90d, 4w and the like")
    return int(match[1]) * UNITS[match[2]]


def parse_user(text: str) -> str:
    """A user's id, as users.json may hold it."""
    try:
        return TypeAdapter(Word).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError("an id is 1 to 100 visible ASCII characters") from None


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for; argparse ends the program when that makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.new_key", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--user", required=True, type=parse_user, help="the user's id")
    parser.add_argument(
        "--scope",
        required=True,
        action="append",
        choices=SCOPES,
        help="what the key may do; may be given several times",
    )
    parser.add_argument(
        "--expires",
        type=parse_lifetime,
        metavar="90d",
        help="after so many h(ours), d(ays), w(eeks)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The script."""
    arguments = parse_arguments(argv)
    key = secrets.token_hex(KEY_BYTES)
    entry = new_entry(key, arguments.scope, arguments.expires)
    print(f"The key, shown this once and kept nowhere:\n\n  {key}\n")
    print(f"To be added to the keys of user {json.dumps(arguments.user)} in users.json:\n")
    print(f"  {json.dumps(entry)}\n")
    print("It opens nothing before database-load has loaded that.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
