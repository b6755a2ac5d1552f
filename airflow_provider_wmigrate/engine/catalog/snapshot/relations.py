"""Queries about schemas, tables and all that looks like one, their columns, and what hangs on them."""

from __future__ import annotations

from .scope import Scope, attributes, fact_rows, options, role, strings

_RELATION = "ARRAY[r.nspname, r.relname]::pg_catalog.text[]"
_ALL = "rpvmf"
_TABLESPACE = "(SELECT spcname FROM pg_catalog.pg_tablespace WHERE oid = NULLIF({}.reltablespace, 0))"
_PARENTS = (
    "NULLIF(ARRAY(SELECT h.inhparent::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_inherits h"
    " WHERE h.inhrelid = r.oid ORDER BY h.inhseqno), '{}')"
)
_STORAGE = "CASE {} WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' END"


def schemas(scope: Scope) -> str:
    # Who owns `public` when nobody has changed it: the first superuser up to 14, pg_database_owner since. Both are
    # numbers that initdb gives.
    owner = f"CASE WHEN n.oid <> 2200 OR n.nspowner NOT IN (10, 6171) THEN {role('n.nspowner')} END"
    source = (
        f"pg_catalog.pg_namespace n WHERE (n.oid = 2200 OR {scope.own('pg_namespace', 'n.oid')}) AND"
        f" {scope.schema('n')}"
    )
    return fact_rows(
        "'schema'", source, attributes(owner=owner), schema="n.nspname", name="ARRAY[n.nspname]::pg_catalog.text[]"
    )


def relations(scope: Scope) -> str:
    """Tables, views, materialized views, foreign tables."""
    kind = (
        "CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'"
        " ELSE 'table' END"
    )
    definition = "CASE WHEN r.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(r.oid) END"
    if scope.timescaledb:  # its text names a table with a number of this database's; see `timescale`
        definition = (
            "CASE WHEN r.relkind IN ('v', 'm') AND NOT EXISTS (SELECT FROM _timescaledb_catalog.continuous_agg g"
            " WHERE g.user_view_schema = r.nspname AND g.user_view_name = r.relname)"
            " THEN pg_catalog.pg_get_viewdef(r.oid) END"
        )
    values = attributes(
        owner=role("r.relowner"),
        definition=definition,
        persistence="CASE r.relpersistence WHEN 'u' THEN 'unlogged' END",
        access_method="(SELECT amname FROM pg_catalog.pg_am WHERE oid = NULLIF(r.relam, 0) AND amname <> 'heap')",
        tablespace=_TABLESPACE.format("r"),
        options=strings("r.reloptions"),
        toast_options="(SELECT {} FROM pg_catalog.pg_class t WHERE t.oid = NULLIF(r.reltoastrelid, 0))".format(
            strings("t.reloptions")
        ),
        partitioned_by="CASE r.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(r.oid) END",
        partition_of=f"CASE WHEN r.relispartition THEN ({_PARENTS})[1] END",
        bound="CASE WHEN r.relispartition THEN pg_catalog.pg_get_expr(r.relpartbound, r.oid) END",
        inherits=f"CASE WHEN NOT r.relispartition THEN {_PARENTS} END",
        of_type="CASE WHEN r.reloftype <> 0 THEN pg_catalog.format_type(r.reloftype, NULL) END",
        row_security="CASE WHEN r.relforcerowsecurity AND r.relrowsecurity THEN 'forced' WHEN r.relrowsecurity"
        " THEN 'on'"
        " WHEN r.relforcerowsecurity THEN 'off, to be forced' END",
        replica_identity="CASE CASE WHEN r.relkind IN ('r', 'p', 'm') THEN r.relreplident END WHEN 'n' THEN"
        " 'nothing' WHEN 'f' THEN 'full' WHEN 'i' THEN"
        " (SELECT i.indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index i"
        " WHERE i.indrelid = r.oid AND i.indisreplident) END",
        server="s.srvname",
        foreign_options=options("f.ftoptions"),
    )
    source = (
        "rel r LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = r.oid"
        " LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver"
    )
    return f"{scope.relations(_ALL)} {fact_rows(kind, source, values, schema='r.nspname', name=_RELATION)}"


