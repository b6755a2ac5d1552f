"""The ledger's tables as they are in a database: which version they are of, and whether they can be relied upon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.errors import LedgerDamaged, LedgerTooNew

from .ledger_upgrades import LedgerUpgrade, columns_at, newest
from .trail import COLUMNS, damaged

ENTRY = (
    "version", "name", "status", "direction", "checksum", "checksum_algorithm", "dependencies",
    "rollback_sql", "rollback_checksum", "applied_at", "duration_ms",
    "statements_done", "statements_total", "statement_hashes",
    "actor", "dag_id", "run_id", "task_id", "try_number",
)  # fmt: skip

TABLES = {
    "schema_migrations": ENTRY,
    "application_metadata": ("key", "value", "description", "created_at", "updated_at"),
    "audit_log": COLUMNS,
}
"""The columns of ledger version 1, in their order."""


def in_schema(schema: str, text: str, **parts: sql.Composable) -> sql.Composed:
    """A statement on the ledger, in whose text `{schema}` stands for its schema."""
    return sql.SQL(text).format(schema=sql.Identifier(schema), **parts)


def ledger_version(conn: Connection[Any], schema: str, upgrades: Sequence[LedgerUpgrade]) -> int | None:
    """See `Ledger.version`."""
    if conn.info.parameter_status("client_encoding") == "SQL_ASCII":  # psycopg would give bytes instead of text
        conn.execute("SELECT pg_catalog.set_config('client_encoding', 'UTF8', false)")
    tables = [*columns_at(newest(upgrades), TABLES, upgrades)]
    columns = _columns(conn, schema, tables)
    if not set(TABLES) & set(columns):
        return None
    absent = sorted(set(TABLES) - set(columns))
    if absent:
        there = sorted(set(columns) & set(TABLES))
        raise damaged(f"schema {schema} holds {', '.join(there)} but no {', '.join(absent)}")
    value = None
    if {"key", "value"} <= set(columns["application_metadata"]):
        columns, value = _columns_and_version(conn, schema, tables)
    if value is None or not value.isdecimal():
        raise damaged(f"{schema}.application_metadata has no ledger_version")
    if int(value) > newest(upgrades):
        raise LedgerTooNew(schema, int(value), newest(upgrades))
    for table, expected in columns_at(int(value), TABLES, upgrades).items():
        if columns.get(table) != expected:
            raise damaged(f"{schema}.{table} has other columns than the ledger's table of that name")
    return int(value)


def _columns(conn: Connection[Any], schema: str, tables: Sequence[str]) -> dict[str, list[str]]:
    rows = conn.execute(*_tables(schema, tables, sql.SQL("pg_catalog.row_security_active(c.oid)"))).fetchall()
    for table, _, hides in rows:
        if hides:  # an empty answer would be taken for "nothing has been applied"
            name = f"{schema}.{table}"
            raise LedgerDamaged(
                f"row security on {name} may hide rows of the ledger from this role",
                hint=f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY, or give the role BYPASSRLS",
            )
    return {table: columns for table, columns, _ in rows}


def _columns_and_version(
    conn: Connection[Any], schema: str, tables: Sequence[str]
) -> tuple[dict[str, list[str]], str | None]:
    """In one statement: between two, another runner may commit an upgrade, and they would not fit together."""
    query = "(SELECT value FROM {}.application_metadata WHERE key = 'ledger_version')"
    rows = conn.execute(*_tables(schema, tables, sql.SQL(query).format(sql.Identifier(schema)))).fetchall()
    return {table: columns for table, columns, _ in rows}, rows[0][2] if rows else None


def _tables(schema: str, tables: Sequence[str], more: sql.Composable) -> tuple[sql.Composed, list[Any]]:
    """The ledger's tables with their columns, and one more value."""
    query = sql.SQL(
        "SELECT c.relname, pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum), {more}"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) GROUP BY c.oid, c.relname"
    )
    return query.format(more=more), [schema, list(tables)]
