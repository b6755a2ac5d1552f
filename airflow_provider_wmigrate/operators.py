"""Plan, apply, roll back: each the Airflow face of one call of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException
from msgspec.structs import replace

from .attempts import is_mapped, plan_of, proposal_of
from .dry_runs import found_by_plan
from .folder_operator import FolderOperator
from .hooks import MigrationHook
from .plan_operator import ROLLBACK_SCRIPT, PlanMigrationsOperator
from .steps import bind, refuse_unfit_edit, to_roll_back
from .task_docs import DocumentedTask, MigrationDoc
from .telling.summaries import untried_reason

if TYPE_CHECKING:
    from .engine.migrator import Migrator
    from .engine.model import Direction
    from .engine.record import Record

__all__ = ["ROLLBACK_SCRIPT", "ApplyMigrationOperator", "PlanMigrationsOperator", "RollBackMigrationOperator"]


class _StepOperator(DocumentedTask, FolderOperator):
    """One step of a plan.

    :param version: version of the migration. A DAG that renders native objects makes a number of 100 and above.
    :param plan_task_id: id of the plan task of the same run; None means that there is none, the ledger alone decides.
    :param checksum: the script's checksum when the DAG was parsed. An edited file so makes a new version of the DAG.
    :param migration_doc: gives what the serialized DAG says of the migration; asked only where that is made.
    """

    template_fields = (*FolderOperator.template_fields, "version", "checksum")

    def __init__(
        self,
        *,
        version: str,
        plan_task_id: str | None = None,
        checksum: str | None = None,
        migration_doc: Callable[[], MigrationDoc] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.migration_doc = migration_doc
        self.version = version
        self.plan_task_id = plan_task_id
        self.checksum = checksum

    def _plan(self, context: Any) -> dict[str, Any] | None:
        if self.plan_task_id is None:
            return None
        plan = plan_of(context, self.plan_task_id)
        version = str(self.version)
        if version not in plan["statuses"]:
            # The scheduler adds tasks of new files to a running run; the plan never looked at this one.
            raise AirflowSkipException(f"{version} appeared after the plan; it waits for the next run")
        if is_mapped(context) and version not in [step["version"] for step in plan["steps"]]:
            # Airflow may make the tasks of a mapped group after the plan, which then could not skip them.
            raise AirflowSkipException(f"{version} is not a step of this run's plan")
        return plan

    def _returned(self, context: Any, record: dict[str, Any]) -> dict[str, Any]:
        """The record as XCom. A dry run that tried nothing is skipped, and leaves its record all the same."""
        if record["reason"] is None:
            return record
        context["ti"].xcom_push(key="return_value", value=record)
        raise AirflowSkipException(f"not tried: {untried_reason(record)}")


class ApplyMigrationOperator(_StepOperator):
    """Apply one migration, or find under its lock that it is already applied.

    Returns the audit record (version, checksum, outcome, duration, rows, locks, identity), never SQL.
    The task log shows the scripts that will run, unless `settings.logging.include_sql` is false.

    :param approval_task_id: id of the task in which a person approves the plan of its run: it applies nothing else.
        None: nobody has to.
    """

    _record: Record | None = None

    def __init__(self, *, approval_task_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_task_id = approval_task_id

    def act(self, context: Any) -> dict[str, Any]:
        from .engine.folder.folder import with_scripts

        dry_run = self._dry_run()
        plan = self._plan(context)
        folder = self._read_folder(only=())
        version = folder.migration(str(self.version)).version
        # Somebody cleared a skipped task: what kept it from running may be gone by now.
        anew = plan is not None and version not in [step["version"] for step in plan["steps"]]
        asks = self.approval_task_id and self.plan_task_id and not dry_run
        proposal = proposal_of(context, str(self.plan_task_id)) if asks else None
        wanted = [version, *(proposal.versions if proposal else ())]
        folder = with_scripts(folder, wanted if plan and not (dry_run or anew) else None)
        migration = folder.migration(version)
        migrator = self._open(context, folder, plan=plan)
        if proposal:
            bind(context, migrator, proposal, str(self.approval_task_id))
        if plan is not None:
            refuse_unfit_edit(plan, folder, migration)
            if anew:
                again = migrator.plan().left_out.get(migration.version)
                if again:
                    raise AirflowSkipException(again)
        tried = found_by_plan(context, self.plan_task_id, [migration]).get(version) if dry_run else None
        if tried is None:
            if plan is None and not dry_run:
                _begin_attempt(migrator, version, "apply")
            self._record = migrator.apply(migration.version, dry_run=dry_run)
            tried = self._record.as_dict()
        return self._returned(context, tried)

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """What this migration locked and changed, as outputs; called by the OpenLineage provider where it is there."""
        from .telling.lineage import facets

        done = [self._record.as_dict()] if self._record else []
        return facets(done, conn_id=self.conn_id, connect=MigrationHook(self.conn_id).get_conn)


class RollBackMigrationOperator(_StepOperator):
    """Roll back one migration with its rollback script, or find that it is not applied.

    Refuses while an applied migration depends on it. Returns the audit record, never SQL.

    The order of the plan is kept, whatever the edges say: they are the dependencies of the folder, and what was applied
    last has to go first, for it may stand on all that was there. Steps that stand before this one and have not had
    their turn are rolled back here; their own tasks then find that it is done.

    :param tasks: for each version, the id of the task that rolls it back.
    :param rollback_script: `folder` or `ledger`: which script is run where the two have different ones. Empty: that is
        refused. By default, `rollback_script` of the run's configuration decides (templated).
    """

    template_fields = (*_StepOperator.template_fields, "rollback_script")
    ui_color = "#f8ece4"
    rolls_back = True

    def __init__(
        self, *, tasks: Mapping[str, str] | None = None, rollback_script: str | None = ROLLBACK_SCRIPT, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rollback_script = rollback_script
        self.tasks = dict(tasks or {})

    def act(self, context: Any) -> dict[str, Any]:
        dry_run = self._dry_run()
        plan = self._plan(context)
        version, order = str(self.version), [step["version"] for step in plan["steps"]] if plan else []
        if plan is not None and version not in order:
            raise AirflowSkipException(f"{version} is not above the target of this run's plan")
        before = order[: order.index(version)] if order else []
        wanted = [*before, version] if plan else None
        folder = self._read_folder(only=wanted)
        migrator = self._open(context, folder, plan=plan)
        if dry_run:
            tried = found_by_plan(context, self.plan_task_id, folder.migrations).get(version)
            return self._returned(context, tried or migrator.try_each([*before, version], "rollback")[-1].as_dict())
        if plan is None:
            _begin_attempt(migrator, version, "rollback")
        waiting = to_roll_back(context, migrator, [*before, version], mine={version}, task=self) if before else []
        for other in waiting[:-1]:
            self.log.info("%s stands before %s in the plan, so it is rolled back first", other, version)
            migrator.roll_back(other)
        return migrator.roll_back(version).as_dict()


def _begin_attempt(migrator: Migrator, version: str, direction: Direction) -> None:
    """Of a task that belongs to no plan: it makes its own backup."""
    if not migrator.settings.backup.before(direction):
        return

    plan = migrator.plan(to=version) if direction == "apply" else migrator.plan_rollback(to=None)
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.version == version))
    needs = migrator.backup_needs(plan, migrator.analyses.of)
    migrator.begin_attempt(plan, needs, {"direction": direction, "steps": [step.version for step in plan.steps]})
