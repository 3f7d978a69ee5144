"""Observability: log, traces, metrics, and the instrumented storage."""
