"""The shop behind the pages by its API: what a test does that is not done in a browser."""

from __future__ import annotations

from typing import Any

from tests.api.client import Answer, connect

CUSTOMER, KITCHEN = {"api_key": "apitest"}, {"api_key": "apikitchen"}


class ShopApi:
    """Each call is a connection of its own: the server may have been killed since the last."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] = KITCHEN
    ) -> Answer:
        with connect(self._url) as client:
            return client.send(method, path, body, headers)

    def place(self, *items: tuple[str, int], **members: object) -> Any:
        """The order that somebody has placed elsewhere; by default it is one of product 1."""
        lines = [{"productId": i, "quantity": n} for i, n in items or [("1", 1)]]
        return self._done("POST", "/api/order", {"items": lines, **members}, CUSTOMER)

    def act(self, order: Any, action: str, body: object = None) -> Any:
        """The order after an action of the kitchen: accept, ready, complete, recall, cancel."""
        body = {"reason": "other"} if action == "cancel" and body is None else body
        return self._done("POST", f"/api/shop/order/{order['id']}/{action}", body)

    def orders(self, status: str = "open") -> Any:
        """All orders with a status, as the kitchen lists them."""
        return self._done("GET", f"/api/shop/order?status={status}&limit=500")["orders"]

    def order(self, order_id: str) -> Any:
        """One order with its events."""
        return self._done("GET", f"/api/shop/order/{order_id}")

    def sell_out(self, product_id: str) -> None:
        self._done("POST", f"/api/shop/product/{product_id}/sold-out", {})

    def pause(self, **members: object) -> None:
        self._done("POST", "/api/shop/pause", members)

    def resume(self) -> None:
        self._done("POST", "/api/shop/resume")

    def _done(
        self, method: str, path: str, body: object = None, headers: dict[str, str] = KITCHEN
    ) -> Any:
        answer = self.send(method, path, body, headers)
        assert answer.status == 200, answer.body
        return answer.json
