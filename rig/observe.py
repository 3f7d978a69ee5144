"""``make observe``: order-food with a real Jaeger and a real Prometheus beside it.

What is not on the PATH is left out, and said. Ctrl-C, or the end of order-food, ends them all.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orderfood.settings import Settings, read_settings
from rig.ports import free_port

JAEGER = 16686
"""Where a Jaeger without a configuration of its own answers queries."""

PROMETHEUS = 9090
START_SECONDS = 20.0
END_SECONDS = 5.0
"""What is not gone by then is killed: both keep nothing that anybody will read again."""

CONFIG = """
global: {{scrape_interval: 5s, evaluation_interval: 5s}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: order-food, static_configs: [{{targets: ["{target}"]}}]}}
"""

RULES = Path(__file__).parent.parent / "chart/order-food/files/alerts.yaml"


def main() -> int:
    """Runs until order-food ends."""
    settings = read_settings()
    # from here on SIGTERM, too, lets every block end what it has started; and SIGINT where whoever
    # started this had it ignored, as a shell does for what runs in the background of a script
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        addresses = {"order-food": f"http://localhost:{settings.port}/docs"}
        addresses |= stack.enter_context(jaeger())
        addresses |= stack.enter_context(prometheus(settings))
        for program in ("scripts.migrate", "scripts.load"):
            subprocess.run([sys.executable, "-m", program], check=True)
        for name, address in addresses.items():
            print(f"{name:<10} {address}", flush=True)
        return serve()


def serve() -> int:
    """Ctrl-C is passed on, once: order-food ends at once when it comes twice."""
    command = [sys.executable, "-m", "orderfood"]
    process = subprocess.Popen(command, start_new_session=True)  # ours
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


@contextmanager
def jaeger() -> Iterator[dict[str, str]]:
    """One that runs already, else one that is started. Yields the address to open."""
    query = f"http://localhost:{JAEGER}/api/services"
    address = {"Jaeger": f"http://localhost:{JAEGER}/api/traces?service=order-food"}
    if answers(query):
        yield address
        return
    with running(["jaeger"], query) as runs:
        yield address if runs else {}


@contextmanager
def prometheus(settings: Settings) -> Iterator[dict[str, str]]:
    """Yields the address to open: the alerts, next to the page for queries."""
    port = PROMETHEUS if is_free(PROMETHEUS) else 0
    with tempfile.TemporaryDirectory(prefix="orderfood-observe-") as folder:
        port = port or free_port()
        config = Path(folder, "prometheus.yaml")
        config.write_text(CONFIG.format(rules=RULES, target=f"localhost:{settings.port}"))
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=localhost:{port}",
        ]
        with running(command, f"http://localhost:{port}/-/ready") as runs:
            yield {"Prometheus": f"http://localhost:{port}/alerts"} if runs else {}


@contextmanager
def running(command: list[str], url: str) -> Iterator[bool]:
    """A program of its own session, that outlives the Ctrl-C until the last spans have come. False
    when it is not there."""
    name = command[0]
    if shutil.which(name) is None:
        print(f"{name} is not on the PATH: left out", flush=True)
        yield False
        return
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(  # ours
        command, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        wait_for(url, process)
        yield True
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{name} does not end: killed", flush=True)
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when the program answers. Raises SystemExit when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} does not answer")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether somebody answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # ours
            return bool(answer.status == 200)
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) != 0


if __name__ == "__main__":
    sys.exit(main())
