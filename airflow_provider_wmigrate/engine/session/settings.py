"""How a session's settings are kept: the limits that a script gets, and what no longer holds when the ledger speaks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct
from psycopg import Connection, sql

from .connection import OWN_TIMEOUT, READABLE, set_config, settings
from .message import ask

_GRACE = 5.0
"""Seconds."""


class Budget(Struct, frozen=True):
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
        return {"lock_timeout": _milliseconds(self.lock), "statement_timeout": _milliseconds(self.longest_statement)}


_LEFT = set_config(
    None,
    {
        "search_path": "pg_catalog",
        "row_security": "off",
        "lock_timeout": OWN_TIMEOUT,
        "statement_timeout": OWN_TIMEOUT,
        "idle_in_transaction_session_timeout": "0",
        **READABLE,
    },
    local=True,
)
"""What a script is left with, to the end of its transaction."""


@lru_cache(maxsize=8)
def _give_back(user: str, local: bytes) -> bytes:
    """Columns of a SELECT. The authorization takes the role with it, also where it stays as it is: then it is left
    alone.

    :param local: `true`: to the end of the transaction.
    """
    return (
        b"CASE WHEN pg_catalog.current_setting('session_authorization') OPERATOR(pg_catalog.<>) %s"
        b" THEN pg_catalog.set_config('session_authorization', NULL, %s) END, pg_catalog.set_config('role', NULL, %s)"
    ) % (sql.Literal(user).as_bytes(None), local, local)


@lru_cache(maxsize=8)
def leaving(user: str, *, flushed: bool = False) -> bytes:
    """One statement: from here on, to the end of the transaction, the ledger speaks. Whatever role, path, format or
    limits the script set do not hold.

    :param user: who logged in.
    :param flushed: the commit waits until the disk has it, unless the connection itself says otherwise.
    """
    # Only a superuser may touch the replication role; left at `replica`, nobody would be told of the new entry.
    return (
        b"SELECT %s, %s, CASE WHEN pg_catalog.current_setting('session_replication_role')"
        b" OPERATOR(pg_catalog.<>) 'origin'"
        b" THEN pg_catalog.set_config('session_replication_role', 'origin', true) END%s"
    ) % (
        _give_back(user, b"true"),
        _LEFT,
        b", pg_catalog.set_config('synchronous_commit', NULL, true)" if flushed else b"",
    )


def leave_script(conn: Connection[Any], *, last: bool = True) -> None:
    """See `leaving`. Deferred constraints are checked before, so that a dry run finds what a commit would.

    :param last: no other script follows in this transaction.
    """
    if not last:
        _check_now(conn)
    ask(conn, b"; ".join([*([CHECK_CONSTRAINTS] if last else []), leaving(conn.info.user)]))


CHECK_CONSTRAINTS = b"SET CONSTRAINTS ALL IMMEDIATE"


# Deferred constraints where several scripts share a transaction, each of which is to find them as at its beginning. By
# name: `SET CONSTRAINTS ALL` would also hold for what a later script makes, and cannot be taken back.


def _check_now(conn: Connection[Any]) -> None:
    """Check what was deferred, as a commit would."""
    _set_constraints(conn, "true", "IMMEDIATE")


def as_declared(conn: Connection[Any]) -> None:
    """Let those wait for the commit again that do so by themselves.

    A name that a constraint of another table in that schema shares, which cannot wait, is left out: the server
    refuses it.
    """
    alone = (
        "c.condeferred AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o"
        " WHERE o.connamespace = c.connamespace AND o.conname = c.conname AND NOT o.condeferrable)"
    )
    _set_constraints(conn, alone, "DEFERRED")


def _set_constraints(conn: Connection[Any], which: str, when: str) -> None:
    query = (
        "SELECT n.nspname, c.conname FROM pg_catalog.pg_constraint c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace"
        f" WHERE c.condeferrable AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND {which} GROUP BY 1, 2"
    )
    names = [sql.Identifier(*row) for row in conn.execute(query.encode())]
    if names:
        conn.execute(sql.SQL("SET CONSTRAINTS {} {}").format(sql.SQL(", ").join(names), sql.SQL(when)))


_LEAVES_BEHIND = b"CLOSE ALL; RESET ALL; DEALLOCATE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES"
"""Takes away what a script left in its session: what DISCARD ALL does, as far as it is seen, and as a transaction
allows it; roles and advisory locks apart. Plans that the server has made are no trace of anybody."""


def as_new(conn: Connection[Any], application_name: str, *more: bytes, watched: bool) -> bytes:
    """Statements that make a used session what a new one is. They may stand in a transaction.

    :param more: further columns of the last one, a SELECT.
    """
    columns = _give_back(conn.info.user, b"false"), settings(conn, application_name, watched=watched), *more
    return b"%s; SELECT %s" % (_LEAVES_BEHIND, b", ".join(columns))


def _milliseconds(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"
