"""The DDL of others that the watch records: moved from its table into the audit log, and read.

The event trigger writes rows of its own, in the transaction of whoever changes something, and no row of the audit log:
the log's head would be locked until that one commits, and every run would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct
from psycopg import Connection, sql
from psycopg.rows import dict_row, tuple_row

from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.others import OthersChange, audit_details, from_details
from airflow_provider_wmigrate.engine.session.session import Session

from .audit_log import AuditLog
from .structure import in_schema

COLUMNS = OthersChange.__struct_fields__
ROWS = 1000
"""How many of the newest rows of the audit log are looked through."""
AT_ONCE = 500
"""How many changes are moved in one transaction, while which the head of the audit log is locked."""


_ITS_OWN = (
    "(EXISTS (SELECT FROM pg_catalog.pg_proc own WHERE own.pronamespace = n.oid AND own.proname = 'record_change'"
    " AND own.prorettype = 'pg_catalog.event_trigger'::pg_catalog.regtype)"
    " OR EXISTS (SELECT FROM pg_catalog.pg_class own WHERE own.relnamespace = n.oid AND own.relname = 'changes'"
    " AND pg_catalog.left(pg_catalog.obj_description(own.oid, 'pg_class'), 9) = 'wmigrate:'))"
)
"""Whether a schema n is the watch's, and not one of others that has its name. One of both may have been dropped."""


class Watched(Struct, frozen=True):
    """The watch in one database.

    :param state: `off`: there is none; `broken`: it is there, but a part of it is missing or disabled.
    :param waiting: changes that are recorded and not in the audit log yet; None: this role may not see them, or their
        table is gone.
    """

    state: Literal["on", "off", "broken"]
    waiting: int | None = 0


def watch_schema(schema: str) -> str:
    """The schema of what records, beside the ledger's. It is a superuser's: whoever owned it could put a table of their
    own in the place of the one that is written with a superuser's rights."""
    return f"{schema}_watch"


def trigger_names(schema: str) -> tuple[str, str, str]:
    """The event triggers: before the script of an extension, on what was made and changed, on what was dropped."""
    place = watch_schema(schema)
    return f"{place}_start", f"{place}_end", f"{place}_drop"


def watched(conn: Connection[Any], schema: str) -> Watched:
    """Whether the DDL of others is recorded. Anybody may ask."""
    query = (
        f"SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = %s AND {_ITS_OWN}),"
        " EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = 'changes'),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_event_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %s"
        " AND t.evtname = ANY (%s) AND t.evtenabled = 'A')"
    )
    place = watch_schema(schema)
    there, table, triggers = _row(conn, query, [place, place, place, list(trigger_names(schema))])
    if not there:
        return Watched("off")
    count = None
    if _may(conn, schema, "SELECT"):
        (count,) = _row(conn, in_schema(place, "SELECT pg_catalog.count(*) FROM {schema}.changes"), [])
    return Watched("on" if table and triggers == 3 else "broken", count)


def seal_all(session: Session, schema: str) -> None:
    """Move what is recorded into the audit log, in short transactions. What a role may not waits for one that may."""
    if _may(session.conn, schema, "SELECT") and _may(session.conn, schema, "DELETE"):
        moved = AT_ONCE
        while moved == AT_ONCE:
            with session.transaction(confirmed=False):
                moved = seal(session.conn, schema, AT_ONCE)


def seal(conn: Connection[Any], schema: str, limit: int | None = None) -> int:
    """The same for some of it, in the caller's transaction. Rows first, then the log's head, which nobody who wants
    rows may have: so no two wait for each other.

    :return: how many changes.
    """
    query = (
        "DELETE FROM {schema}.changes WHERE number IN (SELECT number FROM {schema}.changes ORDER BY number LIMIT %s)"
        f" RETURNING {', '.join(COLUMNS)}"
    )
    changes = list(_changes(conn, in_schema(watch_schema(schema), query), limit))
    for login, details in audit_details(changes):
        AuditLog(schema).append(conn, "changed_by_others", Identity(login), details=details)
    return len(changes)


def changes_of_others(conn: Connection[Any], schema: str) -> tuple[OthersChange, ...]:
    """What is recorded since a person last accepted the schema, the newest first."""
    query = (
        "SELECT details FROM {schema}.audit_log WHERE event = 'changed_by_others' AND position >"
        " coalesce((SELECT max(position) FROM {schema}.audit_log WHERE event = 'drift_accepted'), 0)"
        " ORDER BY position DESC LIMIT %s"
    )
    rows = conn.execute(in_schema(schema, query), [ROWS]).fetchall()
    found = [change for (details,) in rows for change in from_details(details)]
    if _may(conn, schema, "SELECT"):
        select = f"SELECT {', '.join(COLUMNS)} FROM {{schema}}.changes ORDER BY number DESC LIMIT %s"
        found += _changes(conn, in_schema(watch_schema(schema), select), ROWS)
    return tuple(sorted(found, key=lambda change: change.at, reverse=True))


def _changes(conn: Connection[Any], query: sql.Composed, limit: int | None) -> Iterator[OthersChange]:
    for row in conn.cursor(row_factory=dict_row).execute(query, [limit]).fetchall():
        yield OthersChange(**{**row, "objects": tuple(row["objects"])})


def _may(conn: Connection[Any], schema: str, right: str) -> bool:
    """Whether the table is there and the role has a right on it."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE n.nspname = %s AND c.relname = 'changes' AND {_ITS_OWN}"
        " AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        " AND pg_catalog.has_table_privilege(c.oid, %s))"
    )
    return bool(_row(conn, query, [watch_schema(schema), right])[0])


def _row(conn: Connection[Any], query: Any, values: list[Any]) -> tuple[Any, ...]:
    row = conn.cursor(row_factory=tuple_row).execute(query, values).fetchone()
    assert row is not None  # a SELECT of values
    return row
