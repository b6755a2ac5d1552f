"""What a rollback takes back and in which order, one line per case."""

from __future__ import annotations

import pytest
from in_words import canonical, codes, entry, folder, migration, state, steps
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.model import Finding, Plan, Script, State, Status, Step
from airflow_provider_wmigrate.engine.plan import rollback


def plan_back(files: str, ledger: str, to: str | None = None) -> Plan:
    return rollback.plan_rollback(folder(files)[0], state(ledger), to=canonical(to) if to else None)


@pytest.mark.parametrize(
    ("files", "ledger", "to", "expected"),
    [
        ("1 2<1 3<2", "1 2<1 3<2", None, "3 2 1"),
        ("1 2<1 3<2", "1 2<1 3<2", "1", "3 2"),
        ("1 2<1 3<2", "1 2<1 3<2", "3", ""),
        ("1 2<1 3<2", "", None, ""),
        ("1 2<1 3<2", "1", "1", ""),
        # the order is the one of the dependencies as applied, whatever the folder says now
        ("1 2<1 3<1", "1 2<3 3<1", None, "2 3 1"),
        ("1<2 2", "2 1<2", None, "1 2"),
        ("1", "1 2<1", None, "2 1"),
        ("", "999 1000<999", None, "1000 999"),
        # among those that do not depend on one another the last applied goes first, at one moment the higher
        ("1 2<1 3<2", "1 2<1@9 3<1", None, "2 3 1"),
        ("1 2<1 3<2", "1 2<1@9 3<1", "1", "2 3"),
        ("1 2 3", "1@2 2@1 3@3", None, "3 1 2"),
        ("1 2 3 4<1", "1@3 2@1 3@2 4<1", None, "3 2 4 1"),
        ("1 2 1000", "1 2 1000", None, "1000 2 1"),
        # a dependency counts more than a clock that was set back
        ("1 2<1", "1@9 2<1@1", None, "2 1"),
        # a circle, which no runner writes: the last applied one first
        ("1 2 3", "1<2 2<1@1 3<2@2", None, "3 2 1"),
        # an incomplete one is rolled back too
        ("1 2<1", "1 2~", "1", "2"),
        ("1 2<1", "1 2^", "1", "2"),
    ],
)
def test_steps_back(files: str, ledger: str, to: str | None, expected: str) -> None:
    made = plan_back(files, ledger, to)
    assert steps(made) == expected
    assert {s.action for s in made.steps} <= {"rollback"}
    assert made.errors == ()


@pytest.mark.parametrize(
    ("ledger", "count", "to", "expected"),
    [
        ("1 2<1 3<2", 1, "002", "3"),
        ("1 2<1 3<2", 2, "001", "3 2"),
        ("1 2<1 3<2", 3, None, "3 2 1"),
        ("1 2<1 3<2", 9, None, "3 2 1"),
        ("", 1, None, ""),
        # by version, whatever was applied last
        ("1 2@9 3@1", 1, "002", "3"),
        ("999 1000", 1, "999", "1000"),
        # the order among them is that of every rollback
        ("1 2@9 3@1", 2, "001", "2 3"),
        ("1 2~", 1, "001", "2"),
    ],
)
def test_the_last_steps_back(ledger: str, count: int, to: str | None, expected: str) -> None:
    made = rollback.plan_rollback_steps(folder("1 2 3 999 1000")[0], state(ledger), count)
    assert (steps(made), made.to, made.errors) == (expected, to, ())


def test_the_last_steps_do_not_take_what_another_one_needs() -> None:
    made = rollback.plan_rollback_steps(folder("1 2 3")[0], state("1<3 2 3"), 1)
    assert codes(made.findings) == "depended_on(3)"


def test_a_whole_plan_back() -> None:
    migrations = folder("1 2<1 3<2 5!")[0]
    seen = state("1 2<1 3<2 4")
    edited = Finding(
        "no_rollback",
        "migration 004_m has no rollback script, neither in the folder nor in the ledger",
        "restore its file and write 004_m.rollback.sql; or restore a backup",
        version="004",
    )
    rows = tuple(replace(e, rollback_checksum=None) if e.version == "004" else e for e in seen.entries)
    assert rollback.plan_rollback(migrations, replace(seen, entries=rows), to="002") == Plan(
        "rollback",
        "002",
        tuple(Step("rollback", e.version, "m", e.checksum) for e in (rows[3], rows[2])),
        {
            "001": Status.APPLIED,
            "002": Status.APPLIED,
            "003": Status.APPLIED,
            "004": Status.MISSING,
            "005": Status.PENDING,
        },
        (edited,),
        {"001": "not above the target 002", "002": "not above the target 002"},
    )
    assert rollback.plan_rollback_of(migrations, seen, "003") == Plan(
        "rollback",
        "003",
        (Step("rollback", "003", "m", rows[2].checksum),),
        {
            "001": Status.APPLIED,
            "002": Status.APPLIED,
            "003": Status.APPLIED,
            "004": Status.MISSING,
            "005": Status.PENDING,
        },
        (),
        {"001": "only 003 is meant", "002": "only 003 is meant", "004": "only 003 is meant"},
    )


