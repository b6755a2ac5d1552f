"""The text of the one query for what a script's relations are and what hangs on them; `relations` reads its answer.

It takes no lock on any relation of the user's: it reads the catalogs alone. So it never waits behind somebody, and a
size is what the last VACUUM or ANALYZE saw, not what the files have.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql


def text(names: Iterable[str], falling: Iterable[str], *, incoming: bool) -> str:
    """:param names: of relations, types, functions, schemas: all that the script writes, without their schemas.
    :param falling: those of them that it may drop or change so that others fall with them.
    :param incoming: the tables with foreign keys to these, and those with foreign keys to them, and so on.
    """
    fallen = sorted(falling)
    return (
        _QUERY.replace("{names}", _array(sorted(names)))
        .replace("{walk}", _WALK.replace("{falling}", _array(fallen)) if fallen else _NO_WALK)
        .replace("{incoming}", _INCOMING if incoming else "")
    )


def _array(names: list[str]) -> str:
    return sql.Literal(names).as_string(None) + "::pg_catalog.text[]"


_RIGHT = """CASE WHEN c.relkind NOT IN ('r', 'p') OR NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') THEN 0
  WHEN pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE') THEN 8
  WHEN pg_catalog.has_table_privilege(c.oid, 'INSERT') THEN 3
  WHEN pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 1 ELSE 0 END"""
"""The strongest mode that LOCK TABLE may take, as a number of LockMode; 0: none."""

_NO_WALK = "walk (classid, objid, objsubid) AS (SELECT 0::oid, 0::oid, 0 WHERE false)"
_WALK = """
roots (classid, objid) AS MATERIALIZED (
  SELECT 'pg_catalog.pg_class'::regclass::oid, oid FROM pg_catalog.pg_class WHERE relname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type WHERE typname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE proname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_extension'::regclass, oid FROM pg_catalog.pg_extension WHERE extname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid FROM pg_catalog.pg_foreign_server
    WHERE srvname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid FROM pg_catalog.pg_foreign_data_wrapper
    WHERE fdwname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid FROM pg_catalog.pg_statistic_ext
    WHERE stxname = ANY ({falling})
  UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid FROM pg_catalog.pg_collation
    WHERE collname = ANY ({falling})
),
walk (classid, objid, objsubid) AS (
  SELECT classid, objid, 0 FROM roots WHERE objid >= 16384 OR classid = 'pg_catalog.pg_namespace'::regclass
  UNION
  SELECT n.* FROM walk w, LATERAL (
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = w.classid AND d.refobjid = w.objid AND (w.objsubid = 0 OR d.refobjsubid = w.objsubid)
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
    WHERE d.classid = w.classid AND d.objid = w.objid AND d.deptype = 'i'
  ) n
)"""

_INCOMING = """
    UNION ALL
    SELECT k.conrelid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = f.oid
      AND d.classid = 'pg_catalog.pg_constraint'::regclass AND k.contype = 'f'"""

_QUERY = f"""
WITH RECURSIVE named (oid, name) AS MATERIALIZED (
  SELECT c.oid, c.relname FROM pg_catalog.pg_class c WHERE c.relname = ANY ({{names}})
    AND c.relkind <> 't' AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace)
),
{{walk}},
part_of (classid, objid, relation) AS MATERIALIZED (
  SELECT w.classid, w.objid, coalesce(
    (SELECT conrelid FROM pg_catalog.pg_constraint x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_constraint'::regclass),
    (SELECT adrelid FROM pg_catalog.pg_attrdef x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_attrdef'::regclass),
    (SELECT tgrelid FROM pg_catalog.pg_trigger x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_trigger'::regclass),
    (SELECT ev_class FROM pg_catalog.pg_rewrite x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_rewrite'::regclass),
    (SELECT polrelid FROM pg_catalog.pg_policy x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_policy'::regclass),
    (SELECT stxrelid FROM pg_catalog.pg_statistic_ext x WHERE x.oid = w.objid
      AND w.classid = 'pg_catalog.pg_statistic_ext'::regclass))
  FROM (SELECT DISTINCT classid, objid FROM walk) w
),
family (oid) AS (
  SELECT oid FROM named
  UNION
  SELECT n.oid FROM family f, LATERAL (
    SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = f.oid
    UNION ALL
    SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = f.oid
    UNION ALL
    SELECT d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass WHERE r.ev_class = f.oid{{incoming}}
  ) n (oid)
),
keys AS MATERIALIZED (
  SELECT k.* FROM pg_catalog.pg_constraint k WHERE k.conrelid IN (SELECT oid FROM family) AND k.contype = 'f'
  UNION
  SELECT k.* FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid IN (SELECT oid FROM family)
    AND d.classid = 'pg_catalog.pg_constraint'::regclass AND k.contype = 'f'
),
reached (oid) AS (
  SELECT oid FROM family
  UNION
  SELECT n.oid FROM (
    SELECT unnest(ARRAY[conrelid, confrelid]) FROM keys
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid IN (SELECT oid FROM family)
    UNION ALL SELECT relation FROM part_of
    UNION ALL SELECT objid FROM walk WHERE classid = 'pg_catalog.pg_class'::regclass
    UNION ALL SELECT p.prrelid FROM pg_catalog.pg_publication_rel p JOIN pg_catalog.pg_publication u
      ON u.oid = p.prpubid WHERE u.pubname = ANY ({{names}})
  ) n (oid)
  UNION
  SELECT i.inhrelid FROM reached r JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid
),
owned (relation, number, sequence, how) AS MATERIALIZED (
  SELECT d.refobjid, d.refobjsubid, d.objid, CASE d.deptype WHEN 'i' THEN 'identity' ELSE 'owned' END
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid IN (SELECT oid FROM family)
    AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
  UNION ALL
  SELECT a.adrelid, a.adnum, d.refobjid, 'default'
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
    AND d.objid = a.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
  JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
  WHERE a.adrelid IN (SELECT oid FROM family)
),
known (oid) AS MATERIALIZED (
  SELECT oid FROM reached WHERE oid IS NOT NULL UNION SELECT sequence FROM owned
)
SELECT pg_catalog.json_build_object(
'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
'user', pg_catalog.current_user(),
'path', pg_catalog.current_schemas(true),
'schemas', (SELECT pg_catalog.json_agg(nspname) FROM pg_catalog.pg_namespace
  WHERE nspname = ANY ({{names}}) OR nspname = ANY (pg_catalog.current_schemas(true))),
'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.oid::pg_catalog.int8, n.nspname, c.relname,
    pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, {_RIGHT},
    greatest(c.relpages, 0)::pg_catalog.int8 + coalesce((SELECT sum(greatest(x.relpages, 0)) FROM pg_catalog.pg_class x
      WHERE x.oid = c.reltoastrelid
        OR x.oid IN (SELECT indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid)), 0)::pg_catalog.int8,
    (SELECT indrelid::pg_catalog.int8 FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid),
    c.reloftype::pg_catalog.int8, c.reltype::pg_catalog.int8))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid IN (SELECT oid FROM known)),
'inherits', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(inhrelid::pg_catalog.int8,
    inhparent::pg_catalog.int8)) FROM pg_catalog.pg_inherits WHERE inhparent IN (SELECT oid FROM known)),
'defaults', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(partrelid::pg_catalog.int8,
    partdefid::pg_catalog.int8)) FROM pg_catalog.pg_partitioned_table
  WHERE partdefid <> 0 AND partrelid IN (SELECT oid FROM known)),
