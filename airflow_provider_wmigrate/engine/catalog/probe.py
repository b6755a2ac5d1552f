"""Finds out, from the catalogs, whether a statement in flight ran before its runner died. It never guesses.

Statements that run outside a transaction commit by themselves, so the journal alone cannot tell. What the catalogs
cannot tell either is left to a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection, errors, sql

from airflow_provider_wmigrate.engine.sql.no_transaction import outside
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .builds import Index, changers, named, quoted, quoted_names
from .timescale_calls import called, half_recompressed, repeatable_for_each


def ran(conn: Connection[Any], statement: Statement) -> bool | None:
    """Whether it ran: True, False (running it again is right), or None: only a person can tell."""
    if statement.kind == "select_stmt" and statement.outside:
        return False  # rewrites chunks in another order or place: twice gives what once gives
    look = _LOOKS.get(statement.kind)
    return look(conn, statement.node) if look else None


def drop_index(conn: Connection[Any], index: Index, *, hypertable: bool) -> None:
    """Drop an index that a failed build left invalid, which IF NOT EXISTS would take for done.

    :param hypertable: it was built chunk by chunk.
    """
    how = "" if hypertable else "CONCURRENTLY "
    conn.execute(sql.SQL(f"DROP INDEX {how}IF EXISTS {{}}").format(sql.Identifier(index.schema, index.name)))


def drop_remains(conn: Connection[Any], statement: Statement) -> tuple[Index, ...]:
    """Drop what a failed REINDEX CONCURRENTLY left invalid beside the index, which would stay for ever. Not what
    another session builds now, or may build."""
    if statement.kind != "reindex_stmt" or not any(p.def_elem.defname == "concurrently" for p in statement.node.params):
        return ()
    remains = [index for index in _reindex_remains(conn, statement.node) if changers(conn, index) == ()]
    for index in remains:
        drop_index(conn, index, hypertable=False)
    return tuple(remains)


_REINDEX_SCOPES = {
    1: "i.indrelid = (SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%(name)s))",
    2: "i.indrelid = pg_catalog.to_regclass(%(name)s)",
    3: "n.nspname = %(name)s",
}
"""By kind of REINDEX: of an index, a table, a schema; others are of the database."""


def _reindex_remains(conn: Connection[Any], node: Any) -> list[Index]:
    """Invalid indexes beside the one they were to replace, with the endings that PostgreSQL gives them (its manual,
    REINDEX, "Rebuilding Indexes Concurrently")."""
    name = quoted(node.relation) if node.kind in (1, 2) else node.name
    query = (
        "SELECT i.indexrelid::pg_catalog.int8, i.indrelid::pg_catalog.int8, n.nspname, c.relname, i.indisvalid"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$' AND n.nspname !~ '^pg_'"
        " AND EXISTS (SELECT FROM pg_catalog.pg_index s JOIN pg_catalog.pg_class sc ON sc.oid = s.indexrelid"
        "  WHERE s.indrelid = i.indrelid AND s.indexrelid <> i.indexrelid AND s.indkey = i.indkey"
        "  AND pg_catalog.starts_with(sc.relname, pg_catalog.regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '')))"
        f" AND {_REINDEX_SCOPES.get(node.kind, 'true')} ORDER BY 3, 4"
    )
    return [Index(*row) for row in conn.execute(query.encode(), {"name": name})]


def finish_detaching(conn: Connection[Any], statement: Statement) -> bool:
    """Finish a DETACH PARTITION CONCURRENTLY that was left half done; only FINALIZE can, running it again cannot.

    :return: whether there was one.
    """
    if statement.kind != "alter_table_stmt" or not statement.outside:
        return False
    if _pending(conn, statement.node) is not True:
        return False
    part = getattr(statement.node.cmds[0].alter_table_cmd, "def").partition_cmd.name
    conn.execute(f"ALTER TABLE {quoted(statement.node.relation)} DETACH PARTITION {quoted(part)} FINALIZE".encode())
    return True


def half_done(conn: Connection[Any], statement: Statement) -> str | None:
    """The chunk that a recompress_chunk in flight has left half done, which running it again would not finish."""
    return half_recompressed(conn, statement.node.funccall) if statement.kind == "call_stmt" else None


def _created_index(conn: Connection[Any], node: Any) -> bool | None:
    if outside("index_stmt", node) is None:
        return None
    found = named(conn, node)
    return found is not None and found.valid


def _dropped(conn: Connection[Any], node: Any) -> bool | None:
    """DROP INDEX CONCURRENTLY takes exactly one index; an invalid one is one half dropped."""
    name = quoted_names(item.string.sval for item in node.objects[0].list.items)
    return _yes(conn, "SELECT pg_catalog.to_regclass(%s) IS NULL", [name])


def _added_value(conn: Connection[Any], node: Any) -> bool | None:
    name = quoted_names(item.string.sval for item in node.type_name)
    enum = "SELECT FROM pg_catalog.pg_enum WHERE enumtypid = pg_catalog.to_regtype(%s) AND enumlabel = %s"
    return _yes(conn, f"SELECT EXISTS ({enum})", [name, node.new_val])


def _pending(conn: Connection[Any], node: Any) -> bool | None:
    """Whether a partition is half detached; None: it is no partition (any more)."""
    part = getattr(node.cmds[0].alter_table_cmd, "def").partition_cmd.name
    row = conn.execute(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass(%s)"
        " AND inhparent = pg_catalog.to_regclass(%s)",
        [quoted(part), quoted(node.relation)],
    ).fetchone()
    return None if row is None else bool(row[0])


def _detached(conn: Connection[Any], node: Any) -> bool | None:
    """Half detached is to be run again: that finishes it."""
    return _pending(conn, node) is None


def any_exists(conn: Connection[Any], names: Sequence[str]) -> bool:
    """Whether there is a relation with one of these names, written as in SQL. What is no name is none."""
    proper = [name for name in names if _NAME.fullmatch(name)]
    each = "pg_catalog.unnest(%s::pg_catalog.text[]) n"
    return _yes(conn, f"SELECT pg_catalog.bool_or(pg_catalog.to_regclass(n) IS NOT NULL) FROM {each}", [proper])


_NAME = re.compile(r'(?:"[^"]+"|[^\W\d][\w$]*)(?:\.(?:"[^"]+"|[^\W\d][\w$]*)){0,2}')


def only_reads(conn: Connection[Any], statement: Statement) -> bool:
    """Whether a SELECT calls nothing that a READ ONLY transaction would let act, and that a second time would double:
    advisory locks, replication slots, files, other servers ... A function counts as one that acts unless it is the
    server's own and not volatile; so does whatever a view, an operator or a cast of somebody's may call."""
    if statement.kind != "select_stmt" or statement.node is None:
        return False
    from postgast import walk

    said: dict[str, set[str]] = {"FuncCall": set(), "A_Expr": set(), "ColumnRef": set(), "RangeVar": set()}
    for _, node in walk(statement.node):
        kind = node.DESCRIPTOR.name
        if kind == "FuncCall":
            said[kind].add(node.funcname[-1].string.sval)
        elif kind == "A_Expr" and node.name:
            said[kind].add(node.name[-1].string.sval)
        elif kind == "ColumnRef":
            said[kind].add(node.fields[-1].string.sval)
        elif kind == "RangeVar":
            said[kind].add(quoted(node))
    names = {f"{kind.lower()}s": sorted(found) for kind, found in said.items()}
    return _yes(conn, _ONLY_READS, names | {"harmless": _HARMLESS})


_HARMLESS = [
    "clock_timestamp",
    "timeofday",
    "random",
    "gen_random_uuid",
    "pg_sleep",
    "pg_advisory_xact_lock",
    "pg_try_advisory_xact_lock",
]
"""Volatile, and yet nothing of them is left when their transaction has ended."""

_ONLY_READS = """
WITH own AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = ANY(%(funccalls)s::pg_catalog.name[]) AND NOT (
  p.pronamespace IN (TABLE own) AND (p.provolatile <> 'v' OR p.proname = ANY(%(harmless)s::pg_catalog.name[]))))
