"""Starts real parts for tests, benchmarks and `make observe`."""
