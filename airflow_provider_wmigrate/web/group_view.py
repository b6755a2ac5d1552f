"""The answers of the API, put together from what the DAG says, what runs left, and what the target says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.models.dag import DagModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.defaults import chosen_environment
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Attempt

from . import access, migration_states, run_results, schemas, target_reads
from .catalog import Catalog, GroupTasks, StepTask
from .choices import check_environment, choices
from .problems import ProblemError
from .reasons import Reason
from .work import release

if TYPE_CHECKING:
    import psycopg

    from airflow_provider_wmigrate.engine.folder.folder import Folder

Answer = TypeVar("Answer")
CATALOG = Catalog()
_MANY_TARGETS = (
    "a mapped task group gives this group many databases, so nothing of one of them is shown here; look at the tasks of"
    " each map index in Airflow, or ask `wmigrate status` of one database"
)
IN_THE_LOG = "the log of the task says what and what next"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class GroupTarget:
    """Which database a group works on."""

    conn_id: str | None
    environment: str | None
    ledger_schema: str


class GroupView:
    """One group as one caller sees it in one request. What is asked for is read once.

    :param chosen: an environment that a run would choose; None: the one the group was last run in.
    """

    def __init__(
        self,
        session: Session,
        user: Any,
        group: GroupTasks,
        everything: Sequence[GroupTasks],
        *,
        chosen: str | None = None,
    ) -> None:
        self.session, self.user, self.group = session, user, group
        self._everything, self._chosen = everything, chosen

    # What belongs to the group

    @cached_property
    def own_plan(self) -> run_results.PlanResult | None:
        """The newest plan of this group itself: it says what the templates stood for."""
        return None if self.group.is_mapped else run_results.newest_plan(self.session, [self.group])

    @cached_property
    def target(self) -> GroupTarget:
        plan = self.own_plan.value if self.own_plan else {}
        conn_id: str | None = self.group.conn_id
        if self._follows_chosen(conn_id):
            conn_id = self.group.with_conf(conn_id, self._chosen_conf)
        elif self.group.is_mapped:
            conn_id = None
        elif _is_template(conn_id):
            conn_id = plan.get("conn_id") or self.group.with_defaults(conn_id)
        environment = self.group.environment
        if self._chosen is not None:
            environment = self._chosen
        elif _is_template(environment):
            environment = plan["environment"] if "environment" in plan else self.group.with_defaults(environment)
        environment = chosen_environment(environment)
        schema = self.group.settings(environment).get("ledger_schema", "wmigrate")
        return GroupTarget(conn_id or None, environment, schema)

    @property
    def _chosen_conf(self) -> dict[str, str]:
        key = self.group.chosen_by(self.group.environment)
        return {key: self._chosen} if key and self._chosen is not None else {}

    def _follows_chosen(self, template: str | None) -> bool:
        """Whether a field may be another one in another environment."""
        conf = self._chosen_conf
        obscure = bool(conf) and self.group.with_conf(template, conf) is None
        return obscure or any(key in self.group.keys_in(template) for key in conf)

    @cached_property
    def undo(self) -> GroupTasks | None:
        """The group that rolls the same target back, if the caller may read its DAG."""
        found = [g for g in self._everything if g.direction == "rollback" and self._same_target(g)]
        found.sort(key=lambda g: (g.dag_id != self.group.dag_id, g.dag_id, g.group_id))
        return next((g for g in found if access.may_read_dag(self.session, self.user, g.dag_id)), None)

    def _same_target(self, other: GroupTasks) -> bool:
        conn_id = self.target.conn_id
        same = other.conn_id == self.group.conn_id or other.with_defaults(other.conn_id) == conn_id
        return conn_id is not None and same

    @cached_property
    def both(self) -> list[GroupTasks]:
        """The groups whose runs change the target."""
        return [self.group, *([self.undo] if self.undo else [])]

    # What is known

    @cached_property
    def readable(self) -> bool:
        """Whether the caller may have the target read."""
        return self.target.conn_id is not None and access.may_read_connection(
            self.session, self.user, self.target.conn_id
        )

    def live(self, work: Callable[[psycopg.Connection[Any], Ledger], Answer]) -> tuple[Answer | None, Reason | None]:
        """What the target says, or why it was not read."""
        conn_id = self.target.conn_id
        if self.group.is_mapped:
            return None, Reason(code="mapped_group", message=_MANY_TARGETS)
        if conn_id is None:
            message = f"{self.group.conn_id} is a template that no run has resolved yet; run the DAG once"
            return None, Reason(code="unresolved_target", message=message)
        if not self.readable:
            message = f"you may not read connection {conn_id}, so its database was not read for you"
            return None, Reason(code="no_right_on_connection", message=message)
        ledger = Ledger(self.target.ledger_schema)
        release(self.session)
        try:
            return target_reads.read(conn_id, lambda conn: work(conn, ledger)), None
        except target_reads.Unreadable as error:
            return None, error.reason

    @cached_property
    def newest_plan(self) -> run_results.PlanResult | None:
        """The newest plan on this target, to apply or to roll back."""
        if self.group.is_mapped:
            return None
        return run_results.newest_plan(self.session, self.both, self.target.conn_id)

    @cached_property
    def records(self) -> list[run_results.TaskResult]:
        if self.target.conn_id is None:
            return []
        runs = run_results.runs_on(self.session, self.both, self.target.conn_id)
        return run_results.records(self.session, self.both, runs)

    @cached_property
    def tasks(self) -> Sequence[Any]:
        """Instances of the migration tasks that did anything, newest first."""
        if self.group.is_mapped:
            return []
        return run_results.task_instances(self.session, self.both)

    @cached_property
    def steps(self) -> dict[str, StepTask]:
        """By version, the tasks of the migrations that the folder has."""
        return {step.version: step for step in self.group.steps}

    @cached_property
    def folder(self) -> Folder:
        return migration_states.stand_in(self.group, self.target.environment)

    def states(self, *, to: str | None = None) -> tuple[migration_states.MigrationStates, schemas.Source]:
        """Where every migration stands, and where that is known from.

        :param to: last version that a run would apply; None: everything.
        """
        state, reason = self.live(lambda conn, ledger: ledger.state(conn))
        if state is None:
            return self.states_from_runs(to), self.source(reason, live=False)
        return migration_states.from_ledger(self.folder, state, utc_now(), to=to), self.source(None, live=True)

    def states_from_runs(self, to: str | None = None) -> migration_states.MigrationStates:
        """The same from what runs left, without asking the target."""
        plan = self.newest_plan
        if plan is None:
            return migration_states.from_nothing(self.folder)
        failures = [*plan.failures, *self._failures_since(plan)]
        return migration_states.from_results(self.folder, plan, self.records, failures, self._left_out_before, to=to)

    def _failures_since(self, plan: run_results.PlanResult) -> list[Attempt]:
        """What failed in the run of the newest plan. A dry run leaves nothing behind."""
        if plan.value.get("mode") == "dry_run":
            return []
        versions = {step.task_id: step.version for step in plan.group.steps}
        event = "failed" if plan.group.direction == "apply" else "rollback_failed"
        return [
            Attempt(
                versions[row.task_id], event, row.end_date or row.start_date, run_results.identity_of(row), IN_THE_LOG
            )
            for row in self.tasks
            if (row.dag_id, row.run_id, row.state) == (plan.group.dag_id, plan.run_id, "failed")
            and row.task_id in versions
        ]

    @cached_property
    def _left_out_before(self) -> Mapping[str, str]:
        """Version -> why the last plan for everything left it out. In another environment it may be no reason to."""
        plan = self.own_plan.value if self.own_plan else {}
        same = chosen_environment(plan.get("environment")) == self.target.environment
        return plan.get("left_out") or {} if same and plan.get("to") is None else {}

    def source(self, reason: Reason | None, *, live: bool) -> schemas.Source:
        """Where an answer comes from."""
        now = utc_now()
        if live:
            return schemas.Source(kind="live", as_of=now, age_seconds=0.0)
        left = self.states_from_runs()
        if left.as_of is None:
            return schemas.Source(kind="none", reason=reason)
        age = max((now - left.as_of).total_seconds(), 0.0)
        return schemas.Source(
            kind="report", as_of=left.as_of, age_seconds=age, dag_id=left.dag_id, run_id=left.run_id, reason=reason
        )

    # What every answer says of the group

    @cached_property
    def _dags(self) -> dict[str, DagModel]:
        ids = {group.dag_id for group in self.both}
        return {dag.dag_id: dag for dag in self.session.scalars(select(DagModel).where(DagModel.dag_id.in_(ids)))}

    @cached_property
    def described(self) -> schemas.Group:
        dag = self._dags[self.group.dag_id]
        undo = self.undo if self.undo and self.undo.dag_id in self._dags else None
        return schemas.Group(
            dag_id=dag.dag_id,
            dag_display_name=dag.dag_display_name,
            group_id=self.group.group_id,
            description=dag.description,
            **asdict(self.target),
            is_paused=bool(dag.is_paused),
            is_stale=bool(dag.is_stale),
            has_import_errors=bool(dag.has_import_errors),
            rollback_dag=self._rollback_dag(undo) if undo else None,
            migrate=choices(self.group, self.target.environment),
            rollback=choices(undo, self.target.environment) if undo else None,
            rights=schemas.Rights(
                read_database=self.readable,
                migrate=access.may_start(self.session, self.user, self.group.dag_id),
                rollback=undo is not None and access.may_start(self.session, self.user, undo.dag_id),
            ),
            url=run_results.dag_url(dag.dag_id),
        )

    def _rollback_dag(self, undo: GroupTasks) -> schemas.RollbackDag:
        is_paused = bool(self._dags[undo.dag_id].is_paused)
        return schemas.RollbackDag(dag_id=undo.dag_id, group_id=undo.group_id, is_paused=is_paused)


def _is_template(text: str | None) -> bool:
    return text is not None and ("{{" in text or "{%" in text)


def view(session: Session, user: Any, dag_id: str, group_id: str, environment: str | None = None) -> GroupView:
    """A group by its names.

    :param environment: as a run would choose it.
    :raises ProblemError: the caller may not read the DAG, there is no such group, or its runs cannot choose that
        environment.
    """
    if not access.may_read_dag(session, user, dag_id):
        raise ProblemError(403, "forbidden", "you may not read this DAG with its runs, tasks and XComs")
    catalog = CATALOG.groups(session)
    everything = [group for groups in catalog.values() for group in groups]
    for group in catalog.get(dag_id, ()):
        if group.group_id == group_id and group.direction == "apply":
            if session.get(DagModel, dag_id) is None:
                break
            if environment is not None:
                check_environment(group, environment)
            return GroupView(session, user, group, everything, chosen=environment)
    mine = [g.group_id for g in catalog.get(dag_id, ()) if g.direction == "apply"]
    hint = f"it has {', '.join(mine)}" if mine else "it has none that migrates"
    raise ProblemError(404, "unknown_group", f"DAG {dag_id} has no migration group {group_id}; {hint}")


def views(session: Session, user: Any) -> list[GroupView]:
    """Every migration group the caller may read, by DAG and name."""
    from airflow.api_fastapi.app import get_auth_manager

    catalog = CATALOG.groups(session)
    everything = [group for groups in catalog.values() for group in groups]
    mine = get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)
    there = set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(set(catalog) & set(mine)))))
    return [
        GroupView(session, user, group, everything)
        for dag_id in sorted(there)
        if access.may_read_dag(session, user, dag_id)
        for group in catalog[dag_id]
        if group.direction == "apply"
    ]
