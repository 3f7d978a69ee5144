"""A storage in this process's memory."""
