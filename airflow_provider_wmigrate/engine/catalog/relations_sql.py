"""The text of the one query for what a script's relations are and what hangs on them; `relations` reads its answer.

It takes no lock on any relation of the user's: it reads the catalogs alone. So it never waits behind somebody, and a
size is what the last VACUUM or ANALYZE saw, or what the statistics have counted since, not what the files have. Sets of
oids are arrays, so that the planner goes by the catalogs' indexes: a sequential scan costs too much where there are
many relations.
"""

from __future__ import annotations

from psycopg import sql

from .relations_wanted import Section, Wanted


def text(wanted: Wanted, server_version: int) -> str:
    """One SELECT of one JSON object, with the sections that are wanted."""
    sections = wanted.sections
    parts = [_NAMED]
    parts += [_WALK] if "falling" in sections else []
    parts += [_FAMILY.replace("{more}", "".join(text for key, text in _FAMILY_MORE.items() if key in sections))]
    parts += [_KEYS] if "keys" in sections else []
    parts += [_REACHED.replace("{more}", "".join(text for key, text in _REACHED_MORE.items() if key in sections))]
    parts += [_OWNED] if "sequences" in sections else []
    parts += [_KNOWN.replace("{more}", _OWNED_TOO if "sequences" in sections else "")]
    columns = [_ALWAYS, *(text for key, text in _SECTIONS.items() if key in sections)]
    maintain = ", MAINTAIN" if server_version >= 170000 else ""
    query = f"WITH RECURSIVE {','.join(parts)}SELECT pg_catalog.json_build_object({','.join(columns)})"
    query = query.replace("{maintain}", maintain)
    return query.replace("{names}", _array(wanted.names)).replace("{falling}", _array(wanted.falling | wanted.tied))


def _array(names: frozenset[str]) -> str:
    return sql.Literal(sorted(names)).as_string(None) + "::pg_catalog.text[]"


_NAMED = """
named AS MATERIALIZED (
  SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname = ANY ({names})
    AND c.relkind <> 't' AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace)
)"""

_WALK = """
walk (classid, objid, objsubid) AS (
  SELECT * FROM (
    SELECT 'pg_catalog.pg_class'::regclass::oid, oid, 0 FROM pg_catalog.pg_class WHERE relname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, 0 FROM pg_catalog.pg_type WHERE typname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, 0 FROM pg_catalog.pg_proc WHERE proname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid, 0 FROM pg_catalog.pg_namespace
      WHERE nspname = ANY ({falling}) AND nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'pg_catalog.pg_extension'::regclass, oid, 0 FROM pg_catalog.pg_extension
      WHERE extname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid, 0 FROM pg_catalog.pg_foreign_server
      WHERE srvname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, 0 FROM pg_catalog.pg_foreign_data_wrapper
      WHERE fdwname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid, 0 FROM pg_catalog.pg_statistic_ext
      WHERE stxname = ANY ({falling})
    UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid, 0 FROM pg_catalog.pg_collation
      WHERE collname = ANY ({falling})
  ) roots (classid, oid, objsubid)
  WHERE oid >= 16384 OR classid IN ('pg_catalog.pg_namespace'::regclass, 'pg_catalog.pg_extension'::regclass)
  UNION
  SELECT n.* FROM walk w, LATERAL (
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = w.classid AND d.refobjid = w.objid AND (w.objsubid = 0 OR d.refobjsubid = w.objsubid)
    UNION ALL
    SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
    WHERE d.classid = w.classid AND d.objid = w.objid AND d.deptype = 'i'
  ) n
),
things AS MATERIALIZED (SELECT DISTINCT classid, objid FROM walk),
part_of (classid, objid, relation) AS MATERIALIZED (
  SELECT tableoid, oid, conrelid FROM pg_catalog.pg_constraint WHERE conrelid <> 0 AND oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_constraint'::regclass))
  UNION ALL SELECT tableoid, oid, adrelid FROM pg_catalog.pg_attrdef WHERE oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_attrdef'::regclass))
  UNION ALL SELECT tableoid, oid, tgrelid FROM pg_catalog.pg_trigger WHERE oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_trigger'::regclass))
  UNION ALL SELECT tableoid, oid, ev_class FROM pg_catalog.pg_rewrite WHERE oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_rewrite'::regclass))
  UNION ALL SELECT tableoid, oid, polrelid FROM pg_catalog.pg_policy WHERE oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_policy'::regclass))
  UNION ALL SELECT tableoid, oid, stxrelid FROM pg_catalog.pg_statistic_ext WHERE oid = ANY
    (ARRAY(SELECT objid FROM things WHERE classid = 'pg_catalog.pg_statistic_ext'::regclass))
)"""

