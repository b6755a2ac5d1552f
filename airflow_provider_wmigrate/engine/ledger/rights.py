"""What a role may do with the ledger of a database, and the statements that would give it what `up` needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.model import Finding

NEEDED = {
    "schema_migrations": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "application_metadata": ("SELECT", "INSERT", "UPDATE"),
    "audit_log": ("SELECT", "INSERT"),
}
"""Rights on the tables that a run uses."""

TO_KEEP = {"schema_snapshots": ("SELECT", "INSERT"), "schema_facts": ("SELECT", "INSERT", "UPDATE")}
"""Rights on the tables that it uses too where the schema is kept, to find drift."""


class Rights(Struct, frozen=True):
    """What the current role has."""

    role: str
    database: str
    may_create_schemas: bool
    usage: bool | None = None
    """Of the ledger's schema; None: there is no such schema."""
    create: bool | None = None
    missing: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Tables of the ledger, with the needed rights that the role has not."""
    foreign_owners: tuple[str, ...] = ()
    """Owners of tables of the ledger of which the role is no member."""


def grants(rights: Rights, schema: str, *, to_make: bool, to_upgrade: bool) -> Iterator[str]:
    """The statements that a DBA would have to run before `up` can; none if nothing is missing.

    :param to_make: there is no ledger yet.
    :param to_upgrade: it has an older version.
    """
    role, place = _quoted(rights.role), _quoted(schema)
    if rights.usage is None:
        if not rights.may_create_schemas:
            yield f"CREATE SCHEMA {place} AUTHORIZATION {role}"
        return
    create = (to_make or to_upgrade) and not rights.create
    lacking = [word for word, lacks in (("USAGE", not rights.usage), ("CREATE", create)) if lacks]
    if lacking:
        yield f"GRANT {', '.join(lacking)} ON SCHEMA {place} TO {role}"
    if to_make:
        return
    for table, words in rights.missing:
        yield f"GRANT {', '.join(words)} ON {_quoted(schema, table)} TO {role}"
    if to_upgrade:
        for owner in rights.foreign_owners:
            yield f"GRANT {_quoted(owner)} TO {role}"


def asking_rights(conn: Connection[Any], schema: str, *, keeps: bool) -> Callable[[], Rights]:
    """Asks for them. Anybody may.

    :param keeps: also on the tables in which the known schema is kept.
    """
    needed = NEEDED | TO_KEEP if keeps else NEEDED
    own = conn.execute(
        "SELECT current_user::text, pg_catalog.current_database()::text,"
        " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),"
        " pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_schema_privilege(n.oid, 'CREATE')"
        " FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = %s"
        " WHERE d.datname = pg_catalog.current_database()",
        [schema],
    )
    tables = conn.execute(
        "SELECT c.relname::text, r.rolname::text, pg_catalog.pg_has_role(c.relowner, 'USAGE'), ARRAY(SELECT w"
        " FROM pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS w"
        " WHERE NOT pg_catalog.has_table_privilege(c.oid, w))"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) ORDER BY c.relname",
        [schema, list(needed)],
    )
    return lambda: _rights(own.fetchone(), tables.fetchall(), needed)


def _rights(
    own: tuple[Any, ...] | None, tables: Sequence[tuple[Any, ...]], needed: Mapping[str, Sequence[str]]
) -> Rights:
    lacking = ((table, tuple(w for w in needed[table] if w in words)) for table, _, _, words in tables)
    owners = sorted({owner for _, owner, is_member, _ in tables if not is_member})
    assert own is not None  # a session has a database
    missing = tuple((table, words) for table, words in lacking if words)
    role, database, may_create_schemas, usage, create = own
    return Rights(role, database, may_create_schemas, usage, create, missing, tuple(owners))


def lacking_rights(rights: Rights, schema: str, version: int | None, newest: int) -> tuple[Finding, ...]:
    """What `up` would need and the role has not, as a warning.

    :param version: the ledger's; None: there is none.
    :param newest: the one that this program writes.
    """
    missing = [*grants(rights, schema, to_make=version is None, to_upgrade=version is not None and version < newest)]
    if not missing:
        return ()
    message = f"the role {rights.role} may not write the ledger in schema {schema}, so nothing can be run"
    nxt = f"ask a database administrator to run: {'; '.join(missing)}"
    return (Finding("ledger_rights", message, nxt, severity="warning"),)


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string(None)
