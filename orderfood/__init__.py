"""The rules of ordering, and the HTTP that speaks them."""
