"""Splitting a script into statements, for a driver whose own script runner would commit first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator


def split(script: str) -> Iterator[str]:
    """The statements of an SQLite script, each with the comments before it.

    A semicolon ends a statement unless it stands in a string, a comment or a trigger, which SQLite
    itself judges. What follows the last semicolon comes last, unless it is blank.

    >>> list(split("SELECT ';'; SELECT 2"))
    ["SELECT ';';", ' SELECT 2']
    """
    *pieces, rest = script.split(";")
    statement = ""
    for piece in pieces:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    rest = statement + rest
    if rest.strip():
        yield rest
