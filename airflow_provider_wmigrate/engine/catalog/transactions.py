"""How many transactions a session has had: by this it can be told whether a statement that failed had committed."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

_WRAP = 2**32


def transaction_number(conn: Connection[Any]) -> int | None:
    """The number of the session's current transaction, outside any block that of this look itself.

    The server counts every transaction of a session, also those that write nothing (its manual, pg_locks, "virtual
    transaction identifiers"). None: this role must not see it.
    """
    try:
        row = conn.execute(
            "SELECT pg_catalog.split_part(virtualtransaction, '/', 2)::pg_catalog.int8 FROM pg_catalog.pg_locks"
            " WHERE locktype OPERATOR(pg_catalog.=) 'virtualxid'"
            " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() LIMIT 1"
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return int(row[0]) if row else None


def at_most_one_between(before: int | None, after: int | None) -> bool:
    """Whether there was at most one transaction between two looks: the statement's own, which ended as the statement
    did, or none, since it was not even sent. False: there were more, or it is not known."""
    return before is not None and after is not None and (after - before) % _WRAP in (1, 2)
