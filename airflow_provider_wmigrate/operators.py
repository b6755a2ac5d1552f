"""Plan, apply, roll back, report: each the Airflow face of one call of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped

from .alerting.alerts import tell_unreported
from .defaults import chosen_environment
from .engine.errors import HistoryError
from .folder_operator import FolderOperator, airflow_errors
from .links import MigrationLink
from .telling.lineage import facets
from .telling.metrics import send_pending
from .telling.summaries import plain, plan_markdown, records_of, report_markdown, summarise

if TYPE_CHECKING:
    from .engine.folder.folder import Folder
    from .engine.migrator import Migrator
    from .engine.model import Finding, Migration, Plan, Record

Mode = Literal["apply", "dry_run"]
PLAN_KEY = "plan"
"""XCom key under which the plan task leaves its plan, as plain values without SQL."""


class PlanMigrationsOperator(FolderOperator):
    """Compare folder and ledger, refuse contradictions before anything is touched, and skip what has nothing to do.

    The plan goes to XCom (key `plan`, and `markdown` for people). Tasks that are not part of it are skipped in one
    call. The skip leaves no mark: a skipped task that is cleared runs, and decides by the ledger.

    :param tasks: version -> id of the task that applies it or rolls it back.
    :param direction: `apply` or `rollback`.
    :param to: target version; empty means everything (templated). For a rollback it stays; `0` rolls back
        everything, as `nothing` does where there is a migration 000.
    :param environments: environment -> what the web server, which has no folder, needs of its settings; "" stands for
        none.
    """

    # The last two are no templates: what stands here is also what others can read of a DAG without its file.
    template_fields = (*FolderOperator.template_fields, "to", "direction", "environments")

    def __init__(
        self,
        *,
        tasks: Mapping[str, str],
        direction: Literal["apply", "rollback"] = "apply",
        to: str | None = None,
        environments: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = dict(tasks)
        self.direction = direction
        self.to = to
        self.environments = environments

    def execute(self, context: Any) -> None:
        dry_run = self._dry_run()
        with airflow_errors():
            folder = self._read_folder()
            migrator = self._open(context, folder)
            plan = self._plan(migrator)
            if self.direction == "apply" and plan.to is None:
                send_pending(folder.config.monitoring.metrics, target=self.conn_id, count=len(plan.steps))
            findings = [*plan.findings, *self._static_findings(folder, migrator, plan)]
            markdown = plan_markdown(plan, findings)
            self.log.info("%s", markdown)
            self._push(context, plan, findings, markdown)
            errors = [f for f in findings if f.severity == "error"]
            if errors:
                raise HistoryError(errors)
            if not dry_run:
                migrator.record(
                    "planned", details={"direction": self.direction, "steps": [s.version for s in plan.steps]}
                )
        going = {step.version for step in plan.steps}
        idle = [task_id for version, task_id in self.tasks.items() if version not in going]
        if idle:
            raise DownstreamTasksSkipped(tasks=idle)

    def _plan(self, migrator: Migrator) -> Plan:
        to = "" if self.to is None else str(self.to).strip()
        if self.direction == "apply":
            return migrator.plan(to=to or None)
        if not to:
            raise AirflowFailException("a rollback needs the version to go back to; 0 rolls back everything")
        return migrator.plan_rollback(to=to)

    def _static_findings(self, folder: Folder, migrator: Migrator, plan: Plan) -> list[Finding]:
        from .engine.model import Finding
        from .engine.plan.empty import empty_rollbacks
        from .engine.plan.rules import folder_findings, script_findings

        if self.direction == "apply":
            about_to_run = [migrator.migrations[step.version] for step in plan.steps]
            known = [*migrator.migrations.values()]
            return [*folder_findings(folder), *script_findings(about_to_run, folder.config, known)]
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

    def _push(self, context: Any, plan: Plan, findings: Sequence[Finding], markdown: str) -> None:
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
            "findings": [asdict(finding) for finding in findings],
        }
        context["ti"].xcom_push(key=PLAN_KEY, value=value)
        context["ti"].xcom_push(key="markdown", value=markdown)


class _StepOperator(FolderOperator):
    """One step of a plan.

    :param version: version of the migration. A DAG that renders native objects makes a number of 100 and above.
    :param plan_task_id: id of the plan task of the same run; None means that there is none, the ledger alone decides.
    :param checksum: of the file as it was when the DAG was parsed: an edited file makes a new DAG version.
    """

    template_fields = (*FolderOperator.template_fields, "version", "checksum")
    operator_extra_links = (MigrationLink(),)

    def __init__(
        self, *, version: str, plan_task_id: str | None = None, checksum: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.plan_task_id = plan_task_id
        self.checksum = checksum

    def _pulled_plan(self, context: Any) -> dict[str, Any] | None:
        if self.plan_task_id is None:
            return None
        plan = context["ti"].xcom_pull(task_ids=self.plan_task_id, key=PLAN_KEY)
        if plan is not None and str(self.version) not in plan["statuses"]:
            # The scheduler adds tasks of new files to a running run; the plan never looked at this one.
            raise AirflowSkipException(f"{self.version} appeared after the plan; it waits for the next run")
        return plan  # type: ignore[no-any-return]

    def _returned(self, context: Any, record: Record) -> dict[str, Any]:
        """The record as XCom. A dry run that tried nothing is skipped, and leaves its record all the same."""
        if record.reason is None:
            return plain(record)
        context["ti"].xcom_push(key="return_value", value=plain(record))
        raise AirflowSkipException(f"not tried: {record.reason}")


class ApplyMigrationOperator(_StepOperator):
    """Apply one migration, or find under its lock that it is applied already.

    Returns the audit record (version, checksum, outcome, duration, rows, locks, identity), never SQL.
    The scripts about to run are shown in the task log, where `settings.logging.include_sql` allows it.
    """

    _record: Record | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        dry_run = self._dry_run()
        with airflow_errors():
            folder = self._read_folder()
            migration = folder.migration(str(self.version))
            migrator = self._open(context, folder)
            self._check_against_plan(self._pulled_plan(context), folder, migration, migrator)
            self._record = migrator.apply(migration.version, dry_run=dry_run)
            return self._returned(context, self._record)

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """The relations this migration locked, as outputs; called by the OpenLineage provider where it is installed."""
        return facets(self._record, conn_id=self.conn_id)

    def _check_against_plan(
        self, plan: dict[str, Any] | None, folder: Folder, migration: Migration, migrator: Migrator
    ) -> None:
        from .engine.plan.rules import script_findings

        if plan is None:
            return
        planned = {step["version"]: step["checksum"] for step in plan["steps"]}
        if planned.get(migration.version, migration.script.checksum) != migration.script.checksum:
            # Repaired after it failed, then cleared: what the plan checked was the older text.
            self.log.warning("%s was edited after the plan of this run; it is checked again", migration.script.file)
            errors = [f for f in script_findings([migration], folder.config) if f.severity == "error"]
            if errors:
                raise HistoryError(errors)
        if migration.version in plan["skipped"]:
            # Somebody cleared a skipped task: what kept it from running may be gone by now.
            again = migrator.plan().left_out.get(migration.version)
            if again:
                raise AirflowSkipException(again)


class RollBackMigrationOperator(_StepOperator):
    """Roll back one migration with its rollback script, or find that it is not applied.

    Refuses while an applied migration depends on it. Returns the audit record, never SQL.
    """

    ui_color = "#f8ece4"

    def execute(self, context: Any) -> dict[str, Any]:
        dry_run = self._dry_run()
        with airflow_errors():
            plan = self._pulled_plan(context)
            if plan is not None and str(self.version) not in [step["version"] for step in plan["steps"]]:
                raise AirflowSkipException(f"{self.version} is not above the target of this run's plan")
            record = self._open(context, self._read_folder()).roll_back(str(self.version), dry_run=dry_run)
            return self._returned(context, record)


class RollBackRunOperator(FolderOperator):
    """When a migration of this run failed: roll back, in reverse order, what this run had applied before.

    Its trigger rule is `all_done`; it skips itself when nothing failed. What it rolls back is read from the ledger,
    not from XCom, so that it is right after retries and cleared tasks too.

    :param watched: ids of the tasks that apply migrations.
    """

    ui_color = "#f8ece4"

    def __init__(self, *, watched: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = list(watched)

    def execute(self, context: Any) -> list[dict[str, Any]]:
        states = task_states(context, self.watched)
        failed = [task_id for task_id, state in states.items() if state == "failed"]
        if not failed:
            raise AirflowSkipException("nothing failed")
        if self._dry_run():
            raise AirflowSkipException("a dry run leaves nothing to roll back")
        with airflow_errors():
            migrator = self._open(context, self._read_folder())
            mine = self._applied_by(context["ti"], migrator)
            steps = [s for s in migrator.plan_rollback(to=None).steps if s.version in mine]
            self.log.info(
                "%s failed; rolling back %s", ", ".join(failed), ", ".join(s.version for s in steps) or "nothing"
            )
            return [plain(migrator.roll_back(step.version)) for step in steps]

    def _applied_by(self, ti: Any, migrator: Migrator) -> set[str]:
        run = (ti.dag_id, ti.run_id)
        return {e.version for e in migrator.read().entries if (e.identity.dag_id, e.identity.run_id) == run}


class ReportMigrationsOperator(FolderOperator):
    """Sum up a run, write what application_metadata keeps of it, and tell Airflow that the schema changed.

    Its trigger rule is `all_done`, and it fails when a migration failed: leaf tasks decide a run's state.

    :param watched: ids of every task of the group before this one.
    :param plan_task_id: id of the plan task.
    """

    tells_every_failure = False

    def __init__(self, *, watched: Sequence[str], plan_task_id: str, **kwargs: Any) -> None:
        self.alias = AssetAlias(name=f"wmigrate-{plan_task_id}")
        super().__init__(outlets=[self.alias], **kwargs)
        self.watched = list(watched)
        self.plan_task_id = plan_task_id

    def execute(self, context: Any) -> dict[str, Any]:
        ti = context["ti"]
        states = task_states(context, [self.plan_task_id, *self.watched])
        failed = sorted(t for t, state in states.items() if state in ("failed", "upstream_failed"))
        plan = ti.xcom_pull(task_ids=self.plan_task_id, key=PLAN_KEY) or {}
        ran = [t for t in self.watched if states.get(t) == "success" or self._not_tried(t, states, plan)]
        records = [r for t in ran for r in records_of(ti.xcom_pull(task_ids=t))]
        summary = summarise(records, plan, failed, run_id=ti.run_id)
        self.log.info("%s", report_markdown(summary))
        if failed:
            ti.xcom_push(key="return_value", value=summary)
            tell_unreported(context, [t for t in self.watched if states.get(t) == "failed"])
            raise AirflowFailException(f"failed: {', '.join(failed)}; the log of that task says what and what next")
        changed = summary["applied"] or summary["rolled_back"]
        if not self._dry_run():
            with airflow_errors():
                folder = self._read_folder()
                self._open(context, folder).record_success()
            if plan and plan["direction"] == "apply" and plan["to"] is None:
                left = len(plan["steps"]) - len(summary["applied"]) - len(summary["already_applied"])
                send_pending(folder.config.monitoring.metrics, target=self.conn_id, count=max(left, 0))
        if changed:
            self._tell_consumers(context, summary)
        return summary

    def _not_tried(self, task_id: str, states: Mapping[str, str | None], plan: Mapping[str, Any]) -> bool:
        """Whether a task may have left the record of a dry run that did not try it: it is skipped, but not by the plan,
        which may have skipped hundreds."""
        stem = task_id.rpartition(".")[2]
        planned = {f"{step['version']}_{step['name']}" for step in plan.get("steps", ())}
        return self._dry_run() and states.get(task_id) == "skipped" and stem in planned

    def _tell_consumers(self, context: Any, summary: dict[str, Any]) -> None:
        from .assets import schema_asset

        extra = {key: summary[key] for key in ("applied", "rolled_back", "audit_head")}
        context["outlet_events"][self.alias].add(schema_asset(self.conn_id), extra=extra)


def task_states(context: Any, task_ids: Sequence[str]) -> dict[str, str | None]:
    """States of tasks of the same run, by task id."""
    ti = context["ti"]
    # All of the run, not those by name: hundreds of names would not fit into the address of Airflow's request.
    found: dict[str, str | None] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return {task_id: found[task_id] for task_id in task_ids if task_id in found}
