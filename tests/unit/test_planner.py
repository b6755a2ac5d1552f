"""The planner's specification, one line per case."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from in_words import BEFORE, attempt, canonical, codes, entry, folder, migration, state, steps
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import (
    Entry,
    Finding,
    Plan,
    State,
    Status,
    Step,
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


def test_a_whole_plan() -> None:
    migrations, _ = folder("1 2<1 3<2")
    assert plan("1 2<1 3<2", "1", "2") == Plan(
        "apply",
        "002",
        (Step("apply", "002", "m", migrations[1].script.checksum, None),),
        {"001": Status.APPLIED, "002": Status.PENDING, "003": Status.LEFT_OUT},
        (),
        {"003": "beyond the target 002"},
        {},
    )


def test_what_is_beyond_the_target_says_so() -> None:
    assert plan("1 2<1 3<2", "", "1").left_out == {
        "002": "beyond the target 001",
        "003": "beyond the target 001",
    }
    assert plan("1 2?x", to="1", extensions="").left_out == {"002": "beyond the target 001"}


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


def test_late_beyond_the_target_is_not_late() -> None:
    assert plan("1 2 3", "3", to="1", late="error").errors[0].version == "001"
    assert len(plan("1 2 3", "3", to="1", late="error").errors) == 1


INCOMPLETE = "001_m was started outside a transaction and is not finished (1 of 2 statements done)"


@pytest.mark.parametrize(
    ("files", "ledger", "hashes", "expected"),
    [
        (
            "1",
            "1~",
            ("x",),
            Finding(
                "incomplete",
                f"migration {INCOMPLETE}",
                "`wmigrate up` goes on where it stopped",
                "warning",
                "001",
                "001_m.sql",
            ),
        ),
        (
            "1",
            "1~",
            ("x", "y"),
            Finding(
                "incomplete",
                f"migration {INCOMPLETE}, and whether statement 2 ran to its end is not known",
                "`wmigrate up` finds out whether it ran, and asks you where the database cannot tell",
                "warning",
                "001",
                "001_m.sql",
            ),
        ),
        (
            "",
            "1~",
            ("x", "y"),
            Finding(
                "incomplete",
                f"migration {INCOMPLETE}, and its file is gone",
                "restore the file; or roll it back: `wmigrate down --only 001`; or, if it was undone or finished by"
                " hand: `wmigrate repair 001 --undone` or `--done`",
                "warning",
                "001",
            ),
        ),
        (
            "1",
            "1^",
            ("x", "y"),
            Finding(
                "incomplete",
                f"the rollback of {INCOMPLETE}",
                "finish it: `wmigrate down --only 001`; or, if it was finished by hand: `wmigrate repair 001 --undone`"
                " or `--done`",
                "error",
                "001",
                "001_m.sql",
            ),
        ),
        (
            "",
            "1^",
            (),
            Finding(
                "incomplete",
                f"the rollback of {INCOMPLETE}",
                "finish it: `wmigrate down --only 001`; or, if it was finished by hand: `wmigrate repair 001 --undone`"
                " or `--done`",
                "error",
                "001",
            ),
        ),
    ],
)
def test_what_was_begun_says_how_it_goes_on(
    files: str, ledger: str, hashes: tuple[str, ...], expected: Finding
) -> None:
    begun = entry(ledger, statements_done=1, statements_total=2, statement_hashes=hashes)
    migrations, graph = folder(files)
    assert planner.plan_apply(migrations, graph, State((begun,), None, 1)).findings == (expected,)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            plan("1!", "1"),
            Finding(
                "changed",
                "was edited after it was applied on 2025-01-02 03:04 UTC",
                "restore the file and write a new migration instead; or, if the database is as the file says now:"
                " `wmigrate repair 001 --accept`",
                "error",
                "001",
                "001_m.sql",
            ),
        ),
        (
            plan("", "1"),
            Finding(
                "missing",
                "migration 001_m is applied but its file is gone",
                "restore the file; or, if it was deleted on purpose: `wmigrate repair 001 --forget`",
                "error",
                "001",
            ),
        ),
        (
            plan("1 2<1", "1^"),
            Finding(
                "dependency_unmet",
                "migration 002 needs 001, which is incomplete",
                "finish the rollback of 001 first: `wmigrate down --only 001`",
                "error",
                "002",
                "002_m.sql",
            ),
        ),
        (
            plan("1 2<1", "2"),
            Finding(
                "dependency_pending",
                "migration 002 is applied but 001, on which it depends, is pending",
                "apply 001 with `wmigrate up`, or correct the dependencies of 002 in the config",
                "warning",
                "002",
                "002_m.sql",
            ),
        ),
        (
            plan("1 2 3", "1 3", late="warn"),
            Finding(
                "late",
                "migration 002 is pending although 003 is applied: it was merged late or left behind",
                "give its files a number above 003, or set settings.execution.late_migrations to apply",
                "warning",
                "002",
                "002_m.sql",
            ),
        ),
        (
            plan("1 2 3", "1 3", late="error"),
            Finding(
                "late",
                "migration 002 is pending although 003 is applied: it was merged late or left behind",
                "give its files a number above 003, or set settings.execution.late_migrations to apply",
                "error",
                "002",
                "002_m.sql",
            ),
        ),
        (
            plan("1+postgis", extensions=""),
            Finding(
                "extension_missing",
                "migration 001 needs extension postgis, which this server cannot create: its files are not there",
                "install postgis on the server, or set when_missing: skip",
                "error",
                "001",
                "001_m.sql",
            ),
        ),
    ],
)
def test_what_findings_say(found: Plan, expected: Finding) -> None:
    assert found.findings[-1] == expected


@pytest.mark.parametrize(
    ("estimate", "budget", "over"),
    [(11, 10, True), (10, 10, False), (9, 10, False), (None, 10, False), (11, None, False)],
)
def test_an_estimate_over_the_budget(estimate: float | None, budget: float | None, over: bool) -> None:
    one = replace(migration("1"), estimated_duration_seconds=estimate, timeout_seconds=budget)
    made = planner.plan_apply([one], Graph({"001": ()}), State())
    expected = Finding(
        "estimate_over_budget",
        "migration 001 should take 11 s, more than its budget of 10 s",
        "raise its timeout_seconds, or correct the estimate",
        "warning",
        "001",
        "001_m.sql",
    )
    assert made.findings == ((expected,) if over else ())
    assert made.steps == (Step("apply", "001", "m", one.script.checksum, estimate),)


@pytest.mark.parametrize(
    ("files", "ledger", "expected"),
    [
        # nobody declared anything: what was applied without it does not need it
        ("1 2 3", "1 3<1", ""),
        ("1 2 3 4", "1 3<1", ""),
        ("1 2 3", "3", ""),
        # declared, it does
        ("1 2 3<2", "1 3<1", "dependency_pending(3)"),
        # what it needed when it was applied, and was rolled back somehow
        ("1 2 3", "1 3<2", "dependency_pending(3)"),
        # what the ledger says of that time contradicts what is declared now: the folder counts
        ("1 2<1", "1<2", ""),
    ],
)
def test_late_without_a_word_about_dependencies(files: str, ledger: str, expected: str) -> None:
    """Migrations without declared dependencies form a chain here, as a folder without a config does."""
    words = folder(files)[0]
    chain = [
        m
        if m.dependencies
        else replace(m, dependencies=tuple(w.version for w in words[:i][-1:]), dependencies_implied=True)
        for i, m in enumerate(words)
    ]
    graph = Graph({m.version: m.dependencies for m in chain})
    assert codes(planner.plan_apply(chain, graph, state(ledger)).findings) == expected


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
        ("1?x", "", "", "", {"001": "extension x is not available on this server"}),
        (
            "1?x 2<1 3<2 4",
            "",
            "4",
            "",
            {
                "001": "extension x is not available on this server",
                "002": "needs 001, which is left out",
                "003": "needs 001, which is left out",
            },
        ),
        (
            "1?x 2<1+y",
            "",
            "",
            "",
            {"001": "extension x is not available on this server", "002": "needs 001, which is left out"},
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
    found = planner.refusals(migration(file), by_version(ledger), assume=assume)
    assert codes(found) == expected


def by_version(ledger: str) -> dict[str, Entry]:
    return {entry.version: entry for entry in state(ledger).entries}


def test_what_the_refusals_of_one_migration_say() -> None:
    assert planner.refusals(migration("3<1,2"), by_version("2")) == (
        Finding(
            "dependency_unmet",
            "migration 003 needs 001, which is not applied",
            "apply 001 first: `wmigrate up --to 001`",
            "error",
            "003",
            "003_m.sql",
        ),
    )
    assert planner.refusals(migration("1!"), by_version("1 2")) == plan("1! 2", "1 2").findings
    assert planner.refusals(migration("1"), by_version("1^ 2^")) == plan("1 2", "1^").findings


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
        last_events=tuple(attempt(version, event) for version, event in attempts.items()),
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
            Standing("003", Status.LEFT_OUT, three, None, "extension x is not available on this server", None),
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


def test_a_picture_is_of_everything_and_takes_late_ones_unless_it_is_told() -> None:
    migrations, graph = folder("1 2 3")
    seen = state("1 3")
    assert overview(migrations, graph, seen).plan == planner.plan_apply(migrations, graph, seen, to=None, late="apply")


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


OWN_LEDGER = "; or, if another folder was applied here: give each folder a ledger of its own (settings.ledger.schema)"
ACCEPT = (
    "restore the file and write a new migration instead; or, if the database is as the file says now:"
    " `wmigrate repair 001 --accept`"
)
FORGET = "restore the file; or, if it was deleted on purpose: `wmigrate repair %s --forget`"


@pytest.mark.parametrize(
    ("files", "name", "expected"),
    [
        ("1! 2", "m", [("changed", ACCEPT), ("missing", FORGET % "003")]),
        ("1! 2", "of_another", [("changed", ACCEPT + OWN_LEDGER), ("missing", FORGET % "003" + OWN_LEDGER)]),
        ("1 2", "renamed", [("missing", FORGET % "003")]),
        ("4 5", "m", [("missing", FORGET % v + OWN_LEDGER) for v in ("001", "002", "003")]),
        ("", "m", [("missing", FORGET % v) for v in ("001", "002", "003")]),
    ],
    ids=["the same folder", "the same numbers", "renamed alone", "other numbers", "an empty folder"],
)
def test_two_folders_on_one_ledger_are_told_how_to_part(files: str, name: str, expected: list[tuple[str, str]]) -> None:
    ledger = State((entry("1", name=name), entry("2"), entry("3")), None, 1)
    migrations, graph = folder(files)
    found = planner.plan_apply(migrations, graph, ledger).findings
    assert [(f.code, f.next_step) for f in found] == expected
