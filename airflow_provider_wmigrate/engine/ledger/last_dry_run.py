"""What the last dry run of a script has locked, from the audit log: also what its functions and DO blocks locked, into
which nobody can see."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.catalog.relations import relations_message
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed
from airflow_provider_wmigrate.engine.model import Migration
from airflow_provider_wmigrate.engine.session.message import ask, literal, rows, table


def locked_in_dry_run(conn: Connection[Any], schema: str, migration: Migration, *, at: int) -> tuple[LockNeed, ...]:
    """The tables that the last dry run of this script has locked, in one question; empty: there was none of the same
    checksum, or it was one of several scripts, whose locks are recorded together. A table that is gone is left out.

    :param schema: of the ledger.
    :param at: number of the statement that is thought to take them.
    """
    question = _QUESTION % {
        b"log": table(schema, "audit_log"),
        b"version": literal(conn, migration.version),
        b"checksum": literal(conn, migration.script.checksum),
    }
    found = []
    for oid, name, kind, shown in rows(ask(conn, relations_message(question.decode()))[1]):
        mode = LockMode.of(shown or "")
        if mode > LockMode.ROW_SHARE:
            found.append(LockNeed(name or "", int(oid or 0), mode, at, at, kind=kind or "r"))
    return tuple(found)


_QUESTION = b"""
WITH RECURSIVE last AS MATERIALIZED (
  SELECT details FROM %(log)s WHERE version OPERATOR(pg_catalog.=) %(version)s
    AND event OPERATOR(pg_catalog.=) 'dry_run' ORDER BY position DESC LIMIT 1
),
taken AS (
  SELECT pg_catalog.parse_ident(lock.value OPERATOR(pg_catalog.->>) 'relation') AS name,
    lock.value OPERATOR(pg_catalog.->>) 'mode' AS mode,
    (lock.value OPERATOR(pg_catalog.->) 'parts') IS NOT NULL AS parts,
    coalesce((lock.value OPERATOR(pg_catalog.->>) 'whole')::pg_catalog.bool, true) AS whole
  FROM last, pg_catalog.jsonb_array_elements(last.details OPERATOR(pg_catalog.->) 'locks') AS lock
  WHERE last.details OPERATOR(pg_catalog.->>) 'checksum' OPERATOR(pg_catalog.=) %(checksum)s
    AND last.details OPERATOR(pg_catalog.->>) 'direction' OPERATOR(pg_catalog.=) 'apply'
    AND (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_object_keys(last.details OPERATOR(pg_catalog.->) 'chain'))
      OPERATOR(pg_catalog.=) 1
),
held (oid, mode, parts, whole) AS (
  SELECT c.oid, taken.mode, taken.parts, taken.whole
  FROM taken
  JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) taken.name[1]
  JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) taken.name[2]
    AND c.relnamespace OPERATOR(pg_catalog.=) n.oid
  UNION
  SELECT i.inhrelid, held.mode, true, true
  FROM held JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) held.oid WHERE held.parts
)
SELECT c.oid, pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relkind, held.mode
FROM held
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) held.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE held.whole AND c.relkind IN ('r', 'p') ORDER BY 2
"""
