"""Which migration has dropped or renamed something that somebody did not find: asked of the audit log, for who knows
neither the folder nor in which schema the ledger is."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.sql.named import names_in
from airflow_provider_wmigrate.engine.usage import quoted

_KINDS = {
    "relation": ["table", "view", "materialized view", "sequence"],
    "column": ["column"],
    "function": ["function"],
}
_WORD = re.compile(r'(?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))*')
_MOST = 3


class Culprit(Struct, frozen=True):
    """:param what: `column public.orders.note`.
    :param how: what was done with it.
    """

    what: str
    how: str
    migration: str
    rolled_back: bool
    at: datetime
    actor: str
    run: str

    def __str__(self) -> str:
        of = "the rollback of migration" if self.rolled_back else "migration"
        when = self.at.astimezone(timezone.utc)
        by = f" by {self.actor}" if self.actor else ""
        return f"{self.what} {self.how} by {of} {self.migration}, {when:%Y-%m-%d %H:%M} UTC{by}{self.run}"


def culprits(conn: Connection[Any], kind: str, words: str) -> list[Culprit]:
    """The newest first, for each thing of that name one.

    :param kind: relation, column or function.
    :param words: in which the server said what is not there, in whatever language.
    """
    named = [names_in(word) for word in _WORD.findall(words)]
    last = sorted({name for parts in named for name in (parts[-1], *_inside_quotes(parts))})
    found: dict[str, Culprit] = {}
    for (schema,) in conn.execute(_LEDGERS).fetchall():
        query = sql.SQL(_CHANGES).format(log=sql.Identifier(schema, "audit_log"))
        given = {"kinds": _KINDS[kind], "names": last, "most": _MOST, "column": kind == "column"}
        rows = conn.execute(query, given).fetchall()
        if not rows and kind == "relation":
            rows = conn.execute(sql.SQL(_TAKEN_ALONG).format(log=sql.Identifier(schema, "audit_log")), given).fetchall()
        for row in rows:
            culprit = _culprit(*row)
            found.setdefault(culprit.what, culprit)
    return [*found.values()]


def _inside_quotes(parts: list[str]) -> list[str]:
    """`"s.items"` is how the server writes a relation with its schema."""
    return [parts[-1].rpartition(".")[2]]


def _culprit(change: dict[str, str], event: str, version: str, name: str, at: datetime, *who: str | None) -> Culprit:
    parts = names_in(change["relation"]) if "relation" in change else [change.get(k, "") for k in _PARTS]
    how = f"was renamed to {change['to']}" if change.get("does") == "rename" else "was dropped"
    actor, dag_id, run_id = (each or "" for each in who)
    run = f" (run {run_id} of DAG {dag_id})" if dag_id else ""
    what = f"{change.get('kind', 'relation')} {'.'.join(quoted(part) for part in parts if part)}"
    return Culprit(what, how, f"{version}_{name}" if name else version, event == "rolled_back", at, actor, run)


_PARTS = ("schema", "name", "column")
_LEDGERS = """
SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'audit_log' AND c.relkind = 'r'
  AND EXISTS (SELECT FROM pg_catalog.pg_class e WHERE e.relnamespace = n.oid AND e.relname = 'schema_migrations')
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY 1
"""
_CHANGES = """
SELECT change, event, version, details ->> 'name', at, actor, dag_id, run_id
FROM {log}, LATERAL pg_catalog.jsonb_array_elements(details #> '{{changes,each}}') AS each (change)
WHERE event IN ('applied', 'rolled_back')
  AND change ->> 'does' IN ('drop', 'rename') AND change ->> 'kind' = ANY (%(kinds)s::pg_catalog.text[])
  AND change ->> CASE WHEN %(column)s THEN 'column' ELSE 'name' END = ANY (%(names)s::pg_catalog.text[])
ORDER BY position DESC LIMIT %(most)s
"""
_TAKEN_ALONG = """
SELECT lock, event, version, details ->> 'name', at, actor, dag_id, run_id
FROM {log}, LATERAL pg_catalog.jsonb_array_elements(details -> 'locks') AS each (lock)
WHERE event IN ('applied', 'rolled_back') AND lock ->> 'dropped' = 'true'
  AND (pg_catalog.parse_ident(lock ->> 'relation'))[2] = ANY (%(names)s::pg_catalog.text[])
ORDER BY position DESC LIMIT %(most)s
"""
"""What went through CASCADE: no statement names it, but it was locked and is gone."""
