"""Which objects are a database's own: what every query about them has in common."""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_wmigrate.engine.catalog.keepable import PREFIX

FIRST_OWN = 16384
"""The first number (OID) that a server gives to an object that initdb has not made."""

TIMESCALEDB_SCHEMAS = (
    "_timescaledb_cache", "_timescaledb_catalog", "_timescaledb_config", "_timescaledb_debug", "_timescaledb_functions",
    "_timescaledb_internal", "timescaledb_experimental", "timescaledb_information",
)  # fmt: skip
"""Of chunks, of what continuous aggregates keep, and of TimescaleDB itself."""

SECRET = "(pass|secret|token|credential|key|sslcert)"


class Scope(NamedTuple):
    """What queries are made for.

    :param version: as the server counts.
    :param timescaledb: the extension is there.
    :param ledgers: schemas of ledgers, as SQL literals.
    """

    version: int
    timescaledb: bool
    ledgers: str

    def since(self, major: int, column: str, before: str = "NULL") -> str:
        """A column that servers have from a major version on, and what stands for it on older ones."""
        return column if self.version >= major * 10000 else before

    def schema(self, namespace: str) -> str:
        """Whether a schema, a row of pg_namespace, is one whose objects are told."""
        others = (
            "(pg_catalog.left({0}.nspname, 8) IN ('pg_toast', 'pg_temp_') OR {0}.nspname = ANY (ARRAY[{1}]::text[])"
            f" OR pg_catalog.left({{0}}.nspname, {len(PREFIX)}) = '{PREFIX}')"
        )
        left_out = [self.ledgers] if self.ledgers else []
        if self.timescaledb:
            left_out += [f"'{name}'" for name in TIMESCALEDB_SCHEMAS]
        return f"NOT {others.format(namespace, ', '.join(left_out))}"

    @staticmethod
    def own(catalog: str, oid: str) -> str:
        """Whether an object is neither the server's nor an extension's, nor, of functions and casts, a range's."""
        kinds = "'e', 'i'" if catalog in ("pg_proc", "pg_cast") else "'e'"
        return (
            f"{oid} >= {FIRST_OWN} AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = {oid}"
            f" AND e.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass AND e.deptype IN ({kinds}))"
        )

    def relations(self, kinds: str) -> str:
        """The relations of some kinds (of pg_class.relkind): `WITH rel AS (...)`, with their schema's name."""
        letters = ", ".join(f"'{kind}'" for kind in kinds)
        return (
            "WITH rel AS (SELECT c.*, n.nspname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE c.relkind IN ({letters}) AND {self.own('pg_class', 'c.oid')} AND {self.schema('n')}"
            f"{self._no_chunk if self.timescaledb else ''})"
        )

    @property
    def _no_chunk(self) -> str:
        """Chunks may be in any schema."""
        return (
            " AND NOT EXISTS (SELECT FROM _timescaledb_catalog.chunk k"
            " WHERE k.schema_name = n.nspname AND k.table_name = c.relname)"
        )


def strings(array: str) -> str:
    """A text array in an order of its own; none instead of an empty one."""
    return f"NULLIF(ARRAY(SELECT o FROM pg_catalog.unnest({array}) AS o ORDER BY o COLLATE \"C\"), '{{}}')"


def options(array: str) -> str:
    """Options of a foreign object, `name=value`, without values that may be secrets."""
    masked = (
        f"CASE WHEN pg_catalog.split_part(o, '=', 1) ~* '{SECRET}' THEN pg_catalog.split_part(o, '=', 1) ||"
        " '=***' ELSE o END"
    )
    return f"NULLIF(ARRAY(SELECT {masked} FROM pg_catalog.unnest({array}) AS o ORDER BY o COLLATE \"C\"), '{{}}')"


def role(oid: str) -> str:
    return f"pg_catalog.pg_get_userbyid({oid})"


def attributes(**values: str) -> str:
    """The expression of a fact's attributes: those that are not as they are by default, which is NULL."""
    pairs = ", ".join(f"'{name}', {value}" for name, value in values.items())
    return f"pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object({pairs}))"


def fact_rows(
    kind: str,
    source: str,
    values: str,
    *,
    schema: str,
    name: str,
    suffix: str = "''",
    of: str = "NULL",
    shown: str = "NULL",
) -> str:
    """The query of one kind: `taking` makes a fact of each row.

    :param source: from where, behind FROM.
    :param name: an array of its parts.
    :param suffix: what follows the name without being quoted.
    :param of: an array with the name of the relation or type that it is a part of.
    """
    return (
        f"SELECT {kind}, {schema}, {name}, {suffix}, {of}, {values}::pg_catalog.text, {shown}::pg_catalog.text"
        f" FROM {source}"
    )


def type_name(oid: str) -> str:
    return f"CASE WHEN {oid} <> 0 THEN pg_catalog.format_type({oid}, NULL) END"


def function_name(oid: str) -> str:
    return f"NULLIF({oid}, 0)::pg_catalog.regprocedure::pg_catalog.text"


def in_schema(
    scope: Scope, kind: str, catalog: str, prefix: str, values: str, *, suffix: str = "''", joins: str = ""
) -> str:
    """Of a catalog whose rows have a schema; `o` is the row."""
    source = (
        f"pg_catalog.{catalog} o JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace{joins}"
        f" WHERE {scope.own(catalog, 'o.oid')} AND {scope.schema('n')}"
    )
    name = f"ARRAY[n.nspname, o.{prefix}name]::pg_catalog.text[]"
    return fact_rows(f"'{kind}'", source, values, schema="n.nspname", name=name, suffix=suffix)


def in_no_schema(
    scope: Scope, kind: str, catalog: str, name: str, values: str, *, suffix: str = "''", joins: str = ""
) -> str:
    """Of a catalog whose rows are in no schema; `o` is the row."""
    source = f"pg_catalog.{catalog} o{joins} WHERE {scope.own(catalog, 'o.oid')}"
    return fact_rows(f"'{kind}'", source, values, schema="''", name=name, suffix=suffix)
