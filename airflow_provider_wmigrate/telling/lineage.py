"""What a migration touched, for OpenLineage, where that provider is installed: which tables, what happened to them, and
their columns afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.changes import Change
from airflow_provider_wmigrate.engine.sql.named import names_in

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)
_Table = tuple[str, str]
_STATES = {"create": "CREATE", "drop": "DROP", "rename": "RENAME", "alter": "ALTER", "truncate": "TRUNCATE"}


class State(Struct, frozen=True):
    """:param change: as OpenLineage's lifecycleStateChange has it; "": it was only locked, or its rows changed.
    :param before: what a renamed table was called.
    """

    change: str = ""
    before: _Table | None = None


def facets(
    records: Iterable[Mapping[str, Any]], *, conn_id: str, connect: Callable[[], psycopg.Connection[Any]]
) -> Any:
    """An OperatorLineage whose outputs are the relations that migrations locked or changed; None without the provider.

    A relation is named `database.schema.relation` in the namespace `postgres://host:port`, as OpenLineage asks.

    :param records: of what was done, as XCom keeps them.
    :param connect: to the target, to ask for the columns.
    """
    try:
        from airflow.providers.common.compat.openlineage import facet
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    from airflow.sdk import BaseHook

    states = dict[_Table, State]()
    for record in records:
        states |= states_of(record)
    at = BaseHook.get_connection(conn_id)
    columns = _columns(connect, states) if states else {}

    def name(table: _Table) -> tuple[str, str]:
        ((namespace, found),) = named([".".join(table)], host=at.host, port=at.port, database=at.schema)
        return namespace, found

    return OperatorLineage(outputs=[_dataset(facet, name, t, state, columns) for t, state in states.items()])


def _dataset(
    facet: Any, name: Callable[[_Table], tuple[str, str]], table: _Table, state: State,
    columns: Mapping[_Table, list[tuple[str, str]]],
) -> Any:  # fmt: skip
    namespace, called = name(table)
    found: dict[str, Any] = {}
    if state.change:
        more = {}
        if state.before is not None:
            before = name(state.before)
            more["previousIdentifier"] = facet.PreviousIdentifier(name=before[1], namespace=before[0])
        change = facet.LifecycleStateChange[state.change]
        found["lifecycleStateChange"] = facet.LifecycleStateChangeDatasetFacet(lifecycleStateChange=change, **more)
    if table in columns:
        fields = [facet.SchemaDatasetFacetFields(name=column, type=kind) for column, kind in columns[table]]
        found["schema"] = facet.SchemaDatasetFacet(fields=fields)
    return facet.Dataset(namespace=namespace, name=called, facets=found)


def states_of(record: Mapping[str, Any]) -> dict[_Table, State]:
    """What became of each relation that a migration locked or changed; of what it renamed, under the new name."""
    found: dict[_Table, State] = {}
    for lock in record["locks"]:
        schema, *rest = names_in(lock["relation"])
        found[schema, ".".join(rest)] = State()
    for change in (Change(**each) for each in record["changes"]["each"]):
        if change.schema and change.kind not in ("function", "sequence"):
            _become(found, change)
    return found


def _become(found: dict[_Table, State], change: Change) -> None:
    """A table that was made stays one that was made, whatever is altered behind that."""
    table = change.schema, change.name
    whole = change.kind != "column"
    if whole and change.does == "rename":
        schema, _, name = change.to.rpartition(".")
        new = schema or change.schema, name
        known = found.pop(table, State())
        found[new] = State("CREATE") if known.change == "CREATE" else State("RENAME", known.before or table)
        return
    state = _STATES.get(change.does, "") if whole else "ALTER"
    known = found.get(table, State())
    if state and (state == "DROP" or known.change in ("", "DROP", "ALTER", "TRUNCATE")):
        found[table] = State(state)
    else:
        found.setdefault(table, known)


def _columns(
    connect: Callable[[], psycopg.Connection[Any]], tables: Iterable[_Table]
) -> dict[_Table, list[tuple[str, str]]]:
    """Name and type of the columns as they are now; of what is not there nothing, and nothing if nobody answers."""
    try:
        with closing(connect()) as conn:
            return columns_now(conn, tables)
    except Exception as error:
        log.debug("the columns cannot be told to OpenLineage: %s", type(error).__name__)
        return {}


def columns_now(conn: psycopg.Connection[Any], tables: Iterable[_Table]) -> dict[_Table, list[tuple[str, str]]]:
    """Of relations that are there, name and type of each column."""
    schemas, names = zip(*tables, strict=True)
    found: dict[_Table, list[tuple[str, str]]] = {}
    for schema, name, column, kind in conn.execute(_COLUMNS, [[*schemas], [*names]]).fetchall():
        found.setdefault((schema, name), []).append((column, kind))
    return found


_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM unnest(%s::pg_catalog.text[], %s::pg_catalog.text[]) AS wanted (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 2, a.attnum
"""


def named(
    relations: Iterable[str], *, host: str | None, port: int | None, database: str | None
) -> list[tuple[str, str]]:
    """Each relation once, by namespace and name; what a connection leaves out is as libpq has it."""
    namespace = f"postgres://{host or 'localhost'}:{port or 5432}"
    return [(namespace, f"{database or 'postgres'}.{relation}") for relation in dict.fromkeys(relations)]
