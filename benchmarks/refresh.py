"""What a refresh of a large catalogue does to the requests meanwhile.

    python -m benchmarks.refresh --url postgresql://…/empty --coupons 100000

Serves a generated catalogue and sends requests at a steady pace: products, orders, and orders with
coupons. In turns it leaves the server alone, changes one price by a bare commit, and runs
``database-load`` with one price changed; ``--phases … elsewhere`` adds loads of another database as
a control. Prints the p99 of each phase, its ratio to idle, the
slowest request, and how long after the commit the price was served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from orderfood.shop.orders import hash_key

KEY = "apitest"
PACE = 0.005
"""Seconds between two requests."""

PHASE = 6.0
"""Seconds of each phase."""


def write_fixtures(folder: Path, products: int, users: int, coupons: int, price: float) -> None:
    """A catalogue of that size, whose first product has that price."""
    menu = [
        {
            "id": str(n),
            "name": f"Dish number {n}",
            "price": 5 + n % 50,
            "category": f"Kind {n % 40}",
        }
        for n in range(1, products + 1)
    ]
    menu[0]["price"] = price
    scopes = ["create_order", "read_order"]
    people = [
        {
            "id": f"user{n}",
            "name": f"User {n}",
            "keys": [{"hash": hash_key(f"key{n}"), "scopes": scopes}],
        }
        for n in range(users - 1)
    ]
    people.append(
        {"id": "demo", "name": "Demo", "keys": [{"hash": hash_key(KEY), "scopes": scopes}]}
    )
    codes = [
        {"code": f"PERSONAL-{n:07}", "kind": "percent", "value": 1 + n % 50, "maxUses": 1}
        for n in range(coupons)
    ]
    folder.mkdir(exist_ok=True)
    files = {"products": menu, "users": people, "coupons": codes, "orders": []}
    for name, entries in files.items():
        (folder / f"{name}.json").write_text(json.dumps(entries))


def change_price(folder: Path, price: float) -> None:
    """Gives the first product another price."""
    menu = json.loads((folder / "products.json").read_text())
    menu[0]["price"] = price
    (folder / "products.json").write_text(json.dumps(menu))


class Client:
    """Requests at a steady pace over several connections, and how long each of them took."""

    def __init__(self, port: int, products: int, coupons: int) -> None:
        self._port, self._products, self._coupons = port, products, coupons
        self._number = 0
        self.seconds: list[float] = []
        self.failed = 0

    async def run(self) -> None:
        """Until it is cancelled. A request that is due is sent whether or not others have ended."""
        queue: asyncio.Queue[float] = asyncio.Queue()
        workers = [asyncio.create_task(self._work(queue)) for _ in range(16)]
        due = time.perf_counter()
        try:
            while True:
                due += PACE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                queue.put_nowait(due)
        finally:
            for worker in workers:
                worker.cancel()

    async def _work(self, queue: asyncio.Queue[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            due = await queue.get()
            writer.write(self._request())
            if await read_status(reader) != 200:
                self.failed += 1
            self.seconds.append(time.perf_counter() - due)

    def _request(self) -> bytes:
        self._number += 1
        product = 1 + self._number % self._products
        if self._number % 3 == 0:
            return request("GET", f"/api/product/{product}")
        basket: dict[str, object] = {"items": [{"productId": str(product), "quantity": 1}]}
        if self._number % 3 == 1:
            code = (os.getpid() * 7919 + self._number) % self._coupons
            basket["couponCode"] = f"PERSONAL-{code:07}"
            return request("POST", "/api/order/quote", json.dumps(basket).encode())
        return request("POST", "/api/order", json.dumps(basket).encode())


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """One request, whole."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\napi_key: {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def read_status(reader: asyncio.StreamReader) -> int:
    """The status of an answer, which is read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = next(
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.lower().startswith("content-length")
    )
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[int]:
    """The port of an order-food on this database."""
    environment = {**os.environ, "STORAGE_URL": url, "PORT": "0", "LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orderfood", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        while b"listens on" not in (line := await process.stdout.readline()):
            assert line
        drained = asyncio.create_task(drain(process.stdout))
        yield int(json.loads(line)["url"].rpartition(":")[2])
        drained.cancel()
    finally:
        process.terminate()
        await process.wait()


async def drain(stream: asyncio.StreamReader) -> None:
    """Reads the log, which nobody wants, to its end."""
    while await stream.read(65536):
        pass


async def job(program: str, url: str, **settings: str) -> None:
    """Runs one of the jobs to its end."""
    environment = {**os.environ, "STORAGE_URL": url, "LOG_FORMAT": "json", **settings}
    module = {"migration": "scripts.migrate", "load": "scripts.load"}[program]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


async def served(port: int, price: float) -> float:
    """When the first product has that price."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(request("GET", "/api/product/1"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        if json.loads(await reader.readexactly(length))["price"] == price:
            writer.close()
            return time.perf_counter()
        await asyncio.sleep(0.01)


