"""Makes metrics in one registry, and those of the process itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from orderfood.observe.process import ProcessFigures, read_process


class Instruments:
    """Makes counters, histograms and gauges. ``over_processes`` says how a gauge is summed where
    several processes share their counts (prometheus_client: multiprocess_mode)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A counter."""
        return Counter(name, meaning, labels, registry=self._registry)

    def histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        """A histogram."""
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)

    def gauge(self, name: str, meaning: str, over_processes: str, *labels: str) -> Gauge:
        """A gauge."""
        return Gauge(
            name,
            meaning,
            labels,
            registry=self._registry,
            multiprocess_mode=over_processes,  # type: ignore[arg-type]
        )


class ProcessMetrics:
    """Metrics of the process, named as by the client's own collector, which does not support
    several processes."""

    def __init__(self, instruments: Instruments) -> None:
        gauge, per_process = instruments.gauge, "liveall"
        self._figures = ProcessFigures()
        self._cpu = instruments.counter("process_cpu_seconds", "User and system CPU time.")
        self._resident = gauge("process_resident_memory_bytes", "Resident memory.", per_process)
        self._virtual = gauge("process_virtual_memory_bytes", "Virtual memory.", per_process)
        self._fds = gauge("process_open_fds", "Open file descriptors.", per_process)
        self._max_fds = gauge("process_max_fds", "Maximum of open file descriptors.", per_process)
        self._start = gauge(
            "process_start_time_seconds", "Start of the process since 1970.", per_process
        )

    def sample(self) -> None:
        """Updates all of them."""
        figures = read_process()
        self._cpu.inc(max(0.0, figures.cpu_seconds - self._figures.cpu_seconds))
        self._figures = figures
        self._resident.set(figures.resident_bytes)
        self._virtual.set(figures.virtual_bytes)
        self._fds.set(figures.open_fds)
        self._max_fds.set(figures.max_fds)
        self._start.set(figures.start_time)
