"""The next version of the project, and one that is broken: copies of this tree with one more
migration."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rig.processes import ROOT
from storage import SCHEMA_VERSION

EXPAND = "ALTER TABLE orders ADD COLUMN gift_note text;\n"
"""What a first, expanding step looks like: the code of today neither reads nor writes it."""

BROKEN = "SELECT no_such_column FROM orders;\n"


LEFT_OUT = (".git", ".venv", ".tox", ".*_cache", ".hypothesis", "build", "*.egg-info", "*.db*")


def copy_tree(folder: Path) -> Path:
    """What a clone of this tree would hold, with what is not committed yet."""
    ignored = shutil.ignore_patterns(*LEFT_OUT, "__pycache__")
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def add_migration(tree: Path, steps: int, statement: str) -> None:
    """The migration ``steps`` after the newest, and code that needs it."""
    version = SCHEMA_VERSION + steps
    for backend in ("sqlite", "postgres"):
        (tree / "migrations" / backend / f"{version:04}_step.sql").write_text(statement)
    base = tree / "storage" / "base.py"
    text, count = re.subn(
        r"^SCHEMA_VERSION = \d+$", f"SCHEMA_VERSION = {version}", base.read_text(), flags=re.M
    )
    assert count == 1
    base.write_text(text)
