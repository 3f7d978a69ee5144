"""The example in the documentation is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys

from rig.jaeger import Jaeger
from rig.processes import ROOT, environment

AROUND = """
from orderfood.settings import read_settings
from orderfood.observe.tracing import start_tracing
tracing = start_tracing(read_settings(), "kitchen")
{example}
tracing.stop()
"""


def example() -> str:
    text = (ROOT / "docs/observability.md").read_text()
    (found,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_is_a_span_with_an_event_and_an_error(jaeger: Jaeger) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", "-c", AROUND.format(example=example())],
        env=environment(JAEGER_ENDPOINT=jaeger.endpoint),
        cwd=ROOT,
        check=True,
    )
    (span,) = jaeger.spans("kitchen")
    assert span.name == "kitchen.plan"
    assert (span.tags["kitchen.orders"], span.tags["kitchen.minutes"]) == (3, 12)
    event, error = span.events
    assert (event["message"], event["kitchen.celsius"]) == ("oven is hot", 220)
    assert error["message"] == "exception"
    assert error["exception.message"] == "no flour left"
    assert span.tags["otel.status_code"] == "ERROR"
