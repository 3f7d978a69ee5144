"""Domain logic: orders, prices, coupons, the catalogue cache. Neither HTTP nor SQL."""
