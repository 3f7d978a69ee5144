"""What is ordered, and what it must cost: the packaged fixtures."""

from __future__ import annotations

from pathlib import Path

import fixtures

FIXTURES = Path(fixtures.__file__).parent
KEY = "apitest"

ORDER = {"items": [{"productId": "1", "quantity": 2}, {"productId": "3", "quantity": 1}]}
TOTAL = 35.97

COUPON_ORDER = {**ORDER, "couponCode": "SAVE10"}
COUPON_TOTAL = 32.37
