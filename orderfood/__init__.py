"""The service itself: three programs, their settings, what is seen of them, HTTP, rules."""
