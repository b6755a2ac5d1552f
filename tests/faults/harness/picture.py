"""A picture of a database: schema, data, ledger. Two runs came to the same when their pictures are equal."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger

Conn = psycopg.Connection[Any]
Picture = dict[str, list[Any]]

_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'wmigrate')"
_CATALOG = {
    "schema": f"SELECT nspname, nspacl::text FROM pg_namespace n WHERE {_OURS}",
    "relation": "SELECT n.nspname, relname, relkind, relpersistence, reloptions::text, relacl::text,"
    " relrowsecurity, relispartition, pg_get_expr(relpartbound, c.oid),"
    " CASE WHEN relkind = 'v' THEN pg_get_viewdef(c.oid) END, obj_description(c.oid, 'pg_class')"
    f" FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}",
    "column": "SELECT n.nspname, relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,"
    " attgenerated, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
    " JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND adnum = attnum"
    f" WHERE attnum > 0 AND NOT attisdropped AND {_OURS}",
    "index": "SELECT n.nspname, c.relname, pg_get_indexdef(indexrelid), indisvalid, indisready, indislive"
    f" FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}",
    "constraint": "SELECT n.nspname, conrelid::regclass::text, conname, pg_get_constraintdef(c.oid), convalidated"
    f" FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace WHERE {_OURS}",
    "enum": "SELECT n.nspname, typname, array_agg(enumlabel ORDER BY enumsortorder)::text FROM pg_enum"
    f" JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace WHERE {_OURS} GROUP BY 1, 2",
    "function": "SELECT n.nspname, proname, pg_get_functiondef(p.oid) FROM pg_proc p"
    f" JOIN pg_namespace n ON n.oid = pronamespace WHERE {_OURS}",
    "trigger": "SELECT n.nspname, relname, pg_get_triggerdef(t.oid), tgenabled FROM pg_trigger t"
    f" JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace"
    f" WHERE NOT tgisinternal AND {_OURS}",
    "inheritance": "SELECT inhparent::regclass::text, inhrelid::regclass::text, inhdetachpending FROM pg_inherits"
    f" JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}",
    "prepared transaction": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
}
_TABLES = (
    "SELECT n.nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    f" WHERE relkind = 'r' AND {_OURS}"
)
_ENTRY = (
    "SELECT version, name, status, direction, checksum, checksum_algorithm, dependencies, rollback_sql,"
    " rollback_checksum, statements_done, statements_total, statement_hashes FROM wmigrate.schema_migrations"
)
_METADATA = "SELECT key, value FROM wmigrate.application_metadata WHERE key IN ('ledger_version', 'schema_version')"


def take(conn: Conn) -> Picture:
    """Everything but the audit log, which tells of every try."""
    picture = {what: _rows(conn, query) for what, query in _CATALOG.items()}
    for schema, table in conn.execute(_TABLES.encode()).fetchall():
        query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
        picture[f"rows of {schema}.{table}"] = sorted(row for (row,) in conn.execute(query))
    picture["ledger entry"] = _rows(conn, _ENTRY)
    picture["ledger metadata"] = _rows(conn, _METADATA)
    return picture


def _rows(conn: Conn, query: str) -> list[Any]:
    return sorted(map(repr, conn.execute(query.encode()).fetchall()))


def differences(wanted: Picture, found: Picture) -> list[str]:
    """What is missing and what is too much, a line each."""
    lines = []
    for what in sorted({*wanted, *found}):
        was, now = [*wanted.get(what, ())], [*found.get(what, ())]
        for row in [*was]:
            if row in now:
                was.remove(row)
                now.remove(row)
        lines += [f"{what} missing: {row}" for row in was[:5]] + [f"{what} too much: {row}" for row in now[:5]]
    return lines


def audit_faults(conn: Conn, *, outcome: str) -> list[str]:
    """What is wrong with the audit log after any number of tries: the chain, or not one row of the outcome."""
    lines = [f"audit: {finding}" for finding in Ledger().verify(conn)]
    rows = conn.execute("SELECT event, count(*) FROM wmigrate.audit_log WHERE version = '002' GROUP BY 1").fetchall()
    events = dict(rows)
    wanted = {"applied": 1, "rolled_back": 1 if outcome == "rolled_back" else 0}
    for event, count in wanted.items():
        if events.get(event, 0) != count:
            lines.append(f"audit: {events.get(event, 0)} rows {event} instead of {count}")
    return lines


def times_of_another_clock(conn: Conn) -> list[str]:
    """Times in the ledger that are not the server's: it has been at work for minutes only."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM wmigrate.audit_log WHERE NOT at BETWEEN begin AND now()),"
        " (SELECT count(*) FROM wmigrate.schema_migrations WHERE NOT applied_at BETWEEN begin AND now())"
        " FROM (SELECT (pg_stat_file('PG_VERSION')).modification - interval '1 hour' AS begin) AS server"
    ).fetchone()
    return [] if row == (0, 0) else [f"times that are not the server's, in audit log and entries: {row}"]


def left_behind(conn: Conn) -> list[str]:
    """Sessions of runners that are still there, and advisory locks that somebody still holds."""
    rows = conn.execute(
        "SELECT pid, application_name, state, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'wmigrate%' AND pid <> pg_backend_pid()"
    ).fetchall()
    return [f"session left behind: {row}" for row in rows]
