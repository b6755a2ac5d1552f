"""Finds out, from the catalogs, whether a statement in flight ran before its runner died. It never guesses.

Statements that run outside a transaction commit by themselves, so the journal alone cannot tell. What the catalogs
cannot tell either is left to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.sql.no_transaction import outside
from airflow_provider_wmigrate.engine.sql.statements import Statement


def ran(conn: Connection[Any], statement: Statement) -> bool | None:
    """Whether it ran: True, False (running it again is right), or None: only a person can tell."""
    look = _LOOKS.get(statement.kind)
    return look(conn, statement.node) if look else None


def drop_invalid(conn: Connection[Any], statement: Statement) -> tuple[str, ...]:
    """Drop what a failed CREATE INDEX CONCURRENTLY or one per chunk left behind, which IF NOT EXISTS would take for
    done, and what a failed REINDEX CONCURRENTLY did, which would stay for ever.

    :return: the indexes' names.
    """
    invalid: list[tuple[str, str]] = []
    if _builds_in_steps(statement):
        found = _index(conn, statement.node)
        invalid = [found[0]] if found is not None and not found[1] else []
    elif statement.kind == "reindex_stmt" and any(p.def_elem.defname == "concurrently" for p in statement.node.params):
        invalid = _reindex_remains(conn, statement.node)
    how = "" if of_hypertable(statement) else "CONCURRENTLY "
    for schema, name in invalid:
        conn.execute(sql.SQL(f"DROP INDEX {how}IF EXISTS {{}}").format(sql.Identifier(schema, name)))
    return tuple(f"{schema}.{name}" for schema, name in invalid)


_REINDEX_SCOPES = {
    1: "i.indrelid = (SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%(name)s))",
    2: "i.indrelid = pg_catalog.to_regclass(%(name)s)",
    3: "n.nspname = %(name)s",
}
"""By kind of REINDEX: of an index, a table, a schema; others are of the database."""


def _reindex_remains(conn: Connection[Any], node: Any) -> list[tuple[str, str]]:
    """Invalid indexes beside the one they were to replace, with the endings that PostgreSQL gives them (its manual,
    REINDEX, "Rebuilding Indexes Concurrently")."""
    name = _name(node.relation) if node.kind in (1, 2) else node.name
    query = (
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$' AND n.nspname !~ '^pg_'"
        " AND EXISTS (SELECT FROM pg_catalog.pg_index s JOIN pg_catalog.pg_class sc ON sc.oid = s.indexrelid"
        "  WHERE s.indrelid = i.indrelid AND s.indexrelid <> i.indexrelid AND s.indkey = i.indkey"
        "  AND pg_catalog.starts_with(sc.relname, pg_catalog.regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '')))"
        f" AND {_REINDEX_SCOPES.get(node.kind, 'true')} ORDER BY 1, 2"
    )
    return [(schema, index) for schema, index in conn.execute(query.encode(), {"name": name})]


def finish_detaching(conn: Connection[Any], statement: Statement) -> bool:
    """Finish a DETACH PARTITION CONCURRENTLY that was left half done; only FINALIZE can, running it again cannot.

    :return: whether there was one.
    """
    if statement.kind != "alter_table_stmt" or not statement.outside:
        return False
    if _pending(conn, statement.node) is not True:
        return False
    part = getattr(statement.node.cmds[0].alter_table_cmd, "def").partition_cmd.name
    conn.execute(f"ALTER TABLE {_name(statement.node.relation)} DETACH PARTITION {_name(part)} FINALIZE".encode())
    return True


def built_invalid(conn: Connection[Any], statement: Statement) -> bool:
    """Whether the index that a statement was to build exists, but cannot be used."""
    if not _builds_in_steps(statement):
        return False
    found = _index(conn, statement.node)
    return found is not None and not found[1]


def of_hypertable(statement: Statement) -> bool:
    """An index built chunk by chunk. Its chunks' indexes go with it, which DROP INDEX CONCURRENTLY does not support."""
    return _builds_in_steps(statement) and not statement.node.concurrent


def _builds_in_steps(statement: Statement) -> bool:
    """An index whose building commits in between: CONCURRENTLY, or chunk by chunk on a hypertable."""
    return statement.kind == "index_stmt" and statement.outside is not None


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
    if outside("index_stmt", node) is None:
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


def _pending(conn: Connection[Any], node: Any) -> bool | None:
    """Whether a partition is half detached; None: it is no partition (any more)."""
    part = getattr(node.cmds[0].alter_table_cmd, "def").partition_cmd.name
    row = conn.execute(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass(%s)"
        " AND inhparent = pg_catalog.to_regclass(%s)",
        [_name(part), _name(node.relation)],
    ).fetchone()
    return None if row is None else bool(row[0])


def _detached(conn: Connection[Any], node: Any) -> bool | None:
    """Half detached is to be run again: that finishes it."""
    return _pending(conn, node) is None


def _database(conn: Connection[Any], name: str) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)", [name]).fetchone()
    return bool(row and row[0])


def _updated(conn: Connection[Any], node: Any) -> bool | None:
    """ALTER EXTENSION UPDATE: whether the database has the version it asks for."""
    wanted = next((option.def_elem.arg.string.sval for option in node.options), None)
    row = conn.execute(
        "SELECT e.extversion = coalesce(%s, a.default_version) FROM pg_catalog.pg_extension e"
        " LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname WHERE e.extname = %s",
        [wanted, node.extname],
    ).fetchone()
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
    "alter_extension_stmt": _updated,
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
