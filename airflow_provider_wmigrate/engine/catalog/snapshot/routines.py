"""Queries about functions and what is made of them: aggregates, operators, casts, languages, event triggers."""

from __future__ import annotations

from .scope import Scope, attributes, fact_rows, function_name, in_no_schema, in_schema, role, strings, type_name

_ARGUMENTS = "'(' || pg_catalog.oidvectortypes(p.proargtypes) || ')'"


def routines(scope: Scope) -> str:
    """Functions, window functions and procedures. Of an aggregate: who owns it, and its arguments."""
    values = attributes(
        owner=role("p.proowner"),
        arguments="pg_catalog.pg_get_function_arguments(p.oid)",
        returns="pg_catalog.pg_get_function_result(p.oid)",
        language="l.lanname",
        window="CASE p.prokind WHEN 'w' THEN true END",
        body="CASE p.prokind WHEN 'a' THEN NULL ELSE"
        f" {scope.since(14, 'coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)', 'p.prosrc')} END",
        library="p.probin",
        volatility="CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END",
        parallel="CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' END",
        strict="NULLIF(p.proisstrict, false)",
        security_definer="NULLIF(p.prosecdef, false)",
        leakproof="NULLIF(p.proleakproof, false)",
        cost="p.procost",
        rows="NULLIF(p.prorows, 0)",
        support=function_name("p.prosupport::pg_catalog.oid"),
        settings=strings("p.proconfig"),
        transforms="(SELECT pg_catalog.jsonb_agg(pg_catalog.format_type(t, NULL)) FROM"
        " pg_catalog.unnest(p.protrftypes) AS t)",
    )
    kind = "CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END"
    source = (
        "pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        f" JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE {scope.own('pg_proc', 'p.oid')} AND"
        f" {scope.schema('n')}"
    )
    name = "ARRAY[n.nspname, p.proname]::pg_catalog.text[]"
    return fact_rows(kind, source, values, schema="n.nspname", name=name, suffix=_ARGUMENTS)


def aggregates(scope: Scope) -> str:
    """How an aggregate computes."""
    functions = {
        "step": "transfn",
        "final": "finalfn",
        "combine": "combinefn",
        "serialize": "serialfn",
        "deserialize": "deserialfn",
        "moving_step": "mtransfn",
        "moving_inverse": "minvtransfn",
        "moving_final": "mfinalfn",
    }
    values = attributes(
        **{name: function_name(f"a.agg{column}::pg_catalog.oid") for name, column in functions.items()},
        kind="CASE a.aggkind WHEN 'o' THEN 'ordered set' WHEN 'h' THEN 'hypothetical set' END",
        direct_arguments="NULLIF(a.aggnumdirectargs, 0)",
        final_extra="NULLIF(a.aggfinalextra, false)",
        final_modifies="a.aggfinalmodify",
        moving_final_extra="NULLIF(a.aggmfinalextra, false)",
        moving_final_modifies="a.aggmfinalmodify",
        sort_operator="NULLIF(a.aggsortop, 0)::pg_catalog.regoperator::pg_catalog.text",
        state=type_name("a.aggtranstype"),
        state_size="NULLIF(a.aggtransspace, 0)",
        initial="a.agginitval",
        moving_state=type_name("a.aggmtranstype"),
        moving_state_size="NULLIF(a.aggmtransspace, 0)",
        moving_initial="a.aggminitval",
    )
    source = (
        "pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        f" WHERE {scope.own('pg_proc', 'p.oid')} AND {scope.schema('n')}"
    )
    name = "ARRAY[n.nspname, p.proname]::pg_catalog.text[]"
    return fact_rows("'aggregation'", source, values, schema="n.nspname", name=name, suffix=_ARGUMENTS)


def operators(scope: Scope) -> str:
    values = attributes(
        owner=role("o.oprowner"),
        function=function_name("o.oprcode::pg_catalog.oid"),
        result=type_name("o.oprresult"),
        commutator="NULLIF(o.oprcom, 0)::pg_catalog.regoperator::pg_catalog.text",
        negator="NULLIF(o.oprnegate, 0)::pg_catalog.regoperator::pg_catalog.text",
        restrict="NULLIF(o.oprrest::pg_catalog.oid, 0)::pg_catalog.regproc::pg_catalog.text",
        join="NULLIF(o.oprjoin::pg_catalog.oid, 0)::pg_catalog.regproc::pg_catalog.text",
        hashes="NULLIF(o.oprcanhash, false)",
        merges="NULLIF(o.oprcanmerge, false)",
    )
    suffix = (
        f"' (' || coalesce({type_name('o.oprleft')}, 'none') || ', ' || coalesce({type_name('o.oprright')},"
        " 'none') || ')'"
    )
    return in_schema(scope, "operator", "pg_operator", "opr", values, suffix=suffix)


