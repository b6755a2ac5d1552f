"""Takes over what another tool has applied: its table is read, and becomes entries. It runs no script.

What is taken over is decided by pure functions (`adopting`); the entries and their audit rows commit together, under
the ledger's exclusive lock. The other tool's tables are only read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.adopting.matching import Matched, match, needed
from airflow_provider_wmigrate.engine.adopting.model import Applied, Rows, Table, Tool, unsettled
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.ledger.asking import CHANGED
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.model import Finding, Identity, Migration, Script, State, version_key
from airflow_provider_wmigrate.engine.plan import planner
from airflow_provider_wmigrate.engine.plan.statuses import statuses
from airflow_provider_wmigrate.engine.session.session import Session

from .alone import Decider
from .baseline import NEXT, not_settled, too_late


class TakenOver(Struct, frozen=True):
    """One migration as it is taken over."""

    version: str
    name: str
    called: str
    """By the other tool."""
    applied_at: datetime | None
    """None: the tool does not keep it, and the time of the adoption stands for it."""
    actor: str | None
    """Whom the tool names; None: nobody, and who adopts stands for it."""
    checksum: str
    """compared | accepted | not kept: whether the file was held against the tool's checksum."""


class Adoption(Struct, frozen=True):
    """What an adoption does, or did."""

    tool: str
    table: str
    """With its schema."""
    adopted: tuple[TakenOver, ...]
    """Dependencies first. Empty: the ledger has all of it."""
    already: tuple[str, ...]
    """Versions that have an entry."""
    left_out: tuple[str, ...]
    """What has no file, and was accepted; as the tool calls it."""
    pending: tuple[str, ...]
    """Versions of the folder that the tool has not applied."""
    undone: tuple[str, ...] = ()
    """Versions that the tool's table still has, and that were rolled back here since: they stay pending."""
    audit_head: str | None = None
    """None: nothing was written."""

    @property
    def versions(self) -> list[str]:
        return [one.version for one in self.adopted]


class Planned(Struct, frozen=True):
    """An adoption that was decided, and what its entries are made of."""

    adoption: Adoption
    migrations: Mapping[str, Migration]
    """As the entries have them, dependencies first."""
    applied: Mapping[str, Applied]
    ledger_version: int | None


def plan_adoption(
    conn: Connection[Any], who: Decider, tool: Tool, *, table: str | None = None, accepted: Collection[str] = ()
) -> Planned:
    """What would be taken over.

    :param table: `schema.table` or `table`; None: the one of the tool's usual name.
    :param accepted: see `match`.
    :raises HistoryError: it cannot be; it has a finding for each reason.
    """
    folder, migrations, schema = who.folder, who.migrations, who.ledger.schema
    state = who.ledger.state(conn)
    place, rows, beside = _rows(conn, tool, table, ours=schema)
    blocks = folder.config.migrations
    origins = {v: str(blocks[v].origin) for v in migrations if v in blocks and blocks[v].origin}
    matched = match(tool, tuple(tool.read(rows, beside)), migrations, origins, folder.graph, accepted)
    there = {e.version for e in state.entries}
    since = _undone(conn, schema) if state.ledger_version is not None else {}
    undone = [v for v, one in matched.adopted.items() if v in since and (one.at is None or one.at <= since[v])]
    fresh = {v: one for v, one in matched.adopted.items() if v not in there and v not in undone}
    findings = matched.findings or _contradictions(matched, fresh, migrations, folder, state)
    if findings:
        raise HistoryError(findings)
    applied = {*there, *fresh}
    entries = {v: _as_applied(migrations[v], one, applied) for v, one in fresh.items()}
    adoption = Adoption(
        tool.name,
        place,
        tuple(_taken_over(migrations[v], one, tool, accepted) for v, one in fresh.items()),
        tuple(v for v in matched.adopted if v in there),
        matched.left_out,
        tuple(v for v in migrations if v not in applied and v not in undone),
        tuple(undone),
    )
    return Planned(adoption, entries, fresh, state.ledger_version)