'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(oid::pg_catalog.int8,
    conrelid::pg_catalog.int8, conname, contype, confrelid::pg_catalog.int8, convalidated, connoinherit,
    confdeltype, confupdtype, conkey, confkey)) FROM (
    SELECT k.* FROM pg_catalog.pg_constraint k WHERE k.conrelid IN (SELECT oid FROM family)
    UNION SELECT * FROM keys) k),
'bases', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(r.ev_class::pg_catalog.int8,
    d.refobjid::pg_catalog.int8)) FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
  WHERE r.ev_class IN (SELECT oid FROM family) AND r.rulename = '_RETURN'),
'sequences', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(relation::pg_catalog.int8, number,
    sequence::pg_catalog.int8, how)) FROM owned),
'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attrelid::pg_catalog.int8, a.attnum, a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull)) FROM pg_catalog.pg_attribute a
    JOIN family f ON f.oid = a.attrelid JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  WHERE c.relkind IN ('r', 'p', 'v', 'f') AND a.attnum > 0 AND NOT a.attisdropped),
'triggers', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.tgrelid::pg_catalog.int8, t.tgname, t.tgtype))
  FROM pg_catalog.pg_trigger t JOIN family f ON f.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
),
'rules', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(r.ev_class::pg_catalog.int8, r.rulename, r.ev_type))
  FROM pg_catalog.pg_rewrite r JOIN family f ON f.oid = r.ev_class
  WHERE r.rulename <> '_RETURN' AND r.ev_enabled IN ('O', 'A')),
