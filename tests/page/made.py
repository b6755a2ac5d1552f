"""What worlds are made of: a group, its runs, and migrations in every state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_wmigrate.web import schemas as s

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAG, GROUP = "warehouse_migrations", "migrate"
NOT_THERE = ("pending", "failed", "left_out")
HOSTILE = "<img src=x onerror=window.hacked=1>"
NAMES = [
    "initial_schema",
    "warehouse_tables",
    "timescale_hypertables",
    "reporting_views",
    "suppliers",
    "purchase_orders",
    "order_items",
    "stock_levels",
    "shelf_locations",
    "forklift_telemetry",
    "safety_incidents",
    "incident_photos",
    "customer_accounts",
    "invoices",
    "invoice_lines",
    "price_history",
    "currency_rates",
    "audit_partitions",
    "temperature_sensors",
    "sensor_alerts",
]


def ago(**amount: float) -> datetime:
    return NOW - timedelta(**amount)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


LIVE = s.Source(kind="live", as_of=NOW, age_seconds=0)
DOWN = s.Source(
    kind="report",
    as_of=ago(hours=11, minutes=26),
    age_seconds=41_160,
    dag_id=DAG,
    run_id="scheduled__1",
    reason=s.Reason(
        code="unreachable",
        message="The target does not answer: connection refused at db.example:5432; start the database or correct the "
        "connection warehouse_db.",
    ),
)
REPORT = DOWN.model_copy(
    update={
        "reason": s.Reason(
            code="no_right_on_connection", message="You may not read the connection warehouse_db; ask for that right."
        )
    }
)


def make_group(*, may: bool = True, **more: Any) -> s.Group:
    choices = s.Choices(
        to=True, modes=["apply", "dry_run"], environments=["staging", "production"], environment="staging"
    )
    values: dict[str, Any] = {
        "dag_id": DAG,
        "dag_display_name": DAG,
        "group_id": GROUP,
        "description": "Apply the warehouse's migrations",
        "conn_id": "warehouse_db",
        "server": s.Server(host="db.example", port=5432, database="warehouse") if may else None,
        "environment": "production",
        "ledger_schema": "wmigrate",
        "is_mapped": False,
        "is_paused": False,
        "is_stale": False,
        "has_import_errors": False,
        "rollback_dag": s.RollbackDag(dag_id="warehouse_rollback", group_id="rollback", is_paused=False),
        "migrate": choices,
        "rollback": choices,
        "rights": s.Rights(read_database=may, migrate=may, rollback=may),
        "url": f"dags/{DAG}",
    }
    return s.Group(**{**values, **more})


def make_run(state: str = "success", **more: Any) -> s.Run:
    values: dict[str, Any] = {
        "dag_id": DAG,
        "run_id": "manual__2026-07-01T03:00:00+00:00",
        "state": state,
        "direction": "apply",
        "mode": "apply",
        "environment": "production",
        "actor": "alice",
        "started_at": ago(hours=3),
        "ended_at": None if state == "running" else ago(hours=2, minutes=59),
        "duration_ms": None if state == "running" else 8_120,
        "applied": ["012", "013", "014"],
        "url": f"dags/{DAG}/runs/manual__1",
    }
    return s.Run(**{**values, **more})


def make_item(
    number: int, status: str, parents: Sequence[int], name: str | None = None, **more: Any
) -> s.MigrationItem:
    version = f"{number:03d}"
    name = name or NAMES[(number - 1) % len(NAMES)] + ("" if number <= len(NAMES) else f"_{number // len(NAMES) + 1}")
    done = status not in NOT_THERE
    task = f"migrate.{version}_{name}"
    url = f"dags/{DAG}/runs/manual__{number}"
    values: dict[str, Any] = {
        "version": version,
        "name": name,
        "description": f"What {name.replace('_', ' ')} needs, with keys, checks and indexes",
        "dependencies": [f"{parent:03d}" for parent in parents],
        "status": status,
        "task_id": task,
        "checksum": None if status == "missing" else sha256(version),
        "applied_checksum": sha256(version + ("x" if status == "changed" else "")) if done else None,
        "has_rollback": number % 7 != 0,
        "applied_at": ago(days=max(0.2, 64 - number * 3.1), hours=number % 7) if done else None,
        "actor": ["alice", "bob", "scheduler"][number % 3] if done else None,
        "duration_ms": 40 + (number * 7919) % 2400 + (9000 if number % 23 == 3 else 0) if done else None,
        "run_id": f"manual__{number}" if done else None,
        "run_url": url if done else None,
        "log_url": f"{url}/tasks/{task}" if done else None,
    }
    return s.MigrationItem(**{**values, **more})


def failed_task(number: int, name: str) -> s.TaskState:
    url = f"dags/{DAG}/runs/manual__{number}/tasks/migrate.{number:03d}_{name}"
    return s.TaskState(
        dag_id=DAG,
        run_id=f"manual__{number}",
        task_id=f"migrate.{number:03d}_{name}",
        state="failed",
        try_number=3,
        url=url,
    )


def usual_items() -> list[s.MigrationItem]:
    """Nineteen migrations with a graph that branches, and one of each state."""
    parents = {
        1: [],
        2: [1],
        3: [2],
        4: [2],
        5: [2],
        6: [5],
        7: [6],
        8: [2],
        9: [8],
        10: [3],
        11: [2],
        12: [11],
        13: [1],
        14: [13],
        15: [14, 7],
        16: [5],
        17: [16, 15],
        18: [3],
        19: [10, 18],
    }
    status = {9: "changed", 12: "missing", 16: "incomplete", 17: "failed", 18: "left_out", 19: "pending"}
    items = [make_item(number, status.get(number, "applied"), needs) for number, needs in parents.items()]
    items[16].last_task = failed_task(17, items[16].name)
    items[16].failure = s.Failure(
        direction="apply",
        at=ago(hours=3),
        actor="alice",
        error='relation "warehouse.rates" does not exist (42P01) at line 3, column 7',
        run_id="manual__17",
        run_url=f"dags/{DAG}/runs/manual__17",
        url=items[16].last_task.url,
    )
    items[17].reason = "extension timescaledb is not available on this server"
    return items


def many_items(number: int = 1000) -> list[s.MigrationItem]:
    """A long life: mostly one after the other, now and then a branch, three pending in the end."""

    def parents(version: int) -> list[int]:
        if version == 1:
            return []
        if version % 40 in (5, 6, 7):
            return [version - version % 40 + 4]
        return [version - 1, version - 9] if version % 97 == 0 else [version - 1]

    last = number - 3
    done = [make_item(v, "applied", parents(v), applied_at=ago(days=1.3 * (number - v))) for v in range(1, last + 1)]
    return [*done, *(make_item(v, "pending", parents(v)) for v in range(last + 1, number + 1))]


def dated_items(versions: Sequence[str]) -> list[s.MigrationItem]:
    """Versions that are times, each needing the one before it."""
    found = []
    for number, version in enumerate(versions, 1):
        more = {"version": version, "dependencies": list(versions[number - 2 : number - 1])}
        found.append(make_item(number, "applied", []).model_copy(update=more))
    return found


def hostile_items() -> list[s.MigrationItem]:
    """Names that would be markup if anyone let them."""
    bad = {"name": HOSTILE, "description": f'"><script>window.hacked=1</script>{HOSTILE}', "actor": HOSTILE}
    first = make_item(1, "applied", []).model_copy(update={**bad, "run_url": "javascript:window.hacked=1"})
    return [first, make_item(2, "pending", [1]).model_copy(update={"name": HOSTILE})]
