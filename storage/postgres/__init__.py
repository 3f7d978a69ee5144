"""A storage in Postgres."""
