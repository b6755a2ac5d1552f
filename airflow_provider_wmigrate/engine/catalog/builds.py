"""Indexes that are built in steps: which one a statement names, and whether somebody builds it now.

`indisvalid = false` alone says nothing: an index is invalid while it is built or dropped CONCURRENTLY, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.sql.statements import Statement


class Index(Struct, frozen=True):
    """An index that is there.

    :param table: the oid of its table.
    """

    oid: int
    table: int
    schema: str
    name: str
    valid: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def in_steps(statement: Statement) -> bool:
    """An index whose building commits in between: CONCURRENTLY, or chunk by chunk on a hypertable."""
    return statement.kind == "index_stmt" and statement.outside is not None


def of_hypertable(statement: Statement) -> bool:
    """An index built chunk by chunk. Its chunks' indexes go with it, which DROP INDEX CONCURRENTLY does not support."""
    return in_steps(statement) and not statement.node.concurrent


def quoted(relation: Any) -> str:
    """A relation as to_regclass wants it: quoted, with its schema if the statement gave one."""
    return quoted_names(part for part in (relation.schemaname, relation.relname) if part)


def quoted_names(parts: Any) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def named(conn: Connection[Any], node: Any) -> Index | None:
    """The index that a CREATE INDEX names, on the table it names, as the session resolves that now."""
    row = conn.execute(
        "SELECT i.indexrelid::pg_catalog.int8, i.indrelid::pg_catalog.int8, n.nspname, c.relname, i.indisvalid"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE i.indrelid = pg_catalog.to_regclass(%s) AND c.relname = %s",
        [quoted(node.relation), node.idxname],
    ).fetchone()
    return Index(*row) if row else None


def tables_of(conn: Connection[Any], statement: Statement) -> tuple[int, ...]:
    """The tables that CREATE, DROP or REINDEX ... CONCURRENTLY of a table or an index works on, by oid."""
    node = statement.node
    if statement.kind == "index_stmt":
        name = quoted(node.relation)
    elif statement.kind == "drop_stmt":
        name = quoted_names(item.string.sval for item in node.objects[0].list.items)
    elif statement.kind == "reindex_stmt" and node.HasField("relation"):
        name = quoted(node.relation)
    else:
        return ()
    row = conn.execute(
        "SELECT coalesce(i.indrelid, r.oid)::pg_catalog.int8 FROM (SELECT pg_catalog.to_regclass(%s)::oid) AS r (oid)"
        " LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = r.oid WHERE r.oid IS NOT NULL",
        [name],
    ).fetchone()
    return (int(row[0]),) if row else ()


_WORKING = """
SELECT DISTINCT coalesce(l.pid, 0) FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted AND l.relation::pg_catalog.int8 = ANY(%s) AND l.mode = ANY(%s)
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND (l.pid IS NULL OR a.usesysid IS NOT NULL)
 ORDER BY 1
"""
"""Whoever builds or drops an index in steps has this lock on its table all the time, also between its transactions.
Autovacuum has it too, but belongs to nobody, and gives way."""
_IN_STEPS = ("ShareUpdateExclusiveLock",)
_ANY_CHANGE = ("ShareUpdateExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")


def builders(conn: Connection[Any], tables: Sequence[int]) -> tuple[int, ...] | None:
    """Other sessions that may be building or dropping an index of these tables; None: this role must not see that."""
    return _holders(conn, tables, _IN_STEPS)


def changers(conn: Connection[Any], index: Index) -> tuple[int, ...] | None:
    """As `builders`, of one index: also whoever keeps others from changing it, or is about to commit its end."""
    return _holders(conn, [index.oid, index.table], _ANY_CHANGE)


def _holders(conn: Connection[Any], relations: Sequence[int], modes: Sequence[str]) -> tuple[int, ...] | None:
    if not relations:
        return ()
    try:
        return tuple(pid for (pid,) in conn.execute(_WORKING, [list(relations), list(modes)]))
    except psycopg.errors.InsufficientPrivilege:
        return None


def difference(conn: Connection[Any], index: Index, statement: Statement) -> str | None:
    """How an index differs from the one that a statement would build, in words; None: it does not.

    The server says both: the statement's index is built on an empty table of the same columns, and rolled back. An
    invalid one does not come here.
    """
    try:
        theirs, mine = _definition(conn, index.oid), _as_built(conn, index, statement)
    except psycopg.Error as error:
        if conn.closed:
            raise
        return f"cannot be compared with it ({(error.diag.message_primary or str(error)).strip()})"
    return None if theirs == mine else f"is {theirs}, and the script wants {mine}"


def _definition(conn: Connection[Any], oid: int) -> str:
    """What makes an index what it is, from the server: without its name and its table's."""
    row = conn.execute(
        "SELECT i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.format('%%I', c.relname)"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE i.indexrelid = %s",
        [oid],
    ).fetchone()
    if row is None:
        return "gone"
    unique, text, table = row
    return ("unique " if unique else "") + str(text).split(f"{table} USING ", 1)[-1]


def _as_built(conn: Connection[Any], index: Index, statement: Statement) -> str:
    from postgast import deparse, parse
    from postgast.pg_query_pb2 import ParseResult

    node = type(statement.node).FromString(statement.node.SerializeToString())
    node.concurrent = node.if_not_exists = False
    node.relation.schemaname, node.table_space = "pg_temp", ""
    for option in [o for o in node.options if o.def_elem.defnamespace]:  # TimescaleDB's, which say how, not what
        node.options.remove(option)
    tree: ParseResult = parse("SELECT 1")
    tree.stmts[0].stmt.index_stmt.CopyFrom(node)
    with conn.transaction(force_rollback=True):
        row = conn.execute(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.oid = %s",
            [index.table],
        ).fetchone()
        schema, table = row or ("", "")
        like = sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {})")
        conn.execute(like.format(sql.Identifier(table), sql.Identifier(schema, table)))
        conn.execute(deparse(tree).encode())
        built = conn.execute(
            "SELECT i.indexrelid::pg_catalog.int8 FROM pg_catalog.pg_index i"
            " WHERE i.indrelid = pg_catalog.to_regclass(%s)",
            [quoted_names(["pg_temp", table])],
        ).fetchone()
        return _definition(conn, built[0]) if built else "gone"