_FAMILY = """
family (oid) AS (
  SELECT oid FROM named
  UNION
  SELECT n.oid FROM family f, LATERAL (
    SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = f.oid
    UNION ALL
    SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = f.oid{more}
  ) n (oid)
)"""
"""What is named, and what a statement on it concerns: its children, an index's table ..."""
_FAMILY_MORE: dict[Section, str] = {
    "bases": """
    UNION ALL
    SELECT d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass WHERE r.ev_class = f.oid""",
    "incoming": """
    UNION ALL
    SELECT k.conrelid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = f.oid
      AND d.classid = 'pg_catalog.pg_constraint'::regclass AND k.contype = 'f'""",
}

_KEYS = """
keys AS MATERIALIZED (
  SELECT k.* FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY (ARRAY(SELECT oid FROM family))
  UNION
  SELECT k.* FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY (ARRAY(SELECT oid FROM family))
    AND d.classid = 'pg_catalog.pg_constraint'::regclass AND k.contype = 'f'
)"""

_REACHED = """
reached (oid) AS (
  SELECT * FROM (
    SELECT oid FROM family
    UNION ALL SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = ANY (ARRAY(SELECT oid FROM family)){more}
  ) start (oid)
  UNION
  SELECT i.inhrelid FROM reached r JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid
)"""
"""The family, what its locks go over to, and the children of that."""
_REACHED_MORE: dict[Section, str] = {
    "keys": """
    UNION ALL SELECT unnest(ARRAY[conrelid, confrelid]) FROM keys WHERE contype = 'f'""",
    "falling": """
    UNION ALL SELECT relation FROM part_of
    UNION ALL SELECT objid FROM things WHERE classid = 'pg_catalog.pg_class'::regclass""",
    "published": """
    UNION ALL SELECT p.prrelid FROM pg_catalog.pg_publication_rel p JOIN pg_catalog.pg_publication u
      ON u.oid = p.prpubid WHERE u.pubname = ANY ({names})""",
}

_OWNED = """
owned (relation, number, sequence, how) AS MATERIALIZED (
  SELECT d.refobjid, d.refobjsubid, d.objid, CASE d.deptype WHEN 'i' THEN 'identity' ELSE 'owned' END
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY (ARRAY(SELECT oid FROM family))
    AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
  UNION ALL
  SELECT a.adrelid, a.adnum, d.refobjid, 'default'
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
    AND d.objid = a.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
  JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
  WHERE a.adrelid = ANY (ARRAY(SELECT oid FROM family))
)"""
_OWNED_TOO = " UNION SELECT sequence FROM owned"
_KNOWN = """
known AS MATERIALIZED (SELECT ARRAY(SELECT oid FROM reached WHERE oid <> 0{more}) AS oids)
"""

_RIGHT = """CASE WHEN c.relkind NOT IN ('r', 'p') OR NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') THEN 0
  WHEN pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE{maintain}') THEN 8
  WHEN pg_catalog.has_table_privilege(c.oid, 'INSERT') THEN 3
  WHEN pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 1 ELSE 0 END"""
"""The strongest mode that LOCK TABLE may take, as a number of LockMode; 0: none."""

_ROWS_OF_A_PAGE = 60
"""About, of a table of middling rows with an index or two."""
_COUNTED = f"""CASE WHEN c.relkind IN ('r', 'm')
  THEN pg_catalog.pg_stat_get_live_tuples(c.oid) / {_ROWS_OF_A_PAGE} ELSE 0 END"""
