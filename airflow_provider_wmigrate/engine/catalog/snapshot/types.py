"""Queries about types, collations and text search."""

from __future__ import annotations

from .scope import Scope, attributes, fact_rows, function_name, in_schema, role, type_name


def types(scope: Scope) -> str:
    """Enums, domains, ranges, base types; of composite types the owner, since their attributes are told with columns.

    A multirange is told with its range; arrays and the types of tables' rows say nothing of their own.
    """
    kind = (
        "CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' WHEN 'r' THEN"
        " 'range'"
        " ELSE 'type' END"
    )
    base = "CASE WHEN t.typtype = 'b' AND t.typisdefined THEN {} END"
    values = attributes(
        owner=role("t.typowner"),
        labels="(SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)"
        " FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)",
        base="CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END",
        not_null="CASE t.typtype WHEN 'd' THEN NULLIF(t.typnotnull, false) END",
        default="t.typdefault",
        collation="CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation"
        " THEN t.typcollation::pg_catalog.regcollation::pg_catalog.text END",
        subtype=type_name("g.rngsubtype"),
        subtype_class="(SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.opcname)"
        " FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace WHERE c.oid ="
        " g.rngsubopc)",
        subtype_collation="NULLIF(g.rngcollation, 0)::pg_catalog.regcollation::pg_catalog.text",
        canonical=function_name("g.rngcanonical::pg_catalog.oid"),
        difference=function_name("g.rngsubdiff::pg_catalog.oid"),
        # The name that the server chooses says nothing, and servers up to 13 have none.
        multirange=scope.since(
            14,
            "CASE WHEN g.rngmultitypid <> 0 THEN NULLIF(NULLIF(pg_catalog.split_part(pg_catalog.format_type("
            "g.rngmultitypid, NULL), '.', 2), pg_catalog.regexp_replace(t.typname, 'range', 'multirange')),"
            " t.typname || '_multirange') END",
        ),
        shell="CASE WHEN NOT t.typisdefined THEN true END",
        **{
            name: base.format(function_name(f"t.typ{name}::pg_catalog.oid"))
            for name in ("input", "output", "receive", "send", "modin", "modout", "analyze")
        },
        length=base.format("t.typlen"),
        by_value=base.format("t.typbyval"),
        category=base.format("t.typcategory"),
        preferred=base.format("t.typispreferred"),
        delimiter=base.format("t.typdelim"),
        alignment=base.format("t.typalign"),
        storage=base.format("t.typstorage"),
        element=base.format(type_name("t.typelem")),
        collatable=base.format("t.typcollation <> 0"),
    )
    source = (
        "pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
        " LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype LEFT JOIN pg_catalog.pg_range g ON g.rngtypid = t.oid"
        f" WHERE {scope.own('pg_type', 't.oid')} AND {scope.schema('n')} AND t.typtype <> 'm'"
        " AND (t.typtype <> 'c' OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND"
        " c.relkind = 'c'))"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_type a WHERE a.typarray = t.oid)"
    )
    name = "ARRAY[n.nspname, t.typname]::pg_catalog.text[]"
    return fact_rows(kind, source, values, schema="n.nspname", name=name)


def domain_constraints(scope: Scope) -> str:
    values = attributes(definition="pg_catalog.pg_get_constraintdef(k.oid)")
    source = (
        "pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
        f" WHERE k.contype = 'c' AND {scope.own('pg_type', 't.oid')} AND {scope.schema('n')}"
    )
    return fact_rows(
        "'domain constraint'",
        source,
        values,
        schema="n.nspname",
        name="ARRAY[k.conname]::pg_catalog.text[]",
        of="ARRAY[n.nspname, t.typname]::pg_catalog.text[]",
    )


def collations(scope: Scope) -> str:
    """Without the version of the library that sorts, which is the machine's."""
    locale = {15: "o.colliculocale", 17: "o.colllocale"}
    one = next(
        (column for major, column in sorted(locale.items(), reverse=True) if scope.version >= major * 10000), "NULL"
    )
    # Up to 14, ICU's locale stood where the C library's does.
    libc = "CASE WHEN o.collprovider = 'c' THEN {} END"
    values = attributes(
        owner=role("o.collowner"),
        provider="CASE o.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE"
        " 'default' END",
        locale=f"coalesce({one}, CASE WHEN o.collprovider = 'i' THEN o.collcollate END)",
        collate=libc.format("o.collcollate"),
        ctype=libc.format("o.collctype"),
        deterministic="CASE WHEN NOT o.collisdeterministic THEN false END",
        rules=scope.since(16, "o.collicurules"),
    )
    return in_schema(scope, "collation", "pg_collation", "coll", values)


def text_search_configurations(scope: Scope) -> str:
    mappings = (
        "(SELECT pg_catalog.jsonb_object_agg(m.alias, m.dictionaries) FROM (SELECT k.alias, pg_catalog.jsonb_agg("
        "d.mapdict::pg_catalog.regdictionary::pg_catalog.text ORDER BY d.mapseqno) AS dictionaries"
        " FROM pg_catalog.pg_ts_config_map d JOIN pg_catalog.ts_token_type(o.cfgparser) k ON k.tokid = d.maptokentype"
        " WHERE d.mapcfg = o.oid GROUP BY k.alias) m)"
    )
    parser = "pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.prsname)"
    joins = (
        " JOIN pg_catalog.pg_ts_parser p ON p.oid = o.cfgparser JOIN pg_catalog.pg_namespace pn ON pn.oid ="
        " p.prsnamespace"
    )
    values = attributes(owner=role("o.cfgowner"), parser=parser, mappings=mappings)
    return in_schema(scope, "text search configuration", "pg_ts_config", "cfg", values, joins=joins)


def text_search_dictionaries(scope: Scope) -> str:
    joins = (
        " JOIN pg_catalog.pg_ts_template t ON t.oid = o.dicttemplate"
        " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace"
    )
    template = "pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.tmplname)"
    values = attributes(owner=role("o.dictowner"), template=template, options="o.dictinitoption")
    return in_schema(scope, "text search dictionary", "pg_ts_dict", "dict", values, joins=joins)


def text_search_templates(scope: Scope) -> str:
    values = attributes(
        initialize=function_name("o.tmplinit::pg_catalog.oid"), look_up=function_name("o.tmpllexize::pg_catalog.oid")
    )
    return in_schema(scope, "text search template", "pg_ts_template", "tmpl", values)


def text_search_parsers(scope: Scope) -> str:
    functions = {
        "start": "start",
        "next": "token",
        "finish": "end",
        "headline": "headline",
        "token_types": "lextype",
    }
    values = attributes(**{name: function_name(f"o.prs{column}::pg_catalog.oid") for name, column in functions.items()})
    return in_schema(scope, "text search parser", "pg_ts_parser", "prs", values)
