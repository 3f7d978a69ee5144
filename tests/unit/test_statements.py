from __future__ import annotations

import sqlite3

import pytest

from storage.sqlite.schema import split

TRIGGER = """CREATE TRIGGER t AFTER INSERT ON a BEGIN
    DELETE FROM b; DELETE FROM c;
END;"""


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" \n", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT ';';SELECT \";\"", ["SELECT ';';", 'SELECT ";"']),
        ("SELECT 'it''s;'; SELECT 2", ["SELECT 'it''s;';", "SELECT 2"]),
        ("-- one; two\nSELECT 1;", ["-- one; two\nSELECT 1;"]),
        ("/* one; two */ SELECT 1;\n", ["/* one; two */ SELECT 1;"]),
        (f"{TRIGGER} SELECT 1;", [TRIGGER, "SELECT 1;"]),
        ("SELECT 'open; SELECT 2;", ["SELECT 'open; SELECT 2;"]),
    ],
)
def test_a_script_is_split_where_sqlite_sees_an_end(script: str, statements: list[str]) -> None:
    assert [statement.strip() for statement in split(script)] == statements


def test_comments_alone_do_nothing() -> None:
    db = sqlite3.connect(":memory:")
    for statement in split("SELECT 1; -- and no more\n /* nor; here */ "):
        db.execute(statement)
    db.close()
