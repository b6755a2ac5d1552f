"""The plan of a run: what has to be done, what speaks against it, and which tasks have nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped
from msgspec.structs import replace

from .assets import keep_head, known_head
from .attempts import HEAD_KEY, PLAN_KEY, PROPOSAL_KEY, of_this_index, pulled
from .dag_sql.bundle import in_bundle
from .defaults import chosen_environment, given, is_true
from .dry_runs import scratch_server, try_plan
from .engine.errors import HistoryError
from .folder_operator import FolderOperator
from .hooks import MigrationHook, identity_of, in_words_of_a_run
from .telling.summaries import plan_lines, plan_markdown

if TYPE_CHECKING:
    from .engine.catalog.snapshot.facts import Snapshot
    from .engine.folder.folder import Folder
    from .engine.foreseen import Forecast
    from .engine.migrator import Migrator
    from .engine.model import Finding, Plan
    from .engine.plan.backup_needs import Needs

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
    :param approval_task_id: id of the task in which a person approves the plan; None: nobody has to.
    :param scratch_conn_id: of a dry run: id of an Airflow connection to a server. What cannot be tried in a transaction
        is run on a scratch database there. It may be the target's own. Empty or None: nowhere (templated).
    :param follows: `conn_id`, `environment` and `plan_task_id` of the environment before: only what is applied there is
        planned here. None: there is none (templated).
    """

    # `direction` and `environments` are no templates: what stands here others can read of a DAG without its file.
    template_fields = (
        *FolderOperator.template_fields,
        "to",
        "direction",
        "environments",
        "forget_head",
        "rollback_script",
        "scratch_conn_id",
        "follows",
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
        approval_task_id: str | None = None,
        scratch_conn_id: str | None = None,
        follows: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.follows = follows
        self.backup_task_id = backup_task_id
        self.approval_task_id = approval_task_id
        self.scratch_conn_id = scratch_conn_id
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
        asks = self.approval_task_id is not None and not dry_run
        seen = migrator.look() if asks else None
        plan = self._plan(migrator, known_head=None if is_true(self.forget_head) else known)
        if self.direction == "apply" and plan.to is None:
            send_pending(folder.config.monitoring.metrics, target=self.conn_id, count=len(plan.steps))
        analysed = migrator.analyses.of
        of_plan = [
            *plan.findings,
            *self._closed(migrator, plan, asks=asks),
            *_not_promoted(context, self.follows, folder, plan),
        ]
        findings = [*map(in_words_of_a_run, of_plan), *migrator.in_files(plan, analysed), *self._without_task(plan)]
        foreseen, to_split = migrator.forecast(plan, analysed, in_bundle(self, context), lost=asks)
        findings += to_split
        needs = {} if dry_run else migrator.backup_needs(plan, analysed)
        backups = {version: need.why for version, need in needs.items()}
        for line in plan_lines(plan, findings, foreseen, backups):
            self.log.info("%s", line)
        markdown = plan_markdown(plan, findings, foreseen, backups)
        context["ti"].xcom_push(key="markdown", value=markdown)
        errors = [f for f in findings if f.severity == "error"]
        head = None if errors or dry_run else self._recorded(migrator, plan, known, needs)
        self._push(context, plan, findings, foreseen, head, backups)
        if errors:
            raise HistoryError(errors)
        if dry_run and plan.steps:
            scratch = scratch_server(given(self.scratch_conn_id), self.conn_id)
            try_plan(context, migrator, plan, scratch, above=markdown)
        keep_head(context, self.conn_id, schema, head)
        if seen:
            self._propose(context, migrator, plan, *seen)
        going = {step.version for step in plan.steps}
        busy = {task_id for version, task_id in self.tasks.items() if version in going}
        idle = [task_id for task_id in dict.fromkeys(self.tasks.values()) if task_id not in busy]
        idle += [self.backup_task_id] if self.backup_task_id and not needs else []
        if self.approval_task_id and not (asks and plan.steps):
            idle.append(self.approval_task_id)
        if idle:
            raise DownstreamTasksSkipped(tasks=of_this_index(context, idle))

    def _closed(self, migrator: Migrator, plan: Plan, *, asks: bool) -> list[Finding]:
        """What the window says. A person who has to approve the plan decides whether it is waited for."""
        found = [] if self._dry_run() else [*migrator.window_findings(plan)]
        way = "whoever approves the plan says whether it is waited for"
        return [replace(f, severity="warning", next_step=way) for f in found] if asks else found

    def _propose(self, context: Any, migrator: Migrator, plan: Plan, head: str | None, snapshot: Snapshot) -> None:
        from .engine.plan.proposal import Proposal

        proposal = Proposal.of(
            plan,
            migrator.migrations,
            environment=chosen_environment(self.environment),
            settings=migrator.settings,
            head=head,
            snapshot=snapshot,
        )
        context["ti"].xcom_push(key=PROPOSAL_KEY, value=proposal.as_dict())

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

    def _without_task(self, plan: Plan) -> list[Finding]:
        from .engine.model import Finding

        return [
            Finding(
                "no_task",
                f"migration {step.version}_{step.name} is applied but has no file, so this group has no task for it",
                "restore the file, or roll it back with RollBackMigrationOperator",
                version=step.version,
            )
            for step in plan.steps
            if plan.direction == "rollback" and step.version not in self.tasks
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
        from .engine.plain import plain

        value = {
            "direction": plan.direction,
            "mode": self.mode,
            "to": plan.to,
            "conn_id": self.conn_id,
            "environment": chosen_environment(self.environment),
            "steps": plain(plan.steps),
            "statuses": plain(plan.statuses),
            "left_out": plan.left_out,
            "failures": {v: plain(a.as_dict()) for v, a in plan.failures.items()},
            "findings": plain(findings),
            "forecast": plain(foreseen),
            "backup_needed": dict(backups),
            HEAD_KEY: head,
        }
        context["ti"].xcom_push(key=PLAN_KEY, value=value)


def _not_promoted(context: Any, follows: Mapping[str, Any] | None, folder: Folder, plan: Plan) -> list[Finding]:
    """What is not applied in the environment before as the folder has it now, unless it was left out there."""
    if not follows:
        return []
    from .engine.model import Finding, Status
    from .engine.plan.statuses import statuses

    name = follows["environment"]
    hook, identity = MigrationHook(follows["conn_id"]), identity_of(context)
    before = hook.migrator(folder, identity=identity, environment=name)
    there = statuses([*before.migrations.values()], before.read().entries)
    left_out = (pulled(context, follows["plan_task_id"], PLAN_KEY) or {}).get("left_out", {})
    return [
        Finding(
            "not_promoted",
            f"{step.version}_{step.name} is not applied in {name} as the folder has it now",
            f"apply it there first: trigger a new run, so that it goes through {name}",
            version=step.version,
        )
        for step in plan.steps
        if there[step.version] is not Status.APPLIED and step.version not in left_out
    ]
