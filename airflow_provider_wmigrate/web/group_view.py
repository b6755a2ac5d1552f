"""One group as one caller sees it: its database, what is read from it, and what runs left where it was not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.models.dag import DagModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.defaults import chosen_environment
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger

from . import access, migration_states, schemas, target_reads
from .catalog import Catalog, GroupTasks, StepTask
from .choices import check_environment, choices
from .described import Reason
from .problems import ProblemError
from .run_results import RunResults
from .targets import GroupTarget, target_of, targets
from .task_results import PlanResult
from .urls import dag_url, task_url
from .work import release

if TYPE_CHECKING:
    import psycopg

    from airflow_provider_wmigrate.engine.folder.folder import Folder
    from airflow_provider_wmigrate.engine.model import State

Answer = TypeVar("Answer")
_MANY_TARGETS = "a mapped task group gives this group many databases; choose one of them by its map index"
CATALOG = Catalog()


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class GroupView:
    """One group on one target as one caller sees it in one request. What is asked for is read once.

    :param everything: the groups of every DAG.
    """

    def __init__(
        self, session: Session, user: Any, group: GroupTasks, target: GroupTarget, everything: Sequence[GroupTasks]
    ) -> None:
        self.session, self.user, self.group, self.target = session, user, group, target
        self._everything = everything
        self._server: schemas.Server | None = None

    # What belongs to the group

    @cached_property
    def undo(self) -> GroupTasks | None:
        """The group that rolls the same target back, if the caller may read its DAG."""
        found = [g for g in self._everything if g.direction == "rollback" and self._same_target(g)]
        found.sort(key=lambda g: (g.dag_id != self.group.dag_id, g.dag_id, g.group_id))
        return next((g for g in found if access.may_read_dag(self.session, self.user, g.dag_id)), None)

    def _same_target(self, other: GroupTasks) -> bool:
        conn_id = self.target.conn_id
        same = other.conn_id == self.group.conn_id or other.with_conf(other.conn_id, {}) == conn_id
        return conn_id is not None and same

    @cached_property
    def both(self) -> list[GroupTasks]:
        """The groups whose runs change the target."""
        return [self.group, *([self.undo] if self.undo else [])]

    @cached_property
    def steps(self) -> dict[str, StepTask]:
        """By version, the tasks of the migrations that the folder has."""
        return {step.version: step for step in self.group.steps}

    @cached_property
    def folder(self) -> Folder:
        """All that the DAG says of the folder."""
        return migration_states.stand_in(self.group, self.target.environment)

    # What the target says

    @cached_property
    def readable(self) -> bool:
        """Whether the caller may have the target read."""
        conn_id = self.target.conn_id
        return conn_id is not None and access.may_read_connection(self.session, self.user, conn_id)

    def live(self, work: Callable[[psycopg.Connection[Any], Ledger], Answer]) -> tuple[Answer | None, Reason | None]:
        """What the target says, or why it was not read."""
        conn_id = self.target.conn_id
        if conn_id is None:
            if self.group.is_mapped and self.target.map_index is None:
                return None, Reason(code="mapped_group", message=_MANY_TARGETS)
            message = "conn_id is a template that no run has resolved yet; run the DAG once"
            return None, Reason(code="unresolved_target", message=message)
        if not self.readable:
            message = f"you may not read connection {conn_id}; ask for that right to see what is in the database now"
            return None, Reason(code="no_right_on_connection", message=message)
        ledger = Ledger(self.target.ledger_schema)
        release(self.session)

        def look(conn: psycopg.Connection[Any]) -> Answer:
            at = conn.info
            self._server = schemas.Server(host=at.host or None, port=at.port, database=at.dbname)
            return work(conn, ledger)

        try:
            return target_reads.read(conn_id, look), None
        except target_reads.Unreadable as error:
            self._server = self._server or schemas.Server(**target_reads.address(conn_id))
            return None, error.reason

    # What runs left

    @cached_property
    def left(self) -> RunResults:
        """What the runs on the target left in Airflow."""
        return RunResults(self.session, self.both, self.target.conn_id)

    def log_url(self, dag_id: str | None, run_id: str | None, task_id: str | None) -> str | None:
        """The task that the ledger names, which knows of no map index."""
        if not dag_id or not run_id or not task_id:
            return None
        return task_url(dag_id, run_id, task_id, self.left.map_indexes.get((dag_id, run_id), -1))

    @cached_property
    def newest_plan(self) -> PlanResult | None:
        """The newest plan on this target, to apply or to roll back."""
        return self.left.plan()

    @cached_property
    def own_plan(self) -> PlanResult | None:
        """The newest plan of this group itself."""
        newest = self.newest_plan
        return newest if newest is None or newest.group is self.group else self.left.plan(self.group)

    def states(
        self, *, to: str | None = None, more: Callable[[psycopg.Connection[Any], Ledger, State], Any] = lambda *_: None
    ) -> tuple[migration_states.MigrationStates, schemas.Source, Any]:
        """Where every migration stands, and where that is known from.

        :param to: last version that a run would apply; None: everything.
        :param more: asked of the target in the same transaction; its answer is None where the target was not read.
        """

        def look(conn: psycopg.Connection[Any], ledger: Ledger) -> tuple[State, Any]:
            state = ledger.state(conn)
            return state, more(conn, ledger, state)

        answer, reason = self.live(look)
        if answer is None:
            return self.states_from_runs(to), self.source(reason, live=False), None
        return migration_states.from_ledger(self.folder, answer[0], to=to), self.source(None, live=True), answer[1]

    def states_from_runs(self, to: str | None = None) -> migration_states.MigrationStates:
        """The same from what runs left, without asking the target."""
        plan = self.newest_plan
        if plan is None:
            return migration_states.from_nothing(self.folder)
        failed = () if plan.value.get("mode") == "dry_run" else self.left.failures
        failures = [*plan.failures, *(each.attempt for each in failed if each.key == plan.key)]
        return migration_states.from_results(self.folder, plan, self.left.records, failures, self._left_out, to=to)

    @property
    def _left_out(self) -> Mapping[str, str]:
        """Version -> why the last plan for everything left it out. In another environment it may be no reason to."""
        plan = self.own_plan.value if self.own_plan else {}
        same = chosen_environment(plan.get("environment")) == self.target.environment
        return plan.get("left_out") or {} if same and plan.get("to") is None else {}

    def source(self, reason: Reason | None, *, live: bool) -> schemas.Source:
        """Where an answer comes from."""
        now, plan = utc_now(), None if live else self.newest_plan
        if live:
            return schemas.Source(kind="live", as_of=now, age_seconds=0.0)
        if plan is None:
            return schemas.Source(kind="none", reason=reason)
        as_of = max(plan.at, self.left.changed_at or plan.at)
        age, (dag_id, run_id, _) = max((now - as_of).total_seconds(), 0.0), plan.key
        return schemas.Source(kind="report", as_of=as_of, age_seconds=age, dag_id=dag_id, run_id=run_id, reason=reason)

    # What every answer says of the group

    @cached_property
    def described(self) -> schemas.Group:
        ids = {group.dag_id for group in self.both}
        dags = {d.dag_id: d for d in self.session.scalars(select(DagModel).where(DagModel.dag_id.in_(ids)))}
        dag, undo = dags[self.group.dag_id], self.undo if self.undo and self.undo.dag_id in dags else None
        return schemas.Group(
            dag_id=dag.dag_id,
            dag_display_name=dag.dag_display_name,
            group_id=self.group.group_id,
            description=dag.description,
            **asdict(self.target),
            server=self._server,
            is_mapped=self.group.is_mapped,
            is_paused=bool(dag.is_paused),
            is_stale=bool(dag.is_stale),
            has_import_errors=bool(dag.has_import_errors),
            rollback_dag=schemas.RollbackDag(
                dag_id=undo.dag_id, group_id=undo.group_id, is_paused=bool(dags[undo.dag_id].is_paused)
            )
            if undo
            else None,
            migrate=choices(self.group, self.target.environment),
            rollback=choices(undo, self.target.environment) if undo else None,
            rights=schemas.Rights(
                read_database=self.readable,
                migrate=self.may_start(self.group),
                rollback=undo is not None and self.may_start(undo),
            ),
            url=dag_url(dag.dag_id),
        )

    def may_start(self, group: GroupTasks) -> bool:
        """Whether the caller may start runs of the group's DAG that work on this target and no other."""
        alone = self.target.map_index is None or not group.is_mapped
        return alone and access.may_start(self.session, self.user, group.dag_id)