AND NOT EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
  WHERE o.oprname = ANY(%(a_exprs)s::pg_catalog.name[]) AND o.oprnamespace NOT IN (TABLE own) AND p.provolatile = 'v')
AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
  WHERE p.pronamespace NOT IN (TABLE own) AND p.provolatile = 'v')
AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]
  WHERE p.proname = ANY(%(columnrefs)s::pg_catalog.name[])
  AND p.pronargs = 1 AND t.typtype = 'c' AND p.pronamespace NOT IN (TABLE own))
AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid IN (SELECT pg_catalog.to_regclass(r) FROM pg_catalog.unnest(%(rangevars)s::pg_catalog.text[]) r)
  AND (c.relkind NOT IN ('r', 'p', 'm', 'S') OR c.relrowsecurity)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema'))
"""


def _yes(conn: Connection[Any], query: str, values: Any) -> bool:
    row = conn.execute(query.encode(), values).fetchone()
    return bool(row and row[0])


def _database(conn: Connection[Any], name: str) -> bool:
    return _yes(conn, "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)", [name])


def _updated(conn: Connection[Any], node: Any) -> bool | None:
    """ALTER EXTENSION UPDATE: whether the database has the version it asks for."""
    wanted = next((option.def_elem.arg.string.sval for option in node.options), None)
    query = (
        "SELECT e.extversion = coalesce(%s, a.default_version) FROM pg_catalog.pg_extension e"
        " LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname WHERE e.extname = %s"
    )
    return _yes(conn, query, [wanted, node.extname])


def _again(_: Connection[Any], __: Any) -> bool:
    """Running it twice gives what running it once does."""
    return False


def _selected(conn: Connection[Any], node: Any) -> bool | None:
    """SELECT of one call, and of nothing else: as TimescaleDB's functions are called."""
    targets = [] if node is None else node.target_list
    value = targets[0].res_target.val if len(targets) == 1 else None
    if value is None or value.WhichOneof("node") != "func_call":
        return None
    if node.from_clause:
        return False if repeatable_for_each(value.func_call) else None
    return called(conn, value.func_call)


_LOOKS: dict[str, Callable[[Connection[Any], Any], bool | None]] = {
    "index_stmt": _created_index,
    "drop_stmt": _dropped,
    "alter_enum_stmt": _added_value,
    "alter_extension_stmt": _updated,
    "alter_table_stmt": _detached,
    "createdb_stmt": lambda conn, node: _database(conn, node.dbname),
    "dropdb_stmt": lambda conn, node: not _database(conn, node.dbname),
    "call_stmt": lambda conn, node: called(conn, node.funccall),
    "select_stmt": _selected,
    "vacuum_stmt": _again,
    "cluster_stmt": _again,
    "reindex_stmt": _again,
    "alter_system_stmt": _again,
    "variable_set_stmt": _again,
    "discard_stmt": _again,
}


# Whether a statement that failed had committed: by how many transactions its session has had

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
    except errors.InsufficientPrivilege:
        return None
    return int(row[0]) if row else None


def at_most_one_between(before: int | None, after: int | None) -> bool:
    """Whether there was at most one transaction between two looks: the statement's own, which ended as the statement
    did, or none, since it was not even sent. False: there were more, or it is not known."""
    return before is not None and after is not None and (after - before) % _WRAP in (1, 2)
