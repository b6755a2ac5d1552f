"""What has to be known of a table before something of it can be kept instead of destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection, sql

PREFIX = "wmigrate_kept_"
"""Every schema of kept things is called so."""


class Keepable(NamedTuple):
    """A table as it is.

    :param kind: as pg_class.relkind has it.
    :param inherited: another table inherits from it, or it from another one: partitions, and chunks of a hypertable.
    :param delete_triggers: enabled ones that DELETE fires, also of its partitions; none of a constraint.
    :param truncate_triggers: those that TRUNCATE fires.
    :param spreading: foreign keys through which DELETE takes rows or values of other tables.
    :param published: publications that name it.
    :param stored: columns whose values are not computed from others.
    :param numbered: of the columns asked for those that have a sequence of their own.
    :param key: columns that tell its rows apart, without those asked for.
    """

    oid: int
    schema: str
    name: str
    kind: str
    temporary: bool
    partition: bool
    inherited: bool
    rules: bool
    delete_triggers: list[str]
    truncate_triggers: list[str]
    spreading: list[str]
    published: list[str]
    stored: list[str]
    numbered: list[str]
    key: list[str]

    @property
    def told(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


_LOOK = """
SELECT c.oid::pg_catalog.int8, n.nspname, c.relname, c.relkind::text, c.relpersistence = 't', c.relispartition,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)), c.relhasrules,
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger t, family f WHERE t.tgrelid = f.oid AND NOT t.tgisinternal
                AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0 ORDER BY 1),
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger t, family f WHERE t.tgrelid = f.oid AND NOT t.tgisinternal
                AND t.tgenabled <> 'D' AND t.tgtype & 32 <> 0 ORDER BY 1),
       ARRAY(SELECT DISTINCT k.conname || ' of ' || k.conrelid::pg_catalog.regclass FROM pg_catalog.pg_constraint k,
                family f WHERE k.confrelid = f.oid AND k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd')
                AND k.conparentid = 0 ORDER BY 1),
       ARRAY(SELECT p.pubname::text FROM pg_catalog.pg_publication p
                JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE r.prrelid = c.oid ORDER BY 1),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY (%(of)s)
                AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                  AND d.refclassid = d.classid AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
                  AND d.deptype IN ('a', 'i')
                  AND EXISTS (SELECT FROM pg_catalog.pg_class s WHERE s.oid = d.objid AND s.relkind = 'S'))),
       coalesce((SELECT key.columns FROM pg_catalog.pg_index x CROSS JOIN LATERAL (
                   SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place) AS columns,
                          pg_catalog.bool_and(a.attnotnull AND a.attname <> ALL (%(of)s)) AS fit
                     FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY AS k (number, place)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
                    WHERE k.place <= x.indnkeyatts) AS key
                  WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate
                    AND x.indpred IS NULL AND x.indexprs IS NULL AND key.fit
                  ORDER BY x.indisprimary DESC, x.indnkeyatts, x.indexrelid LIMIT 1), ARRAY[]::text[])
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = (SELECT oid FROM itself)
"""
_FAMILY = """
WITH itself AS (SELECT pg_catalog.to_regclass(%(name)s)::pg_catalog.oid AS oid),
     family AS (SELECT oid FROM itself UNION
                SELECT p.relid FROM itself, pg_catalog.pg_partition_tree(itself.oid) AS p)
"""


def keepable(conn: Connection[Any], table: tuple[str, str], columns: Sequence[str] = ()) -> Keepable | None:
    """:param table: schema (empty: by the search path) and name.
    :param columns: that are going to be dropped.
    :return: None: there is no such table.
    """
    name = sql.Identifier(*filter(None, table)).as_string(conn)
    row = conn.execute(_FAMILY + _LOOK, {"name": name, "of": list(columns)}).fetchone()
    return Keepable(*row) if row else None
