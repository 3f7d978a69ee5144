"""A process to be killed: ``python -m tests.contract.child orders|lives|load URL``.

``orders`` stores orders, many at once, prints the id of each as soon as it is acknowledged, and
accepts every other one.
``lives`` stores orders and has each go its way, and prints id and version of each step likewise.
``load`` replaces the catalogue with codes that never end, and prints a line after many of them.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Iterator

from storage import Storage, open_storage
from tests.contract.database import act, new_catalogue, new_key, new_order


async def store_orders(storage: Storage) -> None:
    await asyncio.gather(*(store_forever(storage, number) for number in range(16)))


async def store_forever(storage: Storage, number: int) -> None:
    for count in itertools.count():
        key = new_key(f"{number} {count}")
        order = await storage.add_order(new_order(coupon_code="SAVE10"), key=key)
        print(order.id, key.key, flush=True)
        if count % 2:
            await act(storage, order.id, "accept")


async def live_orders(storage: Storage) -> None:
    await asyncio.gather(*(live_forever(storage) for _ in range(16)))


WAYS = (("accept", "ready", "complete"), ("cancel",), ("accept", "cancel"), ())


async def live_forever(storage: Storage) -> None:
    for way in itertools.cycle(WAYS):
        order = await storage.add_order(new_order(coupon_code="SAVE10"))
        print(order.id, order.version, flush=True)
        for action in way:
            order, _ = await act(storage, order.id, action)
            print(order.id, order.version, flush=True)


async def load(storage: Storage) -> None:
    await storage.replace_catalogue(new_catalogue(price=7), codes=endless_codes())


def endless_codes() -> Iterator[str]:
    yield from (f"{number:08}" for number in range(60_000))
    print("staged", flush=True)
    threading.Event().wait()


async def main(what: str, url: str) -> None:
    async with open_storage(url) as storage:
        await {"orders": store_orders, "lives": live_orders, "load": load}[what](storage)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
