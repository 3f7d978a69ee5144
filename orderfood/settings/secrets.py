"""Passwords are left out of whatever is shown: errors, log lines, spans."""

from __future__ import annotations

import re

MAX_MESSAGE = 4096
"""Characters of a message that are logged."""


def shown(value: str) -> str:
    """A variable's value as an error shows it: in ASCII, without a password, and not too long."""
    text = ascii(mask_url(value))
    return text if len(text) <= 200 else f"{text[:200]}..."


def mask_url(text: str) -> str:
    """``text`` with the password of a URL (or of a libpq connection string) replaced by ``***``.

    Works on what is no valid URL, too, for those are the ones that end up in an error. In doubt
    it hides too much.
    """
    text = _PASSWORD_PARAMETER.sub(r"\1***", text)
    at = text.rfind("@")
    if at < 0:
        return _PASSWORD_WITHOUT_HOST.sub(r"\1***", text)
    scheme = _SCHEME.match(text)
    colon = text.find(":", scheme.end() if scheme else 0, at)
    return text if colon < 0 else f"{text[: colon + 1]}***{text[at:]}"


def hide_passwords(text: str, most: int = MAX_MESSAGE) -> str:
    """``text`` with the passwords of the URLs in it masked: drivers like to quote what they were
    given. For a text that is nothing but a URL there is the stricter :func:`mask_url`.

    At most ``most`` characters of it, for a client may have a hand in it; where that cuts a URL,
    its password is masked to the end.
    """
    if len(text) > most:
        return f"{_masked(text[:most] + '@')[:-1]}… ({len(text) - most} more characters)"
    return _masked(text)


def _masked(text: str) -> str:
    if "://" not in text:
        return text
    return _WORD.sub(lambda word: _masked_word(word[0]), text)


def _masked_word(word: str) -> str:
    """The password of the first URL in it that has one, and all that follows as far as the last @:
    a password may hold anything."""
    at = word.rfind("@")
    slashes = word.find("://", 1, at) if at > 0 else -1
    while slashes >= 0:
        user = _USER.match(word, slashes + 3, at)
        if user is not None:
            return f"{word[: user.end()]}***{word[at:]}"
        slashes = word.find("://", slashes + 3, at)
    return word


_PASSWORD_PARAMETER = re.compile(r"((?:password|passwd|pwd)\s*=\s*)(?:'[^']*'|[^&\s]*)", re.I)
_SCHEME = re.compile(r"[\w+.-]*://")
_PASSWORD_WITHOUT_HOST = re.compile(r"(://[^:/?#\[]*:)(?!\d+(?:[/?#,]|$))[^/?#]+")
_WORD = re.compile(r"\S+")
_USER = re.compile(r"[^:/@]*:")
