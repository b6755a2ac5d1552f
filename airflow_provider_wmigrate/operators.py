"""Plan, apply, roll back, report: each the Airflow face of one call of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import AssetAlias, BaseOperator, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped

from .alerts import memory_inlets, tell_failure, tell_healed, tell_unreported
from .engine.errors import HistoryError, NotTried, WMigrateError
from .hooks import MigrationHook, as_airflow_error, identity_of, read_folder
from .lineage import facets
from .links import MigrationLink
from .metrics import send_pending

if TYPE_CHECKING:
    from .engine.config import Settings
    from .engine.folder import Folder
    from .engine.migrator import Migrator
    from .engine.model import Finding, Migration, Plan, Record

Mode = Literal["apply", "dry_run"]
PLAN_KEY = "plan"
"""XCom key under which the plan task leaves its plan, as plain values without SQL."""


class SettingsRetryPolicy(RetryPolicy):
    """Retries as often and as late as `settings.execution` of the environment says that the run chose."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Called in the task process, after the template fields are rendered."""
        task = context["task"]
        execution = task.settings().execution
        # Clearing a task raises max_tries and keeps try_number: what counts is the tries since then.
        tries = try_number - (max_tries - task.retries)
        if tries > execution.retry_attempts:
            return RetryDecision.fail(f"settings.execution.retry_attempts is {execution.retry_attempts}")
        return RetryDecision.retry(timedelta(seconds=execution.retry_delay_seconds))

    def serialize(self) -> dict[str, Any]:
        return {"__type": f"{__name__}.{type(self).__name__}"}


class _FolderOperator(BaseOperator):
    """What all operators here share: a folder, a target, an environment, and a way to cancel.

    :param folder: the folder of migrations, absolute.
    :param conn_id: Airflow connection of the target database (templated).
    :param environment: name of an environment of the config; empty means none (templated).
    :param mode: `apply`, or `dry_run`: really execute, measure, and roll back (templated).
    :param notifiers: Airflow notifiers that tell people of failures, once per incident, and when they have healed.
    """

    template_fields: Sequence[str] = ("conn_id", "environment", "mode")
    ui_color = "#e8f4f0"
    tells_every_failure = True
    """False: only its own failures are told, not those it only passes on."""

    def __init__(
        self,
        *,
        folder: str,
        conn_id: str,
        environment: str | None = None,
        mode: str = "apply",
        notifiers: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**(_telling(kwargs, conn_id) if notifiers else kwargs))
        self.folder = folder
        self.conn_id = conn_id
        self.environment = environment
        self.mode = mode
        self.notifiers = tuple(notifiers)
        self._migrator: Migrator | None = None

    def settings(self) -> Settings:
        """The settings of the environment this task runs under."""
        return self._read_folder().config.settings_for(self.environment or None)

    def on_kill(self) -> None:
        """Cancel the running statement on the server: killed, cleared and timed-out tasks leave nothing running."""
        if self._migrator is not None:
            self._migrator.cancel()

    def _read_folder(self) -> Folder:
        return read_folder(self.folder)

    def _dry_run(self) -> bool:
        if self.mode not in ("apply", "dry_run"):
            raise AirflowFailException(f"mode must be apply or dry_run, not {self.mode!r}")
        return self.mode == "dry_run"

    def _open(self, context: Mapping[str, Any], folder: Folder) -> Migrator:
        hook = MigrationHook(self.conn_id)
        self._migrator = hook.migrator(folder, identity=identity_of(context), environment=self.environment or None)
        return self._migrator


