"""A real Jaeger on free ports, and what it has kept as its query API tells it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rig.ports import free_port
from rig.processes import PATIENCE

CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [jaeger, otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:0"}}
  jaeger_storage:
    backends: {{memory: {{memory: {{max_traces: 10000}}}}}}
receivers:
  jaeger: {{protocols: {{thrift_http: {{endpoint: "127.0.0.1:{thrift}"}}}}}}
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


@dataclass(frozen=True)
class Span:
    """A span as the query API gives it."""

    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw["operationName"])

    @property
    def id(self) -> str:
        return str(self.raw["spanID"])

    @property
    def trace_id(self) -> str:
        return str(self.raw["traceID"])

    @property
    def parent(self) -> str | None:
        return next((r["spanID"] for r in self.references("CHILD_OF")), None)

    def references(self, kind: str) -> list[dict[str, str]]:
        return [r for r in self.raw["references"] or [] if r["refType"] == kind]

    @property
    def start(self) -> int:
        """Microseconds since 1970."""
        return int(self.raw["startTime"])

    @property
    def end(self) -> int:
        return self.start + int(self.raw["duration"])

    @property
    def tags(self) -> dict[str, Any]:
        return {tag["key"]: tag["value"] for tag in self.raw["tags"]}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [{f["key"]: f["value"] for f in log["fields"]} for log in self.raw["logs"] or []]


class Jaeger:
    """A Jaeger that can be stopped and started again on the ports that it has."""

    def __init__(self, folder: Path) -> None:
        self._ports = {name: free_port() for name in ("query", "thrift", "otlp")}
        self._config = folder / "jaeger.yaml"
        self._config.write_text(CONFIG.format(**self._ports))
        self._log = folder / "jaeger.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['thrift']}/api/traces"

    @property
    def otlp_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['otlp']}"

    def start(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            if self._process is None or self._process.poll() is not None:
                self._launch()
            time.sleep(0.05)

    def _launch(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["jaeger", "--config", str(self._config)], stdout=log, stderr=log
            )

    def _answers(self) -> bool:
        if self._process is None:
            return False
        try:
            self.services()
        except OSError:
            return False
        return "Everything is ready" in self._log.read_text(errors="replace")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def _get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self._ports['query']}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"] or []

    def services(self) -> set[str]:
        return set(self._get("/api/services"))

    def spans(self, service: str) -> list[Span]:
        """All spans of a service, oldest first."""
        traces = self._get(f"/api/traces?service={service}&limit=1000")
        found = []
        for trace in traces:
            for span in trace["spans"]:
                if trace["processes"][span["processID"]]["serviceName"] == service:
                    found.append(Span(span))
        return sorted(found, key=lambda span: span.start)

    def wait_for(
        self, service: str, enough: Callable[[list[Span]], bool], seconds: float = PATIENCE
    ) -> list[Span]:
        """The spans of a service as soon as they are enough."""
        deadline = time.monotonic() + seconds
        while not enough(spans := self.spans(service)):
            assert time.monotonic() < deadline, [span.name for span in spans]
            time.sleep(0.05)
        return spans

    def wait_for_request(self, request_id: str) -> Span:
        """The server span of a request."""

        def mine(spans: list[Span]) -> list[Span]:
            return [s for s in spans if s.tags.get("request_id") == request_id]

        return mine(self.wait_for("order-food", lambda spans: bool(mine(spans))))[0]

    def children(self, service: str, parent: Span) -> list[Span]:
        return [span for span in self.spans(service) if span.parent == parent.id]


@contextmanager
def running_jaeger(folder: Path) -> Iterator[Jaeger]:
    """Skips where the program is not on the PATH."""
    if shutil.which("jaeger") is None:
        pytest.skip("the program jaeger is not on PATH")
    jaeger = Jaeger(folder)
    jaeger.start()
    try:
        yield jaeger
    finally:
        jaeger.stop()
