"""The storage that the settings name: opened, its schema awaited, its menu loaded."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import TYPE_CHECKING

from orderfood.observe.logs import say
from orderfood.settings import Settings, SettingsError
from orderfood.settings.secrets import mask_url
from storage import SCHEMA_VERSION, Storage, open_storage
from storage.base import Approve, Watch
from storage.errors import InvalidStorageURL, SchemaOutdated
from storage.records import LoadReport

if TYPE_CHECKING:
    from fixtures import Fixtures

logger = logging.getLogger(__name__)


def storage_of(settings: Settings) -> Storage:
    """The storage that the settings name, not yet connected. Raises SettingsError."""
    try:
        return open_storage(
            settings.storage_url,
            pool_size=settings.storage_pool_size,
            wait_seconds=settings.storage_wait_seconds,
            url_file=settings.storage_url_file,
        )
    except InvalidStorageURL as error:
        shown = ascii(mask_url(settings.storage_url))
        raise SettingsError(f"{_name_of_url(settings)} is {shown}: {error}") from error


def _name_of_url(settings: Settings) -> str:
    file = settings.storage_url_file
    return f"the URL in STORAGE_URL_FILE ({file})" if file else "STORAGE_URL"


async def require_schema(storage: Storage) -> None:
    """Raises SchemaOutdated, which says what to run, when the schema is older than this code."""
    version = await storage.get_schema_version()
    if version < SCHEMA_VERSION:
        raise SchemaOutdated(
            f"the schema is at version {version} and this program needs {SCHEMA_VERSION}:"
            " run database-migration first"
        )


SCHEMA_INTERVAL = 1.0
"""Seconds between two looks for a schema that is waited for."""


async def wait_for_schema(storage: Storage) -> None:
    """Returns when the schema is as new as this code needs it; says once that it waits."""
    logged = False
    while (version := await storage.get_schema_version()) < SCHEMA_VERSION:
        if not logged:
            say(
                logger,
                f"the schema is at version {version} and this program needs {SCHEMA_VERSION}:"
                " waiting for database-migration",
            )
        logged = True
        await asyncio.sleep(SCHEMA_INTERVAL)


async def prepare_storage(storage: Storage, settings: Settings) -> None:
    """Refuses a schema that is too old. In memory there is nothing yet, and no job could bring it:
    there the fixtures are loaded here. Raises SchemaOutdated, FixtureError."""
    await require_schema(storage)
    if storage.backend == "memory":
        from fixtures import read_fixtures  # a migration does without it and pydantic

        fixtures = await asyncio.to_thread(read_fixtures, settings.fixtures_dir)
        await load_menu(storage, fixtures, settings)


async def load_menu(
    storage: Storage,
    fixtures: Fixtures,
    settings: Settings,
    *,
    reading: AbstractContextManager[object] | None = None,
    dry_run: bool = False,
    watch: Watch | None = None,
    approve: Approve | None = None,
) -> LoadReport:
    """Swaps the reference data for these fixtures, in one transaction, as replace_catalogue does.
    The coupon files are read before it begins, within ``reading``. Raises StorageError,
    FixtureError, and what ``approve`` raises; then the old data is untouched."""
    from orderfood.couponfiles.progress_bar import coupon_codes  # as above

    async with AsyncExitStack() as stack:
        with reading or nullcontext():
            codes = await stack.enter_async_context(coupon_codes(fixtures, settings))
        return await storage.replace_catalogue(
            fixtures.catalogue,
            codes=codes,
            sample_orders=fixtures.sample_orders,
            dry_run=dry_run,
            watch=watch,
            approve=approve,
        )
