"""A notifier for the DAGs that work on a target: what failed there, and which migrations may be why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

from .alerting.messages import Alert, send_by_all
from .defaults import chosen_conn_id
from .hooks import MigrationHook, one_line

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .engine.ledger.ledger import AuditRow

_SHOWN = 5
"""Events named in one alert."""
_SECONDS = 10
"""How long an alert waits for the target, to connect and for each answer."""
_CHARACTERS = 500
_WORDLESS = "it ended without a word; its log may say why"


class MigrationNotifier(BaseNotifier):
    """Tell of a failed task of any pipeline, with what was migrated on its target in the hours before.

    .. code-block:: python

        tell = MigrationNotifier(conn_id="warehouse_db", notifiers=[SmtpNotifier(to="duty@example.com")])

        with DAG("stock_pipeline", schedule="@daily", default_args={"on_failure_callback": tell}):
            ...

    The tasks of wmigrate tell their own failures: give the `notifiers` to them instead.

    :param notifiers: Airflow notifiers that send the message.
    :param conn_id: id of the Airflow connection to the target database (templated). None: the id that `conn_id` in
        section `[wmigrate]` of airflow.cfg names.
    :param hours: how many hours to look back.
    :param ledger_schema: schema of the ledger (templated).
    """

    template_fields: Sequence[str] = ("conn_id", "ledger_schema")

    def __init__(
        self,
        *,
        notifiers: Sequence[BaseNotifier],
        conn_id: str | None = None,
        hours: float = 24,
        ledger_schema: str = "wmigrate",
    ) -> None:
        super().__init__()
        if hours <= 0:
            raise ValueError(f"hours must be more than 0, not {hours!r}")
        self.notifiers = tuple(notifiers)
        self.conn_id = chosen_conn_id(conn_id)
        self.hours = hours
        self.ledger_schema = ledger_schema

    def notify(self, context: Context) -> None:
        """Called by Airflow when a task has failed."""
        send_by_all(self.notifiers, context, self._alert(context))

    def _alert(self, context: Context) -> Alert:
        ti = context["ti"]
        schema = self._schema()  # first: from then on Airflow knows the connection's secrets, and takes them out
        about, what = f"{ti.dag_id}.{ti.task_id} on {self.conn_id}", one_line(_what(context))[:_CHARACTERS]
        return Alert.of(context, self.conn_id, "task_failed", about, what, *schema)

    def _schema(self) -> list[tuple[str, str]]:
        """The target's schema and what has become of it lately. That nobody can tell is no reason to be silent."""
        try:
            version, rows, total = self._ask()
        except Exception as error:
            return [("schema", f"not known, the target could not be asked: {one_line(str(error))[:_CHARACTERS]}")]
        if version is None:
            return [("schema", f"no ledger in schema {self.ledger_schema}")]
        span = f"in the last {self.hours:g} hours"
        told = [("schema", f"version {version}" if version else "no migration is applied")]
        told += [(_when(row), _happened(row)) for row in rows]
        if total > len(rows):
            told.append(("migrations", f"{total - len(rows)} more events {span}"))
        return told if rows else [*told, ("migrations", f"none {span}")]

    def _ask(self) -> tuple[str | None, Sequence[AuditRow], int]:
        """In a session like any other of ours, so that row security hides nothing."""
        from .engine.ledger.history import ACTED, EventFilter, events
        from .engine.ledger.ledger import Ledger
        from .engine.session.session import open_session

        ledger = Ledger(self.ledger_schema)
        since = datetime.now(timezone.utc) - timedelta(hours=self.hours)
        connect = MigrationHook(self.conn_id, libpq={"connect_timeout": _SECONDS}).get_conn
        with open_session(connect, application_name="wmigrate alert") as session:
            conn = session.conn
            conn.execute(f"SET statement_timeout = {_SECONDS * 1000}".encode())
            if ledger.version(conn) is None:
                return None, (), 0
            applied = [entry.version for entry in ledger.entries(conn) if entry.status == "applied"]
            page = events(conn, ledger, EventFilter(events=ACTED, since=since), limit=_SHOWN)
            return applied[-1] if applied else "", page.rows, page.total


def _what(context: Context) -> str:
    """A task's callback is given an exception, unless its process was killed; a DAG's a reason."""
    error = context.get("exception")
    if error is None:
        return str(context.get("reason") or _WORDLESS)
    return str(error) or type(error).__name__


def _when(row: AuditRow) -> str:
    return f"{row.at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _happened(row: AuditRow) -> str:
    name = row.details.get("name")
    about = f"{row.version}_{name}" if name else row.version
    return f"{about} {row.event.replace('_', ' ')} by {row.actor}"