def test_a_lower_one_that_depends_on_a_higher_one_stands_in_the_way() -> None:
    assert plan_back("1<2 2", "2 1<2", to="1").findings == (
        Finding(
            "depended_on",
            "migration 002 cannot be rolled back: 001 depends on it",
            "roll back first: `wmigrate down --only 001`",
            version="002",
        ),
    )


@pytest.mark.parametrize(
    ("version", "leaving", "needing", "first"),
    [
        ("001", [], "002, 003 depend", "4 3 2"),
        ("001", ["002"], "003 depends", "4 3"),
        ("001", ["002", "003"], None, ""),
        ("003", [], "004 depends", "4"),
        ("004", [], None, ""),
    ],
)
def test_dependents(version: str, leaving: list[str], needing: str | None, first: str) -> None:
    found = rollback.dependents(version, state("1 2<1 3<1 4<3").entries, leaving=leaving)
    commands = ", ".join(f"`wmigrate down --only {canonical(v)}`" for v in first.split())
    message, nxt = f"migration {version} cannot be rolled back: {needing} on it", f"roll back first: {commands}"
    assert found == ((Finding("depended_on", message, nxt, version=version),) if needing else ())


def test_of_many_dependents_the_first_that_can_go_are_named() -> None:
    (finding,) = rollback.dependents("001", state("1 2<1 3<2 4<3 5<4").entries)
    first = "`wmigrate down --only 005`, `wmigrate down --only 004`, `wmigrate down --only 003`"
    assert finding.next_step == f"roll back first: {first}, and so on (1 more)"


@pytest.mark.parametrize(
    ("version", "expected", "errors"),
    [("2", "2", ""), ("1", "1", "depended_on(1)"), ("3", "3", ""), ("4", "", "")],
)
def test_one_alone(version: str, expected: str, errors: str) -> None:
    made = rollback.plan_rollback_of(folder("1 2<1 3<2 4")[0], state("1 2<1@9 3<1"), canonical(version))
    assert (steps(made), codes(made.findings), made.to) == (expected, errors, canonical(version))
    others = [v for v in ("001", "002", "003") if v != canonical(version)]
    assert made.left_out == dict.fromkeys(others, f"only {canonical(version)} is meant")


def test_what_stays_says_why() -> None:
    assert plan_back("1 2", "1 2", to="1").left_out == {"001": "not above the target 001"}


@pytest.mark.parametrize(("version", "chain"), [("1", "4 3 2 1"), ("2", "2"), ("3", "4 3"), ("4", "4")])
def test_chain_of_a_dry_run(version: str, chain: str) -> None:
    found = rollback.applied_chain([canonical(version)], state("1 2<1 3<1 4<3").entries)
    assert " ".join(str(int(v)) for v in found) == chain


OLD = Script.of("", "an older undo").checksum


@pytest.mark.parametrize(
    ("file", "recorded", "source", "finding"),
    [
        ("1", Script.of("", "undo 1").checksum, "folder", ""),
        ("1", OLD, "ledger", "rollback_differs(1)"),
        ("1", None, "folder", "rollback_differs(1)"),
        ("1!", Script.of("", "undo 1").checksum, "folder", ""),
        ("1!", OLD, "ledger", "rollback_differs(1)"),
        ("1!", None, None, "no_rollback(1)"),
        ("", OLD, "ledger", ""),
        ("", None, None, "no_rollback(1)"),
    ],
)
def test_which_rollback_script_fits(file: str, recorded: str | None, source: str | None, finding: str) -> None:
    row = entry("1", rollback_checksum=recorded)
    migrations = folder(file)[0]
    assert rollback.rollback_of(migrations[0] if migrations else None, row) == source
    made = rollback.plan_rollback(migrations, State((row,)), to=None)
    assert codes(made.findings) == finding


