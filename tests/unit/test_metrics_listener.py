"""Which numbers and spans each event becomes, by name, value and tags."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.events import Blocked, Failed, Finished, Retrying, Started, Stepped, Waiting
from airflow_provider_wmigrate.engine.folder.config.root import Metrics
from airflow_provider_wmigrate.engine.health.checks import Check, Health
from airflow_provider_wmigrate.engine.model import Identity, Script
from airflow_provider_wmigrate.engine.record import NO_LOOK, Bystanders, Outcome, Record
from airflow_provider_wmigrate.telling.metrics import MetricsListener, SpanListener, send_health, send_pending

WHO = Identity("alice", "dag", "run", "group.001_a", 1)
SCRIPT = Script("001_a.sql", "SELECT 1", "ab" * 32)
STARTED = Started("001", "a", "apply", SCRIPT, False)
FAILED = Failed("001", "apply", "001_a.sql:1: no", "23505", False)
BASE = {"target": "t", "dag_id": "dag", "task_id": "group.001_a"}
TAGS = {**BASE, "version": "001"}


class Heard:
    """What was sent: (kind, name, value, tags)."""

    def __init__(self) -> None:
        self.numbers: list[tuple[str, str, float, dict[str, str]]] = []

    def __call__(self, send: Callable[[Any], None]) -> None:
        send(self)

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str]) -> None:
        self.numbers.append(("incr", stat, count, tags))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None:
        self.numbers.append(("gauge", stat, value, tags))

    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None:
        self.numbers.append(("timing", stat, dt, tags))


def record(outcome: Outcome = Outcome.APPLIED, **more: Any) -> Record:
    return Record("001", "a", outcome, "ab" * 32, WHO, duration_ms=42, **more)


def told(*events: Any, who: Identity = WHO, **settings: bool) -> list[tuple[str, str, float, dict[str, str]]]:
    heard = Heard()
    listener = MetricsListener(Metrics(**settings), target="t", identity=who, emit=heard)
    for event in events:
        listener(event)
    return heard.numbers


SUCCESS = ("incr", "wmigrate.migration.success", 1, TAGS)
DURATION = ("timing", "wmigrate.migration.duration", 42, TAGS)
FAILURE = ("incr", "wmigrate.migration.failure", 1, TAGS)
ERROR = ("incr", "wmigrate.migration.error.23505", 1, {**TAGS, "sqlstate": "23505"})
RETRY = ("incr", "wmigrate.migration.retries", 1, TAGS)


@pytest.mark.parametrize(
    ("events", "settings", "expected"),
    [
        ([STARTED, Finished(record())], {}, [SUCCESS, DURATION]),
        ([STARTED, Finished(record())], {"enabled": False}, []),
        ([STARTED, Finished(record())], {"collect_timing": False}, [SUCCESS]),
        ([STARTED, Finished(record())], {"collect_success_rate": False}, [DURATION]),
        ([Finished(record(Outcome.ALREADY_APPLIED))], {}, []),
        ([Finished(record(Outcome.DRY_RUN))], {}, []),
        (
            [Finished(record(Outcome.ROLLED_BACK))],
            {},
            [("incr", "wmigrate.rollback.success", 1, TAGS), ("timing", "wmigrate.rollback.duration", 42, TAGS)],
        ),
        ([STARTED, FAILED], {}, [FAILURE, ERROR]),
        ([STARTED, FAILED], {"enabled": False}, []),
        ([STARTED, FAILED], {"collect_error_details": False}, [FAILURE]),
        ([STARTED, FAILED], {"collect_success_rate": False}, [ERROR]),
        (
            [Failed("001", "rollback", "no", None, False)],
            {},
            [
                ("incr", "wmigrate.rollback.failure", 1, TAGS),
                ("incr", "wmigrate.rollback.error.none", 1, {**TAGS, "sqlstate": "none"}),
            ],
        ),
        ([Started("001", "a", "apply", SCRIPT, True), FAILED], {}, []),
        ([Started("001", "a", "apply", SCRIPT, True), FAILED, STARTED, FAILED], {}, [FAILURE, ERROR]),
        ([STARTED, Retrying("001", 1, "a lock", 1.0, 2.0)], {}, [RETRY]),
        ([STARTED, Retrying("001", 1, "a lock", 1.0, 2.0)], {"collect_success_rate": False}, []),
        ([Started("001", "a", "apply", SCRIPT, True), Retrying("001", 1, "a lock", 1.0, 2.0)], {}, []),
        ([Stepped("001", 1, 1, 2, 1, "runs")], {}, []),
    ],
)
def test_what_is_counted(events: list[Any], settings: dict[str, bool], expected: list[Any]) -> None:
    assert told(*events, **settings) == expected


def test_a_task_that_is_tried_again_is_a_retry() -> None:
    assert told(STARTED, who=Identity("a", "dag", "run", "group.001_a", 2)) == [RETRY]
    assert told(STARTED, who=Identity("a", "dag", "run", "group.001_a", None)) == []


def test_outside_of_airflow_there_is_no_tag_of_it() -> None:
    (success, _) = told(Finished(record()), who=Identity("alice"))
    assert success == ("incr", "wmigrate.migration.success", 1, {"target": "t", "version": "001"})


@pytest.mark.parametrize("end", [STARTED, Finished(record(Outcome.DRY_RUN)), Retrying("001", 1, "", 1.0, 2.0), FAILED])
def test_one_wait_is_counted_once_and_timed_until_it_ends(end: Any) -> None:
    waits, wait = told(Waiting("001", "a lock", 5.0), Blocked("001", (), 6.0), end, end)[:2]
    assert waits == ("incr", "wmigrate.lock.waits", 1, TAGS)
    assert (wait[:2], wait[3]) == (("timing", "wmigrate.lock.wait_duration"), TAGS)
    assert 5_000 <= wait[2] < 6_000


def test_a_second_wait_counts_again() -> None:
    names = [name for _, name, _, _ in told(Waiting("001", "a lock", 5.0), STARTED, Waiting("001", "a lock", 1.0))]
    assert names == ["wmigrate.lock.waits", "wmigrate.lock.wait_duration", "wmigrate.lock.waits"]
    assert [kind for kind, *_ in told(Waiting("001", "a lock", 5.0), STARTED, collect_timing=False)] == ["incr"]


SESSIONS = ("gauge", "wmigrate.bystanders.sessions", 3, TAGS)
LONGEST = ("timing", "wmigrate.bystanders.longest_wait", 250, TAGS)


@pytest.mark.parametrize(
    ("felt", "expected"),
    [
        (Bystanders(100, 2, 3, 250, deadlocks=0), [SESSIONS, LONGEST]),
        (Bystanders(100, 2, 0), [(*SESSIONS[:2], 0, TAGS), (*LONGEST[:2], 0, TAGS)]),
        (Bystanders(100, not_measured=NO_LOOK), []),
        (Bystanders(100, not_measured="no right"), [("incr", "wmigrate.bystanders.not_measured", 1, TAGS)]),
        (
            Bystanders(100, 2, 3, 250, deadlocks=2, not_measured="no right"),
            [
                ("incr", "wmigrate.bystanders.not_measured", 1, TAGS),
                SESSIONS,
                LONGEST,
                ("incr", "wmigrate.bystanders.deadlocks", 2, TAGS),
            ],
        ),
    ],
)
def test_what_others_felt(felt: Bystanders, expected: list[Any]) -> None:
    assert told(Finished(record(Outcome.DRY_RUN, bystanders=felt))) == expected
    failed = Failed("001", "apply", "no", None, False, bystanders=felt)
    assert told(Started("001", "a", "apply", SCRIPT, True), failed) == expected


def test_what_a_look_at_the_target_sends() -> None:
    checks = (Check("connection", "healthy", ""), Check("pending", "degraded", ""), Check("x", "unknown", ""))
    health = Health("unhealthy", checks, datetime.now(timezone.utc), 9, pending=4)
    tags = {"target": "t"}
    gauges = [
        ("gauge", "wmigrate.health", 2, tags),
        ("gauge", "wmigrate.health.connection", 0, tags),
        ("gauge", "wmigrate.health.pending", 1, tags),
        ("gauge", "wmigrate.health.x", -1, tags),
    ]
    pending = ("gauge", "wmigrate.pending", 4, tags)
    heard = Heard()
    send_health(Metrics(), health, target="t", emit=heard)
    assert heard.numbers == [*gauges, ("timing", "wmigrate.health.duration", 9, tags), pending]
    heard = Heard()
    unknown = Health("unhealthy", checks, health.checked_at, 9)
    send_health(Metrics(collect_timing=False), unknown, target="t", emit=heard)
    assert heard.numbers == gauges
    heard = Heard()
    send_health(Metrics(enabled=False), health, target="t", emit=heard)
    send_pending(Metrics(enabled=False), target="t", count=1, emit=heard)
    assert heard.numbers == []
    send_pending(Metrics(), target="t", count=1, emit=heard)
    assert heard.numbers == [("gauge", "wmigrate.pending", 1, tags)]


# Spans


def spans(*events: Any) -> list[Any]:
    """Those that ended, as the SDK keeps them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    listener = SpanListener(target="t", tracer=provider.get_tracer("test"))
    for event in events:
        listener(event)
    return list(kept.get_finished_spans())