'published', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(u.pubname, p.prrelid::pg_catalog.int8))
  FROM pg_catalog.pg_publication_rel p JOIN pg_catalog.pg_publication u ON u.oid = p.prpubid
  WHERE u.pubname = ANY ({{names}})),
'functions', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(n.nspname, p.proname, l.lanname IN
    ('internal', 'c') AND coalesce(p.probin, '') NOT LIKE '%timescaledb%' OR p.provolatile = 'i', p.provolatile = 'v'))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.proname = ANY ({{names}})),
'domains', (SELECT pg_catalog.json_agg(typname) FROM pg_catalog.pg_type
  WHERE typtype = 'd' AND typname = ANY ({{names}})),
'objects', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(w.classid::regclass, w.objid::pg_catalog.int8,
    s.name, s.schema)) FROM (SELECT DISTINCT classid, objid FROM walk) w, LATERAL (
    SELECT typname, typnamespace::regnamespace FROM pg_catalog.pg_type
      WHERE w.classid = 'pg_catalog.pg_type'::regclass AND oid = w.objid
    UNION ALL SELECT proname, pronamespace::regnamespace FROM pg_catalog.pg_proc
      WHERE w.classid = 'pg_catalog.pg_proc'::regclass AND oid = w.objid
    UNION ALL SELECT nspname, NULL FROM pg_catalog.pg_namespace
      WHERE w.classid = 'pg_catalog.pg_namespace'::regclass AND oid = w.objid
    UNION ALL SELECT extname, NULL FROM pg_catalog.pg_extension
      WHERE w.classid = 'pg_catalog.pg_extension'::regclass AND oid = w.objid
    UNION ALL SELECT srvname, NULL FROM pg_catalog.pg_foreign_server
      WHERE w.classid = 'pg_catalog.pg_foreign_server'::regclass AND oid = w.objid
    UNION ALL SELECT stxname, stxnamespace::regnamespace FROM pg_catalog.pg_statistic_ext
      WHERE w.classid = 'pg_catalog.pg_statistic_ext'::regclass AND oid = w.objid
  ) s (name, schema)),
'parts', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(classid::regclass, objid::pg_catalog.int8,
    relation::pg_catalog.int8)) FROM part_of WHERE relation IS NOT NULL),
'depends', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(d.classid::regclass, d.objid::pg_catalog.int8,
    d.objsubid, d.refclassid::regclass, d.refobjid::pg_catalog.int8, d.refobjsubid, d.deptype))
  FROM (SELECT DISTINCT classid, objid FROM walk) w JOIN pg_catalog.pg_depend d
    ON d.refclassid = w.classid AND d.refobjid = w.objid)
)
"""
