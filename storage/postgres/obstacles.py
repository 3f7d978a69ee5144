"""Asking a server whether an order could be stored, without storing one."""

from __future__ import annotations

import asyncpg

from storage.errors import StorageUnavailable
from storage.postgres.connections import READ_ONLY_VALUE, Connections, transaction
from storage.records import Obstacle

MAY_STORE = f"""
SELECT
    {READ_ONLY_VALUE},
    (
        SELECT bool_and(has_any_column_privilege(needed.name, needed.privilege))
        FROM (VALUES
            ('orders', 'INSERT'),
            ('order_lines', 'INSERT'),
            ('unnumbered_events', 'INSERT'),
            ('order_events', 'INSERT'),
            ('event_log', 'UPDATE'),
            ('idempotency_keys', 'INSERT'),
            ('coupon_uses', 'INSERT'),
            ('coupon_user_uses', 'INSERT')
        ) AS needed (name, privilege)
    ) AND has_table_privilege('unnumbered_events', 'DELETE')
    AND has_sequence_privilege('pickup_numbers', 'USAGE') AND (
        SELECT bool_and(has_function_privilege(oid, 'EXECUTE'))
        FROM pg_proc WHERE proname = 'add_orders' AND pg_function_is_visible(oid)
    ),
    set_config('work_mem', '64kB', true),
    set_config('temp_tablespaces', '', true)
"""
"""Whether this is no primary, and whether the role may store orders and number their events.
Prepares for SPILL."""

SPILL = """
SELECT count(*) FROM (
    SELECT n, repeat(md5(n::text), 64) AS text FROM generate_series(1, 512) AS n
    ORDER BY text, n OFFSET 0
) AS sorted
"""
"""Sorts a megabyte in a temporary file beside the tables: it fails where they could not grow, in
two milliseconds, and leaves nothing that would have to be vacuumed. It sorts rows: of bare values
Postgres 18.6 keeps more in memory than work_mem says."""


async def find_obstacle(connections: Connections) -> Obstacle | None:
    """What keeps orders from being stored although the server answers."""
    try:
        return await connections.retry_transaction(lambda: _find_obstacle(connections))
    except StorageUnavailable as error:
        if isinstance(error.__cause__, asyncpg.DiskFullError):
            return Obstacle.FULL
        if isinstance(error.__cause__, asyncpg.ConfigurationLimitExceededError):
            return None  # the role may have no temporary file of that size: nothing is known
        raise


async def _find_obstacle(connections: Connections) -> Obstacle | None:
    async with (
        connections.acquired() as connection,
        transaction(connection, "read_committed"),
    ):
        row = await connection.fetchrow(MAY_STORE)
        read_only, permitted = row[:2] if row else (False, True)
        if read_only:
            connections.look_elsewhere()
            return Obstacle.READ_ONLY
        if permitted is False:  # NULL: the schema is older than the code
            return Obstacle.NOT_PERMITTED
        await connection.fetch(SPILL)
    return None
