"""What ``database-load`` does: swaps the reference data in the storage for the fixtures."""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from fixtures import FixtureError, Fixtures, read_fixtures
from orderfood.couponfiles.progress_bar import coupon_codes
from orderfood.observe.logs import say
from orderfood.observe.tracing import Span, current_span, fail, span, start_span
from orderfood.program import Program, run_program
from orderfood.settings import Settings
from orderfood.store import load_menu, require_schema, storage_of, wait_for_schema
from scripts.guarding import Guard, LoadRefused
from scripts.load_runs import loaded, new_run, record, record_failure, show_runs
from storage import Storage
from storage.base import Watch
from storage.errors import StorageError
from storage.records import Change, LoadReport, LoadRun

logger = logging.getLogger("database-load")


async def load(settings: Settings, arguments: argparse.Namespace) -> None:
    """Checks all of the fixtures, then loads them; or shows what became of the last runs. Raises
    SettingsError, FixtureError, LoadRefused and StorageError; then the old data is untouched."""
    if arguments.command == "status":
        await show_runs(settings)
        return
    run = None if arguments.dry_run else new_run(settings)
    with span("dataload.execute", {"dataload.dry_run": arguments.dry_run}):
        try:
            await _load(settings, arguments, run)
        except (FixtureError, LoadRefused, StorageError) as error:
            if run:
                await record_failure(settings, run, error)
            raise


async def _load(settings: Settings, arguments: argparse.Namespace, run: LoadRun | None) -> None:
    start = time.perf_counter()
    storage = storage_of(settings)
    current_span().set_attribute("db.system.name", storage.backend)
    fixtures = await asyncio.to_thread(read_fixtures, settings.fixtures_dir)
    if storage.backend == "memory":
        async with coupon_codes(fixtures, settings):
            pass
        say(logger, "memory:// is loaded by order-food itself: the fixtures are fine, that is all")
        return
    guard = Guard(lenient=arguments.force or arguments.dry_run)
    report = await replace(
        storage,
        fixtures,
        settings,
        guard,
        run=run,
        wait=arguments.wait_for_schema,
    )
    _show(report, milliseconds=(time.perf_counter() - start) * 1000, dry_run=arguments.dry_run)
    if not arguments.force:
        guard.refuse()
    elif guard.problem:
        logger.warning("forced: %s", guard.problem)


async def replace(
    storage: Storage,
    fixtures: Fixtures,
    settings: Settings,
    guard: Guard,
    *,
    run: LoadRun | None,
    wait: bool = False,
) -> LoadReport:
    """One transaction on a storage that it connects and closes; the coupon files are read before
    it begins, and after it is clear that it can. ``run`` is what is recorded of it; None is a dry
    run. Raises StorageError, FixtureError, LoadRefused."""
    async with storage:
        await (wait_for_schema if wait else require_schema)(storage)
        if run:
            await record(storage, run)
        reading = span("dataload.readCoupons", {"coupon_files.count": len(fixtures.coupon_files)})
        with watching() as watch:
            report = await load_menu(
                storage,
                fixtures,
                settings,
                reading=reading,
                dry_run=run is None,
                watch=watch,
                approve=guard,
            )
        if run:
            await record(storage, loaded(run))
    current_span().set_attribute("dataload.catalogue_version", report.version)
    return report


@contextmanager
def watching() -> Iterator[Watch]:
    """Makes a span of each part of a load, a child of the span around it. The one whose work is
    not done when the block raises has failed."""
    parent, running = current_span(), dict[str, Span]()

    def watch(part: str, changes: Mapping[str, Change] | None) -> None:
        if changes is None:
            running[part] = start_span(f"dataload.load{part.capitalize()}", parent=parent)
            return
        ended = running.pop(part)
        for kind, change in changes.items():
            ended.set_attributes({f"{kind}.{n}": count for n, count in asdict(change).items()})
        ended.end()

    try:
        yield watch
    except BaseException as error:
        for failed in running.values():
            fail(failed, error)
            failed.end()
        raise


def _show(report: LoadReport, *, milliseconds: float, dry_run: bool) -> None:
    changes = {kind: asdict(change) for kind, change in report.changes.items()}
    for kind, counts in changes.items():
        words = ", ".join(f"{count} {what}" for what, count in counts.items())
        say(logger, f"{kind}: {words}", kind=kind, **counts)
    codes = _count_codes(report)
    say(
        logger,
        f"{'would load' if dry_run else 'loaded'} in {milliseconds:.0f} ms,"
        f" with {codes} codes of coupon files",
        file_codes=codes,
        duration_ms=round(milliseconds, 3),
        catalogue_version=report.version,
        dry_run=dry_run,
        **changes,
    )


def _count_codes(report: LoadReport) -> int:
    codes = report.changes["coupon_codes"]
    return codes.added + codes.changed + codes.unchanged


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command",
        nargs="?",
        choices=["status"],
        help="say what became of the last runs, and why; without it, load",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what a load would change, and change nothing"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="load even what takes away more than half of the products, keys or codes, or lets more"
        " than half of the prices fall by 90 %%",
    )
    parser.add_argument(
        "--wait-for-schema",
        action="store_true",
        help="wait, as long as it takes, until database-migration has brought the schema",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """What the console script calls once it has given way."""
    program = Program(
        "database-load",
        "Checks the fixtures and swaps the reference data for them in one transaction.",
        load,
        _add_arguments,
        expected_errors=(FixtureError, LoadRefused),
    )
    return run_program(program, argv)
