"""The one task of the migrations that are folded: what the plan wants of them, in order, each recorded alone.

Like the tasks of single migrations it acts by the plan of its attempt and by the ledger, and by nothing else: cleared,
retried or run again after its process died it goes on with what is not done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from .attempts import plan_of, proposal_of
from .dry_runs import found_by_plan
from .engine.errors import OutsideWindow, WMigrateError
from .folder_operator import FolderOperator
from .hooks import MigrationHook, as_airflow_error
from .links import MigrationLink
from .steps import bind, refuse_unfit_edit, to_roll_back
from .task_docs import DocumentedTask, HistoryDoc
from .telling.summaries import untried_reason

if TYPE_CHECKING:
    from .engine.events import Event
    from .engine.folder.config.root import Config
    from .engine.folder.folder import Folder
    from .engine.migrator import Migrator
    from .engine.model import Migration


class _HistoryOperator(DocumentedTask, FolderOperator):
    """Several steps of a plan in one task.

    :param migrations: those that are folded, as the folder had them when the DAG file was parsed.
    :param config: of the folder, for the documentation.
    :param plan_task_id: id of the plan task of the same run.
    """

    operator_extra_links = (MigrationLink(),)
    version: str | None
    """Of the migration that it is at, or that failed; None: of all of them."""
    recovered: Mapping[str, str]
    """Version -> stem of what had failed before and is done now."""

    def __init__(
        self, *, migrations: Sequence[Migration], plan_task_id: str, config: Config | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stems = {migration.version: migration.stem for migration in migrations}
        self.plan_task_id = plan_task_id
        self.migration_doc = partial(HistoryDoc, tuple(migrations), config)
        self.version = None
        self.recovered = {}
        self._records: list[dict[str, Any]] = []
        self._todo: list[str] = []

    def act(self, context: Any) -> list[dict[str, Any]]:
        dry_run = self._dry_run()
        self._records, self._todo = [], []
        plan = plan_of(context, self.plan_task_id)
        order = [step["version"] for step in plan["steps"]]
        mine = [version for version in order if version in self.stems]
        if not mine:
            raise AirflowSkipException(f"the plan of this run wants nothing of the {len(self.stems)} in the history")
        try:
            if dry_run:
                return self._tried(context, mine)
            folder = self._read_folder(only=order)
            migrator = self._open(context, folder, also=self._hear, plan=plan)
            troubled = self._failed_before(migrator)
            self._todo = self._wanted(context, plan, folder, migrator, mine)
            if self._todo:
                each = migrator.roll_back_each if self.rolls_back else migrator.apply_each
                each(self._todo)
        except WMigrateError as error:
            if isinstance(error, OutsideWindow) and error.waits:
                raise
            self.version = getattr(error, "version", None) or self._first_not_done() or self.version
            context["ti"].xcom_push(key="return_value", value=self._records)
            raise as_airflow_error(error, of=self.stems.get(self.version or "")) from None
        self.version = None
        self.recovered = {version: self.stems[version] for version in mine if version in troubled}
        return self._records

    def _wanted(
        self, context: Any, plan: dict[str, Any], folder: Folder, migrator: Migrator, mine: Sequence[str]
    ) -> list[str]:
        """The versions that are left to do of what the plan wants of this task, in order."""
        raise NotImplementedError

    def _hear(self, event: Event) -> None:
        """Say how far it is, and keep the record of what is done and cannot be lost any more."""
        from .engine.events import Finished, Started

        if isinstance(event, Started) and event.version in self._todo and event.version != self.version:
            self.version = event.version
            stem = self.stems.get(event.version, event.version)
            self.log.info("%d of %d: %s", self._todo.index(event.version) + 1, len(self._todo), stem)
        elif isinstance(event, Finished):
            self._records.append(event.record.as_dict())

    def _first_not_done(self) -> str | None:
        done = {record["version"] for record in self._records}
        return next((version for version in self._todo if version not in done), None)

    def _failed_before(self, migrator: Migrator) -> set[str]:
        """What people may have been told of."""
        if not self.notifiers:
            return set()
        return {a.version for a in migrator.read().last_events if a.event in ("failed", "rollback_failed")}

    def _tried(self, context: Any, mine: Sequence[str]) -> list[dict[str, Any]]:
        """What the plan's dry run has found of them; or if it has not, a dry run of these alone."""
        folder = self._read_folder()
        tried = found_by_plan(context, self.plan_task_id, folder.migrations)
        if not tried.keys() >= set(mine):
            self._todo = list(mine)
            migrator = self._open(context, folder)
            records = migrator.try_each(mine, "rollback" if self.rolls_back else "apply")
            tried = {record.version: record.as_dict() for record in records}
        records_of_mine = [tried[version] for version in mine if version in tried]
        if any(record["reason"] is None for record in records_of_mine):
            return records_of_mine
        context["ti"].xcom_push(key="return_value", value=records_of_mine)
        raise AirflowSkipException(f"not tried: {untried_reason(records_of_mine[0])}")


class ApplyHistoryOperator(_HistoryOperator):
    """Apply what the plan wants of the migrations that are folded, in the order of their dependencies.

    :param approval_task_id: as for `ApplyMigrationOperator`.
    """

    def __init__(self, *, approval_task_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_task_id = approval_task_id

    def _wanted(
        self, context: Any, plan: dict[str, Any], folder: Folder, migrator: Migrator, mine: Sequence[str]
    ) -> list[str]:
        from .engine.model import Status
        from .engine.plan.statuses import statuses
        from .engine.record import Outcome, Record

        if self.approval_task_id:
            bind(context, migrator, proposal_of(context, self.plan_task_id), self.approval_task_id)
        # Of a task that was cleared or tried again most may be done: one look at the ledger says so of all of them.
        there = {entry.version: entry for entry in migrator.read().entries}
        migrations = [folder.migration(version) for version in mine]
        known = statuses(migrations, [there[version] for version in mine if version in there])
        done = [m for m in migrations if known[m.version] is Status.APPLIED]
        was = Outcome.ALREADY_APPLIED
        self._records = [
            Record(m.version, m.name, was, m.script.checksum, there[m.version].identity).as_dict() for m in done
        ]
        if done:
            self.log.info("%d of %d are applied already", len(done), len(mine))
        left = [m for m in migrations if known[m.version] is not Status.APPLIED]
        for migration in left:
            self.version = migration.version
            refuse_unfit_edit(plan, folder, migration)
        self.version = None
        return [m.version for m in left]

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """As that of `ApplyMigrationOperator`, of all that were applied."""
        from .telling.lineage import facets

        return facets(self._records, conn_id=self.conn_id, connect=MigrationHook(self.conn_id).get_conn)


class RollBackHistoryOperator(_HistoryOperator):
    """Roll back what the plan wants of the migrations that are folded, in the order of the plan.

    Steps of other tasks that stand before one of them and have not had their turn are rolled back here, as
    `RollBackMigrationOperator` does.

    :param tasks: for each version, the id of the task that rolls it back.
    :param rollback_script: as for `RollBackMigrationOperator` (templated).
    """

    template_fields = (*FolderOperator.template_fields, "rollback_script")
    ui_color = "#f8ece4"
    rolls_back = True

    def __init__(self, *, tasks: Mapping[str, str], rollback_script: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rollback_script = rollback_script
        self.tasks = dict(tasks)

    def _wanted(
        self, context: Any, plan: dict[str, Any], folder: Folder, migrator: Migrator, mine: Sequence[str]
    ) -> list[str]:
        order = [step["version"] for step in plan["steps"]]
        return to_roll_back(context, migrator, order, mine=mine, task=self)
