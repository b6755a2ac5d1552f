"""What is known of a group's migrations, from the ledger or from what runs left: pure, and alike for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.folder.config import Config
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import (
    CHECKSUM_ALGORITHM,
    Entry,
    Identity,
    Migration,
    Script,
    State,
    Status,
    version_key,
)
from airflow_provider_wmigrate.engine.plan.planner import plan_apply

from .catalog import GroupTasks, StepTask

if TYPE_CHECKING:
    from .run_results import PlanResult, TaskResult


@dataclass(frozen=True, slots=True)
class Applied:
    """How a migration came to be applied."""

    checksum: str
    at: datetime
    actor: str | None
    duration_ms: int
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    has_rollback: bool
    name: str
    statements: tuple[int, int] | None = None
    """Done, total."""


@dataclass(frozen=True, slots=True)
class MigrationStates:
    """Statuses of all versions in numeric order, and how the applied ones came to be."""

    statuses: Mapping[str, Status]
    applied: Mapping[str, Applied] = field(default_factory=dict)
    as_of: datetime | None = None
    """None: nothing is known but the DAG file."""
    dag_id: str | None = None
    run_id: str | None = None
    ledger_version: int | None = None

    @property
    def schema_version(self) -> str | None:
        """The highest applied version."""
        there = [v for v, status in self.statuses.items() if not status.is_pending]
        return max(there, key=version_key, default=None)


def stand_in(group: GroupTasks, environment: str | None) -> Folder:
    """The folder as the engine needs it to compare: all that its tasks say of it, without any text."""
    given = dict(group.settings(environment))
    base = Config().settings
    ledger = base.ledger.model_copy(update={"schema_name": given.pop("ledger_schema", base.ledger.schema_name)})
    execution = base.execution.model_copy(update=given)
    settings = base.model_copy(update={"ledger": ledger, "execution": execution})
    migrations = tuple(_migration(step, execution.when_extension_missing) for step in group.steps)
    graph = Graph({m.version: m.dependencies for m in migrations})
    return Folder(Path(group.group_id), Config().model_copy(update={"settings": settings}), migrations, graph)


def _migration(step: StepTask, when_extension_missing: str) -> Migration:
    doc = step.doc
    return Migration(
        version=step.version,
        name=step.name,
        script=Script(doc.script.file if doc.script else f"{step.stem}.sql", "", step.checksum),
        rollback=Script(doc.rollback.file, "", doc.rollback.checksum) if doc.rollback else None,
        description=doc.description,
        dependencies=doc.dependencies,
        requires_extensions=doc.required(when_extension_missing),
    )


def from_nothing(group: GroupTasks) -> MigrationStates:
    """As if no database had ever been seen."""
    return MigrationStates({step.version: Status.PENDING for step in group.steps})


def from_ledger(folder: Folder, state: State, now: datetime) -> MigrationStates:
    """What the database says now."""
    applied = {entry.version: _applied(entry) for entry in state.entries}
    known = plan_apply(folder.migrations, folder.graph, state).statuses
    return MigrationStates(known, applied, now, ledger_version=state.ledger_version)


def _applied(entry: Entry) -> Applied:
    who = entry.identity
    return Applied(
        checksum=entry.checksum,
        at=entry.applied_at,
        actor=who.actor,
        duration_ms=entry.duration_ms,
        dag_id=who.dag_id,
        run_id=who.run_id,
        task_id=who.task_id,
        has_rollback=entry.rollback_checksum is not None,
        name=entry.name,
        statements=(entry.statements_done, entry.statements_total),
    )


def from_results(group: GroupTasks, plan: PlanResult, records: Sequence[TaskResult]) -> MigrationStates:
    """What the newest plan saw, carried on by what tasks did after it.

    :param records: oldest first, of the runs on this target.
    """
    newest = {record.version: record for record in records if record.outcome in ("applied", "rolled_back")}
    known = {version: _status(name) for version, name in plan.value["statuses"].items()}
    if plan.value.get("to"):  # what was beyond its target is not left out for whoever asks now
        known = {v: Status.PENDING if status is Status.LEFT_OUT else status for v, status in known.items()}
    as_of = plan.at
    for version, record in newest.items():
        if record.at > plan.at:
            known[version] = Status.APPLIED if record.outcome == "applied" else Status.PENDING
            as_of = max(as_of, record.at)
    applied = {v: _left(group, r) for v, r in newest.items() if r.outcome == "applied" and known.get(v) != "pending"}
    files = {step.version: step.checksum for step in group.steps}
    compared = {
        v: _compared(known.get(v), files.get(v), applied.get(v)) for v in sorted({*files, *known}, key=version_key)
    }
    return MigrationStates(
        {version: status for version, status in compared.items() if status is not None},
        applied,
        as_of,
        plan.group.dag_id,
        plan.run_id,
    )


def _status(name: str) -> Status:
    return Status(name) if name in Status._value2member_map_ else Status.PENDING


def _compared(status: Status | None, file: str | None, applied: Applied | None) -> Status | None:
    """A status of the past, held against the files of today; None: gone, and never applied."""
    if status is None or status.is_pending:
        return (status or Status.PENDING) if file is not None else None
    if status is Status.INCOMPLETE:
        return status
    if file is None:
        return Status.MISSING
    if applied is None:
        return Status.APPLIED if status is Status.MISSING else status
    return Status.APPLIED if applied.checksum == file else Status.CHANGED


def _left(group: GroupTasks, record: TaskResult) -> Applied:
    step = next((s for s in group.steps if s.version == record.version), None)
    return Applied(
        checksum=str(record.value.get("checksum", "")),
        at=record.at,
        actor=record.actor,
        duration_ms=int(record.value.get("duration_ms") or 0),
        dag_id=record.dag_id,
        run_id=record.run_id,
        task_id=record.task_id,
        has_rollback=step is not None and step.doc.rollback is not None,
        name=str(record.value.get("name", "")),
    )


def as_state(known: MigrationStates, folder: Folder) -> State:
    """MigrationStates as if a ledger had told them, so that the planner can be asked."""
    files = {m.version: m for m in folder.migrations}
    entries = [
        _entry(version, status, files.get(version), known.applied.get(version))
        for version, status in known.statuses.items()
        if not status.is_pending
    ]
    return State(tuple(entries))


def _entry(version: str, status: Status, file: Migration | None, applied: Applied | None) -> Entry:
    unchanged = file.script.checksum if file is not None and status is Status.APPLIED else ""
    return Entry(
        version=version,
        name=applied.name if applied else (file.name if file else ""),
        status="incomplete" if status is Status.INCOMPLETE else "applied",
        checksum=unchanged,
        checksum_algorithm=CHECKSUM_ALGORITHM,
        dependencies=file.dependencies if file else (),
        rollback_checksum=None,
        applied_at=applied.at if applied else datetime.fromtimestamp(0, timezone.utc),
        duration_ms=0,
        statements_done=0,
        statements_total=0,
        statement_hashes=(),
        identity=Identity(""),
    )


def dependents_of(group: GroupTasks, version: str) -> list[str]:
    """The versions that declare this one."""
    return [step.version for step in group.steps if version in step.dependencies]


def count(found: Iterable[Status]) -> dict[str, int]:
    """How many of each status."""
    values = [status.value for status in found]
    return {status.value: values.count(status.value) for status in Status}
