"""The only room that knows both vocabularies: an Airflow connection id becomes a psycopg connection, an engine error
an Airflow exception, an engine event a line in the task log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from .engine.errors import WMigrateError
from .engine.model import (
    Blocked,
    Event,
    Failed,
    Finished,
    HeldLong,
    Identity,
    Listener,
    Noticed,
    Record,
    Retrying,
    Script,
    Started,
    Stepped,
    Waiting,
)
from .metrics import MetricsListener, SpanListener

if TYPE_CHECKING:
    import psycopg

    from .engine.config import Logging
    from .engine.folder import Folder
    from .engine.health import Health
    from .engine.migrator import Migrator

_SHOWN_CHARACTERS = 20_000
"""Of a script, in the task log: enough for what a person reads, and a log viewer stays fast."""


class MigrationHook(BaseHook):
    """Opens connections to the target database and hands out migrators that talk to the task log.

    :param conn_id: an Airflow connection of type `postgres`; every option of that connection type holds.
    :param libpq: connection parameters that count more than the connection's, such as `connect_timeout`.
    """

    def __init__(self, conn_id: str, *, libpq: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.libpq = dict(libpq or {})

    @cached_property
    def _postgres(self) -> Any:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise AirflowFailException(f"{error}; create that connection or correct conn_id") from None
        if self.libpq:
            connection.extra = json.dumps({**connection.extra_dejson, **self.libpq})
        return PostgresHook(postgres_conn_id=self.conn_id, connection=connection)

    def get_conn(self) -> psycopg.Connection[Any]:
        """A new psycopg connection to the target."""
        import psycopg

        conn = self._postgres.get_conn()
        if not isinstance(conn, psycopg.Connection):
            raise AirflowFailException("wmigrate needs psycopg 3: install postgres provider 7.1 or newer")
        return conn

    def test_connection(self) -> tuple[bool, str]:
        """Whether the target answers, in one sentence."""
        try:
            with self.get_conn() as conn:
                row = conn.execute("SELECT version()").fetchone()
        except Exception as error:  # the form shows whatever went wrong
            return False, str(error)
        return True, str(row[0]) if row else "connected"

    def migrator(self, folder: Folder, *, identity: Identity, environment: str | None = None) -> Migrator:
        """A migrator for one folder whose events go to this hook's log."""
        from .engine.migrator import Migrator

        listener = _every(
            log_listener(self.log, folder.config.settings_for(environment).logging),
            MetricsListener(folder.config.monitoring.metrics, target=self.conn_id, identity=identity),
            SpanListener(target=self.conn_id),
        )
        return Migrator(self.get_conn, folder, identity=identity, environment=environment, on_event=listener)

    def check_health(
        self,
        folder: Folder,
        *,
        environment: str | None = None,
        timeout_seconds: float | None = None,
        expected_head: str | None = None,
    ) -> Health:
        """Look at the target. Takes `timeout_seconds` (None: as the config says) at the most, whatever the server does.

        Give the hook a `connect_timeout`, or an attempt to connect that hangs outlives the look by two minutes.
        """
        from .engine.health import check_health

        _ = self._postgres  # Airflow is asked for the connection in this thread, not in that of the look
        return check_health(
            self.get_conn,
            folder,
            environment=environment,
            timeout_seconds=timeout_seconds,
            expected_head=expected_head,
        )


def read_folder(path: str | Path) -> Folder:
    """Read a folder of migrations; its errors become the one sentence Airflow shows."""
    from .engine import folder

    return folder.read_folder(Path(path))


def as_airflow_error(error: WMigrateError) -> Exception:
    """The exception Airflow acts on: one that retries where that can heal it, else one that fails at once."""
    kind: type[Exception] = AirflowException if error.retryable else AirflowFailException
    return kind(str(error))


def identity_of(context: Mapping[str, Any]) -> Identity:
    """Who acts, as the ledger keeps it: the person who triggered the run, or the DAG's schedule."""
    ti, run = context["ti"], context.get("dag_run")
    run_type = getattr(run, "run_type", "unknown")
    actor = getattr(run, "triggering_user_name", None) or f"airflow:{getattr(run_type, 'value', run_type)}"
    return Identity(str(actor), ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "try_number", None))


def _every(*listeners: Listener) -> Listener:
    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen


# Events in the task log


