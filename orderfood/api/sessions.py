"""Endpoints of sessions: a browser keeps who it is in a cookie that no script can read."""

from __future__ import annotations

from pydantic import BaseModel, StrictStr

from orderfood.api.answers import NO_STORE_HEADERS, Answer, json_answer
from orderfood.api.cookies import (
    GUEST,
    STAFF,
    ended_cookies,
    guest_cookie,
    guest_secret,
    is_foreign,
    is_same_origin,
    staff_cookie,
    staff_key,
)
from orderfood.api.head import cross_origin, guest_scopes, no_guests, throttled
from orderfood.api.orders import json_of
from orderfood.api.parsing import parse
from orderfood.api.request import Request
from orderfood.server.bodies import Fields
from orderfood.shop import orders as shop_orders
from orderfood.shop.guests import new_secret
from orderfood.shop.refusals import KeyRefused


class SessionRequest(BaseModel):
    """The body of POST /api/session."""

    key: StrictStr | None = None


async def begin(request: Request) -> Answer:
    """POST /api/session: a guest's cookie, or with a key the staff's. A browser that is a guest's
    already stays the same guest's: several tabs may ask at once."""
    if is_foreign(request.headers):
        raise cross_origin()
    key = parse(SessionRequest, json_of(request) or b"{}").key
    if key is not None:
        await shop_orders.get_key(request.shop, key)
        return _answer(staff_cookie(key, https=request.is_https))
    if not request.context.settings.guest_orders:
        raise no_guests()
    known = guest_secret(request.headers, https=request.is_https)
    return _answer(guest_cookie(known or new_secret(), https=request.is_https))


async def get(request: Request) -> Answer:
    """GET /api/session: who the browser is, by its cookies."""
    https, answer = request.is_https, dict[str, object]()
    if guest_secret(request.headers, https=https) is not None:
        answer["guest"] = {"scopes": guest_scopes(request)}
    key = staff_key(request.headers, https=https)
    if key is None:
        return json_answer(answer)
    try:
        user, api_key = await shop_orders.get_key(request.shop, key)
    except KeyRefused as error:
        return _signed_out(request, answer, error)
    answer["staff"] = {"user": user.id, "scopes": sorted(api_key.scopes)}
    return json_answer(answer)


def _signed_out(request: Request, answer: dict[str, object], error: KeyRefused) -> Answer:
    """The answer to a browser whose key was taken away since. Its cookie is taken away, too, so
    that it asks but once with it: whoever goes on asking guesses. Raises TooManyRequests."""
    counted = throttled(request, error)
    if counted is not error:
        raise counted
    cookies = ended_cookies(STAFF, https=request.is_https)
    return json_answer(answer)._replace(more=cookies)


async def end(request: Request) -> Answer:
    """POST /api/session/end: takes both cookies away."""
    sent = "cookie" in request.headers
    if is_foreign(request.headers) or (sent and not is_same_origin(request.headers)):
        raise cross_origin()
    return _answer(ended_cookies(GUEST, STAFF, https=request.is_https))


def _answer(cookies: Fields) -> Answer:
    return Answer(b"", 204, NO_STORE_HEADERS, cookies)
