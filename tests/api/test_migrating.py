"""Orders while a migration waits."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from rig.processes import PATIENCE, command, environment, prepare, serving
from storage import SCHEMA_VERSION
from tests.api.client import connect
from tests.versions import EXPAND, add_migration, copy_tree

BASKET = {"items": [{"productId": "1", "quantity": 2}], "couponCode": "SAVE10"}


@contextmanager
def held(url: str, table: str) -> Iterator[None]:
    """While a transaction has read a table and goes on."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(url))
    loop.run_until_complete(connection.execute(f"BEGIN; SELECT FROM {table}"))
    try:
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


def test_orders_go_on_while_a_migration_waits_for_its_lock(
    postgres_url: str, tmp_path: Path
) -> None:
    """Whoever comes for a table waits behind a migration that waits for it, so it soon lets go."""
    next_version = copy_tree(tmp_path / "next")
    add_migration(next_version, 1, EXPAND)
    prepare(postgres_url)
    said = tmp_path / "said"
    with serving(postgres_url) as server, connect(server.url) as client, said.open("w") as output:
        with held(postgres_url, "orders"):
            migrating = subprocess.Popen(
                command("database-migration"),
                env=environment(PYTHONPATH=next_version, STORAGE_URL=postgres_url),
                cwd=next_version,
                stdout=output,
            )
            try:
                while "got no lock within 2 s" not in said.read_text():
                    assert client.order(BASKET).status == 200
                    assert migrating.poll() is None
                assert client.order(BASKET).status == 200
            except BaseException:
                migrating.kill()
                migrating.wait()
                raise
        assert migrating.wait(PATIENCE) == 0
        assert f"applied {SCHEMA_VERSION + 1:04}_step" in said.read_text()
        assert client.order(BASKET).status == 200
