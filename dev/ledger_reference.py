"""docs/reference/ledger-tables.md: the ledger's tables as a database has them, with their COMMENTs."""

from __future__ import annotations

from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster

_HEAD = """# The ledger's tables

What stands in the schema `wmigrate` of a target database. Every description is the COMMENT of the table or column:
`\\d+ wmigrate.schema_migrations` shows the same. What they guarantee is told in [The ledger](../ledger.md).

Read them as you like; write them never: `wmigrate repair` changes entries and leaves an audit row.

This page is generated from a ledger that was just made: `python -m dev.references`.
"""

_TABLES = """
SELECT c.oid, c.relname, obj_description(c.oid, 'pg_class')
FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(a.attrelid, a.attnum)
FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_FUNCTIONS = """
SELECT p.proname, obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE p.pronamespace = %s::regnamespace ORDER BY p.proname
"""


def page(conn: psycopg.Connection[Any]) -> str:
    """The page as Markdown.

    :param conn: autocommit, to a database in which a ledger may be made.
    """
    ledger = Ledger("wmigrate")
    with conn.transaction():
        ledger.create(conn, Identity("reference"))
    parts = [_HEAD]
    for oid, table, comment in conn.execute(_TABLES, ["wmigrate"]).fetchall():
        parts.append(f"\n## `{table}`\n\n{_sentence(comment)}\n")
        parts.append("\n| column | type | may be NULL | meaning |\n| --- | --- | --- | --- |\n")
        for column, kind, never_null, meaning in conn.execute(_COLUMNS, [oid]).fetchall():
            parts.append(f"| `{column}` | {kind} | {'' if never_null else 'yes'} | {meaning or ''} |\n")
    parts.append("\n## Functions\n\n| function | does |\n| --- | --- |\n")
    for function, comment in conn.execute(_FUNCTIONS, ["wmigrate"]).fetchall():
        parts.append(f"| `{function}()` | {_sentence(comment)} |\n")
    parts.append("\n## `application_metadata` of a new ledger\n\n| key | meaning |\n| --- | --- |\n")
    metadata = "SELECT key, description FROM wmigrate.application_metadata ORDER BY key"
    parts += [f"| `{key}` | {meaning} |\n" for key, meaning in conn.execute(metadata).fetchall()]
    return "".join(parts)


def page_of_a_new_server() -> str:
    """The same, with a server that is started for it."""
    with Cluster.temporary() as cluster, psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        return page(conn)


def _sentence(comment: str | None) -> str:
    text = (comment or "").removeprefix("wmigrate: ")
    return text[:1].upper() + text[1:] + "."
