"""Plan and report as people read them, and a run's results as XCom keeps them: whole values."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.foreseen import Forecast, LockForecast
from airflow_provider_wmigrate.engine.ledger.trail import AuditRow
from airflow_provider_wmigrate.engine.locks_taken import LockTaken, OnScratch
from airflow_provider_wmigrate.engine.model import Finding, Identity, Plan, Status, Step
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.telling.summaries import (
    REJECT,
    answer_line,
    dry_run_markdown,
    plan_lines,
    plan_markdown,
    records_of,
    report_lines,
    summarise,
)

PLAN = Plan(
    "apply",
    None,
    (Step("apply", "001", "users", "c1", 90.0), Step("apply", "002", "orders", "c2")),
    {v: Status.PENDING for v in ("001", "002", "003")},
    left_out={"003": "needs extension x"},
)


def test_a_plan() -> None:
    findings = [
        Finding("changed", "a | b", "restore | it", version="001"),
        Finding("syntax", "wrong", "correct it", severity="warning", file="002_orders.sql", line=3, column=7),
    ]
    assert plan_markdown(PLAN, findings).splitlines() == [
        "### Plan: apply 2 of 3 migrations",
        "",
        "1. apply `001_users`, about 90 s",
        "2. apply `002_orders`",
        "- left out: `003` (needs extension x)",
        "",
        "| finding | where | what | next |",
        "| --- | --- | --- | --- |",
        "| error changed | 001 | a \\| b | restore \\| it |",
        "| warning syntax | 002_orders.sql:3:7 | wrong | correct it |",
    ]
    assert plan_lines(PLAN, findings) == [
        "plan: apply 2 of 3 migrations",
        "  001_users, about 90 s",
        "  002_orders",
        "  left out: 003 (needs extension x)",
        f"error: {findings[0]}",
        f"warning: {findings[1]}",
    ]


def test_a_plan_says_who_would_wait() -> None:
    who = "blocks reads and writes of public.orders (12 GB) for a moment"
    odd = "line 9 may lock more than can be foreseen: it calls `f`, <b>[x]* \\"
    foreseen = [Forecast("001"), Forecast("002", (LockForecast("public.orders", "AccessExclusiveLock", who),), (odd,))]
    assert plan_markdown(PLAN, [], foreseen).splitlines()[2:6] == [
        "1. apply `001_users`, about 90 s",
        "2. apply `002_orders`",
        f"   - {who}",
        "   - line 9 may lock more than can be foreseen: it calls \\`f\\`, \\<b>\\[x]\\* \\\\",
    ]
    assert plan_lines(PLAN, [], foreseen)[1:5] == [
        "  001_users, about 90 s",
        "  002_orders",
        f"    {who}",
        f"    {odd}",
    ]


def test_a_plan_of_a_rollback() -> None:
    back = replace(PLAN, direction="rollback", to="001", steps=(Step("rollback", "002", "orders", "c2"),))
    assert plan_markdown(back, []).splitlines() == [
        "### Plan: roll back 1 of 3 migrations (to 001)",
        "",
        "1. roll back `002_orders`",
        "- stays: `003` (needs extension x)",
    ]
    assert plan_lines(back, []) == [
        "plan: roll back 1 of 3 migrations (to 001)",
        "  002_orders",
        "  stays: 003 (needs extension x)",
    ]


def test_a_record_as_xcom_keeps_it() -> None:
    record = Record("001", "users", Outcome.APPLIED, "c1", Identity("ann"), locks=(LockTaken("a", "Share"),))
    kept = record.as_dict()
    assert kept == record.as_dict()
    assert kept["locks"] == [{"relation": "a", "mode": "Share", "held_ms": None, "dropped": False}]
    assert type(kept["locks"]) is list


@pytest.mark.parametrize(("value", "records"), [(None, []), ([], []), ([{"a": 1}], [{"a": 1}]), ({"a": 1}, [{"a": 1}])])
def test_what_a_task_left(value: Any, records: list[dict[str, Any]]) -> None:
    assert records_of(value) == records


def row(event: str, version: str, duration_ms: int | None) -> AuditRow:
    at = datetime(2025, 1, 2, tzinfo=timezone.utc)
    return AuditRow(1, at, event, version, "ann", None, None, None, None, duration_ms, {}, "", "")


AS_LEFT = {
    "steps": [{"version": "010"}],
    "statuses": {"008": "applied", "009": "left_out", "010": "pending"},
    "left_out": {"009": "beyond the target 008"},
}


def left(version: str, outcome: str, **more: Any) -> dict[str, Any]:
    return {"version": version, "outcome": outcome, "duration_ms": 100, "reason": None, **more}


def test_what_an_attempt_did() -> None:
    rows = [
        row("applied", "002", 5),
        row("applied", "001", 7),
        row("rolled_back", "004", 11),
        row("started", "9", None),
    ]
    records = [
        left("002", "applied"),  # its row says it already
        left("004", "rolled_back"),
        left("005", "dry_run"),
        left("006", "already_applied"),
        left("007", "not_tried", reason="it commits"),
    ]
    assert summarise(rows, records, AS_LEFT, ["a.task"], {"010": "its task was skipped"}) == {
        "applied": ["002", "001"],
        "rolled_back": ["004"],
        "dry_run": ["005"],
        "already_applied": ["006"],
        "not_tried": {"007": "it commits"},
        "failed": ["a.task"],
        "skipped": {"008": "applied", "009": "beyond the target 008", "010": "its task was skipped"},
        "duration_ms": 323,
        "audit_head": None,
    }


def test_an_attempt_that_left_nothing() -> None:
    empty = summarise((), (), {}, ())
    assert empty == {
        **{key: [] for key in ("applied", "rolled_back", "dry_run", "already_applied", "failed")},
        "not_tried": {},
        "skipped": {},
        "duration_ms": 0,
        "audit_head": None,
    }
    assert report_lines(empty) == ["report:", "  nothing to do", "  0 ms on the server"]


def test_a_report() -> None:
    summary = {
        "applied": ["001", "002"],
        "rolled_back": ["003"],
        "dry_run": ["004"],
        "already_applied": ["005"],
        "failed": ["a.task"],
        "not_tried": {"006": "it commits"},
        "duration_ms": 12,
    }
    assert report_lines(summary) == [
        "report:",
        "  applied: 001, 002",
        "  rolled back: 003",
        "  dry run: 004",
        "  already applied: 005",
        "  failed: a.task",
        "  not tried: 006: it commits",
        "  12 ms on the server",
    ]


def test_a_dry_run_as_a_table() -> None:
    lock = LockTaken("app.t|u", "AccessExclusive")
    tried = Record("001", "a", Outcome.DRY_RUN, "c", Identity("ann"), 5, rows=7, locks=(lock,), rewritten=("a", "b"))
    again = replace(tried, version="002", rewritten=())
    untried = replace(tried, version="003", outcome=Outcome.NOT_TRIED, reason="it is large", locks=())
    there = replace(untried, version="004", on_scratch=OnScratch("ran", 9))
    assert dry_run_markdown([tried, again, untried, there]).splitlines() == [
        "### Dry run: everything was rolled back",
        "",
        "| migration | result | time | rows | locks | written anew |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `001_a` | dry run | 5 ms | 7 | app.t\\|u (AccessExclusive) | a, b |",
        "| `002_a` | dry run | 5 ms | 7 |  |  |",
        "| `003_a` | not tried: it is large |  |  |  | a, b |",
        f"| `004_a` | not tried: it is large; {there.on_scratch} |  |  |  | a, b |",
    ]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"user": None, "answer": "Reject", "at": "x"}, "the plan was not approved: nobody has answered in time"),
        (
            {"user": {"name": "bob"}, "answer": REJECT, "at": "2026-01-31T12:00:17"},
            "rejected by bob at 2026-01-31 12:00 UTC",
        ),
        (
            {"user": {"name": "bob"}, "answer": "Apply", "at": "2026-01-31T12:00:17"},
            "approved by bob at 2026-01-31 12:00 UTC",
        ),
    ],
)
def test_an_answer_in_one_line(answer: dict[str, Any], line: str) -> None:
    assert answer_line(answer) == line
    summary = {**summarise([], [], {}, []), "approval": answer, "backup": {"place": "/b"}}
    assert report_lines(summary) == ["report:", f"  {line}", "  backup: /b", "  0 ms on the server"]
    rest = {**summary, "backup": None}
    assert report_lines(rest) == ["report:", f"  {line}", "  nothing was applied", "  0 ms on the server"]
