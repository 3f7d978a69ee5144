"""What the shop says of itself, in Postgres: no load touches it."""

from __future__ import annotations

from datetime import datetime

from storage.postgres.connections import DURABLE, Connections
from storage.postgres.notices import CHANNEL
from storage.records import Pause, ShopState

ANNOUNCED = f"""
    bumped AS (UPDATE shop_state SET version = shop_state.version + 1 FROM said RETURNING 1)
SELECT pg_notify('{CHANNEL}', '') FROM bumped
"""
"""Raises the version with what was ``said``, and has whoever listens look for it."""

SET_SOLD_OUT = f"""
WITH said AS (
    INSERT INTO sold_out (product_id, until)
    SELECT $1::bigint, $2::timestamptz FROM {DURABLE}
    ON CONFLICT (product_id) DO UPDATE SET until = excluded.until
    WHERE sold_out.until IS DISTINCT FROM excluded.until RETURNING 1
), {ANNOUNCED}
"""

SET_AVAILABLE = f"""
WITH said AS (
    DELETE FROM sold_out USING {DURABLE} WHERE product_id = $1 RETURNING 1
), {ANNOUNCED}
"""

SET_PAUSE = f"""
WITH said AS (
    UPDATE shop_state
    SET version = version + 1, paused = $1, paused_until = $2, message = $3
    FROM {DURABLE}
    WHERE (paused, paused_until, message) IS DISTINCT FROM ($1::boolean, $2::timestamptz, $3::text)
    RETURNING 1
)
SELECT pg_notify('{CHANNEL}', '') FROM said
"""

READ_STATE = """
SELECT state.version, state.paused, state.paused_until, state.message, sold_out.*
FROM shop_state AS state LEFT JOIN sold_out ON true
"""


async def read_state(connections: Connections) -> ShopState:
    """All that the shop says of itself, as one consistent view."""
    rows = await connections.fetch(READ_STATE)
    version, paused, until, message = rows[0][:4]
    sold_out = {row[4]: row[5] for row in rows if row[4] is not None}
    return ShopState(version, sold_out, Pause(until, message) if paused else None)


async def set_sold_out(connections: Connections, product_id: int, until: datetime | None) -> None:
    """Marks a product as sold out."""
    await connections.fetch(SET_SOLD_OUT, product_id, until)


async def set_available(connections: Connections, product_id: int) -> None:
    """Takes that mark away."""
    await connections.fetch(SET_AVAILABLE, product_id)


async def set_pause(connections: Connections, pause: Pause | None) -> None:
    """Pauses the shop, or resumes it."""
    until, message = (pause.until, pause.message) if pause else (None, None)
    await connections.fetch(SET_PAUSE, pause is not None, until, message)
