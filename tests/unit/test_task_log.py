"""What the task log shows of events, and of SQL: masked, or none of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.events import (
    Blocked,
    Event,
    Failed,
    Finished,
    HeldLong,
    Noticed,
    OthersWait,
    Retrying,
    Started,
    Stepped,
    Waiting,
)
from airflow_provider_wmigrate.engine.folder.config.settings import Logging
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Identity, Script
from airflow_provider_wmigrate.engine.record import Blocker, Bystanders, Outcome, Record, ServerWords
from airflow_provider_wmigrate.telling.task_log import log_listener

SCRIPT = Script("001_a.sql", "CREATE ROLE app\n  PASSWORD 'hunter2';", "ab" * 32)
UNDO = Script("001_a.rollback.sql", "ALTER ROLE app PASSWORD 'before2';", "cd" * 32)
STARTED = Started("001", "a", "apply", SCRIPT, False, UNDO, 42)
SAID = ServerWords(detail="Key (id)=(7) already exists.", context="line one\nline two", constraint="u_id_key")
FAILED = Failed("001", "apply", "001_a.sql:2: duplicate key", "23505", True, SAID)


def lines(caplog: pytest.LogCaptureFixture, event: Event, **settings: object) -> list[str]:
    log = logging.getLogger("test_task_log")
    with caplog.at_level(logging.DEBUG, log.name):
        log_listener(log, Logging(**settings))(event)
    return [record.getMessage() for record in caplog.records]


def test_scripts_are_shown_without_their_secrets(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, STARTED) == [
        "applying 001_a on server process 42",
        "::group::001_a.sql (sha256 abababababab)",
        "CREATE ROLE app",
        "  PASSWORD '***';",
        "::endgroup::",
        "::group::001_a.rollback.sql (sha256 cdcdcdcdcdcd)",
        "ALTER ROLE app PASSWORD '***';",
        "::endgroup::",
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_script_is_shown_where_none_is_to_be(caplog: pytest.LogCaptureFixture, form: str) -> None:
    (line,) = lines(caplog, STARTED, include_sql=False, format=form)
    assert "ROLE" not in line


def test_for_programs_scripts_are_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines(caplog, STARTED, format="json")
    assert "ALTER ROLE app PASSWORD '***'" in line
    assert "hunter2" not in line
    assert "before2" not in line


def test_a_failure_has_what_else_the_server_said(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, FAILED) == [
        "dry run of apply of 001 failed: 001_a.sql:2: duplicate key",
        "DETAIL: Key (id)=(7) already exists.",
        "CONTEXT: line one",
        "line two",
    ]


LOCK = LockTaken("public.a", "AccessExclusive", 1500)
RECORD = Record("001", "a", Outcome.APPLIED, "c1", Identity("ann"), 12, rows=3, statements=2, locks=(LOCK,))
BUSY = Blocker(7, "bob", "psql", None)


@pytest.mark.parametrize(
    ("event", "level", "said"),
    [
        (Waiting("001", "the lock", 2.4, (7, 8)), "WARNING", "waiting for the lock since 2 s, held by pid 7, 8"),
        (Stepped("001", 1, 2, 3, 4, "runs"), "INFO", "statement 1 to 2 of 3 (line 4): runs"),
        (Blocked("001", (BUSY,), 2.44), "WARNING", "blocked for 2.4 s by pid 7 (bob, psql)"),
        (HeldLong("001", LOCK, 1), "WARNING", "public.a was locked against everybody for 1.5 s, limit 1 s"),
        (
            Retrying("001", 1, "deadlock", 0.25, 2.0),
            "WARNING",
            "attempt 1 rolled back: deadlock; trying again in 0.2 s, waiting up to 2 s for a lock",
        ),
        (Noticed("001", "NOTICE", "hello"), "INFO", "NOTICE: hello"),
        (Noticed("001", "WARNING", "look out"), "WARNING", "WARNING: look out"),
        (Failed("001", "rollback", "no", None), "ERROR", "rollback of 001 failed: no"),
    ],
)
def test_each_event_in_a_line_of_its_level(
    caplog: pytest.LogCaptureFixture, event: Event, level: str, said: str
) -> None:
    assert lines(caplog, event, level="DEBUG") == [said]
    assert [record.levelname for record in caplog.records] == [level]
    caplog.clear()
    assert lines(caplog, event, level=level) == [said]
    caplog.clear()
    above = {"INFO": "WARNING", "WARNING": "ERROR", "ERROR": "CRITICAL"}[level]
    assert lines(caplog, event, level=above) == []


def test_what_has_begun_or_ended_is_information(caplog: pytest.LogCaptureFixture) -> None:
    for event in (replace(STARTED, rollback=None), Finished(RECORD)):
        lines(caplog, event, include_sql=False)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    caplog.clear()
    assert lines(caplog, STARTED, level="WARNING") + lines(caplog, Finished(RECORD), level="WARNING") == []


@pytest.mark.parametrize(
    ("record", "settings", "said"),
    [
        (RECORD, {}, ["001_a: applied in 12 ms: 2 statements, 3 rows changed", "  locked public.a (AccessExclusive)"]),
        (
            RECORD,
            {"include_timing": False},
            ["001_a: applied: 2 statements, 3 rows changed", "  locked public.a (AccessExclusive)"],
        ),
        (
            replace(RECORD, statements=1, rows=1, locks=()),
            {},
            ["001_a: applied in 12 ms: 1 statement, 1 row changed"],
        ),
        (replace(RECORD, outcome=Outcome.ALREADY_APPLIED, statements=0, locks=()), {}, ["001_a: already applied"]),
        (
            replace(RECORD, outcome=Outcome.NOT_TRIED, statements=0, locks=(), reason="it commits"),
            {},
            ["001_a: not tried: it commits"],
        ),
    ],
)
def test_what_was_done(
    caplog: pytest.LogCaptureFixture, record: Record, settings: dict[str, Any], said: list[str]
) -> None:
    assert lines(caplog, Finished(record), **settings) == said


def test_without_a_rollback_only_the_script_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, replace(STARTED, rollback=None))[1:] == [
        "::group::001_a.sql (sha256 abababababab)",
        "CREATE ROLE app",
        "  PASSWORD '***';",
        "::endgroup::",
    ]


def test_of_a_long_script_the_beginning_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    long = Script("001_a.sql", "x" * 20_007 + "\n", "ab" * 32)
    assert lines(caplog, replace(STARTED, script=long, rollback=None))[1:] == [
        "::group::001_a.sql (sha256 abababababab)",
        "x" * 20_000,
        "... and 8 more characters",
        "::endgroup::",
    ]
    caplog.clear()
    (line,) = lines(caplog, replace(STARTED, script=long, rollback=long), format="json")
    told = json.loads(line)
    assert (len(told["sql"]), len(told["rollback_sql"])) == (20_000, 20_000)


STARTED_FIELDS = {
    "event": "started",
    "version": "001",
    "name": "a",
    "direction": "apply",
    "dry_run": False,
    "file": "001_a.sql",
    "checksum": "ab" * 32,
    "backend_pid": 42,
}
SQL_FIELDS = {"sql": "CREATE ROLE app\n  PASSWORD '***';", "rollback_sql": "ALTER ROLE app PASSWORD '***';"}


@pytest.mark.parametrize(
    ("event", "settings", "fields"),
    [
        (STARTED, {}, STARTED_FIELDS | SQL_FIELDS),
        (replace(STARTED, rollback=None), {}, STARTED_FIELDS | SQL_FIELDS | {"rollback_sql": None}),
        (STARTED, {"include_sql": False}, STARTED_FIELDS),
        (Finished(RECORD), {}, {"event": "finished", **RECORD.as_dict()}),
        (
            Finished(RECORD),
            {"include_timing": False},
            {"event": "finished", **{k: v for k, v in RECORD.as_dict().items() if k != "duration_ms"}},
        ),
        (
            FAILED,
            {},
            {
                "event": "failed",
                "version": "001",
                "direction": "apply",
                "error": "001_a.sql:2: duplicate key",
                "sqlstate": "23505",
                "dry_run": True,
                "said": {
                    "detail": "Key (id)=(7) already exists.",
                    "hint": None,
                    "context": "line one\nline two",
                    "constraint": "u_id_key",
                    "function": None,
                },
                "bystanders": None,
            },
        ),
        (
            OthersWait("001", Bystanders(0, 1, 2, 1500, ("public.t",))),
            {},
            {
                "event": "otherswait",
                "version": "001",
                "unseen_ms": 0,
                "looks": 1,
                "sessions": 2,
                "longest_wait_ms": 1500,
                "relations": ["public.t"],
                "deadlocks": None,
                "not_measured": None,
            },
        ),
        (
            Stepped("001", 1, 2, 3, 4, "runs"),
            {},
            {"event": "stepped", "version": "001", "first": 1, "last": 2, "total": 3, "line": 4, "note": "runs"},
        ),
        (
            Blocked("001", (BUSY,), 2.5),
            {},
            {"event": "blocked", "version": "001", "blockers": ["pid 7 (bob, psql)"], "waited_seconds": 2.5},
        ),
        (
            Waiting("001", "the lock", 2.5, (7,)),
            {},
            {"event": "waiting", "version": "001", "what": "the lock", "waited_seconds": 2.5, "holders": [7]},
        ),
    ],
)
def test_events_for_programs(
    caplog: pytest.LogCaptureFixture, event: Event, settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    (line,) = lines(caplog, event, format="json", **settings)
    assert json.loads(line) == json.loads(json.dumps(fields, default=str))
