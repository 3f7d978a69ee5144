"""Two HTTP servers: connections, parsing, framing, limits, drain, worker processes."""
