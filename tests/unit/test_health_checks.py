"""Each check as a whole value: what is so, and what to do next."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from in_words import BEFORE, attempt, folder, state
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, LedgerTooNew, WMigrateError
from airflow_provider_wmigrate.engine.health import checks
from airflow_provider_wmigrate.engine.health.checks import Check, Health, LockHolder
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from airflow_provider_wmigrate.engine.model import Finding, LastEvent, Plan, State
from airflow_provider_wmigrate.engine.plan import planner


def plan(files: str, ledger: str = "", *attempts: LastEvent, **more: Any) -> Plan:
    migrations, graph = folder(files)
    return planner.plan_apply(migrations, graph, replace(state(ledger, ""), last_events=attempts), **more)


def test_the_connection() -> None:
    assert checks.connection(150018, False, 7) == Check("connection", "healthy", "PostgreSQL 15.18 answered in 7 ms")
    assert checks.connection(90624, True, 7) == Check(
        "connection", "degraded", checks.STANDBY, "let the connection lead to the primary"
    )


@pytest.mark.parametrize(
    ("version", "entries", "expected"),
    [
        (
            None,
            "",
            Check(
                "ledger",
                "degraded",
                "there is no ledger in schema s: nothing has been applied here yet",
                "run the migrations",
            ),
        ),
        (
            LEDGER_VERSION - 1,
            "1",
            Check(
                "ledger",
                "degraded",
                f"the ledger has version {LEDGER_VERSION - 1}, this wmigrate writes {LEDGER_VERSION}",
                "the next run upgrades it",
            ),
        ),
        (LEDGER_VERSION, "", Check("ledger", "healthy", f"version {LEDGER_VERSION}, 0 entries")),
        (LEDGER_VERSION, "1", Check("ledger", "healthy", f"version {LEDGER_VERSION}, 1 entry")),
        (LEDGER_VERSION, "1 2", Check("ledger", "healthy", f"version {LEDGER_VERSION}, 2 entries")),
    ],
)
def test_the_ledger(version: int | None, entries: str, expected: Check) -> None:
    assert checks.ledger(State(state(entries).entries, None, version), "s") == expected


EDITED = "was edited after it was applied on 2025-01-02 03:04 UTC"
GONE = "is applied but its file is gone"
RESTORE = (
    "restore the file and write a new migration instead; or, if the database is as the file says now:"
    " `wmigrate repair 001 --accept`"
)


@pytest.mark.parametrize(
    ("files", "ledger", "reason", "nxt"),
    [
        ("1 2", "", "0 applied migrations as in the folder", ""),
        ("1 2", "1", "1 applied migration as in the folder", ""),
        ("1 2", "1 2", "2 applied migrations as in the folder", ""),
        ("1 2", "1~ 2", "1 applied migration as in the folder", ""),
        ("1! 2", "1 2", f"001_m.sql: {EDITED}", RESTORE),
        ("1! 2", "1 2 3", f"001_m.sql: {EDITED}; migration 003_m {GONE}", RESTORE),
        (
            "1! 2! 3! 4!",
            "1 2 3 4",
            "; ".join(f"00{n}_m.sql: {EDITED}" for n in (1, 2, 3)) + " (and 1 more)",
            RESTORE,
        ),
        ("1! 2! 3!", "1 2 3", "; ".join(f"00{n}_m.sql: {EDITED}" for n in (1, 2, 3)), RESTORE),
    ],
)
def test_checksums(files: str, ledger: str, reason: str, nxt: str) -> None:
    expected = Check("checksums", "unhealthy" if nxt else "healthy", reason, nxt)
    assert checks.checksums(plan(files, ledger)) == expected


def test_a_folder_that_cannot_be_used_counts_as_well() -> None:
    wrong = Finding("folder_error", "two of 001", "renumber one", file="001_b.sql")
    assert checks.checksums(plan("1!", "1"), [wrong]) == Check(
        "checksums", "unhealthy", f"001_b.sql: two of 001; 001_m.sql: {EDITED}", "renumber one"
    )


def said(verb: str, version: str) -> str:
    return f"the last {verb} of {version} failed on 2025-01-02 03:04 UTC: it broke"


BEGUN = "migration 001_m was started outside a transaction and is not finished (1 of 1 statements done)"
FIX = "fix the migration and run it again, or say that it is over: `wmigrate repair {} --settle`"
FIX_BACK = "fix the rollback script and roll back again, or say that it is over: `wmigrate repair {} --settle`"


@pytest.mark.parametrize(
    ("files", "ledger", "attempts", "reasons", "nxt"),
    [
        ("1 2", "1", {}, [], ""),
        ("1 2", "1", {"1": "applied"}, [], ""),
        ("1 2", "1", {"2": "failed"}, [said("apply", "002")], FIX.format("002")),
        ("1 2", "1", {"1": "rollback_failed"}, [said("rollback", "001")], FIX_BACK.format("001")),
        (
            "1 2",
            "1",
            {"1": "rollback_failed", "2": "failed"},
            [said("rollback", "001"), said("apply", "002")],
            FIX_BACK.format("001"),
        ),
        ("1 2", "1~", {"1": "failed"}, [BEGUN], "`wmigrate up` goes on where it stopped"),
        (
            "1 2",
            "1~",
            {"1": "failed", "2": "failed"},
            [BEGUN, said("apply", "002")],
            "`wmigrate up` goes on where it stopped",
        ),
    ],
)
def test_failures(files: str, ledger: str, attempts: dict[str, str], reasons: list[str], nxt: str) -> None:
    made = plan(files, ledger, *(attempt(version, event) for version, event in attempts.items()))
    if reasons:
        assert checks.failures(made) == Check("failures", "unhealthy", "; ".join(reasons), nxt)
    else:
        assert checks.failures(made) == Check("failures", "healthy", "no last attempt failed")


def test_when_something_failed_is_told_in_utc() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    moved = attempt("1", "failed", at=datetime(2025, 1, 2, 3, 4, tzinfo=there))
    assert (
        checks.failures(plan("1", "", moved)).reason == "the last apply of 001 failed on 2025-01-01 21:34 UTC: it broke"
    )


WHY = "extension x is not available on this server"


@pytest.mark.parametrize(
    ("files", "ledger", "attempts", "expected"),
    [
        ("1", "1", {}, Check("pending", "healthy", "nothing is pending")),
        ("1 2?x", "1", {}, Check("pending", "healthy", f"nothing is pending; left out: 002: {WHY}")),
        ("1 2", "1", {}, Check("pending", "degraded", "1 migration pending: 002", "run the migrations")),
        (
            "1 2 3?x 4<3",
            "",
            {"2": "failed"},
            Check(
                "pending",
                "degraded",
                f"2 migrations pending: 001, 002 (failed); left out: 003: {WHY}; 004: needs 003, which is left out",
                "run the migrations",
            ),
        ),
        ("1", "1~", {}, Check("pending", "degraded", "1 migration pending: 001 (incomplete)", "run the migrations")),
        (
            "1 2 3 4 5",
            "",
            {},
            Check("pending", "degraded", "5 migrations pending: 001, 002, 003, 004, 005", "run the migrations"),
        ),
        (
            "1 2 3 4 5 6",
            "",
            {},
            Check("pending", "degraded", "6 migrations pending: 001, 002, 003, 004, 005 ...", "run the migrations"),
        ),
        # what stops the next run is told with its own next step; what other checks tell is not told twice
        (
            "1+x 2?x",
            "",
            {},
            Check(
                "pending",
                "degraded",
                "1 migration pending: 001; migration 001 needs extension x, which this server cannot create: its files"
                f" are not there; left out: 002: {WHY}",
                "install x on the server, or set when_missing: skip",
            ),
        ),
        ("1! 2", "1 3", {}, Check("pending", "degraded", "1 migration pending: 002", "run the migrations")),
        ("1 2", "1^", {}, Check("pending", "degraded", "1 migration pending: 002", "run the migrations")),
    ],
)
def test_pending(files: str, ledger: str, attempts: dict[str, str], expected: Check) -> None:
    assert checks.pending(plan(files, ledger, *(attempt(v, event) for v, event in attempts.items()))) == expected


def test_a_right_that_a_run_would_need() -> None:
    lacking = [Finding("ledger_right", "the role may not write", "GRANT it")]
    assert checks.pending(plan("1"), lacking) == Check(
        "pending", "degraded", "1 migration pending: 001; the role may not write", "GRANT it"
    )
    assert checks.pending(plan("1", "1"), lacking) == Check("pending", "healthy", "nothing is pending")


def holder(pid: int, *versions: str, seconds: float = 2.4, waiting: tuple[int, ...] = (), who: str | None = "w") -> Any:
    return LockHolder(pid, who, versions, seconds, waiting)


@pytest.mark.parametrize(
    ("holders", "expected"),
    [
        ([], Check("locks", "healthy", "nobody holds a lock of this ledger")),
        ([holder(7, "001", "002")], Check("locks", "healthy", "pid 7 (w) holds migration 001, 002 since 2 s")),
        ([holder(7, who=None)], Check("locks", "healthy", "pid 7 holds the ledger since 2 s")),
        ([holder(7, "001", seconds=10)], Check("locks", "healthy", "pid 7 (w) holds migration 001 since 10 s")),
        (
            [holder(7, "001", seconds=2), holder(8, "002", seconds=11)],
            Check(
                "locks",
                "degraded",
                "pid 7 (w) holds migration 001 since 2 s; pid 8 (w) holds migration 002 since 11 s: longer than any"
                " migration may take",
                "look at pg_stat_activity; if nobody works there: SELECT pg_terminate_backend(8)",
            ),
        ),
        (
            [holder(7, "001", seconds=11), holder(8, "002", waiting=(1, 2, 3, 4, 5, 6)), holder(9, waiting=(10,))],
            Check(
                "locks",
                "degraded",
                "pid 7 (w) holds migration 001 since 11 s; pid 8 (w) holds migration 002 since 2 s; pid 9 (w) holds the"
                " ledger since 2 s; waiting for it: pid 1, 2, 3, 4, 5, 10",
                "wait, or end it: SELECT pg_cancel_backend(8)",
            ),
        ),
    ],
)
def test_locks(holders: list[LockHolder], expected: Check) -> None:
    assert checks.locks(holders, 10) == expected


@pytest.mark.parametrize(
    ("error", "reason", "nxt"),
    [
        (
            ConnectionFailed("no route\nmore"),
            "no connection to the target database: no route",
            "check that the server runs and that the connection points to it",
        ),
        (ConnectionFailed("no route", hint="dig"), "no connection to the target database: no route", "dig"),
        (
            LedgerTooNew("s", 9, 2),
            "the ledger in schema s has version 9, this wmigrate knows up to 2",
            "upgrade airflow-provider-wmigrate",
        ),
        (WMigrateError("odd"), "odd", "look at the server's log"),
        (psycopg.errors.InsufficientPrivilege("no right"), "no right", "grant the role SELECT on the ledger's tables"),
        (psycopg.errors.UndefinedTable(" gone \nLINE 1"), "gone ", "look at the server's log"),
        (psycopg.OperationalError(" "), "OperationalError", "look at the server's log"),
    ],
)
def test_a_check_that_was_refused(error: Exception, reason: str, nxt: str) -> None:
    assert checks.refused("locks", error) == Check("locks", "unhealthy", reason, nxt)


def test_no_answer_in_time() -> None:
    nxt = "see what the server does; the limit is monitoring.health_check.timeout_seconds"
    assert checks.unanswered("locks", 2.5) == Check("locks", "unhealthy", "no answer within 2.5 s", nxt)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "healthy"),
        (["healthy", "unknown"], "healthy"),
        (["healthy", "degraded"], "degraded"),
        (["degraded", "unhealthy", "healthy"], "unhealthy"),
    ],
)
def test_the_whole_is_as_bad_as_the_worst(found: list[Any], expected: str) -> None:
    assert checks.worst([Check("x", status, "") for status in found]) == expected


def test_health_for_programs() -> None:
    made = (
        Check("a", "healthy", "well"),
        Check("b", "degraded", "so so", "look"),
        Check("c", "unhealthy", "bad"),
        Check("d", "unknown", "not looked at"),
    )
    health = Health("unhealthy", made, BEFORE, 12, 3, "5:abc")
    assert health.reasons == ("b: so so; look", "c: bad")
    assert health.as_dict() == {
        "status": "unhealthy",
        "checks": [
            {"name": "a", "status": "healthy", "reason": "well", "next_step": ""},
            {"name": "b", "status": "degraded", "reason": "so so", "next_step": "look"},
            {"name": "c", "status": "unhealthy", "reason": "bad", "next_step": ""},
            {"name": "d", "status": "unknown", "reason": "not looked at", "next_step": ""},
        ],
        "checked_at": "2025-01-02T03:04:00+00:00",
        "duration_ms": 12,
        "pending": 3,
        "audit_head": "5:abc",
        "reasons": ["b: so so; look", "c: bad"],
    }
    assert (Health("healthy", (), BEFORE, 1).pending, Health("healthy", (), BEFORE, 1).audit_head) == (None, None)


def test_the_checks_have_their_names_in_their_order() -> None:
    assert checks.CHECKS == ("connection", "ledger", "checksums", "failures", "pending", "locks", "audit_chain")