"""Pages for the rows that the statistics have counted: a table that was just filled has no other size yet."""

_ALWAYS = f"""
'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
'user', pg_catalog.current_user(),
'path', pg_catalog.current_schemas(true),
'events', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(e.evtname, e.evtevent, e.evttags)
    ORDER BY e.evtname)
  FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE e.evtenabled IN ('O', 'A') AND l.lanname NOT IN ('internal', 'c') AND e.evtevent <> 'login'
    AND coalesce(pg_catalog.obj_description(p.oid, 'pg_proc'), '') NOT LIKE 'wmigrate:%'),
'schemas', (SELECT pg_catalog.json_agg(nspname) FROM pg_catalog.pg_namespace WHERE nspname = ANY ({{names}})),
'relations', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.oid::pg_catalog.int8, n.nspname, c.relname,
    pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, {_RIGHT},
    greatest(greatest(c.relpages, 0)::pg_catalog.int8 + coalesce((SELECT sum(greatest(x.relpages, 0))
      FROM pg_catalog.pg_class x WHERE x.oid = ANY (ARRAY(SELECT indexrelid FROM pg_catalog.pg_index i
        WHERE i.indrelid = c.oid) || c.reltoastrelid)), 0)::pg_catalog.int8, {_COUNTED}),
    (SELECT indrelid::pg_catalog.int8 FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid),
    c.reloftype::pg_catalog.int8, c.reltype::pg_catalog.int8, c.relpersistence = 'u'))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind <> 't' AND c.oid = ANY ((SELECT oids FROM known)::oid[])),
'inherits', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(inhrelid::pg_catalog.int8,
    inhparent::pg_catalog.int8)) FROM pg_catalog.pg_inherits WHERE inhparent = ANY ((SELECT oids FROM known)::oid[])),
'defaults', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(partrelid::pg_catalog.int8,
    partdefid::pg_catalog.int8)) FROM pg_catalog.pg_partitioned_table
  WHERE partdefid <> 0 AND partrelid = ANY ((SELECT oids FROM known)::oid[]))"""

_HARMLESS = """(l.lanname IN ('internal', 'c') AND coalesce(p.probin, '') NOT LIKE '%timescaledb%'
    OR p.provolatile = 'i')"""
