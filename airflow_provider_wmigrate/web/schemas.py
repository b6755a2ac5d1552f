"""What the API says and accepts: one model per answer. The page is built against exactly these.

Times are ISO 8601 in UTC, durations milliseconds, `url`s relative to Airflow's root without a leading slash.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from airflow_provider_wmigrate.engine.codes import EVENTS
from airflow_provider_wmigrate.engine.foreseen import Forecast
from airflow_provider_wmigrate.engine.health.checks import Check
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Finding, Step
from airflow_provider_wmigrate.engine.record import Bystanders

from .described import Answer
from .described import AskedPerson as AskedPerson
from .described import Choices as Choices
from .described import Group as Group
from .described import Reason as Reason
from .described import Rights as Rights
from .described import RollbackDag as RollbackDag
from .described import Run as Run
from .described import Server as Server
from .described import Source as Source

StatusName = Literal["pending", "failed", "left_out", "applied", "changed", "missing", "forgotten", "incomplete"]


class _OfGroup(Answer):
    group: Group
    source: Source


class Counts(Answer):
    """Migrations by status."""

    pending: int = 0
    failed: int = 0
    left_out: int = 0
    applied: int = 0
    changed: int = 0
    missing: int = 0
    forgotten: int = 0
    incomplete: int = 0


class GroupSummary(_OfGroup):
    """A group at a glance, from the last run's report: the list reads no target database."""

    state: Literal["current", "pending", "attention", "unknown"] = Field(
        description="`attention`: the last run failed, or a migration is changed, missing or incomplete. "
        "`pending`: something waits to be applied. `unknown`: no run has looked yet."
    )
    migrations: int = Field(description="In the folder.")
    counts: Counts
    schema_version: str | None = Field(default=None, description="Highest applied version.")
    last_run: Run | None = None


class GroupList(Answer):
    """Every migration group the caller may read."""

    caller: str = Field(description="Name of the caller.")
    groups: list[GroupSummary]
    total_entries: int


class _InAirflow(Answer):
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    url: str | None = Field(default=None, description="The task instance's page in Airflow, which shows its log.")


class TaskState(_InAirflow):
    """The migration's task in the newest run of the group in which it did anything."""

    state: str | None = None
    try_number: int
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Failure(_InAirflow):
    """The last attempt at a migration, which failed and which nothing has settled."""

    direction: Literal["apply", "rollback"]
    at: datetime
    actor: str | None = None
    error: str
    sqlstate: str | None = None
    try_number: int | None = None
    run_url: str | None = None


class MigrationItem(Answer):
    """One migration in the list."""

    version: str
    name: str
    description: str = ""
    dependencies: list[str] = Field(description="Versions, as the folder declares them now.")
    status: StatusName
    reason: str | None = Field(default=None, description="Of `left_out`: why no run will apply it here.")
    failure: Failure | None = Field(default=None, description="Also of an applied one whose rollback failed.")
    task_id: str | None = Field(default=None, description="Null when the file is gone.")
    checksum: str | None = Field(default=None, description="SHA-256 of the file; null when it is gone.")
    applied_checksum: str | None = Field(default=None, description="SHA-256 of what was applied.")
    has_rollback: bool
    rollback_differs: bool = Field(default=False, description="Ledger and folder have different rollback scripts.")
    applied_at: datetime | None = None
    actor: str | None = None
    duration_ms: int | None = None
    run_id: str | None = Field(default=None, description="The run that applied it.")
    run_url: str | None = None
    log_url: str | None = Field(default=None, description="The task instance that applied it, with its log.")
    last_task: TaskState | None = None


class StatusAnswer(_OfGroup):
    """Every migration with its status."""

    counts: Counts
    schema_version: str | None = None
    ledger_version: int | None = Field(default=None, description="Null: no ledger in the database, or not live.")
    migrations: list[MigrationItem] = Field(description="In numeric order.")
    last_run: Run | None = None


class Authenticated(Answer):
    """Whom the database server let in, by its own knowledge."""

    user: str | None = Field(default=None, description="The role that logged in.")
    address: str | None = Field(default=None, description="Of the client; null: over a Unix socket.")
    pid: int | None = Field(default=None, description="The server process.")


class HistoryEvent(_InAirflow):
    """Something that happened to one migration."""

    at: datetime
    event: str = Field(description=f"One of {', '.join(EVENTS)}.")
    version: str | None = None
    actor: str | None = Field(default=None, description="Who it was, as the caller claims.")
    authenticated: Authenticated | None = Field(default=None, description="Null: only Airflow knows of it.")
    duration_ms: int | None = None
    error: str | None = None
    dry_run: bool = Field(default=False, description="Nothing of it was kept.")
    reason: str | None = Field(default=None, description="Of `not_tried`: why, with file and line.")
    rows: int | None = None
    statements: int | None = None
    locks: list[LockTaken] = Field(default_factory=list, description="Held just before the end.")
    bystanders: Bystanders | None = Field(default=None, description="What others felt of it; null: nobody looked.")
    felt: str | None = Field(default=None, description="The same as a sentence.")


