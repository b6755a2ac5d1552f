"""Plan, apply, roll back: each the Airflow face of one call of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped

from .assets import keep_head, known_head
from .attempts import HEAD_KEY, PLAN_KEY, is_mapped, of_this_index, plan_of
from .dag_sql.bundle import in_bundle
from .defaults import chosen_environment, given, is_true
from .engine.errors import HistoryError
from .folder_operator import FolderOperator
from .hooks import in_words_of_a_run
from .steps import refuse_unfit_edit, to_roll_back
from .task_docs import DocumentedTask, MigrationDoc
from .telling.summaries import plain, plan_lines, plan_markdown

if TYPE_CHECKING:
    from .engine.folder.folder import Folder
    from .engine.lock_modes import Forecast
    from .engine.migrator import Migrator
    from .engine.model import Direction, Finding, Plan
    from .engine.plan.backup_needs import Needs
    from .engine.record import Record

FORGET_HEAD = "{{ (dag_run.conf or {}).get('forget_head', False) }}"
"""A run can be told to take the audit log as it is for the right one."""


ROLLBACK_SCRIPT = "{{ (dag_run.conf or {}).get('rollback_script', '') }}"
"""A person who has read both scripts says so for one run."""


class PlanMigrationsOperator(FolderOperator):
    """Compare folder and ledger, refuse contradictions before anything is changed, and skip tasks without work.

    The plan goes to XCom (key `plan`, and `markdown` for people). Tasks that are not part of it are skipped in one
    call. The skip leaves no mark: a skipped task that is cleared runs, and decides by the ledger.

    :param tasks: for each version, the id of the task that applies it or rolls it back.
    :param direction: `apply` or `rollback`.
    :param to: target version; empty means everything (templated). For a rollback it stays; `0` rolls back
        everything, as `nothing` does where there is a migration 000.
    :param environments: environment -> what the web server, which has no folder, needs of its settings; "" stands for
        none.
    :param forget_head: accept the audit log as it is now, after the target was restored or created again (templated);
        by default, `forget_head` of the run's configuration decides.
    :param rollback_script: `folder` or `ledger`: which script is run where the two have different ones. Empty: that is
        refused. By default, `rollback_script` of the run's configuration decides (templated).
    :param backup_task_id: id of the task that makes the run's backup; it is skipped where nothing needs one.
    """

    # `direction` and `environments` are no templates: what stands here others can read of a DAG without its file.
    template_fields = (
        *FolderOperator.template_fields,
        "to",
        "direction",
        "environments",
        "forget_head",
        "rollback_script",
    )
    remembers = True

    def __init__(
        self,
        *,
        tasks: Mapping[str, str],
        direction: Literal["apply", "rollback"] = "apply",
        to: str | None = None,
        environments: Mapping[str, Mapping[str, Any]] | None = None,
        forget_head: bool | str = FORGET_HEAD,
        rollback_script: str | None = ROLLBACK_SCRIPT,
        backup_task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_task_id = backup_task_id
        self.tasks = dict(tasks)
        self.direction = direction
        self.to = to
        self.environments = environments
        self.forget_head = forget_head
        self.rollback_script = rollback_script

    def act(self, context: Any) -> None:
        from .telling.metrics import send_pending

        dry_run = self._dry_run()
        folder = self._read_folder()
        migrator = self._open(context, folder)
        schema = migrator.ledger.schema
        known = known_head(context, self.conn_id, schema)
        plan = self._plan(migrator, known_head=None if is_true(self.forget_head) else known)
        if self.direction == "apply" and plan.to is None:
            send_pending(folder.config.monitoring.metrics, target=self.conn_id, count=len(plan.steps))
        of_plan = [*plan.findings, *(() if dry_run else migrator.window_findings(plan))]
        findings = [*map(in_words_of_a_run, of_plan), *self._static_findings(folder, migrator, plan)]
        foreseen, to_split = migrator.forecast(plan, migrator.analyses.of, in_bundle(self, context))
        findings += to_split
        needs = {} if dry_run else migrator.backup_needs(plan, migrator.analyses.of)
        backups = {version: need.why for version, need in needs.items()}
        for line in plan_lines(plan, findings, foreseen, backups):
            self.log.info("%s", line)
        context["ti"].xcom_push(key="markdown", value=plan_markdown(plan, findings, foreseen, backups))
        errors = [f for f in findings if f.severity == "error"]
        head = None if errors or dry_run else self._recorded(migrator, plan, known, needs)
        self._push(context, plan, findings, foreseen, head, backups)
        if errors:
            raise HistoryError(errors)
        keep_head(context, self.conn_id, schema, head)
        going = {step.version for step in plan.steps}
        busy = {task_id for version, task_id in self.tasks.items() if version in going}
        idle = [task_id for task_id in dict.fromkeys(self.tasks.values()) if task_id not in busy]
        idle += [self.backup_task_id] if self.backup_task_id and not needs else []
        if idle:
            raise DownstreamTasksSkipped(tasks=of_this_index(context, idle))

    def _plan(self, migrator: Migrator, *, known_head: str | None) -> Plan:
        to = given(self.to)
        if self.direction == "apply":
            return migrator.plan(to=to or None, known_head=known_head)
        if not to:
            raise AirflowFailException("a rollback needs the version to go back to; 0 rolls back everything")
        return migrator.plan_rollback(to=to, known_head=known_head)

    def _recorded(self, migrator: Migrator, plan: Plan, known: str | None, needs: Needs) -> str | None:
        details: dict[str, Any] = {"direction": self.direction, "steps": [s.version for s in plan.steps]}
        if known and is_true(self.forget_head):
            details["forgot_head"] = known
        if migrator.settings.backup.before(plan.direction):
            from .engine.plan.backup_needs import as_planned

            details["backup"] = as_planned(needs, plan)
        return self._written(migrator, lambda: migrator.record("planned", details=details), idle=not plan.steps)

    def _static_findings(self, folder: Folder, migrator: Migrator, plan: Plan) -> list[Finding]:
        from .engine.model import Finding
        from .engine.plan.folder_rules import folder_findings
        from .engine.plan.proven import unproven
        from .engine.plan.script_rules import empty_rollbacks, script_findings

        if self.direction == "apply":
            about_to_run = [migrator.migrations[step.version] for step in plan.steps]
            known = [*migrator.migrations.values()]
            of_scripts = script_findings(about_to_run, folder.config, known, analysed=migrator.analyses.of)
            going = {step.version for step in plan.steps}
            return [*folder_findings(folder), *unproven(folder, going), *of_scripts]
        undone = [migrator.migrations[s.version] for s in plan.steps if s.version in migrator.migrations]
        return [*empty_rollbacks(undone)] + [
            Finding(
                "no_task",
                f"migration {step.version}_{step.name} is applied but has no file, so this group has no task for it",
                "restore the file, or roll it back with RollBackMigrationOperator",
                version=step.version,
            )
            for step in plan.steps
            if step.version not in self.tasks
        ]

    def _push(
        self,
        context: Any,
        plan: Plan,
        findings: Sequence[Finding],
        foreseen: Sequence[Forecast],
        head: str | None,
        backups: Mapping[str, str],
    ) -> None:
        from dataclasses import asdict

        reasons = {v: s.value for v, s in plan.statuses.items() if v not in {step.version for step in plan.steps}}
        value = {
            "direction": plan.direction,
            "mode": self.mode,
            "to": plan.to,
            "conn_id": self.conn_id,
            "environment": chosen_environment(self.environment),
            "steps": [asdict(step) for step in plan.steps],
            "statuses": {v: s.value for v, s in plan.statuses.items()},
            "skipped": {**reasons, **plan.left_out},
            "left_out": plan.left_out,
            "failures": {v: {**a.as_dict(), "at": a.at.isoformat()} for v, a in plan.failures.items()},
            "findings": [asdict(finding) for finding in findings],
            "forecast": [forecast.as_dict() for forecast in foreseen],
            "backup_needed": dict(backups),
            HEAD_KEY: head,
        }
        context["ti"].xcom_push(key=PLAN_KEY, value=value)


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

    def _returned(self, context: Any, record: Record) -> dict[str, Any]:
        """The record as XCom. A dry run that tried nothing is skipped, and leaves its record all the same."""
        if record.reason is None:
            return plain(record)
        context["ti"].xcom_push(key="return_value", value=plain(record))
        raise AirflowSkipException(f"not tried: {record.reason}")


class ApplyMigrationOperator(_StepOperator):
    """Apply one migration, or find under its lock that it is already applied.

    Returns the audit record (version, checksum, outcome, duration, rows, locks, identity), never SQL.
    The task log shows the scripts that will run, unless `settings.logging.include_sql` is false.
    """

    _record: Record | None = None

    def act(self, context: Any) -> dict[str, Any]:
        from .engine.folder.folder import with_scripts

        dry_run = self._dry_run()
        plan = self._plan(context)
        folder = self._read_folder(only=())
        version = folder.migration(str(self.version)).version
        # Somebody cleared a skipped task: what kept it from running may be gone by now.
        anew = plan is not None and version in plan["skipped"]
        folder = with_scripts(folder, [version] if plan and not (dry_run or anew) else None)
        migration = folder.migration(version)
        migrator = self._open(context, folder, plan=plan)
        if plan is not None:
            refuse_unfit_edit(plan, folder, migration)
            if anew:
                again = migrator.plan().left_out.get(migration.version)
                if again:
                    raise AirflowSkipException(again)
        if plan is None and not dry_run:
            _begin_attempt(migrator, version, "apply")
        self._record = migrator.apply(migration.version, dry_run=dry_run)
        return self._returned(context, self._record)

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """The relations this migration locked, as outputs; called by the OpenLineage provider where it is installed."""
        from .telling.lineage import facets

        return facets([lock.relation for lock in self._record.locks] if self._record else None, conn_id=self.conn_id)


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
        migrator = self._open(context, self._read_folder(only=wanted), plan=plan)
        if dry_run:
            return self._returned(context, migrator.roll_back(version, dry_run=True, behind=before))
        if plan is None:
            _begin_attempt(migrator, version, "rollback")
        waiting = to_roll_back(context, migrator, [*before, version], mine={version}, task=self) if before else []
        for other in waiting[:-1]:
            self.log.info("%s stands before %s in the plan, so it is rolled back first", other, version)
            migrator.roll_back(other)
        return self._returned(context, migrator.roll_back(version))


def _begin_attempt(migrator: Migrator, version: str, direction: Direction) -> None:
    """Of a task that belongs to no plan: it makes its own backup."""
    if not migrator.settings.backup.before(direction):
        return
    from dataclasses import replace

    plan = migrator.plan(to=version) if direction == "apply" else migrator.plan_rollback(to=None)
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.version == version))
    needs = migrator.backup_needs(plan, migrator.analyses.of)
    migrator.begin_attempt(plan, needs, {"direction": direction, "steps": [step.version for step in plan.steps]})
