"""Queries about extensions, replication, other servers, and settings."""

from __future__ import annotations

from .scope import Scope, attributes, fact_rows, function_name, in_no_schema, options, role


def extensions(scope: Scope) -> str:
    """The version is shown and is no difference: a restore installs the one that the server has."""
    source = "pg_catalog.pg_extension o JOIN pg_catalog.pg_namespace n ON n.oid = o.extnamespace"
    return fact_rows(
        "'extension'",
        source,
        attributes(schema="n.nspname"),
        schema="''",
        name="ARRAY[o.extname]::pg_catalog.text[]",
        shown="pg_catalog.jsonb_build_object('version', o.extversion)",
    )


def publications(scope: Scope) -> str:
    table = "r.prrelid::pg_catalog.regclass::pg_catalog.text"
    columns = scope.since(
        15,
        "' (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)"
        " FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) || ')'",
    )
    rows = scope.since(15, "' where ' || pg_catalog.pg_get_expr(r.prqual, r.prrelid)")
    values = attributes(
        owner=role("o.pubowner"),
        all_tables="NULLIF(o.puballtables, false)",
        publish="ARRAY_REMOVE(ARRAY[CASE WHEN o.pubinsert THEN 'insert' END, CASE WHEN o.pubupdate THEN 'update' END,"
        " CASE WHEN o.pubdelete THEN 'delete' END, CASE WHEN o.pubtruncate THEN 'truncate' END], NULL)",
        via_root="NULLIF(o.pubviaroot, false)",
        generated_columns=scope.since(18, "CASE WHEN o.pubgencols <> 'n' THEN o.pubgencols END"),
        tables=f'(SELECT pg_catalog.jsonb_agg(t ORDER BY t COLLATE "C") FROM (SELECT pg_catalog.concat({table},'
        f" {columns},"
        f" {rows}) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = o.oid) AS s (t))",
        schemas=scope.since(
            15,
            '(SELECT pg_catalog.jsonb_agg(n.nspname ORDER BY n.nspname COLLATE "C") FROM'
            " pg_catalog.pg_publication_namespace p"
            " JOIN pg_catalog.pg_namespace n ON n.oid = p.pnnspid WHERE p.pnpubid = o.oid)",
        ),
    )
    return in_no_schema(scope, "publication", "pg_publication", "ARRAY[o.pubname]::pg_catalog.text[]", values)


def subscriptions(scope: Scope) -> str:
    """Without the connection, which has a password. Nor is it told whether one is enabled: a dump has none that is."""
    values = attributes(
        owner=role("o.subowner"),
        slot="o.subslotname",
        synchronous_commit="o.subsynccommit",
        publications='ARRAY(SELECT p FROM pg_catalog.unnest(o.subpublications) AS p ORDER BY p COLLATE "C")',
        binary=scope.since(14, "NULLIF(o.subbinary, false)"),
        two_phase=scope.since(15, "CASE WHEN o.subtwophasestate <> 'd' THEN true END"),
        disable_on_error=scope.since(15, "NULLIF(o.subdisableonerr, false)"),
        no_password=scope.since(16, "CASE WHEN NOT o.subpasswordrequired THEN true END"),
        run_as_owner=scope.since(16, "NULLIF(o.subrunasowner, false)", "true"),  # as older servers always do
        origin=scope.since(16, "NULLIF(o.suborigin, 'any')"),
        failover=scope.since(17, "NULLIF(o.subfailover, false)"),
    )
    source = (
        "pg_catalog.pg_subscription o WHERE o.subdbid ="
        " (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    )
    return fact_rows(
        "'subscription'", source, values, schema="''", name="ARRAY[o.subname]::pg_catalog.text[]",
        shown="pg_catalog.jsonb_build_object('enabled', o.subenabled)",
    )  # fmt: skip


def foreign_data_wrappers(scope: Scope) -> str:
    values = attributes(
        owner=role("o.fdwowner"),
        handler=function_name("o.fdwhandler"),
        validator=function_name("o.fdwvalidator"),
        options=options("o.fdwoptions"),
    )
    name = "ARRAY[o.fdwname]::pg_catalog.text[]"
    return in_no_schema(scope, "foreign data wrapper", "pg_foreign_data_wrapper", name, values)


def foreign_servers(scope: Scope) -> str:
    values = attributes(
        owner=role("o.srvowner"),
        wrapper="w.fdwname",
        type="o.srvtype",
        version="o.srvversion",
        options=options("o.srvoptions"),
    )
    joins = " JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = o.srvfdw"
    name = "ARRAY[o.srvname]::pg_catalog.text[]"
    return in_no_schema(scope, "foreign server", "pg_foreign_server", name, values, joins=joins)


def user_mappings(scope: Scope) -> str:
    """That there is one: its options are secrets, and the view shows them to few."""
    return fact_rows(
        "'user mapping'", "pg_catalog.pg_user_mappings o", "'{}'", schema="''",
        name="ARRAY[o.usename]::pg_catalog.text[]", suffix="' for server ' || pg_catalog.quote_ident(o.srvname)",
    )  # fmt: skip


def settings(scope: Scope) -> str:
    """ALTER DATABASE SET, ALTER ROLE IN DATABASE SET. Not ALTER ROLE SET, which is the server's."""
    values = attributes(settings=options("o.setconfig"))
    source = (
        "pg_catalog.pg_db_role_setting o JOIN pg_catalog.pg_database d"
        " ON d.oid = o.setdatabase AND d.datname = pg_catalog.current_database()"
    )
    suffix = (
        "CASE o.setrole WHEN 0 THEN 'of the database' ELSE 'of role ' ||"
        f" pg_catalog.quote_ident({role('o.setrole')}) END"
    )
    return fact_rows("'settings'", source, values, schema="''", name="'{}'::pg_catalog.text[]", suffix=suffix)