def adopt(
    who: Decider,
    tool: Tool,
    *,
    table: str | None = None,
    accepted: Collection[str] = (),
    agreed: Collection[str] | None = None,
) -> Adoption:
    """Take it over; create the ledger where there is none.

    :param agreed: versions that somebody agreed to; what else would be taken over by now is refused. None: all.
    :raises HistoryError: it cannot be taken over; nothing was changed.
    :raises LockTimeout: a runner is at work.
    """
    who.stated("adoption")
    with who.alone("adopt", tool.name) as session, session.transaction():
        planned = plan_adoption(session.conn, who, tool, table=table, accepted=accepted)
        adoption = planned.adoption
        findings = tuple(_not_agreed(adoption, agreed))
        if findings:
            raise HistoryError(findings)
        if not adoption.adopted:
            return adoption
        make_current(who.ledger, session.conn, who.identity, planned.ledger_version)
        return replace(adoption, audit_head=_write(session, who, planned))


def _not_agreed(adoption: Adoption, agreed: Collection[str] | None) -> Iterator[Finding]:
    for version in adoption.versions if agreed is not None else ():
        if version not in agreed:  # type: ignore[operator]
            message = f"{adoption.tool} has applied {version} meanwhile, so nothing is taken over"
            yield Finding("not_adoptable", message, "stop that tool, and adopt again", version=version)


def _write(session: Session, who: Decider, planned: Planned) -> str:
    """Entries, then the audit rows, which keep the head locked until the commit."""
    ledger, migrations, adoption = who.ledger, planned.migrations, planned.adoption
    writer = ledger.writer(session.conn)
    for version, migration in migrations.items():
        one = planned.applied[version]
        actor = Identity(one.actor) if one.actor else who.identity
        writer.insert_entry(migration, actor, duration_ms=one.duration_ms, statements=0, applied_at=one.at)
    writer.set_schema_version()
    head, to = "", max(migrations, key=version_key)
    for version, migration in migrations.items():
        details = {
            "from": adoption.tool,
            "table": adoption.table,
            "to": to,
            "reason": who.stated("adoption"),
            "name": migration.name,
            "checksum": migration.script.checksum,
            "called": planned.applied[version].name,
            "time_known": planned.applied[version].at is not None,
        }
        head = ledger.log.append(session.conn, "adopted", who.identity, version=version, details=details)
    return head


def _as_applied(migration: Migration, one: Applied, applied: Collection[str]) -> Migration:
    """With what was there when it was applied, and the rollback script that the tool kept."""
    rollback = migration.rollback
    if one.rollback_sql:
        rollback = Script.of(f"{migration.stem}.rollback.sql", one.rollback_sql.replace("\r\n", "\n"))
    return replace(migration, rollback=rollback, dependencies=tuple(needed(migration, applied)))


def _taken_over(migration: Migration, one: Applied, tool: Tool, accepted: Collection[str]) -> TakenOver:
    known = tool.digests(migration.script.text) if one.checksum is not None else set()
    checksum = "not kept" if not known else "compared" if one.checksum in known else "accepted"
    return TakenOver(migration.version, migration.name, one.name, one.at, one.actor or None, checksum)


def _contradictions(
    matched: Matched, fresh: Mapping[str, Applied], migrations: Mapping[str, Migration], folder: Folder, state: State
) -> tuple[Finding, ...]:
    """What the ledger says against it."""
    known = statuses(list(migrations.values()), state.entries)
    unsettled_ones = [not_settled(v, known[v]) for v in matched.adopted if known[v] in NEXT]
    graph = planner.as_applied(folder.graph, migrations, state.entries)
    return tuple(unsettled_ones or too_late(list(fresh), graph, state))


