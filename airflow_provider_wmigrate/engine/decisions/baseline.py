"""Declares an existing database to be at a version, and takes a wrong baseline back: what it declared, and nothing has
run since, is pending again. It runs no script and changes no schema.

What is done is decided by pure functions; the entries and their audit rows commit together, under the ledger's
exclusive lock, so that no runner is at work meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.errors import HistoryError, UnknownVersion
from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import (
    Entry,
    Finding,
    Identity,
    Migration,
    Plan,
    State,
    Status,
    version_key,
)
from airflow_provider_wmigrate.engine.plan import planner
from airflow_provider_wmigrate.engine.plan.rollback import all_dependents
from airflow_provider_wmigrate.engine.session.session import Session

from .alone import Decider

NEXT = {
    Status.CHANGED: "restore its file, or accept it with `wmigrate repair {} --accept`",
    Status.INCOMPLETE: "settle it first with `wmigrate repair {0} --done` or `--undone`",
}


class Baselined(Struct, frozen=True):
    """What a baseline did."""

    to: str
    versions: tuple[str, ...]
    """Those declared applied, dependencies first. Empty: every one of them was applied already."""
    reason: str
    identity: Identity
    audit_head: str | None
    """None: nothing was written."""


def plan_baseline(migrations: Sequence[Migration], graph: Graph, state: State, *, to: str) -> Plan:
    """Whose steps are declared instead of applied; none of them when there are findings.

    What this server cannot have stays pending, as it would after applying everything.

    :param to: a version of the folder in canonical form.
    """
    forward = planner.plan_apply(migrations, graph, state, to=to)
    reached = {v for v in forward.statuses if version_key(v) <= version_key(to)}
    among = reached | graph.ancestors(reached & set(graph.order))
    unsettled = [not_settled(v, status) for v, status in forward.statuses.items() if v in among and status in NEXT]
    graph = planner.as_applied(graph, {m.version: m for m in migrations}, state.entries)
    findings = tuple(unsettled or too_late([step.version for step in forward.steps], graph, state))
    left_out = {v: reason for v, reason in forward.left_out.items() if v in among}
    return replace(forward, steps=() if findings else forward.steps, findings=findings, left_out=left_out)


def baseline(
    who: Decider, to: str, *, agreed: Collection[str] | None = None, accepted: Collection[str] | None = None
) -> Baselined:
    """Declare every migration up to `to`, and what these need, applied; create the ledger where there is none.

    :param agreed: versions that somebody agreed to; whatever else would be declared by now is refused. None: all.
    :param accepted: differences from a replay that somebody accepted, for the audit log; None: nothing was compared.
    :raises HistoryError: the ledger contradicts it; nothing was changed.
    :raises UnknownVersion: the folder has no such version.
    :raises LockTimeout: a runner is at work.
    """
    reason, ledger, migrations = who.stated("baseline"), who.ledger, who.migrations
    to = normalise_version(to, migrations)
    with who.alone("baseline", to) as session:
        state = ledger.state(session.conn)
        plan = plan_baseline(list(migrations.values()), who.folder.graph, state, to=to)
        versions = tuple(step.version for step in plan.steps)
        findings = plan.findings or tuple(not_agreed(versions, agreed))
        if findings:
            raise HistoryError(findings)
        head = None
        if versions:
            with session.transaction():
                make_current(ledger, session.conn, who.identity, state.ledger_version)
                said = {"to": to, "reason": reason} | ({} if accepted is None else {"accepted": list(accepted)})
                head = _declare(session, ledger, [migrations[v] for v in versions], said, who.identity)
    return Baselined(to, versions, reason, who.identity, head)


def _declare(
    session: Session, ledger: Ledger, migrations: Sequence[Migration], said: dict[str, Any], identity: Identity
) -> str:
    """Entries as an apply would leave them, then the audit rows, which keep the head locked until the commit."""
    for migration in migrations:
        ledger.writer(session.conn).insert_entry(migration, identity, duration_ms=0, statements=0)
    ledger.writer(session.conn).set_schema_version()
    head = ""
    for migration in migrations:
        details = {**said, "name": migration.name, "checksum": migration.script.checksum}
        head = ledger.log.append(session.conn, "baselined", identity, version=migration.version, details=details)
    return head


def not_settled(version: str, status: Status) -> Finding:
    """Why nothing is said of a migration whose entry a person must settle first."""
    message = f"migration {version} is {status.value}, so nothing is declared"
    return Finding("not_declarable", message, NEXT[status].format(version), version=version)


def too_late(versions: Sequence[str], graph: Graph, state: State) -> Iterator[Finding]:
    """An entry that needs one of them went on without it; the ledger must not say that it had been there."""
    rows = {e.version for e in state.entries}
    named = {parent for e in state.entries for parent in e.dependencies}
    before_one: set[str] = set()
    for version in reversed(graph.order):
        if any(child in rows or child in before_one for child in graph.children[version]):
            before_one.add(version)
    for version in versions:
        if version not in before_one and version not in named:
            continue
        needing = graph.descendants([version])
        names = [e.version for e in state.entries if e.version in needing or version in e.dependencies]
        message = (
            f"migration {version} cannot be declared applied: {', '.join(names)}, which"
            f" need{'s' * (len(names) == 1)} it, went on without it"
        )
        nxt = f"apply {version} with `wmigrate up`, or correct the dependencies of {', '.join(names)} in the config"
        yield Finding("not_declarable", message, nxt, version=version)


def not_agreed(versions: Sequence[str], agreed: Collection[str] | None) -> Iterator[Finding]:
    """A finding for each version to which nobody agreed. None: whatever comes is agreed to."""
    known = frozenset(agreed or ())
    for version in versions if agreed is not None else ():
        if version not in known:
            message = f"migration {version} was rolled back meanwhile, so nothing is declared"
            yield Finding("not_declarable", message, "look at `wmigrate status`", version=version)


# Taken back


def declared_by(conn: Connection[Any], ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """Of every baseline that the ledger still stands on, by its version, what it declared; each in numeric order."""
    query = sql.SQL(
        "SELECT e.version, a.details ->> 'to' FROM {entries} e, LATERAL ("
        "SELECT event, details FROM {log} l WHERE l.version = e.version"
        " AND event IN ('applied', 'rolled_back', 'baselined', 'adopted', 'baseline_undone')"
        " ORDER BY position DESC LIMIT 1) AS a WHERE a.event IN ('baselined', 'adopted')"
    ).format(entries=sql.Identifier(ledger.schema, "schema_migrations"), log=sql.Identifier(ledger.schema, "audit_log"))
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(query).fetchall()
    found: dict[str, list[str]] = {}
    for version, to in sorted(rows, key=lambda row: (version_key(row[1]), version_key(row[0]))):
        found.setdefault(to, []).append(version)
    return {to: tuple(versions) for to, versions in found.items()}


def not_undoable(declared: Collection[str], entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """Why a baseline cannot be taken back: what was applied since needs what it declared."""
    return tuple(all_dependents(declared, entries, leaving={*declared}))


def undo_baseline(who: Decider, to: str) -> Baselined:
    """Take back what the baseline to this version declared, as far as nothing has been applied or rolled back since.

    :raises HistoryError: a migration that was applied since needs one of them; nothing was changed.
    :raises UnknownVersion: the ledger stands on no baseline to this version.
    :raises LockTimeout: a runner is at work.
    """
    reason, ledger = who.stated("baseline"), who.ledger
    with who.alone("baseline", to) as session:
        conn = session.conn
        ledger_version = ledger.version(conn)
        known = declared_by(conn, ledger) if ledger_version is not None else {}
        to = baseline_named(to, known)
        entries = ledger.entries(conn)
        findings = not_undoable(known[to], entries)
        if findings:
            raise HistoryError(findings)
        rows = {entry.version: entry for entry in entries}
        with session.transaction():
            make_current(ledger, conn, who.identity, ledger_version)
            for version in known[to]:
                ledger.writer(conn).delete_entry(version)
            ledger.writer(conn).set_schema_version()
            head = None
            for version in known[to]:
                details = {"to": to, "reason": reason, "name": rows[version].name, "checksum": rows[version].checksum}
                head = ledger.log.append(conn, "baseline_undone", who.identity, version=version, details=details)
    return Baselined(to, known[to], reason, who.identity, head)


def baseline_named(to: str, known: Collection[str]) -> str:
    """The canonical form of the version of a baseline.

    :raises UnknownVersion: there is no such baseline.
    """
    try:
        return normalise_version(to, known)
    except UnknownVersion:
        raise UnknownVersion(to, known, where="the baselines that this ledger stands on") from None
