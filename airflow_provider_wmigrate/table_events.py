"""The asset events of a run: one for each table and view that it changed, and one for each schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from .assets import schema_changes_asset, table_asset
from .hooks import MigrationHook, one_line

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from .engine.ledger.ledger import AuditRow

MOST = 200
"""Tables of one run that have an event of their own; of more, the schemas have to do."""
_Table = tuple[str, str]


class TableEvents(NamedTuple):
    """:param events: assets with the extra of their events.
    :param summary: for the event of the target's own asset.
    """

    events: list[tuple[Asset, dict[str, Any]]]
    summary: dict[str, Any]


def told_tables(
    conn_id: str, rows: Iterable[AuditRow], news: Mapping[str, Any], extra: Mapping[str, Any], *, log: Any
) -> TableEvents:
    """Never raises: what was applied stays so, and a report that failed would not say it.

    :param rows: of the audit log, behind what was told last.
    :param news: which versions are applied and rolled back since.
    :param extra: for each event.
    """
    from .engine.reporting import changed_tables

    try:
        versions = {*news["applied"], *news["rolled_back"]}
        found, unread = changed_tables(rows, versions)
        changed = _with_schemas(conn_id, found)
        if unread:
            log.info("what else %s changed cannot be read: only the target's own asset tells it", ", ".join(unread))
        tables = {
            f"{schema}.{table}": sorted({c["does"] for _, c in each}) for (schema, table), each in changed.items()
        }
        summary = {"tables": tables, "unread": unread}
        return TableEvents([*_events(conn_id, changed, extra, log)], summary)
    except Exception as error:
        log.warning("which tables changed cannot be told: %s", one_line(str(error)))
        return TableEvents([], {"tables": {}, "unread": sorted(versions)})


def _events(
    conn_id: str, changed: Mapping[_Table, list[tuple[str, dict[str, Any]]]], extra: Mapping[str, Any], log: Any
) -> Iterable[tuple[Asset, dict[str, Any]]]:
    if len(changed) > MOST:
        log.warning("%s tables changed: only their schemas have an event", len(changed))
    for (schema, table), each in changed.items() if len(changed) <= MOST else ():
        versions = list(dict.fromkeys(version for version, _ in each))
        told = [{k: v for k, v in change.items() if k not in ("schema", "name")} for _, change in each]
        yield table_asset(conn_id, schema, table), {**extra, "versions": versions, "changes": told}
    for schema in dict.fromkeys(schema for schema, _ in changed):
        mine = {table: each for (where, table), each in changed.items() if where == schema}
        tables = {table: sorted({change["does"] for _, change in each}) for table, each in mine.items()}
        versions = list(dict.fromkeys(version for each in mine.values() for version, _ in each))
        yield schema_changes_asset(conn_id, schema), {**extra, "versions": versions, "tables": tables}


def _with_schemas(
    conn_id: str, found: Mapping[_Table, list[tuple[str, dict[str, Any]]]]
) -> dict[_Table, list[tuple[str, dict[str, Any]]]]:
    """Where a script wrote no schema, that in which the name is found now; else the one in which it would be made."""
    alone = [table for schema, table in found if not schema]
    if not alone:
        return dict(found)
    with closing(MigrationHook(conn_id).get_conn()) as conn:
        schemas = dict(conn.execute(_SCHEMAS, [alone]).fetchall())
    changed: dict[_Table, list[tuple[str, dict[str, Any]]]] = {}
    for (schema, table), each in found.items():
        changed.setdefault((schema or schemas[table], table), []).extend(each)
    return changed


_SCHEMAS = """
SELECT name, coalesce((SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
  ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass(pg_catalog.quote_ident(name))),
  pg_catalog.current_schema(), 'public')
FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS each (name)
"""
