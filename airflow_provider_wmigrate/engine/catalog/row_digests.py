"""What a small database holds beside its schema: rows, how far sequences have come, large objects."""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from .keepable import PREFIX

_RELATIONS = f"""\
SELECT c.relkind::text, n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind IN ('r', 'S') AND n.nspname NOT IN ('information_schema', 'pg_catalog', %s)
AND pg_catalog.left(n.nspname, {len(PREFIX)}) <> '{PREFIX}'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3"""
_ROWS = """\
SELECT pg_catalog.count(*), pg_catalog.md5(pg_catalog.string_agg(pg_catalog.md5(ROW(held.*)::text), ''
       ORDER BY ROW(held.*)::text COLLATE "C")) FROM ONLY {} AS held"""
_SEQUENCE = """\
SELECT s.last_value, s.is_called FROM {} AS s, pg_catalog.pg_sequence AS p
WHERE p.seqrelid = {}::pg_catalog.regclass AND (s.is_called OR s.last_value <> p.seqstart)"""


def row_digests(conn: Connection[Any], ledger_schema: str) -> dict[str, tuple[Any, ...]]:
    """By name, of each table that is not empty the count of its rows and a digest, and where a sequence stands that was
    used. Every row is read.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for kind, schema, name in conn.execute(_RELATIONS, [ledger_schema]).fetchall():
        identifier = sql.Identifier(schema, name)
        if kind == "r":
            query = sql.SQL(_ROWS).format(identifier)
        else:
            query = sql.SQL(_SEQUENCE).format(identifier, sql.Literal(identifier.as_string(conn)))
        row = conn.execute(query).fetchone()
        if row and row[0]:
            found[f"{schema}.{name}"] = row
    objects = conn.execute("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata").fetchone()
    return found | ({"large objects": objects} if objects and objects[0] else {})
