"""Where each migration of a group stands, as the engine tells it from a ledger or from what runs left. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import (
    CHECKSUM_ALGORITHM,
    Entry,
    Identity,
    LastEvent,
    Migration,
    Script,
    State,
    Status,
    version_key,
)
from airflow_provider_wmigrate.engine.plan.overview import Overview, overview

from .catalog import GroupTasks, StepTask
from .task_results import PlanResult, TaskResult

_OF_EXECUTION = ("late_migrations", "timeout_seconds", "when_extension_missing")
"""What the DAG says of `settings.execution`."""
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, slots=True)
class MigrationStates:
    """The engine's overview, and how the applied migrations came to be."""

    overview: Overview
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """By version. Of what runs left, only those whose record is there."""

    @property
    def statuses(self) -> Mapping[str, Status]:
        """By version, in numeric order."""
        return self.overview.plan.statuses

    @property
    def schema_version(self) -> str | None:
        """The highest applied version."""
        there = [v for v, status in self.statuses.items() if not status.is_pending]
        return max(there, key=version_key, default=None)


@lru_cache(maxsize=64)
def stand_in(group: GroupTasks, environment: str | None) -> Folder:
    """The folder as the engine needs it to compare: all that its tasks say of it, without any text.

    A group is the same object for as long as its DAG is, and a thousand migrations take their time.
    """
    given = group.settings(environment)
    base = Config().settings
    ledger = base.ledger.having(schema_name=given.get("ledger_schema", base.ledger.schema_name))
    execution = base.execution.having(**{name: given[name] for name in _OF_EXECUTION if name in given})
    settings = base.having(ledger=ledger, execution=execution)
    migrations = tuple(_migration(step, execution.when_extension_missing) for step in group.steps)
    graph = Graph({m.version: m.dependencies for m in migrations})
    return Folder(Path(group.group_id), Config(settings=settings), migrations, graph)


def _migration(step: StepTask, when_extension_missing: str) -> Migration:
    doc = step.doc
    return Migration(
        version=step.version,
        name=step.name,
        script=Script(doc.script.file if doc.script else f"{step.stem}.sql", "", step.checksum),
        rollback=Script(doc.rollback.file, "", doc.rollback.checksum) if doc.rollback else None,
        description=doc.description,
        dependencies=doc.dependencies,
        dependencies_implied=doc.dependencies_implied,
        requires_extensions=doc.required(when_extension_missing),
    )


def from_nothing(folder: Folder) -> MigrationStates:
    """As if no database had ever been seen."""
    return MigrationStates(_overview(folder, State()))


def from_ledger(folder: Folder, state: State, *, to: str | None = None) -> MigrationStates:
    """What the database says now."""
    return MigrationStates(_overview(folder, state, to), {entry.version: entry for entry in state.entries})


def _overview(folder: Folder, state: State, to: str | None = None) -> Overview:
    late = folder.config.settings.execution.late_migrations
    return overview(folder.migrations, folder.graph, state, to=to, late=late)


# What runs left


def from_results(
    folder: Folder,
    plan: PlanResult,
    records: Sequence[TaskResult],
    failures: Sequence[LastEvent],
    left_out: Mapping[str, str],
    *,
    to: str | None = None,
) -> MigrationStates:
    """What the newest plan saw, carried on by what tasks did after it, held against the files of today.

    :param records: oldest first, of the runs on this target.
    :param failures: of each version the last one that nothing has settled since.
    :param left_out: version -> why a plan for everything left it out; only a look at the server can tell it again.
    """
    newest = {record.version: record for record in records if record.outcome in ("applied", "rolled_back")}
    known = {version: _status(name) for version, name in plan.value["statuses"].items()}
    later = {version: record for version, record in newest.items() if record.at > plan.at}
    known |= {v: Status.APPLIED if record.outcome == "applied" else Status.PENDING for v, record in later.items()}
    files = {m.version: m for m in folder.migrations}
    entries = {v: _entry_of(r) for v, r in newest.items() if r.outcome == "applied" and not _is_pending(known, v)}
    made = [
        replace(entries[version], status="incomplete" if status is Status.INCOMPLETE else "applied")
        if version in entries
        else _entry(version, status, files.get(version))
        for version, status in known.items()
        if not status.is_pending
    ]
    forgotten = [v for v, status in known.items() if status is Status.FORGOTTEN]
    said = [LastEvent(v, "repaired", _LONG_AGO, Identity(""), forgotten=True) for v in forgotten]
    seen = _overview(folder, State(tuple(made), last_events=(*failures, *said)), to)
    return MigrationStates(_without(seen, left_out), entries)


def _status(name: str) -> Status:
    return Status(name) if name in Status._value2member_map_ else Status.PENDING


def _is_pending(known: Mapping[str, Status], version: str) -> bool:
    return version in known and known[version].is_pending


def _entry_of(record: TaskResult) -> Entry:
    value = record.value
    identity = Identity(record.actor or "", record.key.dag_id, record.key.run_id, record.task_id)
    statements = int(value.get("statements") or 0)
    return _made_up(
        record.version,
        name=str(value.get("name", "")),
        checksum=str(value.get("checksum", "")),
        applied_at=record.at,
        duration_ms=int(value.get("duration_ms") or 0),
        statements_done=statements,
        statements_total=statements,
        identity=identity,
    )


def _entry(version: str, status: Status, file: Migration | None) -> Entry:
    """As if the ledger had told that status; which text was applied is not known."""
    as_file = file is not None and status in (Status.APPLIED, Status.MISSING, Status.FORGOTTEN)
    return _made_up(
        version,
        name=file.name if file else "",
        status="incomplete" if status is Status.INCOMPLETE else "applied",
        checksum=file.script.checksum if file and as_file else "",
        dependencies=file.dependencies if file else (),
    )


def _made_up(version: str, **known: Any) -> Entry:
    unknown: dict[str, Any] = {
        "status": "applied",
        "checksum_algorithm": CHECKSUM_ALGORITHM,
        "dependencies": (),
        "rollback_checksum": None,
        "applied_at": _LONG_AGO,
        "duration_ms": 0,
        "statements_done": 0,
        "statements_total": 0,
        "statement_hashes": (),
        "identity": Identity(""),
    }
    return Entry(version, **{**unknown, **known})


def _without(seen: Overview, left_out: Mapping[str, str]) -> Overview:
    """The overview with migrations left out that it holds for steps."""
    plan = seen.plan
    out = {step.version: left_out[step.version] for step in plan.steps if step.version in left_out}
    plan = replace(
        plan,
        steps=tuple(step for step in plan.steps if step.version not in out),
        statuses={**plan.statuses, **dict.fromkeys(out, Status.LEFT_OUT)},
        left_out={**plan.left_out, **out},
    )
    standings = tuple(
        replace(each, status=Status.LEFT_OUT, reason=out[each.version]) if each.version in out else each
        for each in seen.standings
    )
    return replace(seen, plan=plan, standings=standings)
