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

from tornado.web import Application, RequestHandler

from rig.postgres import free_port, wait_for_port
from rig.processes import ROOT

CONFIG = """
service:
  extensions: [jaeger_storage]
  pipelines:
    traces: {{receivers: [jaeger], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage:
    backends: {{memory: {{memory: {{max_traces: 10000}}}}}}
receivers:
  jaeger: {{protocols: {{thrift_http: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


@contextmanager
def collector(folder: Path) -> Iterator[str]:
    """The URL that takes spans as thrift over HTTP."""
    port = free_port()
    config = folder / "jaeger.yaml"
    config.write_text(CONFIG.format(port=port))
    jaeger = shutil.which("jaeger")
    sink = [sys.executable, "-m", "benchmarks.tracing", "--port", str(port)]
    command = [jaeger, "--config", str(config)] if jaeger else sink
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/api/traces"
    finally:
        process.kill()
        process.wait()


class SpansHandler(RequestHandler):
    """Takes them."""

    def post(self) -> None:
        self.set_status(202)


async def serve(port: int) -> None:
    Application([("/api/traces", SpansHandler)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