def view(
    session: Session,
    user: Any,
    dag_id: str,
    group_id: str,
    map_index: int | None = None,
    environment: str | None = None,
) -> GroupView:
    """A group by its names.

    :param map_index: of a mapped group one of its databases.
    :param environment: as a run would choose it.
    :raises ProblemError: the caller may not read the DAG, there is no such group, or its runs cannot choose that
        environment.
    """
    if not access.may_read_dag(session, user, dag_id):
        raise ProblemError(403, "forbidden", "you may not read this DAG with its runs, tasks and XComs")
    catalog = CATALOG.groups(session)
    mine = {group.group_id: group for group in catalog.get(dag_id, ()) if group.direction == "apply"}
    if group_id not in mine or session.get(DagModel, dag_id) is None:
        hint = f"it has {', '.join(mine)}" if mine else "it has none that migrates"
        raise ProblemError(404, "unknown_group", f"DAG {dag_id} has no migration group {group_id}; {hint}")
    group = mine[group_id]
    if environment is not None:
        check_environment(group, environment)
    target = target_of(session, group, environment, map_index)
    return GroupView(session, user, group, target, _all_of(catalog))


def views(session: Session, user: Any) -> list[GroupView]:
    """Every database of every migration group that the caller may read, by DAG and name."""
    from airflow.api_fastapi.app import get_auth_manager

    catalog = CATALOG.groups(session)
    everything = _all_of(catalog)
    mine = get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)
    there = set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(set(catalog) & set(mine)))))
    return [
        GroupView(session, user, group, target, everything)
        for dag_id in sorted(there)
        if access.may_read_dag(session, user, dag_id)
        for group in catalog[dag_id]
        if group.direction == "apply"
        for target in targets(session, group)
    ]


def _all_of(catalog: Mapping[str, Sequence[GroupTasks]]) -> list[GroupTasks]:
    return [group for groups in catalog.values() for group in groups]
