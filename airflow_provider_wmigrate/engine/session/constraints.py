"""Deferred constraints where several scripts share a transaction, each of which is to find them as at its beginning.

By name: `SET CONSTRAINTS ALL` would also hold for what a later script makes, and cannot be taken back.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql


def check_now(conn: Connection[Any]) -> None:
    """Check what was deferred, as a commit would."""
    _set(conn, "true", "IMMEDIATE")


def as_declared(conn: Connection[Any]) -> None:
    """Let those wait for the commit again that do so by themselves.

    A name that a constraint of another table in that schema shares, which cannot wait, is left out: the server
    refuses it.
    """
    alone = (
        "c.condeferred AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o"
        " WHERE o.connamespace = c.connamespace AND o.conname = c.conname AND NOT o.condeferrable)"
    )
    _set(conn, alone, "DEFERRED")


def _set(conn: Connection[Any], which: str, when: str) -> None:
    query = (
        "SELECT n.nspname, c.conname FROM pg_catalog.pg_constraint c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace"
        f" WHERE c.condeferrable AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND {which} GROUP BY 1, 2"
    )
    names = [sql.Identifier(*row) for row in conn.execute(query.encode())]
    if names:
        conn.execute(sql.SQL("SET CONSTRAINTS {} {}").format(sql.SQL(", ").join(names), sql.SQL(when)))
