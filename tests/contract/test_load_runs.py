"""What a storage remembers of the runs of database-load."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from storage.records import KEPT_LOAD_RUNS, LoadRun
from tests.contract.database import NOW, Database


def new_run(number: int) -> LoadRun:
    return LoadRun(uuid4(), f"pod-{number}", NOW + timedelta(hours=number))


async def test_runs_and_what_became_of_them(database: Database) -> None:
    first, second, third = (new_run(number) for number in range(3))
    async with database.open_two() as (one, two):
        assert await one.list_load_runs(20) == []
        await one.record_load_run(second)
        await two.record_load_run(first)
        assert await one.list_load_runs(20) == [second, first]
        ended = replace(second, ended_at=NOW, outcome="failed", message="it's ä 'price'")
        await two.record_load_run(ended)
        await two.record_load_run(replace(third, ended_at=NOW, outcome="loaded"))
        assert (await one.list_load_runs(2))[1] == ended
        assert await one.list_load_runs(20) == await two.list_load_runs(20)


async def test_the_oldest_are_forgotten(database: Database) -> None:
    runs = [new_run(number) for number in range(KEPT_LOAD_RUNS + 2)]
    async with database.open() as storage:
        for run in runs:
            await storage.record_load_run(run)
        await storage.record_load_run(replace(runs[-1], ended_at=NOW, outcome="loaded"))
        kept = await storage.list_load_runs(1000)
    assert [run.id for run in kept] == [run.id for run in reversed(runs[2:])]
