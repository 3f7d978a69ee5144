"""Pages for browsers: Swagger UI at /docs."""
