"""One deployment, on which the tests work one after the other, and the picture of all of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from rig.processes import ROOT
from tests.cluster import kube
from tests.cluster.jaeger import Jaeger, start_jaeger
from tests.cluster.stream import Stream
from tests.cluster.timeline import Timeline, Watch, draw

PICTURE = ROOT / "docs" / "cluster-timeline.svg"


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """Nothing here makes sense without one: whoever runs these tests by name means to have it."""
    for tool in ("kubectl", "helm"):
        if shutil.which(tool) is None:
            pytest.exit(f"{tool} is missing", returncode=1)
    asked = subprocess.run(["kubectl", "version", "--request-timeout", "10s"], capture_output=True)
    if asked.returncode != 0:
        pytest.exit("no cluster answers kubectl", returncode=1)


@pytest.fixture(scope="module")
def timeline(cluster: None) -> Iterator[Timeline]:
    """Begins on a cluster on which nothing of an earlier run is left."""
    kube.run("./cleanup.sh", "--data")
    kube.create_namespace()
    with Watch() as watch:
        timeline = Timeline(watch)
        yield timeline
        PICTURE.write_text(draw(timeline))


@pytest.fixture(scope="session")
def jaeger() -> Iterator[Jaeger | None]:
    with start_jaeger() as running:
        yield running


@pytest.fixture(scope="module")
def stream(timeline: Timeline) -> Iterator[Stream]:
    """Begins with the first test that asks for it."""
    with Stream(kube.base_url()) as stream:
        timeline.samples = stream.samples
        yield stream
