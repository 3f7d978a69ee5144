"""A collector of spans in this process, for what needs no Jaeger to look at."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rig.processes import PATIENCE


@dataclass(frozen=True)
class Received:
    """A span as it came."""

    name: str
    id: str
    seconds: float
    trace_id: str
    parent: str
    attributes: dict[str, str]


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP on a free port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Received] = []
        self.bodies: list[bytes] = []
        """All that came, texts as they are."""

    @property
    def settings(self) -> dict[str, str]:
        """What a program is told so that it sends its spans here, and soon."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def wait_for(self, request_id: str) -> Received:
        """The server span of a request."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.of_requests(request_id)):
            assert time.monotonic() < deadline, request_id
            time.sleep(0.05)
        return found[0]

    def of_requests(self, prefix: str) -> list[Received]:
        """The server spans of requests whose id begins so."""
        return [s for s in self.spans if s.attributes.get("request_id", "").startswith(prefix)]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {a.key: a.value.string_value for a in span.attributes}
                    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
                    ids = span.trace_id.hex(), span.parent_span_id.hex()
                    received = Received(span.name, span.span_id.hex(), seconds, *ids, attributes)
                    self.server.spans.append(received)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def running_collector() -> Iterator[Collector]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()
