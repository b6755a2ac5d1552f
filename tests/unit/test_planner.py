"""The planner's specification, one line per case."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from in_words import BEFORE, attempt, canonical, codes, entry, folder, migration, state, steps

from airflow_provider_wmigrate.engine.model import (
    Finding,
    Plan,
    State,
    Status,
)
from airflow_provider_wmigrate.engine.plan import planner, rollback
from airflow_provider_wmigrate.engine.plan.overview import Overview, Standing, overview
from airflow_provider_wmigrate.engine.plan.statuses import statuses as find_statuses


def plan(
    files: str, ledger: str = "", to: str | None = None, extensions: str | None = None, late: Any = "apply"
) -> Plan:
    migrations, graph = folder(files)
    target = canonical(to) if to else None
    return planner.plan_apply(migrations, graph, state(ledger, extensions), to=target, late=late)


@pytest.mark.parametrize(
    ("files", "ledger", "statuses"),
    [
        ("", "", ""),
        ("1", "", "1 pending"),
        ("1", "1", "1 applied"),
        ("1!", "1", "1 changed"),
        ("", "1", "1 missing"),
        ("1", "1~", "1 incomplete"),
        ("1!", "1~", "1 incomplete"),
        ("", "1~", "1 incomplete"),
        ("1", "1^", "1 incomplete"),
        ("1 2 1000", "999 2", "1 pending, 2 applied, 999 missing, 1000 pending"),
    ],
)
def test_statuses(files: str, ledger: str, statuses: str) -> None:
    found = find_statuses(folder(files)[0], state(ledger).entries)
    assert ", ".join(f"{int(v)} {s.value}" for v, s in found.items()) == statuses


@pytest.mark.parametrize(
    ("files", "ledger", "to", "expected"),
    [
        # what is pending, in the order of dependencies, then of numbers
        ("", "", None, ""),
        ("1 2<1 3<2", "", None, "1 2 3"),
        ("1 2<1 3<2", "1", None, "2 3"),
        ("1 2<1 3<2", "1 2 3", None, ""),
        ("1<3 2 3", "", None, "2 3 1"),
        ("1 2<1 3<1 4<3", "1 3", None, "2 4"),
        ("999 1000", "", None, "999 1000"),
        # merged late: the set counts, not the highest number
        ("1 2 3", "1 3", None, "2"),
        # up to a target, with whatever the target needs
        ("1 2<1 3<2", "", "2", "1 2"),
        ("1 2<1 3<2", "1 2 3", "2", ""),
        ("1 2<4 3 4", "", "2", "1 4 2"),
    ],
)
def test_steps_forward(files: str, ledger: str, to: str | None, expected: str) -> None:
    made = plan(files, ledger, to)
    assert steps(made) == expected
    assert made.findings == ()


@pytest.mark.parametrize(("ledger", "expected"), [("1~", "1 2 3"), ("1 2~", "2 3"), ("1^", "2 3"), ("1 2 3~", "3")])
def test_what_was_begun_is_a_step_again(ledger: str, expected: str) -> None:
    assert steps(plan("1 2<1 3<2", ledger)) == expected


def test_what_is_beyond_the_target_says_so() -> None:
    assert plan("1 2<1 3<2", "", "1").left_out == {
        "002": "beyond the target 001",
        "003": "beyond the target 001",
    }


@pytest.mark.parametrize(
    ("files", "ledger", "late", "errors", "warnings"),
    [
        # contradictions
        ("1! 2<1", "1", "apply", "changed(1)", ""),
        ("2", "1", "apply", "missing(1)", ""),
        # an interrupted apply goes on by itself, an interrupted rollback must be finished first
        ("1 2<1", "1~", "apply", "", "incomplete(1)"),
        ("1! 2<1", "1~", "apply", "", "incomplete(1)"),
        ("2", "1~", "apply", "", "incomplete(1)"),
        ("1 2", "1^", "apply", "incomplete(1)", ""),
        ("1 2<1", "1^", "apply", "incomplete(1) dependency_unmet(2)", ""),
        ("1! 2!", "1 2 3", "apply", "changed(1) changed(2) missing(3)", ""),
        # applied, although a dependency is not
        ("1 2<1", "2", "apply", "", "dependency_pending(2)"),
        ("1 2<1 3<1,2", "3", "apply", "", "dependency_pending(3) dependency_pending(3)"),
        # late
        ("1 2 3", "1 3", "apply", "", ""),
        ("1 2 3", "1 3", "warn", "", "late(2)"),
        ("1 2 3", "1 3", "error", "late(2)", ""),
        ("1 2 3", "1 2", "error", "", ""),
        ("1 2 3", "", "error", "", ""),
        ("1 2", "2~", "error", "late(1)", "incomplete(2)"),
        ("1 2", "3", "error", "missing(3) late(1) late(2)", ""),
    ],
)
def test_findings(files: str, ledger: str, late: str, errors: str, warnings: str) -> None:
    made = plan(files, ledger, late=late)
    assert codes(made.errors) == errors
    assert codes(tuple(f for f in made.findings if f.severity == "warning")) == warnings


def test_a_statement_that_was_in_flight_is_told_in_the_plan() -> None:
    begun = entry("1~", statements_done=0, statements_total=2, statement_hashes=("x",))
    migrations, graph = folder("1")
    found = planner.plan_apply(migrations, graph, State((begun,), None, 1)).findings
    assert str(found[0]) == (
        "001_m.sql: migration 001_m was begun outside a transaction and not finished (0 of 2 statements done), and"
        " whether statement 1 ran to its end is not known; the next run finds out whether it ran, and asks you where"
        " the database cannot tell"
    )


def test_late_beyond_the_target_is_not_late() -> None:
    assert plan("1 2 3", "3", to="1", late="error").errors[0].version == "001"
    assert len(plan("1 2 3", "3", to="1", late="error").errors) == 1


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            plan("1!", "1").findings,
            "001_m.sql: was edited after it was applied on 2025-01-02 03:04 UTC;"
            " restore the file and write a new migration instead",
        ),
        (plan("", "1").findings, "migration 001_m is applied but its file is gone; restore the file"),
        (
            plan("1", "1~").findings,
            "001_m.sql: migration 001_m was begun outside a transaction and not finished (1 of 1 statements done);"
            " it goes on where it stopped",
        ),
        (
            plan("1", "1^").findings,
            "001_m.sql: the rollback of 001_m was begun outside a transaction and not finished"
            " (1 of 1 statements done); finish it: roll it back again",
        ),
        (
            plan("1 2<1", "1^").findings[1:],
            "migration 002 needs 001, which is incomplete; finish 001 first",
        ),
        (
            plan("1 2<1", "2").findings,
            "migration 002 is applied but 001, on which it depends, is pending;"
            " apply 001, or correct the dependencies of 002",
        ),
        (
            plan("1 2", "2", late="warn").findings,
            "migration 001 is pending although 002 is applied: it was merged late or left behind;"
            " renumber it, or set execution.late_migrations: apply",
        ),
        (
            plan("1+postgis", extensions="").findings,
            "001_m.sql: migration 001 needs extension postgis, which this server cannot create:"
            " its files are not there; install postgis on the server, or set when_missing: skip",
        ),
    ],
)
def test_what_findings_say(finding: tuple[Finding, ...], text: str) -> None:
    assert [str(f) for f in finding] == [text]


def test_applied_at_is_told_in_utc() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    moved = entry("1", applied_at=datetime(2025, 1, 2, 3, 4, tzinfo=there))
    migrations, graph = folder("1!")
    (finding,) = planner.plan_apply(migrations, graph, State((moved,))).findings
    assert "2025-01-01 21:34 UTC" in finding.message


@pytest.mark.parametrize(
    ("files", "extensions", "expected", "errors", "skipped"),
    [
        ("1+x", "x", "1", "", {}),
        ("1?x", "x", "1", "", {}),
        ("1+x", None, "1", "", {}),
        ("1?x", None, "1", "", {}),
        ("1+x", "", "1", "extension_missing(1)", {}),
        ("1?x", "", "", "", {"001": "extension x cannot be had on this server"}),
        (
            "1?x 2<1 3<2 4",
            "",
            "4",
            "",
            {
                "001": "extension x cannot be had on this server",
                "002": "needs 001, which is left out",
                "003": "needs 001, which is left out",
            },
        ),
        (
            "1?x 2<1+y",
            "",
            "",
            "",
            {"001": "extension x cannot be had on this server", "002": "needs 001, which is left out"},
        ),
    ],
)
def test_extensions(files: str, extensions: str | None, expected: str, errors: str, skipped: dict[str, str]) -> None:
    made = plan(files, extensions=extensions)
    assert (steps(made), codes(made.errors), made.left_out) == (expected, errors, skipped)


def test_an_applied_migration_needs_no_extension_any_more() -> None:
    assert plan("1?x 2<1", "1", extensions="").left_out == {}
    assert plan("1+x 2<1", "1", extensions="").findings == ()


@pytest.mark.parametrize(
    ("file", "ledger", "assume", "expected"),
    [
        ("2<1", "1", [], ""),
        ("2<1", "", [], "dependency_unmet(2)"),
        ("2<1", "", ["001"], ""),
        ("2<1", "1~", [], "dependency_unmet(2)"),
        ("3<1,2", "", [], "dependency_unmet(3) dependency_unmet(3)"),
        ("1!", "1", [], "changed(1)"),
        ("1", "1~", [], ""),
        ("1!", "1~", [], ""),
        ("1", "1^", [], "incomplete(1)"),
        ("2<1", "1^", [], "dependency_unmet(2)"),
        ("2", "1", [], ""),
    ],
)
def test_refusals_of_one_migration(file: str, ledger: str, assume: list[str], expected: str) -> None:
    found = planner.refusals(migration(file), state(ledger).entries, assume=assume)
    assert codes(found) == expected


def test_a_plan_is_a_function_of_its_arguments() -> None:
    made = [plan("1 2<1 3<2", "1", late="warn") for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("files", "ledger", "attempts", "success", "expected"),
    [
        # a failed apply is over when it is applied, settled by a person, or gone
        ("1", "", {"1": "failed"}, None, "1 failed *"),
        ("1", "1", {"1": "failed"}, None, "1 applied"),
        ("1!", "1", {"1": "failed"}, None, "1 changed"),
        ("1", "1~", {"1": "failed"}, None, "1 incomplete *"),
        ("1", "", {"1": "repaired"}, None, "1 pending"),
        ("1", "", {"1": "baselined"}, None, "1 pending"),
        ("1", "", {"1": "rolled_back"}, None, "1 pending"),
        ("1", "1", {"1": "applied"}, None, "1 applied"),
        ("2", "", {"1": "failed"}, None, "2 pending"),
        ("1", "", {"1": "failed"}, +1, "1 failed *"),
        # a failed rollback is over when it is gone, or when a whole run has gone on with it
        ("1", "1", {"1": "rollback_failed"}, None, "1 applied *"),
        ("1", "1", {"1": "rollback_failed"}, -1, "1 applied *"),
        ("1", "1", {"1": "rollback_failed"}, 0, "1 applied *"),
        ("1", "1", {"1": "rollback_failed"}, +1, "1 applied"),
        ("", "1", {"1": "rollback_failed"}, None, "1 missing *"),
        ("1", "1^", {"1": "rollback_failed"}, +1, "1 incomplete *"),
        ("1", "", {"1": "rollback_failed"}, None, "1 pending"),
        # left out counts more than failed: up will not run it here
        ("1?x", "", {"1": "failed"}, None, "1 left_out *"),
        ("1?x 2<1", "", {}, None, "1 left_out, 2 left_out"),
        ("1?x", "1~", {}, None, "1 incomplete"),
    ],
)
def test_statuses_as_they_are_told(
    files: str, ledger: str, attempts: dict[str, str], success: int | None, expected: str
) -> None:
    """`*`: its last failure still counts."""
    made_of = replace(
        state(ledger, ""),
        attempts=tuple(attempt(version, event) for version, event in attempts.items()),
        last_success=None if success is None else BEFORE + timedelta(seconds=success),
    )
    migrations, graph = folder(files)
    forward = planner.plan_apply(migrations, graph, made_of)
    said = [f"{int(v)} {s.value}{' *' if v in forward.failures else ''}" for v, s in forward.statuses.items()]
    assert ", ".join(said) == expected
    back = rollback.plan_rollback(migrations, made_of, to=None)
    assert back.failures == forward.failures
    assert set(back.statuses.values()) & {Status.LEFT_OUT} == set()
    assert [f for f in back.failures.values()] == [attempt(v, attempts[v]) for v in attempts if " *" in expected]


def test_the_whole_picture_of_a_target() -> None:
    migrations, graph = folder("1 2<1 3?x 4")
    rows = (entry("1"), entry("7"))
    failed = attempt("2", "failed", sqlstate="22012")
    found = overview(migrations, graph, State(rows, {}, 2, (failed,)), to="003", late="warn")
    one, two, three, four = migrations
    assert found == Overview(
        planner.plan_apply(migrations, graph, State(rows, {}, 2, (failed,)), to="003", late="warn"),
        (
            Standing("001", Status.APPLIED, one, rows[0], "", None),
            Standing("002", Status.FAILED, two, None, "", failed),
            Standing("003", Status.LEFT_OUT, three, None, "extension x cannot be had on this server", None),
            Standing("004", Status.LEFT_OUT, four, None, "beyond the target 003", None),
            Standing("007", Status.MISSING, None, rows[1], "", None),
        ),
        2,
    )
    assert [standing.name for standing in found.standings] == ["m"] * 5
    assert list(found.counts.items()) == [
        (Status.FAILED, 1),
        (Status.LEFT_OUT, 2),
        (Status.APPLIED, 1),
        (Status.MISSING, 1),
    ]


def test_a_failed_attempt_for_programs() -> None:
    assert attempt("2", "rollback_failed", sqlstate="22012").as_dict() == {
        "direction": "rollback",
        "at": BEFORE,
        "actor": "ann",
        "dag_id": None,
        "run_id": "r1",
        "task_id": None,
        "try_number": None,
        "error": "it broke",
        "sqlstate": "22012",
    }
    assert attempt("2", "failed").direction == "apply"
