"""What a person's decision makes of an entry, and when it does not fit: whole values, one line per case."""

from __future__ import annotations

from typing import Any

import pytest
from in_words import attempt, canonical, codes, entry, folder, migration, state, steps
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.baseline import (
    baseline_named,
    not_agreed,
    not_undoable,
    plan_baseline,
)
from airflow_provider_wmigrate.engine.decisions.repair import DECISIONS, _summary, repaired
from airflow_provider_wmigrate.engine.errors import UnknownVersion, WMigrateError
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, State

LOOK = "look at `wmigrate status`"


def unfit(status: str, message: str, nxt: str = LOOK) -> Finding:
    return Finding("not_repairable", f"migration 001 is {status}; {message}", nxt, version="001")


def begun(**more: Any) -> Entry:
    return entry("1~", statements_done=1, statements_total=3, statement_hashes=("a", "b"), **more)


ONE = migration("1")
EDITED = migration("1!")


@pytest.mark.parametrize(
    ("file", "before", "decision", "after"),
    [
        # an edited file
        (EDITED, entry("1"), "accept", replace(entry("1"), checksum=EDITED.script.checksum)),
        (ONE, entry("1"), "accept", unfit("applied", "accept settles a file that was edited after it was applied")),
        (None, entry("1"), "accept", unfit("missing", "accept settles a file that was edited after it was applied")),
        (ONE, begun(), "accept", unfit("incomplete", "accept settles a file that was edited after it was applied")),
        # what was begun
        (ONE, begun(), "done", replace(begun(), status="applied", statements_done=3)),
        (
            EDITED,
            begun(),
            "done",
            replace(begun(), status="applied", statements_done=3, checksum=EDITED.script.checksum),
        ),
        (None, begun(), "done", replace(begun(), status="applied", statements_done=3)),
        (ONE, begun(direction="rollback"), "done", replace(begun(), status="applied", statements_done=3)),
        (ONE, begun(), "undone", None),
        (ONE, begun(), "ran", replace(begun(), statements_done=2)),
        (ONE, begun(), "again", replace(begun(), statement_hashes=("a",))),
        *[
            (
                ONE,
                replace(begun(), statement_hashes=("a",)),
                decision,
                unfit("incomplete", "no statement of it was in flight; run it again and it goes on by itself"),
            )
            for decision in ("ran", "again")
        ],
        *[
            (ONE, entry("1"), decision, unfit("applied", f"{decision} settles an incomplete migration"))
            for decision in ("done", "undone", "ran", "again")
        ],
        # a file that is gone
        (None, entry("1"), "forget", entry("1")),
        (ONE, entry("1"), "forget", unfit("applied", "forget settles a file that is gone")),
        (EDITED, entry("1"), "forget", unfit("changed", "forget settles a file that is gone")),
        (None, begun(), "forget", unfit("incomplete", "forget settles a file that is gone")),
        # nothing was ever begun
        *[
            (ONE, None, decision, unfit("pending", "there is nothing of it in the ledger to repair"))
            for decision in DECISIONS
            if decision != "settle"
        ],
        (ONE, None, "settle", unfit("pending", "no failure of it is open")),
        (ONE, entry("1"), "settle", unfit("applied", "no failure of it is open")),
        (
            ONE,
            begun(),
            "settle",
            unfit(
                "incomplete",
                "settle is for what is whole",
                "roll it back, go on with `wmigrate up`, or `wmigrate repair 001 --done` or `--undone`",
            ),
        ),
    ],
)
def test_what_a_decision_makes_of_an_entry(file: Any, before: Entry | None, decision: Any, after: Any) -> None:
    assert repaired(file, before, decision) == after
    assert repaired(file, before, decision, State((before,) if before else (), None, 2)) == after


@pytest.mark.parametrize(
    ("before", "event", "fits"),
    [
        (None, "failed", True),
        (None, "rolled_back", False),
        (entry("1"), "rollback_failed", True),
        (entry("1"), "failed", False),
        (entry("1"), "applied", False),
    ],
)
def test_a_failure_is_settled_where_it_is_open(before: Entry | None, event: str, fits: bool) -> None:
    seen = State((before,) if before else (), None, 2, (attempt("1", event), attempt("2", "failed")))
    after = repaired(ONE, before, "settle", seen)
    status = "applied" if before else "pending"
    assert after == (before if fits else unfit(status, "no failure of it is open"))


def test_a_failed_one_is_called_failed() -> None:
    seen = State((), None, 2, (attempt("1", "failed"),))
    assert repaired(ONE, None, "done", seen) == unfit("failed", "there is nothing of it in the ledger to repair")


def test_what_is_forgotten_already() -> None:
    seen = State((entry("1"),), None, 2, (attempt("1", "repaired", forgotten=True),))
    assert repaired(None, entry("1"), "forget", seen) == unfit("forgotten", "forget settles a file that is gone")


def test_accepting_takes_what_the_file_says() -> None:
    file = replace(migration("2<1!"), name="new", rollback=None)
    before = entry("2<3", rollback_checksum="kept")
    assert repaired(file, before, "accept") == replace(
        before, name="new", checksum=file.script.checksum, dependencies=("001",)
    )
    mended = replace(file, rollback=migration("2").rollback)
    after = repaired(mended, before, "accept")
    assert isinstance(after, Entry)
    assert mended.rollback is not None
    assert after.rollback_checksum == mended.rollback.checksum


def test_accepting_makes_no_circle() -> None:
    file = migration("1<2,9!")
    after = repaired(file, entry("1"), "accept", state("1 2<1 9"))
    assert after == replace(entry("1"), checksum=file.script.checksum, dependencies=("009",))


# Baselines


