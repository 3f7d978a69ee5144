"""What an operator runs: database-migration, database-load, a new key, a smoke test."""
