"""What happens when a migration task has failed for good. Runs in the task process, or in the DAG processor when the
process is gone: perhaps twice, perhaps without an exception. So it trusts the ledger alone, and never raises."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .defaults import chosen_environment
from .engine.errors import RollbackFailed, WMigrateError
from .hooks import TAKES_BACK, MigrationHook, identity_of, read_folder

if TYPE_CHECKING:
    from .engine.ledger.ledger import AuditRow
    from .engine.migrator import Migrator
    from .engine.model import Entry, Migration

log = logging.getLogger(__name__)


def roll_back_on_failure(context: Any) -> None:
    """`on_failure_callback` of a migration task: run the rollback script where a failure left something behind.

    The ledger distinguishes three outcomes of a failure: **rolled back** by the database (no entry: nothing is
    run), **incomplete** (the rollback script is run if the migration's `on_failure` policy is `rollback`, and if it was
    this task that left it so), **applied** (the task failed after the commit: nothing is run). Each is recorded in
    the audit log. After a dry run, nothing is done.
    """
    task = context["task"]
    try:
        if context["ti"].state is None:
            # In the DAG processor the task was just parsed, so its fields are still templates.
            task.render_template_fields(context)
        if task.mode != "dry_run":
            _handle(context, task)
    except RollbackFailed as error:
        from .alerting.alerts import tell_rollback_failure

        log.error("ALARM: %s; the database needs a person", error)
        tell_rollback_failure(context, error)
    except Exception as error:
        # Nothing that goes wrong here may hide the failure that brought us here.
        log.error("the failure of %s could not be handled: %s", task.task_id, error)


def _handle(context: Any, task: Any) -> None:
    folder = read_folder(task.folder)
    hook = MigrationHook(task.conn_id)
    environment = chosen_environment(task.environment)
    migrator = hook.migrator(
        folder,
        identity=identity_of(context),
        environment=environment,
        rollback_script="ledger",  # it belongs to what was applied
        outside_window=TAKES_BACK,
    )
    migrator.needs_backups = False  # what is taken away was just made
    state = migrator.read()
    if state.ledger_version is None:
        stem = "the history" if task.version is None else folder.migration(str(task.version)).stem
        log.info("the database has no ledger, so nothing of %s was kept", stem)
        return
    entries = {entry.version: entry for entry in state.entries}
    for version in _at_work(task, entries):
        _settle(context["ti"], folder.migration(version), entries.get(version), migrator, hook)


def _at_work(task: Any, entries: Mapping[str, Entry]) -> list[str]:
    """The versions that a task may have left half done: its own, or of the history the one it was at.

    Of a history whose process is gone that is told by the ledger.
    """
    if task.version is not None:
        return [str(task.version)]
    return [version for version in task.stems if version in entries and entries[version].status == "incomplete"]


def _settle(ti: Any, migration: Migration, entry: Entry | None, migrator: Migrator, hook: MigrationHook) -> None:
    from .engine.record import Outcome
    from .engine.reporting import last_touched

    if entry is None:
        outcome = "rolled back by the database, nothing of it was kept"
    elif entry.status == "applied":
        outcome = "applied, the failure came afterwards; it stays"
    elif migrator.migrations[migration.version].on_failure == "none":
        outcome = "incomplete; on_failure is none, so it stays as it is"
    elif not _left_by(ti, last_touched(hook.get_conn, migrator.ledger.schema, migration.version)):
        outcome = "incomplete, but this task did not leave it so; it stays as it is"
    else:
        try:
            migrator.refuse_drops_of_others(migrator.plan_rollback_of(migration.version))
            (record,) = migrator.roll_back_each([migration.version], only_incomplete=True)
        except RollbackFailed:
            raise
        except WMigrateError as error:
            raise RollbackFailed(migration.version, error) from error
        outcome = "incomplete, its rollback script has been run"
        if record.outcome is not Outcome.ROLLED_BACK:
            outcome = "incomplete, and another runner has finished it or taken it back meanwhile"
    log.info("%s: %s", migration.stem, outcome)
    migrator.record("failure_handled", version=migration.version, details={"outcome": outcome})


def _left_by(ti: Any, row: AuditRow | None) -> bool:
    """Whether the last who did anything to the migration was this task, and nobody has handled that since.

    It may have failed without touching it: refused, or because another runner held its lock, who is at work.
    """
    if row is None or row.event not in ("started", "failed", "rollback_failed"):
        return False
    return (row.dag_id, row.run_id, row.task_id) == (ti.dag_id, ti.run_id, ti.task_id)
