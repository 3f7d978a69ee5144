"""The storage that the settings name, and the schema that it has to have."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures import read_fixtures
from orderfood import store
from orderfood.settings import SettingsError, read_settings
from orderfood.store import load_menu, require_schema, storage_of
from storage import SCHEMA_VERSION, open_storage
from storage.errors import InvalidStorageURL, SchemaOutdated


def test_a_url_that_the_storage_refuses_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_storage(url: str, **options: object) -> None:
        raise InvalidStorageURL("a database after the slash")

    monkeypatch.setattr(store, "open_storage", open_storage)
    with pytest.raises(SettingsError) as caught:
        storage_of(read_settings({"STORAGE_URL": "postgresql://u:s3cret@h"}))
    expected = "STORAGE_URL is 'postgresql://u:***@h': a database after the slash"
    assert str(caught.value) == expected


class FakeStorage:
    """As much of a storage as a check of its schema needs."""

    def __init__(self, version: int) -> None:
        self.version = version

    async def get_schema_version(self) -> int:
        """The version that it was told."""
        return self.version


async def test_a_schema_that_is_new_enough() -> None:
    await require_schema(FakeStorage(SCHEMA_VERSION))  # type: ignore[arg-type]
    await require_schema(FakeStorage(SCHEMA_VERSION + 1))  # type: ignore[arg-type]


async def test_a_schema_that_is_too_old() -> None:
    with pytest.raises(SchemaOutdated, match="run database-migration first"):
        await require_schema(FakeStorage(SCHEMA_VERSION - 1))  # type: ignore[arg-type]


async def test_a_menu_is_loaded_whole_or_only_looked_at() -> None:
    settings = read_settings({"STORAGE_URL": "memory://"})
    fixtures = read_fixtures(settings.fixtures_dir)
    async with open_storage("memory://") as storage:
        before = (await storage.get_versions()).catalogue
        report = await load_menu(storage, fixtures, settings, dry_run=True)
        assert report.changes["products"].added == len(fixtures.catalogue.products)
        assert (await storage.get_versions()).catalogue == before
        report = await load_menu(storage, fixtures, settings)
        assert (await storage.get_versions()).catalogue == report.version != before


def test_a_migration_starts_without_what_reads_fixtures() -> None:
    code = "import sys, scripts.migrate; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "numpy", "fixtures", "tornado"} & set(run.stdout.split())