def _telling(kwargs: Mapping[str, Any], conn_id: str) -> dict[str, Any]:
    """A task's arguments with the callbacks that tell people. Ours come first: the others may take their time."""
    inlets = [*(kwargs.get("inlets") or ()), *memory_inlets(conn_id)]
    return {
        **kwargs,
        "inlets": inlets or None,
        "on_failure_callback": [tell_failure, *_as_list(kwargs.get("on_failure_callback"))],
        "on_success_callback": [tell_healed, *_as_list(kwargs.get("on_success_callback"))],
    }


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Every engine error leaves a task as the exception Airflow acts on.

    The engine's error is one sentence, so its traceback is left out of the task log; it stays in `__context__`.
    """
    try:
        yield
    except NotTried as error:
        raise AirflowSkipException(str(error)) from None
    except WMigrateError as error:
        raise as_airflow_error(error) from None


class PlanMigrationsOperator(_FolderOperator):
    """Compare folder and ledger, refuse contradictions before anything is touched, and skip what has nothing to do.

    The plan goes to XCom (key `plan`, and `markdown` for people). Tasks that are not part of it are skipped in one
    call. The skip leaves no mark: a skipped task that is cleared runs, and decides by the ledger.

    :param tasks: version -> id of the task that applies it or rolls it back.
    :param direction: `apply` or `rollback`.
    :param to: target version; empty means everything (templated). For a rollback it stays, `0` rolls back everything.
    :param ledgers: environment -> schema of its ledger, for the web server, which has no folder; "" stands for none.
    """

    # The last two are no templates: what stands here is also what others can read of a DAG without its file.
    template_fields = (*_FolderOperator.template_fields, "to", "direction", "ledgers")

    def __init__(
        self,
        *,
        tasks: Mapping[str, str],
        direction: Literal["apply", "rollback"] = "apply",
        to: str | None = None,
        ledgers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = dict(tasks)
        self.direction = direction
        self.to = to
        self.ledgers = ledgers

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
        from .engine.checks import folder_findings, script_findings
        from .engine.model import Finding

        if self.direction == "apply":
            about_to_run = [migrator.migrations[step.version] for step in plan.steps]
            return [*folder_findings(folder), *script_findings(about_to_run, folder.config)]
        return [
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
            "environment": self.environment or None,
            "steps": [asdict(step) for step in plan.steps],
            "statuses": {v: s.value for v, s in plan.statuses.items()},
            "skipped": {**reasons, **plan.skipped},
            "findings": [asdict(finding) for finding in findings],
        }
        context["ti"].xcom_push(key=PLAN_KEY, value=value)
        context["ti"].xcom_push(key="markdown", value=markdown)


def plan_markdown(plan: Plan, findings: Sequence[Finding]) -> str:
    """The plan as a person reads it."""
    verb = {"apply": "apply", "rollback": "roll back"}[plan.direction]
    to = f" (to {plan.to})" if plan.to else ""
    lines = [f"### Plan: {verb} {len(plan.steps)} of {len(plan.statuses)} migrations{to}", ""]
    for i, step in enumerate(plan.steps, 1):
        about = f", about {step.estimated_duration_seconds:g} s" if step.estimated_duration_seconds else ""
        lines.append(f"{i}. {verb} `{step.version}_{step.name}`{about}")
    lines += [f"- skip `{version}`: {reason}" for version, reason in plan.skipped.items()]
    if findings:
        lines += ["", "| finding | where | what | next |", "| --- | --- | --- | --- |"]
        for f in findings:
            where = f"{f.file or f.version or ''}{f':{f.line}' if f.line else ''}"
            lines.append(f"| {f.severity} {f.code} | {where} | {f.message} | {f.next_step} |")
    return "\n".join(lines)


class _StepOperator(_FolderOperator):
    """One step of a plan.

    :param version: version of the migration. A DAG that renders native objects makes a number of 100 and above.
    :param plan_task_id: id of the plan task of the same run; None means that there is none, the ledger alone decides.
    :param checksum: of the file as it was when the DAG was parsed: an edited file makes a new DAG version.
    """

    template_fields = (*_FolderOperator.template_fields, "version", "checksum")
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
            return _plain(self._record)

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """The relations this migration locked, as outputs; called by the OpenLineage provider where it is installed."""
        return facets(self._record, conn_id=self.conn_id)

    def _check_against_plan(
        self, plan: dict[str, Any] | None, folder: Folder, migration: Migration, migrator: Migrator
    ) -> None:
        from .engine.checks import script_findings

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
            again = migrator.plan().skipped.get(migration.version)
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
            return _plain(self._open(context, self._read_folder()).roll_back(str(self.version), dry_run=dry_run))


class RollBackRunOperator(_FolderOperator):
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
            return [_plain(migrator.roll_back(step.version)) for step in steps]

    def _applied_by(self, ti: Any, migrator: Migrator) -> set[str]:
        run = (ti.dag_id, ti.run_id)
        return {e.version for e in migrator.read().entries if (e.identity.dag_id, e.identity.run_id) == run}


class ReportMigrationsOperator(_FolderOperator):
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
        ran = [t for t in self.watched if states.get(t) == "success"]
        records = [r for t in ran for r in _records(ti.xcom_pull(task_ids=t))]
        plan = ti.xcom_pull(task_ids=self.plan_task_id, key=PLAN_KEY) or {}
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


def _plain(record: Record) -> dict[str, Any]:
    """A record as XCom keeps it. A tuple would be wrapped in its class's name, for all who read it to unwrap."""
    fields = record.as_dict()
    return {**fields, "locks": list(fields["locks"])}


def _records(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def summarise(
    records: Sequence[dict[str, Any]], plan: Mapping[str, Any], failed: Sequence[str], *, run_id: str
) -> dict[str, Any]:
    """What a run did, as plain values: the report that outlives the database."""
    by_outcome: dict[str, list[str]] = {}
    for record in records:
        outcome = record["outcome"]
        if outcome == "already_applied" and record["identity"]["run_id"] == run_id:
            outcome = "applied"  # by an earlier try of this run, which died before it could say so
        by_outcome.setdefault(outcome, []).append(record["version"])
    heads = [r["audit_head"] for r in records if r.get("audit_head")]
    return {
        **{o: by_outcome.get(o, []) for o in ("applied", "rolled_back", "dry_run", "already_applied")},
        "failed": list(failed),
        "skipped": dict(plan.get("skipped", {})),
        "duration_ms": sum(r["duration_ms"] for r in records),
        "audit_head": max(heads, key=lambda head: int(head.partition(":")[0]), default=None),
    }


def report_markdown(summary: Mapping[str, Any]) -> str:
    """The report as a person reads it."""
    lines = ["### Migrations"]
    for name in ("applied", "rolled_back", "dry_run", "already_applied", "failed"):
        if summary[name]:
            lines.append(f"- {name.replace('_', ' ')}: {', '.join(summary[name])}")
    if len(lines) == 1:
        lines.append("- nothing to do")
    lines.append(f"- {summary['duration_ms']} ms on the server")
    return "\n".join(lines)
