"""What happened when: the pods' phases as `kubectl get pods --watch` names them, the requests of
the stream, and what the tests did; drawn as an SVG."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape

from tests.cluster.kube import NAMESPACE
from tests.cluster.stream import Sample


@dataclass(frozen=True)
class Phase:
    """A pod began to be in this state."""

    at: float
    pod: str
    status: str
    """``Init:0/2``, ``Running``; ``Ready`` for a running pod all of whose containers are."""


@dataclass
class Watch:
    """``with Watch() as watch``: notes each phase of each pod."""

    phases: list[Phase] = field(default_factory=list)

    def __enter__(self) -> Watch:
        self._process = subprocess.Popen(
            ["kubectl", "get", "pods", "--namespace", NAMESPACE, "--watch", "--no-headers"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._thread.join(30)
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            pod, ready, status, *_ = line.split()
            whole = status == "Running" and len(set(ready.split("/"))) == 1
            self.phases.append(Phase(time.time(), pod, "Ready" if whole else status))

    def of_pod(self, pod: str) -> list[str]:
        """The phases of one pod, each once, in their order."""
        return list(dict.fromkeys(p.status for p in list(self.phases) if p.pod == pod))


@dataclass
class Timeline:
    """All that the picture shows."""

    watch: Watch
    events: list[tuple[float, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def note(self, what: str) -> float:
        """Notes that ``what`` begins now."""
        now = time.time()
        self.events.append((now, what))
        return now


# --- the picture ---

LEFT, WIDTH, ROW, CHART = 190, 1000, 15, 120
COLOURS = {
    "Pending": "#c9c9c9",
    "Init:0/2": "#7b61c4",
    "Init:1/2": "#b39ddb",
    "PodInitializing": "#d9d0f0",
    "ContainerCreating": "#d9d0f0",
    "Running": "#f2c94c",
    "Ready": "#3d9a5b",
    "Completed": "#9fd3b0",
    "Terminating": "#8c8c8c",
    "failed": "#d1453b",
}
OK, UNAVAILABLE, FAILED = "#3d9a5b", "#e58a2c", "#d1453b"


def colour_of(status: str) -> str:
    if status == "Init:0/1":  # the one init container that is on
        status = "Init:0/2"
    return COLOURS.get(status, COLOURS["failed"])


def draw(timeline: Timeline) -> str:
    """The whole picture: events on top, a row for each pod, requests a second below."""
    phases, samples = list(timeline.watch.phases), list(timeline.samples)
    times = [p.at for p in phases] + [s.sent for s in samples] + [at for at, _ in timeline.events]
    scale = _Scale(min(times), max(times) + 1)
    pods = list(dict.fromkeys(phase.pod for phase in phases))
    top = 30 + 14 * len(timeline.events)
    below = top + ROW * len(pods) + 20
    height = below + CHART + 60
    parts = [
        *_events(timeline.events, scale, below + CHART),
        *(p for row, pod in enumerate(pods) for p in _pod(pod, phases, scale, top + ROW * row)),
        *_requests(samples, scale, below),
        *_axis(scale, below + CHART),
        *_legend(height - 12),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}"'
            ' font-family="sans-serif" font-size="10">',
            f'<rect width="{LEFT + WIDTH + 20}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


@dataclass(frozen=True)
class _Scale:
    start: float
    end: float

    def x(self, at: float) -> float:
        return round(LEFT + WIDTH * (at - self.start) / (self.end - self.start), 1)

    @property
    def seconds(self) -> int:
        return int(self.end - self.start)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}"{more}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">'
        f"{inside}</rect>"
    )


def _events(events: list[tuple[float, str]], scale: _Scale, bottom: float) -> Iterator[str]:
    for row, (at, what) in enumerate(events):
        x, y = scale.x(at), 20 + 14 * row
        yield f'<path d="M{x} {y + 2}V{bottom}" stroke="#444" stroke-width="0.6" opacity="0.5"/>'
        at_end = x > LEFT + WIDTH * 0.7
        yield _text(x - 3 if at_end else x + 3, y, what, ' text-anchor="end"' * at_end)


def _pod(pod: str, phases: list[Phase], scale: _Scale, y: float) -> Iterator[str]:
    yield _text(LEFT - 6, y + 11, pod, ' text-anchor="end" font-size="8.5"')
    own = [phase for phase in phases if phase.pod == pod]
    for phase, until in zip(own, [*(p.at for p in own[1:]), own[-1].at], strict=True):
        end = until
        if phase is own[-1] and phase.status in ("Ready", "Running"):
            end = scale.end
        width = max(scale.x(end) - scale.x(phase.at), 1.0)
        title = f"{phase.status} at {phase.at - scale.start:.1f} s"
        yield _box(scale.x(phase.at), y + 2, width, ROW - 4, colour_of(phase.status), title)


def _requests(samples: list[Sample], scale: _Scale, top: float) -> Iterator[str]:
    """Stacked bars, one a second: answered, 503, failed."""
    counted = Counter((int(s.sent - scale.start), _outcome(s)) for s in samples)
    per_second = Counter(int(s.sent - scale.start) for s in samples)
    most = max(per_second.values(), default=1)
    width = WIDTH / max(scale.seconds, 1)
    for second in sorted(per_second):
        y = float(top + CHART)
        for colour in (OK, UNAVAILABLE, FAILED):
            height = CHART * counted[second, colour] / most
            if height:
                y -= height
                yield _box(scale.x(scale.start + second), y, width, height, colour)
    yield _text(LEFT - 6, top + 10, f"{most} requests/s", ' text-anchor="end"')


def _outcome(sample: Sample) -> str:
    return {200: OK, 503: UNAVAILABLE}.get(sample.status, FAILED)


def _axis(scale: _Scale, y: float) -> Iterator[str]:
    for second in range(0, scale.seconds + 1, 30):
        x = scale.x(scale.start + second)
        yield f'<path d="M{x} {y}v4" stroke="#444"/>'
        yield _text(x, y + 15, f"{second} s", ' text-anchor="middle"')


def _legend(y: float) -> Iterator[str]:
    entries: Iterable[tuple[str, str]] = (
        *((name, colour) for name, colour in COLOURS.items() if name != "ContainerCreating"),
        ("answer 200", OK),
        ("answer 503", UNAVAILABLE),
        ("failed request", FAILED),
    )
    x = 20.0
    for name, colour in entries:
        yield _box(x, y - 8, 9, 9, colour)
        yield _text(x + 12, y, name)
        x += 26 + 5.6 * len(name)
