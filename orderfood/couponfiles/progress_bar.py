"""Searches coupon files on a thread, with a progress bar or log lines of its progress."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fixtures import FixtureError, Fixtures
from orderfood.couponfiles import Progress, Stopped, find_codes, prefer_avx2
from orderfood.observe.logs import say
from orderfood.settings import Settings

if TYPE_CHECKING:
    from orderfood.couponfiles.result import Codes

logger = logging.getLogger("coupon-files")

QUIET_SECONDS = 0.5
"""Small files are read before anybody would want to know how far that is."""

BAR_SECONDS = 0.1
LOG_SECONDS = 5.0
"""How often progress is shown, on a terminal and elsewhere."""


@asynccontextmanager
async def coupon_codes(
    fixtures: Fixtures, settings: Settings
) -> AsyncIterator[Codes | tuple[str, ...]]:
    """The codes that stand in at least two of the coupon files, for as long as the block lasts.
    Says what lies beside them and is passed over.

    They are found on threads, and what is too much for memory lies in SPOOL_DIR. When the task is
    cancelled the threads end before this does. Raises FixtureError.
    """
    files = fixtures.coupon_files
    if fixtures.passed_over:
        names = ", ".join(map(ascii, fixtures.passed_over))
        say(logger, f"no coupon files, passed over: {names}", passed_over=fixtures.passed_over)
    if not files:
        yield ()
        return
    progress = Progress()
    shown = asyncio.create_task(_show(progress, as_text=settings.log_format == "text"))
    try:
        codes = await _find(files, settings.spool_dir, progress)
    finally:
        shown.cancel()
        with suppress(asyncio.CancelledError):
            await shown
    with codes:
        yield codes


async def _find(files: Sequence[Path], spool_dir: Path | None, progress: Progress) -> Codes:
    _import_numpy()
    work = asyncio.create_task(asyncio.to_thread(find_codes, files, spool_dir, progress))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        progress.stop()
        with suppress(Stopped, FixtureError):
            (await work).close()
        raise


def _import_numpy() -> None:
    """Imports it, and isal; it says so in a warning when the processor lacks what it is told not to
    use. Raises FixtureError where they are not installed, as in the image of order-food."""
    prefer_avx2()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        try:
            import isal
            import numpy as np
        except ImportError as error:
            raise FixtureError(
                f"coupon files are read with numpy and isal, which are not installed ({error}):"
                " the image database-load has them"
            ) from error
        del np, isal


async def _show(progress: Progress, *, as_text: bool) -> None:
    await asyncio.sleep(QUIET_SECONDS)
    if as_text and sys.stderr is not None and sys.stderr.isatty():
        await _show_bar(progress)
    else:
        await _log_lines(progress)


async def _show_bar(progress: Progress) -> None:
    from tqdm import tqdm  # only for a person who watches

    while True:
        stage = progress.stage
        with tqdm(
            desc=f"coupon files: {stage}",
            total=progress.total,
            initial=progress.done,
            unit="",
            unit_scale=True,
            leave=False,
        ) as bar:
            while progress.stage == stage:
                bar.total, bar.n = progress.total, progress.done
                bar.refresh()
                await asyncio.sleep(BAR_SECONDS)


async def _log_lines(progress: Progress) -> None:
    while True:
        percent = 100 * progress.done // max(1, progress.total)
        logger.info(
            "coupon files: %s, %d %%",
            progress.stage,
            percent,
            extra={"fields": {"stage": progress.stage, "percent": percent}},
        )
        await asyncio.sleep(LOG_SECONDS)