def columns(scope: Scope) -> str:
    """Of everything that has some; those of composite types are their attributes."""
    # NOT NULL is a constraint with a name since 18; only whether it holds is told, as older servers know no more.
    not_null, valid = "NULLIF(a.attnotnull, false)", ""
    if scope.version >= 180000:
        not_null = (
            "CASE WHEN NOT a.attnotnull THEN NULL WHEN k.convalidated = false THEN '\"not valid\"' ELSE 'true'"
            " END::pg_catalog.jsonb"
        )
        valid = (
            " LEFT JOIN pg_catalog.pg_constraint k"
            " ON k.contype = 'n' AND k.conrelid = r.oid AND k.conkey = ARRAY[a.attnum]"
        )
    expression = "pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
    values = attributes(
        type="pg_catalog.format_type(a.atttypid, a.atttypmod)",
        not_null=not_null,
        default=f"CASE a.attgenerated WHEN '' THEN {expression} END",
        generated=f"CASE a.attgenerated WHEN 's' THEN {expression} || ' stored' WHEN 'v' THEN {expression} || '"
        " virtual' END",
        identity="CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END",
        collation="CASE WHEN a.attcollation <> t.typcollation"
        " THEN NULLIF(a.attcollation, 0)::pg_catalog.regcollation::pg_catalog.text END",
        storage=f"CASE WHEN a.attstorage <> t.typstorage THEN {_STORAGE.format('a.attstorage')} END",
        compression=scope.since(14, "CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END"),
        statistics="CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END",  # none: -1, and NULL since 17
        # Some minor releases of 15 stamp each column in its options; no statement sets that, and a dump leaves it out.
        options="NULLIF(ARRAY(SELECT o FROM pg_catalog.unnest(a.attoptions) AS o WHERE o !~ '^pg_attver='"
        " ORDER BY o COLLATE \"C\"), '{}')",
        foreign_options=options("a.attfdwoptions"),
        # Of a partition, a restore makes its own columns and attaches it; that says nothing.
        inherited="CASE WHEN NOT a.attislocal AND NOT r.relispartition THEN true END",
    )
    source = (
        "rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
        f" LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum{valid}"
    )
    rows = fact_rows(
        "CASE r.relkind WHEN 'c' THEN 'attribute' ELSE 'column' END",
        source,
        values,
        schema="r.nspname",
        name="ARRAY[r.nspname, r.relname, a.attname]::pg_catalog.text[]",
        of=_RELATION,
        shown="pg_catalog.jsonb_build_object('position', a.attnum)",
    )
    return f"{scope.relations('rpvmfc')} {rows}"


def sequences(scope: Scope) -> str:
    values = attributes(
        owner=role("r.relowner"),
        type="pg_catalog.format_type(s.seqtypid, NULL)",
        start="s.seqstart",
        increment="s.seqincrement",
        minimum="s.seqmin",
        maximum="s.seqmax",
        cache="s.seqcache",
        cycle="NULLIF(s.seqcycle, false)",
        persistence="CASE r.relpersistence WHEN 'u' THEN 'unlogged' END",
        owned_by="d.refobjid::pg_catalog.regclass::pg_catalog.text || '.' || pg_catalog.quote_ident(a.attname)",
    )
    source = (
        "rel r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid LEFT JOIN pg_catalog.pg_depend d"
        " ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = r.oid AND d.refobjsubid > 0"
        " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
        " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
    )
    return f"{scope.relations('S')} {fact_rows(_kind('sequence'), source, values, schema='r.nspname', name=_RELATION)}"


def constraints(scope: Scope) -> str:
    """Of tables and foreign tables; those of domains are told with `types`."""
    values = attributes(
        definition="pg_catalog.pg_get_constraintdef(k.oid)",
        inherited="CASE WHEN NOT k.conislocal AND NOT r.relispartition THEN true END",
        # ALTER TABLE ... DISABLE TRIGGER ALL: the foreign key is there and is not kept.
        triggers="CASE WHEN k.contype = 'f' AND EXISTS (SELECT FROM pg_catalog.pg_trigger t"
        " WHERE t.tgconstraint = k.oid AND t.tgisinternal AND t.tgenabled <> 'O') THEN 'disabled' END",
    )
    # What a foreign key makes of itself for partitions has names that the server chooses.
    source = (
        "rel r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')"
        " AND NOT (k.contype = 'f' AND k.conparentid <> 0)"
    )
    return f"{scope.relations('rpf')} {_part('constraint', 'k.conname', source, values)}"


