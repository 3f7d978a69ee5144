"""The rules of the shop: neither HTTP nor SQL."""
