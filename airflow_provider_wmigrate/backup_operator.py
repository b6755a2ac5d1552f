"""The backup of a run, between its plan and its migrations: made once, for all of them that need one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException
from msgspec.structs import replace

from .attempts import plan_of
from .engine.errors import WMigrateError
from .folder_operator import FolderOperator
from .hooks import one_line

if TYPE_CHECKING:
    from .engine.migrator import Migrator
    from .engine.plan.backup_needs import Need, Needs


class BackUpOperator(FolderOperator):
    """Back the target up before migrations that ask for it, or that take something away, as `settings.backup` says.

    It skips itself where nothing that is left to do needs a backup. If it fails, no migration of the run is touched: a
    task whose migration needs a backup asks the audit log for that of its own run, and runs only with it.

    Returns the backup: where it is, its size and its checksum. Airflow's connections reach places such as
    `s3://CONNECTION@bucket/path`.

    :param plan_task_id: id of the plan task of the same run.
    :param snapshot: dotted path of a function that makes the backup in place of pg_dump, for a managed database. It is
        called as `function(name=..., conn_id=..., versions=...)`, the last one with the reason for each version, and
        returns the identifier of what it has made.
    """

    ui_color = "#e8eef4"

    def __init__(self, *, plan_task_id: str, snapshot: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_task_id = plan_task_id
        self.snapshot = snapshot

    def act(self, context: Any) -> dict[str, Any]:
        plan = plan_of(context, self.plan_task_id)
        if self._dry_run():
            raise AirflowSkipException("a dry run leaves nothing to be undone, so it needs no backup")
        migrator = self._open(context, self._read_folder())
        needs = self._needs(migrator, plan)
        if not needs:
            raise AirflowSkipException("nothing that is left to do needs a backup")
        for need in needs.values():
            self.log.info("%s needs a backup: %s", need.version, need.why)
        if self.snapshot:
            migrator.outside = replace(migrator.outside, snapshot=self._snapshot)
        backup = migrator.back_up(needs)
        context["ti"].xcom_push(key="markdown", value=f"### Backup\n\n{backup}")
        return backup.as_dict()

    def _needs(self, migrator: Migrator, plan: dict[str, Any]) -> Needs:
        """What the plan says, as far as it is still to be done, and what the target says now: a task may be cleared."""
        to = plan["to"]
        now = migrator.plan(to=to) if plan["direction"] == "apply" else migrator.plan_rollback(to=to)
        steps = tuple(step for step in now.steps if step.version in plan["statuses"])
        fresh = migrator.backup_needs(replace(now, steps=steps), migrator.analyses.of)
        return {**self._planned({step.version: step.checksum for step in steps}, plan), **fresh}

    @staticmethod
    def _planned(checksums: dict[str, str], plan: dict[str, Any]) -> dict[str, Need]:
        from .engine.plan.backup_needs import Need

        why = plan["backup_needed"]
        return {v: Need(v, why[v], digest) for v, digest in checksums.items() if v in why}

    def _snapshot(self, name: str, needs: Needs) -> str:
        """:raises WMigrateError: there is no such function, or it fails, in whatever way."""
        module, _, function = (self.snapshot or "").rpartition(".")
        try:
            make = getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            hint = "give the dotted path of a function that this worker can import"
            raise WMigrateError(f"snapshot {self.snapshot} cannot be found: {error}", hint=hint) from error
        versions = {version: need.why for version, need in needs.items()}
        try:
            return str(make(name=name, conn_id=self.conn_id, versions=versions) or "")
        except Exception as error:
            said = one_line(str(error)) or type(error).__name__
            hint = "correct what it says, and clear this task with its downstream"
            raise WMigrateError(f"snapshot {self.snapshot} failed: {said}", hint=hint) from error