def _undone(conn: Connection[Any], schema: str) -> dict[str, datetime]:
    """Versions without an entry that had one, and since when: a table that knows nothing of it is not believed. What
    a person took back as a wrong adoption is none of them."""
    query = sql.SQL(
        "SELECT version, at FROM (SELECT DISTINCT ON (version) version, event, at FROM {log}"
        " WHERE version IS NOT NULL AND event = ANY(%s) ORDER BY version, position DESC) AS last"
        " WHERE event IN ('rolled_back', 'repaired') AND version NOT IN (SELECT version FROM {entries})"
    ).format(log=sql.Identifier(schema, "audit_log"), entries=sql.Identifier(schema, "schema_migrations"))
    return dict(conn.execute(query, [list(CHANGED)]).fetchall())


# The other tool's tables

_NOTHING = sql.SQL("")


def _rows(conn: Connection[Any], tool: Tool, named: str | None, *, ours: str) -> tuple[str, Rows, Mapping[str, Rows]]:
    schema, table = _place(conn, tool, named, ours)
    at = sql.SQL(tool.table.at)  # an expression of ours
    rows = _select(conn, schema, table, sql.SQL(", {} AS adopted_at").format(at))
    beside = {
        name: _select(conn, schema, name) if schema in _tables_named(conn, name) else [] for name in tool.table.beside
    }
    return f"{schema}.{table}", rows, beside


def _select(conn: Connection[Any], schema: str, table: str, more: sql.Composable = _NOTHING) -> Rows:
    name = sql.Identifier(schema, table)
    try:
        return conn.cursor(row_factory=dict_row).execute(sql.SQL("SELECT *{} FROM {}").format(more, name)).fetchall()
    except InsufficientPrivilege as error:
        what, role = name.as_string(None), sql.Identifier(conn.info.user).as_string(None)
        way = f"ask its owner to run: GRANT SELECT ON {what} TO {role}; and USAGE on its schema, if that is missing"
        raise unsettled(f"{what} may not be read: {error.diag.message_primary}", way) from None


def _place(conn: Connection[Any], tool: Tool, named: str | None, ours: str) -> tuple[str, str]:
    """Schema and name of the tool's table.

    :raises HistoryError: there is none, or there are several.
    """
    schema, _, table = (named or tool.table.name).rpartition(".")
    schema = schema or (tool.table.schema or "" if named is None else "")
    there = _tables_named(conn, table)
    fitting = [s for s, columns in there.items() if schema in ("", s) and _fits(tool.table, columns)]
    if len(fitting) == 1:
        return fitting[0], table
    name = f"{schema}.{table}" if schema else table
    if fitting:
        raise unsettled(
            f"{tool.name} has a table {table} in each of the schemas {', '.join(fitting)}",
            f"name the one that counts: --table {fitting[0]}.{table}",
        )
    others = [s for s in there if s != ours]
    if others:
        wanted = ", ".join(tool.table.has)
        raise unsettled(
            f"{others[0]}.{table} is no table of {tool.name}, which would have the columns {wanted}",
            f"name the right one with --table SCHEMA.TABLE, or the right tool with --from ({_meant(there[others[0]])})",
        )
    raise unsettled(
        f"this database has no table {name} of {tool.name}",
        "connect to the database that it migrates, or name its table with --table SCHEMA.TABLE",
    )


def _fits(table: Table, columns: Sequence[str]) -> bool:
    return set(table.has) <= set(columns) and not set(table.lacks) & set(columns)


def _meant(columns: Sequence[str]) -> str:
    from airflow_provider_wmigrate.engine.adopting.tools import TOOLS

    fitting = [tool.name for tool in TOOLS.values() if _fits(tool.table, columns)]
    return f"it may be {' or '.join(fitting)}" if fitting else f"known: {', '.join(TOOLS)}"


def _tables_named(conn: Connection[Any], name: str) -> dict[str, Sequence[str]]:
    """Schema -> columns of each table or view of that name, in the order of the schemas' names."""
    rows = conn.execute(
        "SELECT n.nspname::pg_catalog.text, pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'f') AND c.relpersistence <> 't'"
        " GROUP BY n.nspname ORDER BY n.nspname",
        [name],
    )
    return {str(schema): list(columns) for schema, columns in rows}