def indexes(scope: Scope) -> str:
    values = attributes(
        definition="pg_catalog.pg_get_indexdef(x.oid)",
        tablespace=_TABLESPACE.format("x"),
        valid="CASE WHEN NOT i.indisvalid OR NOT i.indisready THEN false END",
        clustered="NULLIF(i.indisclustered, false)",
        attached_to="(SELECT h.inhparent::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_inherits h"
        " WHERE h.inhrelid = CASE WHEN x.relispartition THEN x.oid END)",
        statistics="CASE WHEN i.indexprs IS NOT NULL THEN (SELECT pg_catalog.jsonb_object_agg(a.attname,"
        " a.attstattarget)"
        " FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0) END",
    )
    source = "rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
    name = "ARRAY[r.nspname, x.relname]::pg_catalog.text[]"
    rows = fact_rows(_kind("index"), source, values, schema="r.nspname", name=name, of=_RELATION)
    return f"{scope.relations('rpm')} {rows}"


def triggers(scope: Scope) -> str:
    values = attributes(
        definition="pg_catalog.pg_get_triggerdef(t.oid)",
        enabled="CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END",
    )
    # A partition's copy of its parent's trigger says something only where it was enabled or disabled alone.
    source = (
        "rel r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND (NOT t.tgisinternal OR t.tgparentid <> 0)"
        " LEFT JOIN pg_catalog.pg_trigger p ON p.oid = t.tgparentid"
    )
    where = (
        " WHERE (p.oid IS NULL OR p.tgenabled <> t.tgenabled) AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k"
        " WHERE k.oid = t.tgconstraint AND k.contype = 'f')"
    )
    if scope.timescaledb:  # it puts some of its own on a hypertable
        where += (
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid ="
            " f.pronamespace"
            f" WHERE f.oid = t.tgfoid AND NOT {scope.schema('fn')})"
        )
    return f"{scope.relations(_ALL)} {_part('trigger', 't.tgname', source + where, values)}"


def rules(scope: Scope) -> str:
    values = attributes(
        definition="pg_catalog.pg_get_ruledef(w.oid)",
        enabled="CASE w.ev_enabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END",
    )
    source = "rel r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'"
    return f"{scope.relations(_ALL)} {_part('rule', 'w.rulename', source, values)}"


def policies(scope: Scope) -> str:
    values = attributes(
        command="CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN"
        " 'delete'"
        " ELSE 'all' END",
        restrictive="CASE WHEN NOT p.polpermissive THEN true END",
        roles="ARRAY(SELECT s.name FROM (SELECT CASE o WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(o) END"
        ' FROM pg_catalog.unnest(p.polroles) AS o) AS s (name) ORDER BY s.name COLLATE "C")',
        using="pg_catalog.pg_get_expr(p.polqual, p.polrelid)",
        check="pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)",
    )
    source = "rel r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid"
    return f"{scope.relations(_ALL)} {_part('policy', 'p.polname', source, values)}"


def statistics(scope: Scope) -> str:
    """CREATE STATISTICS."""
    values = attributes(
        owner=role("s.stxowner"),
        definition="pg_catalog.pg_get_statisticsobjdef(s.oid)",
        target="CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END",
    )
    source = (
        "rel r JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = r.oid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace"
    )
    name = "ARRAY[n.nspname, s.stxname]::pg_catalog.text[]"
    rows = fact_rows(_kind("statistics"), source, values, schema="n.nspname", name=name, of=_RELATION)
    return f"{scope.relations('rpmf')} {rows}"


def _part(kind: str, name: str, source: str, values: str) -> str:
    """What has a name that is unique on its relation alone."""
    return fact_rows(
        _kind(kind), source, values, schema="r.nspname", name=f"ARRAY[{name}]::pg_catalog.text[]", of=_RELATION
    )


def _kind(kind: str) -> str:
    return f"'{kind}'::pg_catalog.text"
