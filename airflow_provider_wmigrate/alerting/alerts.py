"""Tells people what broke, once per incident, and when it has healed. Runs in callbacks, where it never raises.

Callbacks may run twice and in other processes, so who has been told is remembered in the audit log; while the target is
out of reach, in Airflow's store for the target's asset.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.assets import store_of, stored
from airflow_provider_wmigrate.attempts import FAILURE_KEY, pulled
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import canonical_version
from airflow_provider_wmigrate.folding import HISTORY
from airflow_provider_wmigrate.hooks import MigrationHook, identity_of, read_folder

from .messages import Alert, engine_error, kind_of, send_by_all, wanted

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.folder import Folder

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
"""How long an alert waits for the target: it has other ways to remember."""

TARGET = "target"
"""Subject of the incidents that are about the target as a whole."""

_STORED = "wmigrate_alerts"


class Memory:
    """Who has been told of what, about one target.

    :param context: of the task that tells.
    :param conn_id: Airflow connection of the target.
    :param schema: the ledger's schema.
    """

    def __init__(self, context: Mapping[str, Any], conn_id: str, schema: str) -> None:
        from airflow_provider_wmigrate.engine.incidents import Incidents

        hook = MigrationHook(conn_id, libpq={"connect_timeout": CONNECT_SECONDS})
        self._incidents = Incidents(hook.get_conn, schema, identity_of(context))
        self._store = store_of(context, conn_id)

    def claim(self, kind: str, subject: str, *, version: str | None, what: str, unless_any: bool = False) -> bool:
        """Whether the caller is to tell."""
        stored = self._stored()
        mine = [key for key in stored if key.startswith(f"{subject}|")]
        if f"{subject}|{kind}" in mine or (unless_any and mine):
            return False
        try:
            claimed = self._incidents.claim(kind, subject, version=version, what=what, unless_any=unless_any)
        except WMigrateError as error:
            log.warning("the ledger cannot remember this alert: %s", error)
            claimed = None
        if claimed is None:
            self._keep([*stored, f"{subject}|{kind}"])
            return True
        return claimed

    def release(self, kind: str, subject: str, *, version: str | None, error: str) -> None:
        """Nobody could be told."""
        stored = self._stored()
        if f"{subject}|{kind}" in stored:
            self._keep([key for key in stored if key != f"{subject}|{kind}"])
            return
        try:
            self._incidents.release(kind, subject, version=version, error=error)
        except WMigrateError as failed:
            log.warning("the ledger cannot remember that an alert was not sent: %s", failed)

    def heal(self, subject: str, *, version: str | None) -> tuple[str, ...]:
        """The kinds of incident that were open, and are not any more."""
        remembered = self._incidents.heal(subject, version=version)
        stored = self._stored()
        mine = [key for key in stored if key.startswith(f"{subject}|")]
        if mine:
            self._keep([key for key in stored if key not in mine])
        return tuple(sorted({*remembered, *(key.partition("|")[2] for key in mine)}))

    def _stored(self) -> list[str]:
        return list(stored(self._store, _STORED) or ())

    def _keep(self, keys: Sequence[str]) -> None:
        if self._store is None:
            log.warning("nothing can remember this alert; it may be told again")
            return
        try:
            self._store.set(_STORED, list(keys))
        except Exception as error:
            log.warning("nothing can remember this alert, it may be told again: %s", error)


# Callbacks of tasks


def _guarded(tell: Callable[..., None]) -> Callable[..., None]:
    """A callback that tells nothing where nobody is to be told, and never raises."""

    @wraps(tell)
    def told(context: Any, *more: Any) -> None:
        task = context["task"]
        try:
            if not task.notifiers:
                return
            if context["ti"].state is None:
                # In the DAG processor the task was just parsed, so its fields are still templates.
                task.render_template_fields(context)
            tell(context, *more)
        except Exception as error:
            # Nothing that goes wrong here may hide the failure that brought us here.
            log.error("an alert of %s could not be told: %s", task.task_id, error)

    return told


@_guarded
def tell_failure(context: Any) -> None:
    """`on_failure_callback` of the tasks that were given notifiers: the alert for a failure that is for good."""
    error = context.get("exception")
    # The report fails because a migration did; that has been told by then.
    if getattr(context["task"], "tells_every_failure", True) or isinstance(engine_error(error), WMigrateError):
        _tell_error(context, error)


@_guarded
def tell_rollback_failure(context: Any, error: BaseException) -> None:
    """For a rollback that failed while a failure was handled."""
    _tell_error(context, error)


@_guarded
def tell_unreported(context: Any, task_ids: Sequence[str]) -> None:
    """For the report: failures that no callback told, because the process of the task was killed with its last try."""
    for task_id in task_ids:
        _tell_killed(context, task_id)


def _tell_error(context: Any, error: Any) -> None:
    task = context["task"]
    kind = kind_of(error)
    found = engine_error(error)
    what = str(found) if found else "the process of the task ended without a word; the log may say why"
    version, name = _version(task)
    about = f"{name or context['ti'].task_id} on {task.conn_id}{' (dry run)' if task.mode == 'dry_run' else ''}"
    more = (("migration", name),) if name else ()
    alert = Alert.of(context, task.conn_id, kind, about, what, *more)
    on_target = kind == "connection_lost"
    subject = TARGET if on_target else _subject(context)
    tell(context, alert, subject=subject, version=None if on_target else version)


def _tell_killed(context: Any, task_id: str) -> None:
    task, stem = context["task"], task_id.rpartition(".")[2]
    number = stem.partition("_")[0]
    if stem == HISTORY:
        version = (pulled(context, task_id, FAILURE_KEY) or {}).get("version")
    elif number.isdecimal():
        version = canonical_version(number)
    else:
        return
    what = "the task ended without a word: its process was killed, or its worker is gone"
    about = f"{stem} on {task.conn_id}"
    more = ("migration", stem), ("failed task", task_id)
    alert = Alert.of(context, task.conn_id, "migration_failed", about, what, *more, task_id=task_id)
    subject = version or f"{context['ti'].dag_id}.{task_id}"
    tell(context, alert, subject=subject, version=version, unless_any=True)


@_guarded
def tell_healed(context: Any) -> None:
    """`on_success_callback` of the tasks that were given notifiers: says so if somebody had been told of trouble."""
    task = context["task"]
    if task.mode == "dry_run":
        return
    version, name = _version(task)
    subjects = {TARGET: task.conn_id, _subject(context): f"{name or context['ti'].task_id} on {task.conn_id}"}
    recovered: Mapping[str, str] = getattr(task, "recovered", {})
    subjects |= {each: f"{stem} on {task.conn_id}" for each, stem in recovered.items()}
    heal(context, subjects, versions={*recovered, version})


def heal(context: Any, subjects: Mapping[str, str], versions: Collection[str | None] = ()) -> None:
    """Close the incidents of some subjects, and tell it where there were any.

    :param subjects: each with what it is called.
    :param versions: those of them that are migrations.
    """
    task = context["task"]
    memory = Memory(context, task.conn_id, _schema(task))
    for subject, about in subjects.items():
        kinds = memory.heal(subject, version=subject if subject in versions else None)
        if kinds:
            what = f"what had been told ({', '.join(k.replace('_', ' ') for k in kinds)}) is over"
            if wanted("healed", _folder(task)):
                send_by_all(task.notifiers, context, Alert.of(context, task.conn_id, "healed", about, what))


def tell(context: Any, alert: Alert, *, subject: str, version: str | None = None, unless_any: bool = False) -> None:
    """Tell an alert through the task's notifiers, unless it is switched off or somebody has been told already."""
    task = context["task"]
    if not wanted(alert.kind, _folder(task)):
        return
    memory = Memory(context, task.conn_id, _schema(task))
    if not memory.claim(alert.kind, subject, version=version, what=alert.what[:500], unless_any=unless_any):
        return
    errors = send_by_all(context["task"].notifiers, context, alert)
    if len(errors) == len(task.notifiers):
        memory.release(alert.kind, subject, version=version, error="; ".join(errors))


def _folder(task: Any) -> Folder | None:
    try:
        return read_folder(task.folder, only=())
    except WMigrateError:
        return None


def _schema(task: Any) -> str:
    try:
        return str(task.settings().ledger.schema_name)
    except WMigrateError:
        return "wmigrate"


def _version(task: Any) -> tuple[str | None, str | None]:
    """Version and full name of the migration a task is for."""
    given = getattr(task, "version", None)
    if given is None:
        return None, None
    version = canonical_version(str(given))
    stem = getattr(task, "stems", {}).get(version) or task.task_id.rpartition(".")[2]
    return version, stem if stem[:1].isdigit() else version


def _subject(context: Any) -> str:
    version, _ = _version(context["task"])
    return version or f"{context['ti'].dag_id}.{context['ti'].task_id}"