@pytest.mark.parametrize(
    ("files", "ledger", "to", "expected", "findings"),
    [
        ("1 2<1 3<2", "", "2", "1 2", ""),
        ("1 2<1 3<2", "1", "3", "2 3", ""),
        ("1 2<1 3<2", "1 2 3", "3", "", ""),
        ("1 2<3 3", "", "2", "1 3 2", ""),
        ("1! 2", "1", "2", "", "not_declarable(1)"),
        ("1 2 3", "1~", "2", "", "not_declarable(1)"),
        ("1 2 3!", "3", "2", "1 2", ""),
        ("1 2<1 3<2", "2<1", "1", "", "not_declarable(1)"),
        ("1 2<1 3<1", "2", "3", "", "not_declarable(1)"),
    ],
)
def test_what_is_declared(files: str, ledger: str, to: str, expected: str, findings: str) -> None:
    migrations, graph = folder(files)
    made = plan_baseline(migrations, graph, state(ledger), to=canonical(to))
    assert (steps(made), codes(made.findings), made.to) == (expected, findings, canonical(to))


def test_what_was_merged_late_is_declared_as_it_was_applied_without_it() -> None:
    """Nobody declared anything: each needs the one before it, but 003 was applied without 002."""
    chain = [replace(m, dependencies_implied=True) for m in folder("1 2<1 3<2")[0]]
    graph = Graph({m.version: m.dependencies for m in chain})
    made = plan_baseline(chain, graph, state("1 3<1"), to="002")
    assert (steps(made), made.findings) == ("2", ())


@pytest.mark.parametrize(
    ("agreed", "left"), [(None, []), (["001", "002"], []), (["001"], ["002"]), ([], ["001", "002"])]
)
def test_what_nobody_agreed_to_is_not_declared(agreed: list[str] | None, left: list[str]) -> None:
    assert list(not_agreed(["001", "002"], agreed)) == [
        Finding(
            "not_declarable",
            f"migration {version} was rolled back meanwhile, so nothing is declared",
            LOOK,
            version=version,
        )
        for version in left
    ]


def test_a_baseline_by_its_version() -> None:
    assert baseline_named(" 2 ", {"002": ("001", "002")}) == "002"
    with pytest.raises(UnknownVersion) as refused:
        baseline_named("3", {"002": ("001", "002")})
    assert str(refused.value) == ("no migration 3 in the baselines that this ledger stands on; the newest one is 002")


@pytest.mark.parametrize(
    ("files", "ledger", "message", "nxt"),
    [
        (
            "1!",
            "1",
            "migration 001 is changed, so nothing is declared",
            "restore its file, or accept it with `wmigrate repair 001 --accept`",
        ),
        (
            "1",
            "1~",
            "migration 001 is incomplete, so nothing is declared",
            "settle it first with `wmigrate repair 001 --done` or `--undone`",
        ),
        (
            "1 2<1",
            "2<1",
            "migration 001 cannot be declared applied: 002, which needs it, went on without it",
            "apply 001 with `wmigrate up`, or correct the dependencies of 002 in the config",
        ),
        (
            "1 2<1 3<1",
            "2<1 3",
            "migration 001 cannot be declared applied: 002, 003, which need it, went on without it",
            "apply 001 with `wmigrate up`, or correct the dependencies of 002, 003 in the config",
        ),
        (
            "1 2<1 4",
            "2 4",
            "migration 001 cannot be declared applied: 002, which needs it, went on without it",
            "apply 001 with `wmigrate up`, or correct the dependencies of 002 in the config",
        ),
        (
            "1 2 4",
            "2<1 4",
            "migration 001 cannot be declared applied: 002, which needs it, went on without it",
            "apply 001 with `wmigrate up`, or correct the dependencies of 002 in the config",
        ),
    ],
)
def test_why_nothing_is_declared(files: str, ledger: str, message: str, nxt: str) -> None:
    migrations, graph = folder(files)
    found = plan_baseline(migrations, graph, state(ledger), to="001").findings
    assert found == (Finding("not_declarable", message, nxt, version="001"),)


def test_what_the_server_cannot_have_is_left_out_of_a_baseline() -> None:
    migrations, graph = folder("1 2?x 3<2 4")
    made = plan_baseline(migrations, graph, state("", ""), to="003")
    why = "extension x is not available on this server"
    assert (steps(made), made.left_out) == ("1", {"002": why, "003": "needs 002, which is left out"})


def test_a_baseline_on_which_something_stands_is_not_taken_back() -> None:
    entries = state("1 2<1 3<2 4").entries
    assert not_undoable(["004"], entries) == ()
    assert not_undoable(["001", "002", "003"], entries) == ()
    (finding,) = not_undoable(["001", "002"], entries)
    assert finding == Finding(
        "depended_on",
        "migration 002 cannot be rolled back: 003 depends on it",
        "roll back first: `wmigrate down --only 003`",
        version="002",
    )


def test_a_reason_is_one_line() -> None:
    def deciding(reason: str) -> Decider:
        return Decider(connect=None, folder=None, identity=Identity("ann"), reason=reason)  # type: ignore[arg-type]

    assert deciding(" because\n  of it ").stated("repair") == "because of it"
    with pytest.raises(WMigrateError) as refused:
        deciding(" \n").stated("repair")
    assert str(refused.value) == "a repair needs a reason; it is kept in the audit log"


def test_what_the_audit_log_keeps_of_an_entry_before_and_after() -> None:
    assert _summary(None) is None
    assert _summary(begun()) == {
        "status": "incomplete",
        "direction": "apply",
        "checksum": ONE.script.checksum,
        "rollback_checksum": begun().rollback_checksum,
        "statements_done": 1,
        "statements_total": 3,
    }
