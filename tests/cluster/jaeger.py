"""A real Jaeger on this machine, where the cluster's pods reach it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster import kube


@dataclass(frozen=True)
class Jaeger:
    address: str

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:14268/api/traces"

    def services(self) -> set[str]:
        """Of which services spans have come."""
        answer = urllib.request.urlopen(f"http://{self.address}:16686/api/services", timeout=10)
        return set(json.load(answer)["data"] or ())


def node_on_this_machine() -> str | None:
    """The node's address, if it is one of this machine's, too."""
    [node, *_] = json.loads(kube.run("kubectl", "get", "nodes", "--output", "json"))["items"]
    addresses = {a["type"]: str(a["address"]) for a in node["status"]["addresses"]}
    with socket.socket() as probe:
        try:
            probe.bind((addresses["InternalIP"], 0))
        except OSError:
            return None
    return addresses["InternalIP"]


@contextmanager
def start_jaeger() -> Iterator[Jaeger | None]:
    """None where there is no Jaeger, or where no pod would reach it."""
    address = node_on_this_machine()
    if shutil.which("jaeger") is None or address is None:
        yield None
        return
    process = subprocess.Popen(
        ["jaeger"],
        env={**os.environ, "JAEGER_LISTEN_HOST": "0.0.0.0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Jaeger(address)
    finally:
        process.terminate()
        process.wait(30)