class HistoryAnswer(_OfGroup):
    """What happened: runs from Airflow, events of the migrations from the ledger's audit log, newest first."""

    runs: list[Run] = Field(description="Newest first; the 25 newest at most.")
    events: list[HistoryEvent]
    next_before: int | None = Field(default=None, description="Give it as `before` for the next page; null: the end.")


class PlanAnswer(_OfGroup):
    """What a run would do now."""

    steps: list[Step]
    findings: list[Finding] = Field(
        description="`error` stops a run before anything is touched. Findings in SQL scripts are those of the last "
        "plan that a run made; the web server does not read the folder."
    )
    left_out: dict[str, str] = Field(description="Pending versions that are no step, with the reason.")
    forecast: list[Forecast] = Field(
        description="What steps will lock, who would wait, and who uses what they take away (`blast`). As of the last "
        "plan that a run made, with the tasks that use it now."
    )
    blast: dict[str, list[str]] = Field(
        default={}, description="Version -> its blast radius in sentences, for a person."
    )
    backup_needed: dict[str, str] = Field(
        default={}, description="Version -> why it needs a backup before it. As of the last plan that a run made."
    )
    planned_at: datetime | None = Field(default=None, description="When a run last planned.")
    planned_run_id: str | None = None


class HealthAnswer(_OfGroup):
    """Whether the target is well."""

    status: Literal["healthy", "degraded", "unhealthy", "unknown"]
    reasons: list[str] = Field(description="Why it is not healthy; empty when it is.")
    checks: list[Check]


class AuditRowItem(_InAirflow):
    """One row of the audit log."""

    position: int
    at: datetime
    event: str
    version: str | None = None
    actor: str = Field(description="Who it was, as the caller claims.")
    authenticated: Authenticated | None = None
    try_number: int | None = None
    duration_ms: int | None = None
    details: dict[str, Any]
    hash: str


class Chain(Answer):
    """Whether the audit log's hash chain adds up."""

    state: Literal["not_checked", "intact", "broken", "timeout"]
    findings: list[Finding] = Field(default_factory=list)
    head: str | None = Field(default=None, description="`count:hash`, as the database says.")
    expected_head: str | None = Field(default=None, description="As the last run kept it outside of the database.")


class AuditAnswer(_OfGroup):
    """A page of the audit log, newest first."""

    rows: list[AuditRowItem]
    total_entries: int | None = Field(default=None, description="Rows that match; null when the database was not read.")
    next_before: int | None = Field(default=None, description="Give it as `before` for the next page; null: the end.")
    chain: Chain


class ScriptText(Answer):
    """One script, or why its text is not shown."""

    text: str | None = None
    origin: Literal["dag", "folder", "ledger", "unavailable"] = Field(
        description="`dag`: as the file was last parsed. `folder`: the same, read from the folder as it is deployed. "
        "`ledger`: as it was when the migration was applied."
    )
    file: str | None = None
    checksum: str | None = None
    reason: str | None = Field(default=None, description="Why there is no text, and where to find it.")
    lines: int | None = Field(default=None, description="Of the whole script.")
    next_line: int | None = Field(
        default=None,
        description="`text` ends before this line; ask for the rest with `from_line`. Null: it is the end.",
    )


class MigrationAnswer(_OfGroup):
    """One migration with its scripts and its history."""

    migration: MigrationItem
    checksum_algorithm: str = "sha256"
    statements_done: int | None = None
    statements_total: int | None = None
    dependents: list[str] = Field(description="Versions that depend on it.")
    sql: ScriptText
    rollback: ScriptText
    folder_rollback: ScriptText | None = Field(
        default=None, description="The folder's, where `rollback` is the ledger's and they differ."
    )
    events: list[HistoryEvent] = Field(description="Newest first; the 50 newest at most.")


class DurationItem(Answer):
    """How long one migration took when it was applied last."""

    version: str
    name: str
    duration_ms: int
    applied_at: datetime | None = None


class DayItem(Answer):
    """What happened on one day (UTC). Days on which nothing happened are there too."""

    day: date
    applied: int = 0
    failed: int = 0
    rolled_back: int = 0
    rollback_failed: int = 0
    dry_run: int = 0


class MetricsAnswer(_OfGroup):
    """Numbers over time."""

    durations: list[DurationItem] = Field(description="In numeric order of the versions.")
    days: list[DayItem] = Field(description="Oldest first.")
    totals: DayItem = Field(description="Sum over the days; `day` is the last of them.")
