"""make observe: what it starts is there, and is gone after Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from rig.ports import free_port
from rig.processes import PATIENCE, ROOT, environment


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def until(found: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if found():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.skipif(
    not (shutil.which("jaeger") and shutil.which("prometheus")),
    reason="the programs jaeger and prometheus are not on PATH",
)
@pytest.mark.usefixtures("default_jaeger")
def test_all_of_it_is_there_and_then_gone(tmp_path: Path) -> None:
    port = free_port()
    settings = environment(STORAGE_URL=f"sqlite:///{tmp_path}/observe.db", PORT=port)
    del settings["JAEGER_ENDPOINT"]
    process = subprocess.Popen(
        # in the background of a script Ctrl-C is ignored until somebody asks for it
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "rig.observe"],
        env={**settings, "OTEL_BSP_SCHEDULE_DELAY": "100", "LOG_FORMAT": "text"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        addresses: dict[str, str] = {}
        while "listens on" not in (line := process.stdout.readline()):
            assert line, "it ended"
            name, _, address = line.partition(" ")
            addresses[name] = address.strip()
        traces = addresses["Jaeger"]
        queries = addresses["Prometheus"].replace("/alerts", "/api/v1/query?query=up")
        urllib.request.urlopen(f"http://localhost:{port}/api/product", timeout=10).close()
        until(lambda: get(traces)["data"])
        until(lambda: get(queries)["data"]["result"])
        process.send_signal(signal.SIGINT)
        # each of the three may take its time on a busy machine
        assert process.wait(3 * PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
        if process.stdout:
            process.stdout.close()
    with pytest.raises(OSError, match="refused"):
        get(queries)
