"""The HTTP API: router, endpoints, and the OpenAPI document that describes them."""