async def commit_price(url: str, price: float) -> float:
    """Changes the first product as a load would, without a load. When it was committed."""
    cents = round(price * 100)
    change = f"UPDATE products SET price = {cents} WHERE id = 1"
    announce = "UPDATE catalogue SET version = version + 1"
    if url.startswith("sqlite"):
        import sqlite3

        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10) as db:
            db.execute(change)
            db.execute(announce)
        db.close()
    else:
        import asyncpg

        connection = await asyncpg.connect(url)
        await connection.execute(f"BEGIN; {change}; {announce}; NOTIFY orderfood_catalogue; COMMIT")
        await connection.close()
    return time.perf_counter()


class Phases:
    """What was measured, by phase."""

    def __init__(self) -> None:
        self.p99: dict[str, list[float]] = {}
        self.failed = 0

    def add(self, name: str, client: Client, after: float | None) -> None:
        """Takes what the client has seen since the last time."""
        seen, client.seconds = sorted(client.seconds), []
        p99 = seen[int(len(seen) * 0.99)] * 1000
        self.p99.setdefault(name, []).append(p99)
        late = "" if after is None else f", served {after * 1000:.0f} ms after the commit"
        line = f"{name:8} p99 {p99:7.1f} ms, slowest {seen[-1] * 1000:7.1f} ms{late}"
        print(line, file=sys.stderr, flush=True)

    def summary(self) -> str:
        """The medians and their ratios to idle."""
        medians = {name: statistics.median(values) for name, values in self.p99.items()}
        idle = medians["idle"]
        parts = [f"{name} {value:.1f} ms ({value / idle:.2f} ×)" for name, value in medians.items()]
        return f"p99: {', '.join(parts)} {self.failed} failed"


async def measure(arguments: argparse.Namespace, folder: Path) -> Phases:
    """All phases in turns, each as many seconds long as the arguments say."""
    url, sizes = arguments.url, (arguments.products, arguments.users, arguments.coupons)
    write_fixtures(folder, *sizes, 5.0)
    if ELSEWHERE in arguments.phases:
        await fill(elsewhere(folder), folder)
    begin = time.perf_counter()
    await fill(url, folder)
    print(f"loaded in {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
    phases, price = Phases(), 5.0
    async with serving(url) as port:
        await served(port, price)
        client = Client(port, arguments.products, arguments.coupons)
        running = asyncio.create_task(client.run())
        await asyncio.sleep(2.0)
        client.seconds = []
        for _ in range(arguments.rounds):
            await asyncio.sleep(arguments.phase)
            phases.add("idle", client, None)
            for name in arguments.phases:
                price += 0.25
                after = await refresh(name, url, port, folder, price, arguments.phase)
                phases.add(name, client, after)
        running.cancel()
    phases.failed = client.failed
    return phases


async def fill(url: str, folder: Path) -> None:
    """Migrates and loads."""
    await job("migration", url)
    await job("load", url, FIXTURES_DIR=str(folder))


def elsewhere(folder: Path) -> str:
    """A database that no service reads."""
    return f"sqlite:///{folder}/elsewhere.db"


async def refresh(
    name: str, url: str, port: int, folder: Path, price: float, phase: float
) -> float | None:
    """Does what the phase is named for, and waits as long as one is. Seconds from the commit until
    the price is served; of a load from its end, which comes just after its commit; None where
    nothing is served anew."""
    ends = time.perf_counter() + phase
    after = await CHANGES[name](url, folder, price)
    if after is not None:
        after = max(0.0, await served(port, price) - after)
    await asyncio.sleep(max(0.0, ends - time.perf_counter()))
    return after


async def load_price(url: str, folder: Path, price: float) -> float:
    """By database-load. When it was committed, or just after."""
    change_price(folder, price)
    await job("load", url, FIXTURES_DIR=str(folder))
    return time.perf_counter()


async def load_elsewhere(url: str, folder: Path, price: float) -> None:
    """The same work of the processor, and none of it to the service's data."""
    await load_price(elsewhere(folder), folder, price)


ELSEWHERE = "elsewhere"
CHANGES: dict[str, Callable[[str, Path, float], Awaitable[float | None]]] = {
    "commit": lambda url, _, price: commit_price(url, price),
    "load": load_price,
    ELSEWHERE: load_elsewhere,
}


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What is measured, and how long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", required=True, help="an empty database, which is filled")
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--coupons", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phases", nargs="+", choices=CHANGES, default=["commit", "load"])
    parser.add_argument("--phase", type=float, default=PHASE, help="seconds")
    return parser.parse_args(argv)


def main() -> None:
    """Reads the arguments and measures."""
    with tempfile.TemporaryDirectory() as folder:
        phases = asyncio.run(measure(parse_options(), Path(folder) / "fixtures"))
    print(phases.summary(), flush=True)


if __name__ == "__main__":
    main()
