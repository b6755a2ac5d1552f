"""What the server calls objects of which only the catalog and the number are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import Connection

from .relations import Thing

_NAMES = """
SELECT t.catalog, t.oid, t.number, pg_catalog.pg_describe_object(t.catalog::pg_catalog.regclass, t.oid, t.number),
       array_remove(ARRAY[c.relname::text, a.attname::text, p.proname::text, k.conname::text, kc.relname::text,
         g.tgname::text, gc.relname::text, y.polname::text, yc.relname::text], NULL)
  FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::pg_catalog.oid[]),
                 pg_catalog.unnest(%s::int[])) AS t (catalog, oid, number)
  LEFT JOIN pg_catalog.pg_class c ON t.catalog = 'pg_class' AND c.oid = t.oid
  LEFT JOIN pg_catalog.pg_attribute a ON t.number <> 0 AND a.attrelid = c.oid AND a.attnum = t.number
  LEFT JOIN pg_catalog.pg_proc p ON t.catalog = 'pg_proc' AND p.oid = t.oid
  LEFT JOIN pg_catalog.pg_constraint k ON t.catalog = 'pg_constraint' AND k.oid = t.oid
  LEFT JOIN pg_catalog.pg_class kc ON kc.oid = k.conrelid
  LEFT JOIN pg_catalog.pg_trigger g ON t.catalog = 'pg_trigger' AND g.oid = t.oid AND NOT g.tgisinternal
  LEFT JOIN pg_catalog.pg_class gc ON gc.oid = g.tgrelid
  LEFT JOIN pg_catalog.pg_policy y ON t.catalog = 'pg_policy' AND y.oid = t.oid
  LEFT JOIN pg_catalog.pg_class yc ON yc.oid = y.polrelid
 WHERE t.catalog <> 'pg_trigger' OR g.oid IS NOT NULL
"""


def object_names(conn: Connection[Any], things: Iterable[Thing]) -> dict[Thing, tuple[str, tuple[str, ...]]]:
    """In words, with the names that are in them: of the object, and of the relation that it is a part of."""
    asked = list(dict.fromkeys(things))
    if not asked:
        return {}
    columns = [[each.catalog for each in asked], [each.oid for each in asked], [each.column for each in asked]]
    rows = conn.execute(_NAMES, columns).fetchall()
    return {Thing(*thing): (words, tuple(names)) for *thing, words, names in rows}
