"""A process to be killed: ``python -m tests.contract.child orders|load URL``.

``orders`` stores orders, many at once, and prints the id of each as soon as it is acknowledged.
``load`` replaces the catalogue with codes that never end, and prints a line after many of them.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Iterator

from storage import Storage, open_storage
from tests.contract.database import new_catalogue, new_key, new_order


async def store_orders(storage: Storage) -> None:
    await asyncio.gather(*(store_forever(storage, number) for number in range(16)))


async def store_forever(storage: Storage, number: int) -> None:
    for count in itertools.count():
        key = new_key(f"{number} {count}")
        order = await storage.add_order(new_order(coupon_code="SAVE10"), key=key)
        print(order.id, key.key, flush=True)


async def load(storage: Storage) -> None:
    await storage.replace_catalogue(new_catalogue(price=7), codes=endless_codes())


def endless_codes() -> Iterator[str]:
    yield from (f"{number:08}" for number in range(60_000))
    print("staged", flush=True)
    threading.Event().wait()


async def main(what: str, url: str) -> None:
    async with open_storage(url) as storage:
        await {"orders": store_orders, "load": load}[what](storage)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