def operator_families(scope: Scope) -> str:
    """With their operators and support functions, of their classes and loose ones."""
    operators = (
        "(SELECT pg_catalog.jsonb_agg(m ORDER BY m COLLATE \"C\") FROM (SELECT pg_catalog.format('%s %s%s',"
        " a.amopstrategy,"
        " a.amopopr::pg_catalog.regoperator, ' order by ' || (SELECT s.opfname FROM pg_catalog.pg_opfamily s"
        " WHERE s.oid = NULLIF(a.amopsortfamily, 0))) FROM pg_catalog.pg_amop a WHERE a.amopfamily = o.oid) AS t (m))"
    )
    functions = (
        "(SELECT pg_catalog.jsonb_agg(m ORDER BY m COLLATE \"C\") FROM (SELECT pg_catalog.format('%s (%s, %s) %s',"
        " a.amprocnum,"
        " pg_catalog.format_type(a.amproclefttype, NULL), pg_catalog.format_type(a.amprocrighttype, NULL),"
        " a.amproc::pg_catalog.oid::pg_catalog.regprocedure)"
        " FROM pg_catalog.pg_amproc a WHERE a.amprocfamily = o.oid) AS t (m))"
    )
    values = attributes(owner=role("o.opfowner"), operators=operators, functions=functions)
    joins = " JOIN pg_catalog.pg_am m ON m.oid = o.opfmethod"
    return in_schema(
        scope, "operator family", "pg_opfamily", "opf", values, suffix="' using ' || m.amname", joins=joins
    )


def operator_classes(scope: Scope) -> str:
    values = attributes(
        owner=role("o.opcowner"),
        type=type_name("o.opcintype"),
        default="NULLIF(o.opcdefault, false)",
        storage=type_name("o.opckeytype"),
        family="pg_catalog.quote_ident(fn.nspname) || '.' || pg_catalog.quote_ident(f.opfname)",
    )
    joins = (
        " JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod JOIN pg_catalog.pg_opfamily f ON f.oid = o.opcfamily"
        " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace"
    )
    return in_schema(scope, "operator class", "pg_opclass", "opc", values, suffix="' using ' || m.amname", joins=joins)


def casts(scope: Scope) -> str:
    values = attributes(
        function=function_name("o.castfunc"),
        context="CASE o.castcontext WHEN 'a' THEN 'assignment' WHEN 'i' THEN 'implicit' ELSE 'explicit' END",
        method="CASE o.castmethod WHEN 'i' THEN 'in and out' WHEN 'b' THEN 'binary' END",
    )
    suffix = f"'(' || {type_name('o.castsource')} || ' as ' || {type_name('o.casttarget')} || ')'"
    return in_no_schema(scope, "cast", "pg_cast", "'{}'::pg_catalog.text[]", values, suffix=suffix)


def transforms(scope: Scope) -> str:
    values = attributes(
        from_sql=function_name("o.trffromsql::pg_catalog.oid"), to_sql=function_name("o.trftosql::pg_catalog.oid")
    )
    suffix = f"{type_name('o.trftype')} || ' for ' || l.lanname"
    joins = " JOIN pg_catalog.pg_language l ON l.oid = o.trflang"
    return in_no_schema(
        scope, "transform", "pg_transform", "'{}'::pg_catalog.text[]", values, suffix=suffix, joins=joins
    )


def languages(scope: Scope) -> str:
    values = attributes(
        owner=role("o.lanowner"),
        trusted="o.lanpltrusted",
        handler=function_name("o.lanplcallfoid"),
        inline=function_name("o.laninline"),
        validator=function_name("o.lanvalidator"),
    )
    return in_no_schema(scope, "language", "pg_language", "ARRAY[o.lanname]::pg_catalog.text[]", values)


def access_methods(scope: Scope) -> str:
    values = attributes(
        type="CASE o.amtype WHEN 'i' THEN 'index' ELSE 'table' END",
        handler=function_name("o.amhandler::pg_catalog.oid"),
    )
    return in_no_schema(scope, "access method", "pg_am", "ARRAY[o.amname]::pg_catalog.text[]", values)


def conversions(scope: Scope) -> str:
    values = attributes(
        owner=role("o.conowner"),
        source="pg_catalog.pg_encoding_to_char(o.conforencoding)",
        target="pg_catalog.pg_encoding_to_char(o.contoencoding)",
        # Without its arguments, which only PostgreSQL may choose: 13 wants one fewer.
        function="o.conproc::pg_catalog.regproc::pg_catalog.text",
        default="NULLIF(o.condefault, false)",
    )
    return in_schema(scope, "conversion", "pg_conversion", "con", values)


def event_triggers(scope: Scope) -> str:
    values = attributes(
        owner=role("o.evtowner"),
        event="o.evtevent",
        function=function_name("o.evtfoid"),
        tags=strings("o.evttags"),
        enabled="CASE o.evtenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END",
    )
    joins = (
        " JOIN pg_catalog.pg_proc p ON p.oid = o.evtfoid"
        f" JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND {scope.schema('n')}"
    )
    name = "ARRAY[o.evtname]::pg_catalog.text[]"
    return in_no_schema(scope, "event trigger", "pg_event_trigger", name, values, joins=joins)