AT = {"db.system.name": "postgresql", "wmigrate.target": "t", "wmigrate.version": "001"}
ONE, TWO = Stepped("001", 1, 1, 2, 3, "runs"), Stepped("001", 2, 2, 2, 9, "runs")


def test_a_span_for_the_migration_and_one_for_each_statement() -> None:
    first, second, whole = spans(STARTED, ONE, TWO, Finished(record(rows=7)))
    assert [each.name for each in (first, second, whole)] == [
        "wmigrate statement 1",
        "wmigrate statement 2",
        "wmigrate apply 001_a",
    ]
    assert dict(first.attributes) == {
        **AT,
        "wmigrate.statement": 1,
        "wmigrate.line": 3,
        "wmigrate.note": "runs",
    }
    assert dict(whole.attributes) == {
        **AT,
        "wmigrate.direction": "apply",
        "wmigrate.dry_run": False,
        "wmigrate.outcome": "applied",
        "wmigrate.rows": 7,
    }
    assert [each.parent.span_id for each in (first, second)] == [whole.context.span_id] * 2
    assert {each.status.status_code.name for each in (first, second, whole)} == {"UNSET"}
    assert whole.parent is None


def test_an_error_ends_both_and_is_told_by_both() -> None:
    statement, whole = spans(STARTED, ONE, FAILED)
    assert {each.status.description for each in (statement, whole)} == {"001_a.sql:1: no"}
    assert {each.status.status_code.name for each in (statement, whole)} == {"ERROR"}


def test_a_migration_that_begins_ends_the_one_before() -> None:
    (left,) = spans(STARTED, Started("002", "b", "apply", SCRIPT, False))
    assert (left.name, left.status.status_code.name) == ("wmigrate apply 001_a", "UNSET")
    assert spans(Finished(record()), FAILED) == []


def test_a_tracer_that_fails_is_told_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        SpanListener(target="t", tracer=object())(STARTED)  # type: ignore[arg-type]
    assert caplog.messages == ["a span was not recorded: 'object' object has no attribute 'start_span'"]
