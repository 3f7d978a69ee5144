"""Pages for browsers: storefront, an order's page, the kitchen's board; Swagger UI at /docs."""
