"""What `helm test` runs: places an order through the Service at BASE_URL and reads it back."""

import http.client
import json
import os
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds in which the Service must have begun to answer."""


def ask(method: str, path: str, body: object = None) -> object:
    """What the Service answers; ends the test when it is not 200."""
    connection = http.client.HTTPConnection(urlsplit(os.environ["BASE_URL"]).netloc, timeout=10)
    headers = {"Content-Type": "application/json", "api_key": os.environ["API_KEY"]}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    answer = response.read().decode()
    if response.status != 200:
        sys.exit(f"{method} {path}: {response.status} {answer}")
    return json.loads(answer)


def wait_until_it_answers() -> None:
    """Straight after an install a Service may refuse for a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ask("GET", "/health")
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{os.environ['BASE_URL']} does not answer: {error}")
            time.sleep(0.5)
        else:
            return


wait_until_it_answers()
menu = ask("GET", "/api/product")
assert isinstance(menu, list)
placed = ask("POST", "/api/order", {"items": [{"productId": menu[0]["id"], "quantity": 1}]})
assert isinstance(placed, dict)
if ask("GET", f"/api/order/{placed['id']}") != placed:
    sys.exit(f"order {placed['id']} reads back differently")
sys.stdout.write(f"order {placed['id']} placed and read back, total {placed['total']}\n")