def log_listener(log: logging.Logger, settings: Logging) -> Callable[[Event], None]:
    """A listener that writes events to a log, as `settings.logging` asks."""
    threshold = logging.getLevelName(settings.level)

    def listen(event: Event) -> None:
        level = logging.WARNING if _warns(event) else _LEVELS[type(event)]
        if level < threshold:
            return
        text = _text(event, settings)
        if settings.format == "json":
            text = json.dumps({"event": type(event).__name__.lower(), **_fields(event, settings)}, default=str)
        for line in text.splitlines():
            log.log(level, "%s", line)

    return listen


_LEVELS = {
    Started: logging.INFO,
    Stepped: logging.INFO,
    Blocked: logging.WARNING,
    HeldLong: logging.WARNING,
    Retrying: logging.WARNING,
    Noticed: logging.INFO,
    Finished: logging.INFO,
    Waiting: logging.WARNING,
    Failed: logging.ERROR,
}


def _warns(event: Event) -> bool:
    return isinstance(event, Noticed) and event.severity == "WARNING"


def _text(event: Event, settings: Logging) -> str:
    if isinstance(event, Started):
        return _started(event, settings)
    if isinstance(event, Stepped):
        which = str(event.first) if event.first == event.last else f"{event.first} to {event.last}"
        return f"statement {which} of {event.total} (line {event.line}): {event.note}"
    if isinstance(event, Blocked):
        return f"blocked for {event.waited_seconds:.1f} s by {'; '.join(map(str, event.blockers))}"
    if isinstance(event, HeldLong):
        seconds = (event.lock.held_ms or 0) / 1000
        return (
            f"{event.lock.relation} was locked against everybody for {seconds:.1f} s, limit {event.limit_seconds:g} s"
        )
    if isinstance(event, Retrying):
        patience = f"in {event.pause_seconds:.1f} s, waiting up to {event.lock_timeout_seconds:g} s for a lock"
        return f"attempt {event.attempt} rolled back: {event.reason}; trying again {patience}"
    if isinstance(event, Noticed):
        return f"{event.severity}: {event.message}"
    if isinstance(event, Waiting):
        held = f", held by pid {', '.join(map(str, event.holders))}" if event.holders else ""
        return f"waiting for {event.what} since {event.waited_seconds:.0f} s{held}"
    if isinstance(event, Finished):
        return _finished(event.record, settings)
    return f"{event.direction} of {event.version} failed: {event.error}"


def _started(event: Started, settings: Logging) -> str:
    verb = {"apply": "applying", "rollback": "rolling back"}[event.direction]
    dry = " (dry run)" if event.dry_run else ""
    lines = [f"{verb} {event.version}_{event.name}{dry} on server process {event.backend_pid}"]
    if settings.include_sql:
        lines += _shown(event.script)
        if event.rollback is not None:
            lines += _shown(event.rollback)
    return "\n".join(lines)


def _shown(script: Script) -> list[str]:
    """A script between Airflow's markers for a part of the log that can be folded."""
    text = script.text[:_SHOWN_CHARACTERS].rstrip()
    cut = len(script.text) - len(script.text[:_SHOWN_CHARACTERS])
    more = [f"... and {cut} more characters"] if cut else []
    return [f"::group::{script.file} (sha256 {script.checksum[:12]})", *text.splitlines(), *more, "::endgroup::"]


def _finished(record: Record, settings: Logging) -> str:
    took = f" in {record.duration_ms} ms" if settings.include_timing and record.statements else ""
    did = f": {record.statements} statements, {record.rows} rows changed" if record.statements else ""
    lines = [f"{record.version}_{record.name}: {record.outcome.value}{took}{did}"]
    lines += [f"  locked {lock.relation} ({lock.mode})" for lock in record.locks]
    return "\n".join(lines)


def _fields(event: Event, settings: Logging) -> dict[str, Any]:
    if isinstance(event, Finished):
        fields = event.record.as_dict()
        if not settings.include_timing:
            fields.pop("duration_ms")
        return fields
    if isinstance(event, Started):
        fields = {"version": event.version, "name": event.name, "direction": event.direction, "dry_run": event.dry_run}
        fields |= {"file": event.script.file, "checksum": event.script.checksum, "backend_pid": event.backend_pid}
        if settings.include_sql:
            fields["sql"] = event.script.text[:_SHOWN_CHARACTERS]
            fields["rollback_sql"] = event.rollback.text[:_SHOWN_CHARACTERS] if event.rollback else None
        return fields
    return {name: getattr(event, name) for name in event.__slots__}
