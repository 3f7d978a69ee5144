"""What is seen from outside: the log, traces, metrics."""
