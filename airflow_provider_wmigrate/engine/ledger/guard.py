"""What stands beside the audit log's chain and must agree with it: the entries, their rollback scripts, the trigger.

What is compared is decided by pure functions; the class looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from msgspec import Struct
from psycopg import Connection, DataError, sql
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.model import Entry, Finding, Script, checksum, version_key

from .entry_row import ENTRY_FACTS
from .storable import ESCAPED, original_script
from .structure import in_schema
from .trail import COLUMNS, AuditRow

TRIGGER, FUNCTION = "audit_log_append_only", "refuse_change"

_ASK = "find out who has write access to the ledger"


class TriggerState(Struct, frozen=True):
    """The trigger that keeps the audit log append-only, as the catalogs have it."""

    enabled: bool
    """It fires in every ordinary session."""
    complete: bool
    """Before every UPDATE, DELETE and TRUNCATE, once for each statement and without a condition."""
    function: str
    """Schema and name of the function it calls."""
    body: str
    """The source text of that function."""


# Decisions


def forged_entries(log: Mapping[str, AuditRow], entries: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Entries that are not what the audit log says of them.

    :param log: of each version the last row that says what its entry is; rows of a program that did not say it yet
        have no `session` in their details, and of their versions nothing can be said.
    :param entries: of each version the facts of its entry.
    """
    for version in sorted({*log, *entries}, key=_order):
        row, entry = log.get(version), entries.get(version)
        if row is None:
            nxt = f"delete it, and declare it with `wmigrate baseline` if it is right; {_ASK}"
            yield _forged(version, "its entry has no row in the audit log", nxt)
        elif row.computed_hash() != row.hash or not isinstance(row.details, dict):
            yield _forged(
                version, f"row {row.position} of the audit log, which says what its entry is, was changed", _ASK
            )
        elif "session" in row.details:
            yield from _differences(version, row, entry)


def _differences(version: str, row: AuditRow, entry: Mapping[str, Any] | None) -> Iterator[Finding]:
    said, place = row.details.get("entry"), f"row {row.position} ({row.event}) of the audit log"
    if entry is None and said is not None:
        yield _forged(version, f"its entry is gone, but {place} has one", f"put it back as it is there, and {_ASK}")
    elif entry is not None and said is None:
        yield _forged(version, f"it has an entry, but {place} has none", f"delete it, and {_ASK}")
    elif entry is not None and said is not None and entry != said:
        changed = [name for name in sorted({*entry, *said}) if entry.get(name) != said.get(name)]
        what = ", ".join(f"{name} is {entry.get(name)!r} and was {said.get(name)!r}" for name in changed)
        yield _forged(version, f"its entry is not that of {place}: {what}", f"put back what was, and {_ASK}")


def changed_rollback(entry: Entry, script: Script, row: AuditRow | None) -> Finding | None:
    """Whether a rollback script is not the one that was stored: it is run only if its checksum is that of the entry and
    of the audit log.

    :param row: the last row that says what the entry is; None: there is none.
    """
    said = _said(row) if row else {}
    known = None if said is None else said.get("rollback_checksum", entry.rollback_checksum)
    if script.checksum == entry.rollback_checksum == known:
        return None
    message = (
        f"the rollback script of migration {entry.version} in the ledger has the checksum {script.checksum},"
        f" but {known or entry.rollback_checksum} was stored"
    )
    nxt = (
        f"put {script.file} into the folder beside its migration and say `--script folder`, or restore the"
        f" ledger's row; {_ASK}"
    )
    return Finding("entry_forged", message, nxt, version=entry.version)


def _said(row: AuditRow) -> Mapping[str, Any] | None:
    """What a row says of the entry: nothing that could be compared if the program did not say it yet."""
    details = row.details if isinstance(row.details, dict) else {}
    if "session" not in details:
        return {}
    said: Mapping[str, Any] | None = details.get("entry")
    return said


def open_log(state: TriggerState | None, schema: str, body: str) -> str | None:
    """Why the trigger does not keep the audit log append-only; None: it does.

    :param state: None: there is no trigger of that name.
    :param body: the function's text as the ledger was made with it.
    """
    if state is None:
        return "it is gone"
    if not state.enabled:
        return "it is disabled"
    if not state.complete:
        return "it does not fire before every UPDATE, DELETE and TRUNCATE"
    if state.function != f"{schema}.{FUNCTION}":
        return f"it calls {state.function} instead of {schema}.{FUNCTION}"
    return None if state.body == body else f"its function {state.function} was replaced"


def original_body() -> str:
    """The text of the trigger's function in ledger.sql."""
    script = files(__package__).joinpath("ledger.sql").read_text(encoding="utf-8")
    return script.partition(f"{FUNCTION}() RETURNS trigger")[2].split("$$")[1]


