"""The known schema in the ledger: facts with the snapshots from and to which they hold. So each run writes only what it
has changed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from psycopg import Connection
from psycopg.types.json import Jsonb

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Fact, Snapshot, fact, ordered
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.folder.config.settings import DriftPolicy
from airflow_provider_wmigrate.engine.model import Finding, Severity
from airflow_provider_wmigrate.engine.plan.drift import Drift, Known

from .guard import guard_findings
from .structure import in_schema
from .verification import one_moment
from .watching import changes_of_others

FIRST_VERSION = 3
"""Of the ledger: older ones have no place for it."""


def look_for_drift(conn: Connection[Any], schema: str, version: int) -> Drift:
    """The schema as it is now beside what is known of it. Changes nothing.

    :param conn: outside a transaction.
    :param version: of the ledger in this schema.
    """
    while True:
        known = known_schema(conn, schema) if version >= FIRST_VERSION else None
        now = take(conn)
        found = Drift(known, now, versions_behind(conn, schema, known.position) if known else ())
        # A run that has kept its work between the two looks would be taken for somebody else.
        if not found.differences:
            return found
        if known and known.number == _newest(conn, schema):
            return replace(found, recorded=changes_of_others(conn, schema))


def changed_by_others(conn: Connection[Any], schema: str, version: int, policy: DriftPolicy) -> list[Finding]:
    """What others have changed in the schema, and in the ledger; as `look_for_drift`."""
    drift = look_for_drift(conn, schema, version).finding(policy)
    with one_moment(conn):
        forged = guard_findings(conn, schema)
    severity: Severity = "error" if policy == "error" else "warning"
    return [*([drift] if drift else []), *(replace(each, severity=severity) for each in forged)]


def known_schema(conn: Connection[Any], schema: str) -> Known | None:
    """What was kept last; None: nothing yet."""
    query = (
        "SELECT number, at, version, audit_position, fingerprint, unseen, not_compared, server_version, format"
        " FROM {schema}.schema_snapshots ORDER BY number DESC LIMIT 1"
    )
    with one_moment(conn):
        row = conn.execute(in_schema(schema, query)).fetchone()
        if row is None:
            return None
        current = (
            "SELECT kind, identity, schema_name, part_of, attributes, shown, hash FROM {schema}.schema_facts"
            " WHERE to_snapshot IS NULL"
        )
        facts = ordered(Fact(*row) for row in conn.execute(in_schema(schema, current)).fetchall())
    number, at, version, position, fingerprint, *others = row
    if any(each != fact(*each[:-1]) for each in facts):  # the fingerprint is over hashes alone
        fingerprint = ""
    return Known(number, at, version, position, fingerprint, Snapshot(facts, *others))


def versions_behind(conn: Connection[Any], schema: str, position: int) -> tuple[str, ...]:
    """Those that were applied or rolled back behind a row of the audit log."""
    query = (
        "SELECT DISTINCT version FROM {schema}.audit_log"
        " WHERE position > %s AND event IN ('applied', 'rolled_back') ORDER BY version"
    )
    return tuple(version for (version,) in conn.execute(in_schema(schema, query), [position]).fetchall())


def keep(conn: Connection[Any], schema: str, known: Known | None, snapshot: Snapshot, *, position: int) -> None:
    """Write what differs from what was known. In a transaction, under the lock under which `known` was read.

    :param position: the last row of the audit log before the schema was read.
    """
    number = known.number + 1 if known else 1
    values = [number, position, snapshot.fingerprint, snapshot.format, snapshot.server_version]
    values += [Jsonb(dict(snapshot.unseen)), Jsonb(dict(snapshot.not_compared))]
    query = (
        "INSERT INTO {schema}.schema_snapshots (number, at, version, audit_position, fingerprint, format,"
        " server_version, unseen, not_compared) VALUES (%s, pg_catalog.clock_timestamp(), coalesce((SELECT value FROM"
        " {schema}.application_metadata WHERE key = 'schema_version'), ''), %s, %s, %s, %s, %s, %s)"
    )
    conn.execute(in_schema(schema, query), values)
    ended = "UPDATE {schema}.schema_facts SET to_snapshot = %s WHERE to_snapshot IS NULL"
    was, now = set(known.snapshot.facts if known else ()), set(snapshot.facts)
    if known and known.useless(snapshot):
        was = set()
        conn.execute(in_schema(schema, ended), [number])
    elif was - now:
        conn.execute(in_schema(schema, f"{ended} AND hash = ANY (%s)"), [number, [each.hash for each in was - now]])
    copied = (
        "COPY {schema}.schema_facts (kind, identity, schema_name, part_of, attributes, shown, hash, from_snapshot)"
        " FROM STDIN"
    )
    if now - was:
        with conn.cursor().copy(in_schema(schema, copied)) as copy:
            for each in sorted(now - was):
                copy.write_row((*each, number))


def _newest(conn: Connection[Any], schema: str) -> int | None:
    row = conn.execute(in_schema(schema, "SELECT max(number) FROM {schema}.schema_snapshots")).fetchone()
    return row[0] if row else None