_SECTIONS: dict[Section, str] = {
    "keys": """
'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(oid::pg_catalog.int8,
    conrelid::pg_catalog.int8, conname, contype, confrelid::pg_catalog.int8, convalidated, connoinherit,
    confdeltype, confupdtype, conkey, confkey)) FROM keys)""",
    "bases": f"""
'bases', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(r.ev_class::pg_catalog.int8,
    d.refobjid::pg_catalog.int8)) FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
  WHERE r.ev_class = ANY (ARRAY(SELECT oid FROM family)) AND r.rulename = '_RETURN'),
'runs', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(
    o.relation::pg_catalog.int8, o.place, p.proname))
  FROM (
    SELECT 'pg_catalog.pg_rewrite'::regclass, oid, ev_class, 'view' FROM pg_catalog.pg_rewrite
      WHERE ev_class = ANY (ARRAY(SELECT oid FROM family)) AND rulename = '_RETURN'
    UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass, oid, adrelid, 'default' FROM pg_catalog.pg_attrdef
      WHERE adrelid = ANY (ARRAY(SELECT oid FROM family))
    UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, oid, conrelid, 'constraint' FROM pg_catalog.pg_constraint
      WHERE conrelid = ANY (ARRAY(SELECT oid FROM family))
    UNION ALL SELECT 'pg_catalog.pg_policy'::regclass, oid, polrelid, 'policy' FROM pg_catalog.pg_policy
      WHERE polrelid = ANY (ARRAY(SELECT oid FROM family))
  ) o (catalog, oid, relation, place)
  JOIN pg_catalog.pg_depend d ON d.classid = o.catalog AND d.objid = o.oid
    AND d.refclassid = 'pg_catalog.pg_proc'::regclass
  JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE NOT ({_HARMLESS})),
'secured', (SELECT pg_catalog.json_agg(oid::pg_catalog.int8) FROM pg_catalog.pg_class
  WHERE oid = ANY (ARRAY(SELECT oid FROM family)) AND relrowsecurity AND pg_catalog.row_security_active(oid))""",
    "sequences": """
'sequences', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(relation::pg_catalog.int8, number,
    sequence::pg_catalog.int8, how)) FROM owned)""",
    "columns": """
'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(attrelid::pg_catalog.int8, attnum, attname,
    pg_catalog.format_type(atttypid, atttypmod), attnotnull) ORDER BY attrelid, attnum) FROM pg_catalog.pg_attribute
  WHERE attrelid = ANY (ARRAY(SELECT oid FROM family)) AND attnum > 0 AND NOT attisdropped)""",
    "triggers": """
'triggers', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(tgrelid::pg_catalog.int8, tgname, tgtype, tgenabled)
    ORDER BY tgname) FROM pg_catalog.pg_trigger
  WHERE tgrelid = ANY (ARRAY(SELECT oid FROM family)) AND NOT tgisinternal),
'rules', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(ev_class::pg_catalog.int8, rulename, ev_type,
    ev_enabled)
    ORDER BY rulename) FROM pg_catalog.pg_rewrite
  WHERE ev_class = ANY (ARRAY(SELECT oid FROM family)) AND rulename <> '_RETURN'),
'policies', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(polrelid::pg_catalog.int8, polname))
  FROM pg_catalog.pg_policy WHERE polrelid = ANY (ARRAY(SELECT oid FROM family)))""",
    "published": """
'published', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(u.pubname, p.prrelid::pg_catalog.int8))
  FROM pg_catalog.pg_publication_rel p JOIN pg_catalog.pg_publication u ON u.oid = p.prpubid
  WHERE u.pubname = ANY ({names}))""",
    "functions": f"""
'functions', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(n.nspname, p.proname, {_HARMLESS},
    p.provolatile = 'v'))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.proname = ANY ({{names}}))""",
    "domains": """
'domains', (SELECT pg_catalog.json_agg(typname) FROM pg_catalog.pg_type WHERE typtype = 'd' AND typname = ANY ({names}))
""",
    "falling": """
'objects', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(catalog::regclass, oid::pg_catalog.int8, name,
    (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = schema))) FROM (
  SELECT tableoid, oid, typname, typnamespace FROM pg_catalog.pg_type WHERE typname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, proname, pronamespace FROM pg_catalog.pg_proc WHERE proname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, nspname, 0 FROM pg_catalog.pg_namespace WHERE nspname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, extname, 0 FROM pg_catalog.pg_extension WHERE extname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, srvname, 0 FROM pg_catalog.pg_foreign_server WHERE srvname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, fdwname, 0 FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, collname, collnamespace FROM pg_catalog.pg_collation WHERE collname = ANY ({falling})
  UNION ALL SELECT tableoid, oid, stxname, stxnamespace FROM pg_catalog.pg_statistic_ext
    WHERE stxname = ANY ({falling})
  ) o (catalog, oid, name, schema)),
'uniques', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(indrelid::pg_catalog.int8,
    indexrelid::pg_catalog.int8, (indkey::pg_catalog.int2[])[0 : indnkeyatts - 1])) FROM pg_catalog.pg_index
  WHERE indrelid = ANY (ARRAY(SELECT oid FROM family)) AND indisunique AND indimmediate AND indpred IS NULL
    AND indexprs IS NULL),
'parts', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(classid::regclass, objid::pg_catalog.int8,
    relation::pg_catalog.int8)) FROM part_of),
'depends', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(d.classid::regclass, d.objid::pg_catalog.int8,
    d.objsubid, d.refclassid::regclass, d.refobjid::pg_catalog.int8, d.refobjsubid, d.deptype))
  FROM things w JOIN pg_catalog.pg_depend d ON d.refclassid = w.classid AND d.refobjid = w.objid)""",
}
