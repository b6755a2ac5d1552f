"""How a session's settings are kept: the limits that a script gets, and what no longer holds when the ledger speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from . import constraints
from .connection import OWN_TIMEOUT, READABLE

_GRACE = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one script, in seconds."""

    total: float
    statement: float | None
    lock: float

    @property
    def longest_statement(self) -> float:
        """The total is our clock's business; the server strikes a little later, should nobody be there any more."""
        return self.statement or self.total + _GRACE

    def settings(self) -> dict[str, str]:
        """As the server takes them."""
        return {
            "lock_timeout": _milliseconds(self.lock),
            "statement_timeout": _milliseconds(self.longest_statement),
        }


def set_local(conn: Connection[Any], **settings: str) -> None:
    """Settings to the end of the open transaction."""
    calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in settings)
    conn.execute(f"SELECT {calls}".encode(), [part for pair in settings.items() for part in pair])


def leave_script(conn: Connection[Any], *, last: bool = True) -> None:
    """From here on, to the end of the transaction, the ledger speaks: whatever role, path, format or limits the
    script set do not hold.

    Deferred constraints are checked now, so that a dry run finds what a commit would.

    :param last: no other script follows in this transaction.
    """
    if last:
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    else:
        constraints.check_now(conn)
    # The authorization takes the role with it, also where it stays as it is: then it is left alone.
    conn.execute(
        "SELECT pg_catalog.set_config('session_authorization', NULL, true)"
        " WHERE pg_catalog.current_setting('session_authorization') OPERATOR(pg_catalog.<>) %s",
        [conn.info.user],
    )
    conn.execute("SELECT pg_catalog.set_config('role', NULL, true)")
    set_local(
        conn,
        search_path="pg_catalog",
        row_security="off",
        lock_timeout=OWN_TIMEOUT,
        statement_timeout=OWN_TIMEOUT,
        idle_in_transaction_session_timeout="0",
        **READABLE,
    )
    # Only a superuser may touch this one; left at `replica`, nobody would be told of the new entry.
    conn.execute(
        "SELECT pg_catalog.set_config('session_replication_role', 'origin', true)"
        " WHERE pg_catalog.current_setting('session_replication_role') <> 'origin'"
    )


def _milliseconds(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"