def _forged(version: str, message: str, next_step: str) -> Finding:
    return Finding("entry_forged", f"migration {version}: {message}", next_step, version=version)


def _order(version: str) -> tuple[int, str]:
    """Numeric; a forged row may name anything."""
    return (version_key(version), "") if version.isascii() and version.isdigit() else (-1, version)


# Looks


def guard_findings(conn: Connection[Any], schema: str) -> tuple[Finding, ...]:
    """Everything that does not agree, in the caller's transaction."""
    return (*_trigger(conn, schema), *_entries(conn, schema), *_rollback_texts(conn, schema))


def look_at_rollback(conn: Connection[Any], schema: str, entry: Entry, script: Script) -> Finding | None:
    """See `changed_rollback`."""
    try:
        log = _settling_rows(conn, schema, entry.version)
    except DataError:
        return Finding("entry_forged", f"the audit log of migration {entry.version} cannot be read", _ASK)
    return changed_rollback(entry, script, log.get(entry.version))


def _entries(conn: Connection[Any], schema: str) -> tuple[Finding, ...]:
    rows = conn.execute(in_schema(schema, f"SELECT version, {ENTRY_FACTS} FROM {{schema}}.schema_migrations"))
    entries = dict(rows.fetchall())
    try:
        with conn.transaction():
            log = _settling_rows(conn, schema)
    except DataError as error:
        return (Finding("entry_forged", f"the audit log's rows on entries cannot be read: {error}", _ASK),)
    return tuple(forged_entries(log, entries))


def _settling_rows(conn: Connection[Any], schema: str, version: str | None = None) -> dict[str, AuditRow]:
    """Of each version, or of one, the last row that says what its entry is, or was written before rows said so."""
    columns = ", ".join(COLUMNS)
    query = in_schema(
        schema,
        f"SELECT DISTINCT ON (version) {columns} FROM {{schema}}.audit_log WHERE version IS NOT NULL"
        " AND version = coalesce(%s, version)"
        " AND (details -> 'entry' IS NOT NULL OR details -> 'session' IS NULL) ORDER BY version, position DESC",
    )
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, [version]).fetchall()
    return {row["version"]: AuditRow(**row) for row in rows}


def _rollback_texts(conn: Connection[Any], schema: str) -> Iterator[Finding]:
    """Recomputed by the server, so that no text travels but those that had to be escaped."""
    query = in_schema(
        schema,
        "SELECT version, rollback_checksum, digest, CASE WHEN escaped THEN rollback_sql END"
        " FROM {schema}.schema_migrations, LATERAL (SELECT pg_catalog.starts_with(rollback_sql, %s) AS escaped,"
        " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(rollback_sql, 'UTF8')), 'hex') AS digest)"
        " AS of_text WHERE rollback_sql IS NOT NULL AND digest <> rollback_checksum",
    )
    try:
        with conn.transaction():
            rows = conn.execute(query, [ESCAPED]).fetchall()
    except DataError as error:
        yield Finding("entry_forged", f"a rollback script in the ledger cannot be read: {error}", _ASK)
        return
    for version, kept, digest, escaped in sorted(rows, key=lambda row: _order(row[0])):
        found = checksum(original_script(escaped)) if escaped else digest
        if found != kept:
            message = f"its rollback script was changed: its checksum is {found}, rollback_checksum says {kept}"
            yield _forged(version, message, f"put back the script that was stored, and {_ASK}")


def _trigger(conn: Connection[Any], schema: str) -> Iterator[Finding]:
    reason = open_log(_trigger_state(conn, schema), schema, original_body())
    if reason:
        table = sql.Identifier(schema, "audit_log").as_string(None)
        message = f"audit_log can be changed: the trigger {TRIGGER} on {table} keeps it append-only, but {reason}"
        nxt = f"compare the log with a head kept elsewhere, and make the trigger again (docs/ledger.md); {_ASK}"
        yield Finding("append_only_off", message, nxt)


def _trigger_state(conn: Connection[Any], schema: str) -> TriggerState | None:
    found = conn.execute(
        "SELECT t.tgenabled IN ('O', 'A'),"
        # 2 before, 8 delete, 16 update, 32 truncate; without 1, for each row
        " t.tgtype = 58 AND t.tgqual IS NULL AND t.tgattr::text = '',"
        " n.nspname::text || '.' || p.proname::text, p.prosrc"
        " FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
        " JOIN pg_catalog.pg_namespace o ON o.oid = c.relnamespace"
        " JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        " WHERE o.nspname = %s AND c.relname = 'audit_log' AND t.tgname = %s AND NOT t.tgisinternal",
        [schema, TRIGGER],
    ).fetchone()
    return TriggerState(*found) if found else None
