"""Where the services send their spans: a Jaeger where that program is installed, else a process
that takes them and forgets them."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tornado.web import Application, RequestHandler

from rig.ports import free_port
from rig.postgres import wait_for_port
from rig.processes import ROOT

CONFIG = """
service:
  extensions: [jaeger_storage]
  pipelines:
    traces: {{receivers: [jaeger, otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage:
    backends: {{memory: {{memory: {{max_traces: 10000}}}}}}
receivers:
  jaeger: {{protocols: {{thrift_http: {{endpoint: "127.0.0.1:{thrift}"}}}}}}
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


class Collector(NamedTuple):
    """Where one process takes spans."""

    thrift: str
    """As thrift over HTTP, which order-food and the FastAPI service send: the whole URL."""
    otlp: str
    """As OTLP over HTTP, which is what Go's exporter sends: the URL without a path."""


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    thrift, otlp = free_port(), free_port()
    config = folder / "jaeger.yaml"
    config.write_text(CONFIG.format(thrift=thrift, otlp=otlp))
    jaeger = shutil.which("jaeger")
    sink = [sys.executable, "-m", "benchmarks.tracing", "--ports", str(thrift), str(otlp)]
    command = [jaeger, "--config", str(config)] if jaeger else sink
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        for port in (thrift, otlp):
            wait_for_port(port, process)
        yield Collector(f"http://127.0.0.1:{thrift}/api/traces", f"http://127.0.0.1:{otlp}")
    finally:
        process.kill()
        process.wait()


class SpansHandler(RequestHandler):
    """Takes them."""

    def initialize(self, status: int) -> None:
        self.success = status

    def post(self) -> None:
        self.set_status(self.success)


async def serve(ports: list[int]) -> None:
    taken = Application(
        [
            ("/api/traces", SpansHandler, {"status": 202}),
            ("/v1/traces", SpansHandler, {"status": 200}),
        ]
    )
    for port in ports:
        taken.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", nargs="+", type=int, required=True)
    asyncio.run(serve(parser.parse_args().ports))
