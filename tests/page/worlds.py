"""Worlds for the page: what the API would answer, made with the API's own models, so that they cannot drift apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.foreseen import LockForecast
from airflow_provider_wmigrate.web import schemas as s

from .made import (
    DAG,
    DOWN,
    GROUP,
    HOSTILE,
    LIVE,
    NOT_THERE,
    REPORT,
    ago,
    hostile_items,
    make_group,
    make_run,
    many_items,
    sha256,
    usual_items,
)

__all__ = [
    "DAG",
    "DOWN",
    "GROUP",
    "HOSTILE",
    "REPORT",
    "World",
    "asking_world",
    "broken_chain",
    "hostile_items",
    "make_run",
    "make_world",
    "many_items",
    "mapped_world",
    "s",
    "usual_items",
]

NOT_TRIED = "017_currency_rates.sql:2: CREATE INDEX CONCURRENTLY cannot run inside a transaction"
SQL = """-- Products and what moves in and out.
CREATE TABLE warehouse.products (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku     text NOT NULL UNIQUE,
    weight  numeric(10, 3) CHECK (weight > 0),
    created timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX products_created_idx ON warehouse.products (created DESC);

COMMENT ON TABLE warehouse.products IS 'One row per article; it''s never deleted';

CREATE FUNCTION warehouse.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();  -- always the server's clock
    RETURN NEW;
END $$;
"""


@dataclass
class World:
    """One state of everything. `denied` answers every call with that status."""

    groups: list[s.GroupSummary]
    status: s.StatusAnswer
    plan: s.PlanAnswer
    health: s.HealthAnswer
    history: s.HistoryAnswer
    audit: s.AuditAnswer
    metrics: s.MetricsAnswer
    detail: Callable[[str], s.MigrationAnswer]
    denied: int | None = None
    one: World | None = None
    """What is told of one database of a mapped group."""
    run_states: list[str] = field(default_factory=lambda: ["queued", "running", "running", "success"])
    tasks_done: int = 3
    asking: str | None = None
    """Task of the run under way that waits for an answer."""
    older: s.HistoryAnswer | None = None
    """What is told of the history before what `history` tells."""
    started: list[dict[str, Any]] = field(default_factory=list)
    rest: dict[int, s.ScriptText] = field(default_factory=dict)
    """Line -> what is told of a long script from there on."""


def make_world(
    items: Sequence[s.MigrationItem] | None = None, *, source: s.Source = LIVE, may: bool = True, **group_changes: Any
) -> World:
    items = list(usual_items() if items is None else items)
    group = make_group(may=may, **group_changes)
    counts = s.Counts(**{name: sum(i.status == name for i in items) for name in s.Counts.model_fields})
    done = [item for item in items if item.status not in NOT_THERE]
    version = done[-1].version if done else None
    whole = {"group": group, "source": source}
    is_live = source.kind == "live"
    return World(
        groups=_groups(group, items, counts, version),
        status=s.StatusAnswer(
            **whole,
            counts=counts,
            schema_version=version,
            ledger_version=1 if is_live else None,
            migrations=items,
            last_run=make_run("failed", failed=["migrate.017_currency_rates"]) if _is_usual(items) else make_run(),
        ),
        plan=_plan(whole, items),
        health=_health(whole, source, items),
        history=s.HistoryAnswer(**whole, runs=_runs(), events=_events(items)[:12], next_before=None),
        audit=_audit(whole, items) if is_live else s.AuditAnswer(**whole, rows=[], chain=s.Chain(state="not_checked")),
        metrics=_metrics(whole, items),
        detail=lambda v: _detail(whole, items, v),
    )


def asking_world() -> World:
    """A run waits for a person to approve the plan, of which some needs a backup, and drops a column that is used."""
    world = make_world()
    world.asking, world.tasks_done = f"{GROUP}.approve", 1
    url = f"dags/{DAG}/runs/manual__1/tasks/{world.asking}/required_actions"
    asked = s.AskedPerson(task_id=world.asking, map_index=-1, since=ago(hours=2), url=url)
    run = make_run("running", run_id="manual__1", applied=[], started_at=ago(hours=2), asks=[asked])
    world.run_states = ["running"] * 400
    world.groups[0].last_run = world.status.last_run = run
    world.history.runs.insert(0, run)
    world.plan = s.PlanAnswer(**{**dict(world.plan), **used_and_backed_up(world.plan.forecast)})
    return world


def used_and_backed_up(forecast: Sequence[s.Forecast]) -> dict[str, Any]:
    """Of a plan: what drops something, who uses that, and that a backup comes first; findings of a first look."""
    column = "column warehouse.temperature_sensors.unit"
    why = f"it takes away {column} with 41,873 values (counted)"
    blast = [
        f"drops {column} (line 3)",
        "used by, certain: view reporting.cold_rooms (it depends on it: the server refuses the drop, or CASCADE takes"
        " it along)",
        "used by, likely: task nightly_report.summarize (its sql names the table and the column)",
        "used by, perhaps: DAG file dags/exports.py (the words stand there)",
        "not looked at: statements of programs: the extension pg_stat_statements is not installed",
    ]
    drift = "index public.orders_by_day is new (created by dba@reporting at 2026-06-30 22:14 UTC)"
    known = "the schema has 1 difference from what was known after 015 (2026-06-30 12:00 UTC)"
    graded = "the rollback of 019 is not exact: it gives back the schema, but not the rows"
    again = "`wmigrate verify 019 --write"
    findings = [
        s.Finding(
            code="rollback_unproven",
            severity="error",
            version="019",
            file="migration_verdicts.txt",
            line=20,
            message=graded,
            next_step=f"correct it and prove it with {again}`; or, if that is all right: {again} --accept 019`",
        ),
        s.Finding(
            code="drift",
            severity="warning",
            message=f"{known}: {drift}",
            next_step="`wmigrate drift` tells all; undo it, or take what is there now as known:"
            " `wmigrate drift --accept`",
        ),
    ]
    more = s.Forecast("019", forecast[0].locks[1:])
    return {"forecast": [*forecast, more], "blast": {"019": blast}, "backup_needed": {"019": why}, "findings": findings}


def mapped_world() -> World:
    """A mapped group on two databases."""
    nobody = s.Source(kind="none", reason=s.Reason(code="mapped_group", message="Choose one of them by its map index."))
    whole = make_world(source=nobody, is_mapped=True, conn_id=None, rollback_dag=None, rollback=None)
    cards = [
        whole.groups[0].model_copy(
            update={"group": whole.groups[0].group.model_copy(update={"map_index": index, "conn_id": name})}
        )
        for index, name in enumerate(["berlin_db", "paris_db"])
    ]
    whole.groups = cards
    whole.one = make_world(is_mapped=True, map_index=1, conn_id="paris_db")
    return whole


def _groups(
    group: s.Group, items: Sequence[s.MigrationItem], counts: s.Counts, version: str | None
) -> list[s.GroupSummary]:
    source = s.Source(kind="report", as_of=ago(hours=3), age_seconds=10_800, dag_id=DAG, run_id="manual__1")

    def summary(
        state: str, counts: s.Counts, run: s.Run | None, version: str | None = version, **changes: Any
    ) -> s.GroupSummary:
        total = sum(counts.model_dump().values())
        return s.GroupSummary(
            group=group.model_copy(update=changes),
            state=state,
            migrations=total,
            counts=counts,
            schema_version=version,
            last_run=run,
            source=source,
        )  # type: ignore[arg-type]

    other = {
        "dag_id": "stock_pipeline",
        "dag_display_name": "stock_pipeline",
        "group_id": "schema",
        "conn_id": "stock_db",
    }
    third = {
        "dag_id": "billing",
        "dag_display_name": "billing",
        "group_id": "migrate",
        "conn_id": "billing_db",
        "environment": None,
    }
    fourth = {
        "dag_id": "telemetry",
        "dag_display_name": "telemetry",
        "group_id": "migrate",
        "conn_id": "timescale_eu",
        "is_paused": True,
    }
    return [
        summary("attention", counts, make_run("failed", failed=["migrate.017_currency_rates"])),
        summary(
            "current", s.Counts(applied=42), make_run(started_at=ago(days=2), ended_at=ago(days=2)), "042", **other
        ),
        summary("pending", s.Counts(applied=7, pending=2), make_run(mode="dry_run"), "007", **third),
        summary("unknown", s.Counts(pending=5), None, None, **fourth),
    ]


def _plan(whole: dict[str, Any], items: Sequence[s.MigrationItem]) -> s.PlanAnswer:
    waiting = [i for i in items if i.status in ("pending", "failed", "incomplete")]
    findings = []
    if _is_usual(items):
        findings = [
            s.Finding(
                code="checksum_mismatch",
                severity="error",
                version="009",
                file="009_shelf_locations.sql",
                line=None,
                message="009_shelf_locations.sql was edited after it was applied",
                next_step="restore the file, or accept the edit with `wmigrate repair 009`",
            ),
            s.Finding(
                code="drop_without_rollback",
                severity="warning",
                version="018",
                file="018_audit_partitions.sql",
                line=14,
                column=3,
                message="DROP COLUMN cannot be undone by the rollback script",
                next_step="keep the column for one more release",
            ),
        ]
    return s.PlanAnswer(
        **whole,
        steps=[s.Step(action="apply", version=i.version, name=i.name, checksum=i.checksum or "") for i in waiting],
        findings=findings,
        left_out={i.version: i.reason or "" for i in items if i.status == "left_out"},
        forecast=[_forecast(i.version) for i in waiting[:1]],
        planned_at=ago(hours=3),
        planned_run_id="manual__1",
    )


def _forecast(version: str) -> s.Forecast:
    blocks = "blocks reads and writes of public.orders (12 GB) for as long as the statement of line 3 runs"
    orders = f"{blocks}: it writes the table anew"
    items = "blocks writes of public.items (9.2 MB) for a moment"
    locks = (
        LockForecast("public.orders", "AccessExclusiveLock", orders, "rewrite", 12 * 1024**3),
        LockForecast("public.items", "ShareLock", items, None, 9_600_000),
    )
    return s.Forecast(version, locks, ("line 9 may lock more than can be foreseen: a DO block runs",))


def _is_usual(items: Sequence[s.MigrationItem]) -> bool:
    return any(item.status == "changed" for item in items)


def _health(whole: dict[str, Any], source: s.Source, items: Sequence[s.MigrationItem]) -> s.HealthAnswer:
    def check(name: str, status: Any, message: str, next_step: str = "") -> s.Check:
        return s.Check(name=name, status=status, reason=message, next_step=next_step)

    if source is DOWN:
        message = "connection refused at db.example:5432"
        return s.HealthAnswer(
            **whole,
            status="unhealthy",
            reasons=[f"connection: {message}"],
            checks=[check("connection", "unhealthy", message, "start the database")],
        )
    if source.kind != "live":
        return s.HealthAnswer(**whole, status="unknown", reasons=["You may not read the connection"], checks=[])
    checks = [
        check("connection", "healthy", "PostgreSQL 16.4 answered in 12 ms"),
        check("ledger", "healthy", "present, version 1"),
        check("checksums", "degraded", "1 file was edited after it was applied: 009", "restore it or repair"),
        check(
            "pending",
            "degraded",
            "2 migrations pending: 017, 019; 018: extension timescaledb is not available on this server",
            "run the migrations",
        ),
        check("audit_chain", "healthy", "141 rows follow one another"),
    ]
    if not _is_usual(items):
        checks[2] = check("checksums", "healthy", "every file is as it was applied")
        waiting = [item.version for item in items if item.status == "pending"]
        checks[3] = check("pending", "healthy", "nothing is pending")
        if waiting:
            told = f"{len(waiting)} migrations pending: {', '.join(waiting[:5])}"
            checks[3] = check("pending", "degraded", told, "run the migrations")
    reasons = [f"{one.name}: {one.reason}" for one in checks if one.status != "healthy"]
    return s.HealthAnswer(**whole, status="degraded" if reasons else "healthy", reasons=reasons, checks=checks)


def _runs() -> list[s.Run]:
    return [
        make_run("failed", run_id="manual__3", applied=["016"], failed=["migrate.017_currency_rates"]),
        make_run(
            run_id="manual__2",
            mode="dry_run",
            actor="bob",
            applied=[],
            dry_run=["016"],
            not_tried={"017": NOT_TRIED},
            started_at=ago(days=1),
        ),
        make_run(run_id="scheduled__1", actor=None, started_at=ago(days=4)),
        make_run(run_id="manual__0", direction="rollback", applied=[], rolled_back=["015"], started_at=ago(days=9)),
    ]


def _events(items: Sequence[s.MigrationItem]) -> list[s.HistoryEvent]:
    events = [
        s.HistoryEvent(
            at=item.applied_at,
            event="applied",
            version=item.version,
            actor=item.actor,
            duration_ms=item.duration_ms,
            run_id=item.run_id,
            dag_id=DAG,
            task_id=item.task_id,
            url=item.log_url,
        )
        for item in reversed(items)
        if item.applied_at
    ]
    failed = s.HistoryEvent(
        at=ago(hours=3),
        event="failed",
        version=items[min(16, len(items) - 1)].version,
        actor="alice",
        duration_ms=210,
        error='relation "warehouse.rates" does not exist (42P01) at line 3, column 7',
        url=f"dags/{DAG}/runs/manual__3",
    )
    tried = s.HistoryEvent(
        at=ago(days=1),
        event="dry_run",
        version=items[min(15, len(items) - 1)].version,
        actor="bob",
        duration_ms=840,
        dry_run=True,
        statements=3,
        rows=12,
        locks=[s.LockTaken("warehouse.products", "AccessExclusiveLock", held_ms=35)],
        bystanders=(felt := s.Bystanders(60, 12, 2, 640, ("warehouse.products",), 0)),
        felt=str(felt),
    )
    left = s.HistoryEvent(
        at=ago(days=1),
        event="not_tried",
        version=items[min(16, len(items) - 1)].version,
        actor="bob",
        dry_run=True,
        reason=NOT_TRIED,
    )
    return [failed, left, tried, *events]


def _audit(whole: dict[str, Any], items: Sequence[s.MigrationItem]) -> s.AuditAnswer:
    rows = [
        s.AuditRowItem(
            position=141 - index,
            at=event.at,
            event=event.event,
            version=event.version,
            actor=event.actor or "scheduler",
            dag_id=DAG,
            run_id=event.run_id,
            task_id=event.task_id,
            try_number=1,
            duration_ms=event.duration_ms,
            url=event.url,
            details={"error": event.error}
            if event.error
            else {
                "statements": 6,
                "rows": 0,
                "locks": [{"relation": "warehouse.products", "mode": "AccessExclusiveLock"}],
            },
            hash=sha256(str(index)),
        )
        for index, event in enumerate(_events(items)[:50])
    ]
    head = f"141:{sha256('0')}"
    return s.AuditAnswer(
        **whole,
        rows=rows,
        total_entries=141,
        next_before=rows[-1].position,
        chain=s.Chain(state="intact", head=head, expected_head=head),
    )


def broken_chain() -> s.Chain:
    gone = s.Finding(
        code="audit_row_changed",
        severity="error",
        message="row 87 does not have the hash that row 88 was built on",
        next_step="compare with a backup; `wmigrate audit verify` tells more",
    )
    return s.Chain(state="broken", findings=[gone], head=f"141:{sha256('0')}")


def _metrics(whole: dict[str, Any], items: Sequence[s.MigrationItem]) -> s.MetricsAnswer:
    days = []
    for back in range(89, -1, -1):
        busy = (back * 7919) % 11
        days.append(
            s.DayItem(
                day=ago(days=back).date(),
                applied=busy - 6 if busy > 6 else 0,
                failed=1 if back % 17 == 3 else 0,
                rolled_back=2 if back % 29 == 9 else 0,
                rollback_failed=1 if back == 38 else 0,
                dry_run=1 if back % 13 == 4 else 0,
            )
        )
    totals = s.DayItem(
        day=days[-1].day,
        **{
            n: sum(getattr(d, n) for d in days)
            for n in ("applied", "failed", "rolled_back", "rollback_failed", "dry_run")
        },
    )
    durations = [
        s.DurationItem(version=i.version, name=i.name, duration_ms=i.duration_ms, applied_at=i.applied_at)
        for i in items
        if i.duration_ms is not None
    ]
    return s.MetricsAnswer(**whole, durations=durations, days=days, totals=totals)


def _detail(whole: dict[str, Any], items: Sequence[s.MigrationItem], version: str) -> s.MigrationAnswer:
    item = next(item for item in items if item.version == version)
    file = f"{version}_{item.name}"
    undo = "DROP FUNCTION warehouse.touch();\nDROP TABLE warehouse.products;\n"
    return s.MigrationAnswer(
        **whole,
        migration=item,
        statements_done=4 if item.applied_at else None,
        statements_total=6 if item.status == "incomplete" else 4 if item.applied_at else None,
        dependents=[other.version for other in items if version in other.dependencies],
        sql=s.ScriptText(text=SQL, origin="dag", file=f"{file}.sql", checksum=item.checksum),
        rollback=s.ScriptText(text=undo, origin="ledger", file=f"{file}.rollback.sql", checksum=sha256(undo))
        if item.has_rollback
        else s.ScriptText(origin="unavailable", reason="there is no rollback script"),
        events=[event for event in _events(items) if event.version == version],
    )
