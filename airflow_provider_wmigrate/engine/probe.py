"""Finds out, from the catalogs, whether a statement in flight ran before its runner died. It never guesses.

Statements that run outside a transaction commit by themselves, so the journal alone cannot tell. What the catalogs
cannot tell either is left to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection, sql

from .statements import Statement


def ran(conn: Connection[Any], statement: Statement) -> bool | None:
    """Whether it ran: True, False (running it again is right), or None: only a person can tell."""
    look = _LOOKS.get(statement.kind)
    return look(conn, statement.node) if look else None


def drop_invalid(conn: Connection[Any], statement: Statement) -> str | None:
    """Drop what a failed CREATE INDEX CONCURRENTLY left behind, which IF NOT EXISTS would take for done.

    :return: the index's name if there was one.
    """
    if statement.kind != "index_stmt" or not statement.node.concurrent:
        return None
    found = _index(conn, statement.node)
    if found is None or found[1]:
        return None
    schema, name = found[0]
    conn.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, name)))
    return f"{schema}.{name}"


def built_invalid(conn: Connection[Any], statement: Statement) -> bool:
    """Whether the index that a statement was to build exists, but cannot be used."""
    if statement.kind != "index_stmt" or not statement.node.concurrent:
        return False
    found = _index(conn, statement.node)
    return found is not None and not found[1]


def _name(relation: Any) -> str:
    """A relation as to_regclass wants it: quoted, with its schema if the statement gave one."""
    parts = [part for part in (relation.schemaname, relation.relname) if part]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _index(conn: Connection[Any], node: Any) -> tuple[tuple[str, str], bool] | None:
    """((schema, name), valid) of the index a statement names, on the table it names."""
    row = conn.execute(
        "SELECT n.nspname, c.relname, i.indisvalid FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE i.indrelid = pg_catalog.to_regclass(%s) AND c.relname = %s",
        [_name(node.relation), node.idxname],
    ).fetchone()
    return ((row[0], row[1]), bool(row[2])) if row else None


def _created_index(conn: Connection[Any], node: Any) -> bool | None:
    if not node.concurrent:
        return None
    found = _index(conn, node)
    return found is not None and found[1]


def _dropped(conn: Connection[Any], node: Any) -> bool | None:
    """DROP INDEX CONCURRENTLY takes exactly one index; an invalid one is one half dropped."""
    names = [item.string.sval for item in node.objects[0].list.items]
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in names)
    row = conn.execute("SELECT pg_catalog.to_regclass(%s) IS NULL", [quoted]).fetchone()
    return bool(row and row[0])


def _added_value(conn: Connection[Any], node: Any) -> bool | None:
    names = [item.string.sval for item in node.type_name]
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in names)
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_enum WHERE enumtypid = pg_catalog.to_regtype(%s) AND enumlabel = %s)",
        [quoted, node.new_val],
    ).fetchone()
    return bool(row and row[0])


def _detached(conn: Connection[Any], node: Any) -> bool | None:
    """None where the detaching is half done: ALTER TABLE ... DETACH PARTITION ... FINALIZE is a person's statement."""
    part = getattr(node.cmds[0].alter_table_cmd, "def").partition_cmd.name
    row = conn.execute(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass(%s)"
        " AND inhparent = pg_catalog.to_regclass(%s)",
        [_name(part), _name(node.relation)],
    ).fetchone()
    if row is None:
        return True
    return None if row[0] else False


def _database(conn: Connection[Any], name: str) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)", [name]).fetchone()
    return bool(row and row[0])


def _again(_: Connection[Any], __: Any) -> bool:
    """Running it twice gives what running it once does."""
    return False


def _called(_: Connection[Any], node: Any) -> bool | None:
    return False if node.funccall.funcname[-1].string.sval == "refresh_continuous_aggregate" else None


_LOOKS: dict[str, Callable[[Connection[Any], Any], bool | None]] = {
    "index_stmt": _created_index,
    "drop_stmt": _dropped,
    "alter_enum_stmt": _added_value,
    "alter_table_stmt": _detached,
    "createdb_stmt": lambda conn, node: _database(conn, node.dbname),
    "dropdb_stmt": lambda conn, node: not _database(conn, node.dbname),
    "call_stmt": _called,
    "vacuum_stmt": _again,
    "cluster_stmt": _again,
    "reindex_stmt": _again,
    "alter_system_stmt": _again,
    "variable_set_stmt": _again,
    "discard_stmt": _again,
}