def test_a_rollback_file_deleted_since_is_taken_from_the_ledger() -> None:
    without = replace(migration("1"), rollback=None)
    assert rollback.rollback_of(without, entry("1")) == "ledger"
    assert rollback.rollback_of(without, entry("1", rollback_checksum=None)) is None


NONE = "migration 001_m has no rollback script, neither in the folder nor in the ledger"


@pytest.mark.parametrize(
    ("file", "recorded", "expected"),
    [
        (
            "1",
            None,
            Finding("no_rollback", NONE, "write 001_m.rollback.sql; or restore a backup", "error", "001", "001_m.sql"),
        ),
        (
            "",
            None,
            Finding(
                "no_rollback",
                NONE,
                "restore its file and write 001_m.rollback.sql; or restore a backup",
                "error",
                "001",
            ),
        ),
        (
            "1!",
            None,
            Finding(
                "no_rollback",
                "migration 001_m was edited after it was applied, and the ledger has no rollback script of what was",
                "restore its file and write 001_m.rollback.sql; or, if the database is as the file says now:"
                " `wmigrate repair 001 --accept`; or restore a backup",
                "error",
                "001",
                "001_m.sql",
            ),
        ),
        ("1!", OLD, None),
    ],
)
def test_what_is_said_without_a_rollback_script_in_the_folder(
    file: str, recorded: str | None, expected: Finding | None
) -> None:
    migrations = [replace(m, rollback=None) for m in folder(file)[0]]
    row = entry("1", rollback_checksum=recorded)
    assert rollback.plan_rollback(migrations, State((row,)), to=None).findings == ((expected,) if expected else ())


@pytest.mark.parametrize(
    ("file", "recorded", "message", "severity"),
    [
        ("1", OLD, "the rollback script of 001 is not the one recorded when it was applied", "error"),
        (
            "1!",
            OLD,
            "the rollback script of 001 is not the one recorded when it was applied, and the migration was edited too",
            "error",
        ),
        ("1", None, "the ledger has no rollback script of 001; the folder's is run, which is younger", "warning"),
    ],
)
def test_what_is_said_of_two_rollback_scripts(file: str, recorded: str | None, message: str, severity: str) -> None:
    nxt = {
        "error": "read both, and choose: `wmigrate down` with `--script folder` or `--script ledger`",
        "warning": "read it before you continue",
    }
    row = entry("1", rollback_checksum=recorded)
    expected = Finding("rollback_differs", message, nxt[severity], severity, "001", "001_m.rollback.sql")
    assert rollback.plan_rollback(folder(file)[0], State((row,)), to=None).findings == (expected,)


@pytest.mark.parametrize(
    ("file", "recorded", "choice", "source"),
    [
        ("1", OLD, "folder", "folder"),
        ("1", OLD, "ledger", "ledger"),
        ("1!", OLD, "folder", "folder"),
        ("1!", OLD, "ledger", "ledger"),
        # only one has a script: there is nothing to choose
        ("1", None, "ledger", "folder"),
        ("", OLD, "folder", "ledger"),
        # of an edited one that the ledger has none for, a person may say that the folder's undoes what was applied
        ("1!", None, "folder", "folder"),
        ("1!", None, "ledger", None),
    ],
)
def test_a_person_chooses_between_two(
    file: str, recorded: str | None, choice: rollback.RollbackSource, source: str | None
) -> None:
    row = entry("1", rollback_checksum=recorded)
    migrations = folder(file)[0]
    assert rollback.rollback_of(migrations[0] if migrations else None, row, choice) == source
    made = (
        rollback.plan_rollback(migrations, State((row,)), to=None, choice=choice),
        rollback.plan_rollback_steps(migrations, State((row,)), 1, choice),
        rollback.plan_rollback_of(migrations, State((row,)), "001", choice),
    )
    assert [bool(plan.errors) for plan in made] == [source is None] * 3


@pytest.mark.parametrize("recorded", [None, OLD])
def test_what_is_declared_irreversible_stays(recorded: str | None) -> None:
    migrations = [replace(m, rollback=None, rollback_supported=False) for m in folder("1")[0]]
    row = entry("1", rollback_checksum=recorded)
    for choice in (None, "ledger", "folder"):
        assert rollback.plan_rollback(migrations, State((row,)), to=None, choice=choice).findings == (
            Finding(
                "irreversible",
                "migration 001_m is declared irreversible (rollback_supported: false)",
                "write a new migration, or restore a backup; if it can be undone all the same,"
                " write 001_m.rollback.sql and remove that line",
                "error",
                "001",
                "001_m.sql",
            ),
        )
