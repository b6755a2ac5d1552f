"""The only room that knows both vocabularies: an Airflow connection id becomes a psycopg connection, an engine error
an Airflow exception."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
)

from .engine.errors import HistoryError, OutsideWindow, WMigrateError
from .engine.model import Identity

if TYPE_CHECKING:
    import psycopg

    from .engine.events import Event, Listener
    from .engine.folder.folder import Folder
    from .engine.health.inspection import Health
    from .engine.migrator import Migrator
    from .engine.model import Finding
    from .engine.plan.rollback import RollbackSource

CONNECTION_TYPES = ("wmigrate", "postgres")
_PYTHON_OBJECTS = frozenset({"cursor_factory", "row_factory", "context"})
"""Of psycopg's own parameters those that no text can be."""
TAKES_BACK = "it takes back what a failed run has left"
"""Why the clean-up behind a failure does not wait for a window."""
_CONNECT_SECONDS = 10
"""How long a server may take to let somebody in, unless the connection says otherwise."""


class MigrationHook(BaseHook):
    """Opens connections to the target database and hands out migrators that talk to the task log.

    :param conn_id: an Airflow connection of type `wmigrate` or `postgres`; whatever the latter understands in its
        extra (libpq's parameters, IAM) holds for both.
    :param libpq: connection parameters that count more than the connection's, such as `connect_timeout`.
    """

    conn_type = "wmigrate"
    conn_name_attr = "conn_id"
    default_conn_name = "wmigrate_default"
    hook_name = "PostgreSQL target (wmigrate)"

    def __init__(self, conn_id: str = default_conn_name, *, libpq: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.libpq = dict(libpq or {})

    @cached_property
    def _postgres(self) -> Any:
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise AirflowFailException(f"{error}; create that connection or correct conn_id") from None
        return postgres_hook(connection, self.libpq)

    def get_conn(self) -> psycopg.Connection[Any]:
        """A new psycopg connection to the target."""
        import psycopg

        conn = self._postgres.get_conn()
        if not isinstance(conn, psycopg.Connection):
            raise AirflowFailException("wmigrate needs psycopg 3: install postgres provider 7.1 or newer")
        return conn

    def test_connection(self) -> tuple[bool, str]:
        """Whether the target answers, and what it is, in one sentence: the button in Airflow's form."""
        from .engine.health.introduction import introduce

        try:
            with closing(self.get_conn()) as conn:
                return True, str(introduce(conn))
        except Exception as error:  # the form shows whatever went wrong
            return False, one_line(str(error))

    def migrator(
        self,
        folder: Folder,
        *,
        identity: Identity,
        environment: str | None = None,
        also: Listener | None = None,
        rollback_script: RollbackSource | None = None,
        outside_window: str = "",
    ) -> Migrator:
        """A migrator for one folder whose events go to this hook's log.

        :param also: told them first.
        :param rollback_script: which one is run where ledger and folder have different ones. None: that is refused.
        :param outside_window: why migrations may begin although the window is closed; empty: they may not.
        """
        from .engine.backup.outside import Outside
        from .engine.migrator import Migrator
        from .telling.metrics import MetricsListener, SpanListener
        from .telling.task_log import log_listener

        listener = _every(
            *([also] if also else []),
            log_listener(self.log, folder.config.settings_for(environment).logging),
            MetricsListener(folder.config.monitoring.metrics, target=self.conn_id, identity=identity),
            SpanListener(target=self.conn_id),
        )
        made = Migrator(
            self.get_conn,
            folder,
            identity=identity,
            environment=environment,
            on_event=listener,
            rollback_script=rollback_script,
            outside_window=outside_window,
        )
        made.outside = Outside(os.environ, _object_storage)
        return made

    def signed_head(self, schema: str, key_conn_id: str, *, known: str | None = None) -> dict[str, str] | None:
        """The head of the audit log, signed; None: the target has no ledger.

        :param schema: the ledger's.
        :param key_conn_id: id of the Airflow connection whose password is the key.
        :param known: the head of the log that was verified; None: that of now.
        :raises SigningError: it holds no key with which anything can be signed.
        """
        from msgspec.structs import asdict

        from .engine.ledger.ledger import Ledger
        from .engine.ledger.signing import read_key, sign_head

        try:
            secret = self.get_connection(key_conn_id).password
        except AirflowNotFoundException as error:
            raise AirflowFailException(f"{error}; create that connection or correct audit_key_conn_id") from None
        key = read_key(secret or "", f"connection {key_conn_id}")
        with closing(self.get_conn()) as conn:
            head, database = known or Ledger(schema).head(conn), conn.info.dbname
        if head is None:
            return None
        return asdict(sign_head(key, head, database=database, schema=schema, at=datetime.now(timezone.utc)))

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
        from .engine.health.inspection import check_health

        _ = self._postgres  # Airflow is asked for the connection in this thread, not in that of the look
        return check_health(
            self.get_conn, folder, environment=environment, timeout_seconds=timeout_seconds, expected_head=expected_head
        )


def _object_storage(location: str) -> tuple[Any, str]:
    """A place that one of Airflow's connections may lead to: `s3://CONNECTION@bucket/path`."""
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(location)
    return path.fs, path.path


def postgres_hook(connection: Any, libpq: Mapping[str, Any]) -> Any:
    """Airflow's own hook for a connection: it knows every way to log in.

    :param connection: its extra is changed: what a form left empty goes, `libpq` and a limit for connecting come in.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    if connection.conn_type not in CONNECTION_TYPES:
        kinds = " or ".join(CONNECTION_TYPES)
        raise AirflowFailException(
            f"connection {connection.conn_id} is of type {connection.conn_type}; wmigrate needs one of type {kinds}"
        )
    objects = sorted(_PYTHON_OBJECTS & set(connection.extra_dejson))
    if objects:
        raise AirflowFailException(
            f"connection {connection.conn_id} has {', '.join(objects)} in its extra, which names a Python object and"
            " cannot be used here: take it out, or make a connection for wmigrate alone"
        )
    given = {name: value for name, value in connection.extra_dejson.items() if value not in (None, "")}
    connection.extra = json.dumps({"connect_timeout": _CONNECT_SECONDS, **given, **libpq})
    return PostgresHook(postgres_conn_id=connection.conn_id, connection=connection)


def signature(
    hook: MigrationHook, schema: str, key_conn_id: str, *, known: str | None = None, must: bool = True
) -> dict[str, Any]:
    """The signed head of the audit log as an operator returns it.

    :param must: False: why it is not signed is told, and nothing more.
    """
    try:
        signed = hook.signed_head(schema, key_conn_id, known=known)
    except (WMigrateError, AirflowException) as error:
        if must:
            raise
        hook.log.warning("the head of the audit log is not signed: %s", error)
        return {}
    if signed:
        hook.log.info("signed head of the audit log: %s", json.dumps(signed, sort_keys=True))
    return {"signed_head": signed}


def one_line(text: str) -> str:
    """A text for people, on one line and without the secrets that Airflow knows, wherever somebody put them."""
    from airflow.sdk.log import redact

    return " ".join(str(redact(text)).split())


def read_folder(path: str | Path, *, only: Collection[str] | None = None) -> Folder:
    """Read a folder of migrations; its errors become the one sentence Airflow shows.

    `${NAME}` in its config stands for an environment variable of the process that reads it.

    :param only: versions whose scripts are wanted; None: all.
    """
    from .engine.folder import folder

    return folder.read_folder(Path(path), os.environ, only=only)


def look_at_folder(path: str | Path) -> Folder:
    """A folder as far as it can be read, for looking at a target and not for changing it."""
    from .engine.folder import folder

    return folder.look_at_folder(Path(path), os.environ)


def in_words_of_a_run(finding: Finding) -> Finding:
    """With what a run can be told instead of a command."""
    from msgspec.structs import replace

    if finding.code == "rollback_differs" and finding.severity == "error":
        choice = (
            'read both, and trigger a new run with the configuration {"rollback_script": "folder"} or "ledger", and the'
            ' same "to"; to clear this one is not enough, since it keeps its configuration'
        )
        return replace(finding, next_step=choice)
    if finding.code == "outside_window":
        return replace(finding, next_step=in_words_of_a_configuration(finding.next_step))
    if finding.code == "not_as_approved":
        return replace(finding, next_step="trigger a new run, so that a new plan is approved")
    if finding.code != "audit_chain_broken" or "forget_head" in finding.next_step:
        return finding
    way_out = 'trigger a run with the configuration {"forget_head": true}'
    return replace(finding, next_step=f"{finding.next_step}; if the target was restored or created again, {way_out}")


def in_words_of_a_configuration(way: str) -> str:
    """A way that names an option of the command, for one who starts runs."""
    return way.replace("with --outside-window", OUTSIDE).replace("told --outside-window", f"started {OUTSIDE}")


OUTSIDE = 'with the configuration {"outside_window": true}'


def as_airflow_error(error: WMigrateError, *, of: str | None = None) -> Exception:
    """The exception Airflow acts on: one that retries where that can heal it, else one that fails at once. Of a window
    that may be waited for one that gives the worker's slot back until then, which counts as no try.

    :param of: what it is about, where its sentence may not say so.
    """
    if isinstance(error, OutsideWindow):
        if error.waits and error.opens:
            return AirflowRescheduleException(error.opens)
        return AirflowFailException(in_words_of_a_configuration(str(error)))
    if isinstance(error, HistoryError):
        error = HistoryError([in_words_of_a_run(finding) for finding in error.findings])
    kind: type[Exception] = AirflowException if error.retryable else AirflowFailException
    sentence = str(error)
    return kind(sentence if of is None or of in sentence else f"{of}: {sentence}")


def identity_of(context: Mapping[str, Any]) -> Identity:
    """Who acts, as the ledger keeps it: the person who triggered the run, or the DAG's schedule."""
    ti, run = context["ti"], context.get("dag_run")
    run_type = getattr(run, "run_type", "unknown")
    actor = getattr(run, "triggering_user_name", None) or f"airflow:{getattr(run_type, 'value', run_type)}"
    bundle = getattr(ti, "bundle_instance", None)  # a callback's task instance has none
    version = getattr(bundle, "version", None)
    came_from = (str(bundle.name), str(version)) if bundle is not None and version else None
    return Identity(str(actor), ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "try_number", None), came_from)


def _every(*listeners: Listener) -> Listener:
    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
