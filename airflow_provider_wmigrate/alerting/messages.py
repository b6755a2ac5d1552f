"""What an alert says, and how any Airflow notifier comes to say it. Knows no database."""

from __future__ import annotations

import copy
import inspect
import json
import logging
from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import (
    ConnectionFailed,
    LockTimeout,
    RollbackFailed,
    StatementFailed,
    TimedOut,
    WMigrateError,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context

    from airflow_provider_wmigrate.engine.folder.folder import Folder

log = logging.getLogger(__name__)

Said = tuple[str, str]
"""What it is, and what is to be told of it."""


class Kind(NamedTuple):
    """A kind of alert."""

    title: str
    """The beginning of its subject line."""
    next_step: str
    switch: str | None = None
    """The key of `monitoring.alerts` that switches it. Without one it is told whenever alerts are enabled."""


KINDS = {
    "migration_failed": Kind(
        "migration failed", "fix the migration, then clear the task with its downstream", "migration_failure"
    ),
    "migration_timed_out": Kind(
        "migration timed out",
        "see what held it up (the task log names lock holders) or raise the budget, clear the task",
        "migration_timeout",
    ),
    "connection_lost": Kind(
        "no connection to the target",
        "check that the server runs and that the connection points to it; then clear the task",
        "database_connection_failure",
    ),
    "rollback_failed": Kind(
        "rollback failed",
        "the database needs a person: read the task log, fix the rollback script, roll back",
        "rollback_failure",
    ),
    "deadline_missed": Kind(
        "deadline missed",
        "look at the run: a task may wait for a lock, an approval or a free worker",
        "migration_timeout",
    ),
    "unhealthy": Kind("target unhealthy", "do what the reasons say"),
    # It is told of DAGs that have no config, so nothing switches it.
    "task_failed": Kind(
        "task failed", "read the task's log; where a migration above may be why, fix it with another one"
    ),
    "healed": Kind("healed", "nothing"),
}


def wanted(kind: str, folder: Folder | None) -> bool:
    """A folder that cannot be read is no reason to be silent."""
    if folder is None:
        return True
    alerts, switch = folder.config.monitoring.alerts, KINDS[kind].switch
    return alerts.enabled and (switch is None or bool(getattr(alerts, switch)))


class Alert(Struct, frozen=True):
    """One thing a person is told: what, where, what next. Never SQL, never a secret."""

    kind: str
    about: str
    """What it is about, in a few words: `002_warehouse_tables on warehouse_db`."""
    what: str
    where: tuple[Said, ...] = ()
    next_step: str = ""
    links: tuple[Said, ...] = ()

    @classmethod
    def of(
        cls, context: Context, conn_id: str, kind: str, about: str, what: str, *more: Said, task_id: str | None = None
    ) -> Alert:
        """What a task has to tell, with the next step of its kind.

        :param more: said of the place beside target, DAG, run and task.
        :param task_id: whose log is meant; None: that of the task itself.
        """
        place, step = where(context, conn_id, *more), KINDS[kind].next_step
        return cls(kind, about, what, place, step, links(context, task_id))

    @property
    def title(self) -> str:
        """The subject line."""
        return f"[wmigrate] {KINDS[self.kind].title}: {self.about}"

    @property
    def text(self) -> str:
        """All of it, as plain lines."""
        lines = [self.title, "", self.what, ""]
        lines += [f"{name}: {value}" for name, value in self.where]
        lines += [f"next: {self.next_step}"] * bool(self.next_step)
        lines += [f"{name}: {url}" for name, url in self.links]
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The same for mail."""
        rows = [(name, escape(value)) for name, value in self.where]
        rows += [("next", escape(self.next_step))] * bool(self.next_step)
        rows += [(name, f'<a href="{escape(url)}">{escape(url)}</a>') for name, url in self.links]
        cells = "".join(f"<tr><th align='left'>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
        return f"<h3>{escape(self.title)}</h3><p>{escape(self.what)}</p><table>{cells}</table>"


def engine_error(error: BaseException | None) -> BaseException | None:
    """The engine's own error behind the one Airflow was given, else the given one."""
    seen: set[int] = set()
    found = error
    while found is not None and id(found) not in seen:
        if isinstance(found, WMigrateError):
            return found
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return error


def kind_of(error: BaseException | None) -> str:
    """Which kind of alert an error is."""
    found = engine_error(error)
    if isinstance(found, RollbackFailed):
        return "rollback_failed"
    if isinstance(found, (TimedOut, LockTimeout)) or type(found).__name__ == "AirflowTaskTimeout":
        return "migration_timed_out"
    if isinstance(found, ConnectionFailed) or (isinstance(found, StatementFailed) and _connection_broke(found)):
        return "connection_lost"
    return "migration_failed"


def _connection_broke(error: StatementFailed) -> bool:
    if error.sqlstate is None:
        return error.retryable
    return error.sqlstate.startswith("08") or error.sqlstate in ("57P01", "57P02", "57P03")


_FILLED = {
    "subject": "{{ wmigrate_alert.title }}",
    "title": "{{ wmigrate_alert.title }}",
    "html_content": "{{ wmigrate_alert.html }}",
    "text": "{{ wmigrate_alert.text }}",
    "message": "{{ wmigrate_alert.text }}",
    "body": "{{ wmigrate_alert.text }}",
    "content": "{{ wmigrate_alert.text }}",
    "description": "{{ wmigrate_alert.text }}",
}
"""Templated fields in which notifiers keep what they say, and what ours say where a field is left as it was made."""


def send(notifier: BaseNotifier, context: Context, alert: Alert) -> None:
    """Have a copy of the notifier tell the alert: rendering changes it for good.

    Its templated fields can use `wmigrate_alert`. Those it speaks through that were left empty are filled in.
    """
    told = copy.copy(notifier)
    defaults = inspect.signature(type(notifier).__init__).parameters
    for name in set(told.template_fields) & set(_FILLED):
        left = (None, "", getattr(defaults.get(name), "default", None))
        if getattr(told, name, None) in left:
            setattr(told, name, _FILLED[name])
    told(cast("Context", {**context, "wmigrate_alert": alert}))


def send_by_all(notifiers: Iterable[BaseNotifier], context: Context, alert: Alert) -> list[str]:
    """Have each notifier tell the alert. One that fails keeps no other from telling.

    :return: of each that failed, who it is and the kind of its error.
    """
    errors = []
    for notifier in notifiers:
        try:
            send(notifier, context, alert)
        except Exception as error:
            errors.append(f"{type(notifier).__name__}: {type(error).__name__}")
            log.error("%s could not tell %r: %s", type(notifier).__name__, alert.title, error)
    return errors


class NotifierData(TypedDict):
    """A notifier as plain values."""

    path: str
    arguments: dict[str, object]


def as_data(notifier: BaseNotifier) -> NotifierData:
    """For a callback that runs where the DAG file does not: class path and arguments."""
    kind = type(notifier)
    names = [n for n in inspect.signature(kind.__init__).parameters if n not in ("self", "context", "kwargs")]
    arguments = {n: getattr(notifier, n) for n in names if getattr(notifier, n, None) is not None}
    try:
        json.dumps(arguments)
    except TypeError as error:
        raise ValueError(
            f"{kind.__name__} cannot tell a missed deadline: its arguments must be plain values"
        ) from error
    return {"path": f"{kind.__module__}.{kind.__qualname__}", "arguments": arguments}


def from_data(data: NotifierData) -> BaseNotifier:
    """The notifier that `as_data` was given."""
    from importlib import import_module

    module, _, name = data["path"].rpartition(".")
    kind: Callable[..., BaseNotifier] = getattr(import_module(module), name)
    return kind(**data["arguments"])


def where(context: Context, conn_id: str, *more: Said) -> tuple[Said, ...]:
    """Target, DAG, run, task and try."""
    ti = context["ti"]
    return (
        ("target", conn_id),
        *more,
        ("DAG", ti.dag_id),
        ("run", ti.run_id),
        ("task", f"{ti.task_id}, try {getattr(ti, 'try_number', 0)}"),
    )


def links(context: Context, task_id: str | None = None) -> tuple[Said, ...]:
    """The log of the task, or of another one of its run, and the run."""
    url = str(getattr(context["ti"], "log_url", "") or "")
    run = url.partition("/tasks/")[0]
    mapped = "".join(url.rpartition("/mapped/")[1:]).partition("?")[0] if "/mapped/" in url else ""
    log = url if task_id is None else f"{run}/tasks/{task_id}{mapped}"
    return (("log", log), ("run page", run)) if url else ()
