"""The verdicts that stand in a folder: what they allow, and what is not taken for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.folder import Folder, read_folder
from airflow_provider_wmigrate.engine.folder.verdict_file import (
    VERDICT_FILE,
    Grade,
    about,
    as_text,
    read_verdicts,
)
from airflow_provider_wmigrate.engine.plan.proven import accepted, unproven, with_verdicts
from airflow_provider_wmigrate.engine.plan.verdict import Verdict

MakeFolder = Callable[..., Path]
REQUIRED = "validation: {migrations: {require_rollback_validation: true}}\n"
BLOCKS = "migrations:\n  - {version: 3, dependencies: ['001']}\n  - {version: 4, rollback_supported: false}\n"
FILES = {
    "001_a.sql": "SELECT 1",
    "001_a.rollback.sql": "SELECT 1",
    "002_b.sql": "SELECT 2",
    "002_b.rollback.sql": "SELECT 2",
    "003_c.sql": "SELECT 3",
    "003_c.rollback.sql": "SELECT 3",
    "004_d.sql": "SELECT 4",
    "migration_config.yaml": REQUIRED + BLOCKS,
}
SHIPPED = Path(__file__).parents[2] / "migrations"
ALL = ("001", "002", "003", "004")


def write(folder: Folder, grades: dict[str, str], *accept: str, postgresql: int = 15) -> None:
    verdicts = [Verdict(version, "x", Grade(grade)) for version, grade in grades.items()]
    made = with_verdicts(about(folder.migrations), read_verdicts(folder.path), verdicts, postgresql, accept)
    (folder.path / VERDICT_FILE).write_text(as_text(made))


def found(path: Path, versions: Sequence[str] = ALL) -> list[tuple[str, str | None, str]]:
    return [(f.code, f.version, str(f)) for f in unproven(read_folder(path), versions)]


@pytest.fixture
def proven(make_folder: MakeFolder) -> Path:
    path = make_folder(FILES)
    write(read_folder(path), dict.fromkeys(("001", "002", "003"), "exact") | {"004": "irreversible"})
    return path


def test_what_is_proven_is_let_through(proven: Path) -> None:
    assert found(proven) == []
    lines = (proven / VERDICT_FILE).read_text().splitlines()
    assert [line.split()[:3] for line in lines[2:]] == [[v, "exact", "15"] for v in ("001", "002", "003")]


def test_a_folder_without_verdicts_has_one_finding(make_folder: MakeFolder) -> None:
    path = make_folder(FILES)
    says = (
        "migration_config.yaml:1: no rollback is proven: there is no verdict in migration_verdicts.txt, and"
        " require_rollback_validation is on; prove them with `wmigrate verify --write`, and commit that file"
    )
    assert found(path) == [("rollback_unproven", None, says)]
    assert found(path, []) == [], "nothing is about to run"
    assert found(path, ["004"]) == [], "it is declared irreversible"


def test_nothing_is_asked_where_it_is_not_required(make_folder: MakeFolder) -> None:
    assert found(make_folder({**FILES, "migration_config.yaml": BLOCKS})) == []


ANOTHER = (
    "{}the verdict on the rollback of {} is about another text of {}; prove it again with `wmigrate verify {} --write`"
)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("002_b.sql", [ANOTHER.format("migration_verdicts.txt:4: ", "002", "002_b.sql", "002")]),
        ("003_c.rollback.sql", [ANOTHER.format("migration_verdicts.txt:5: ", "003", "003_c.rollback.sql", "003")]),
        ("001_a.rollback.sql", [ANOTHER.format("migration_verdicts.txt:3: ", "001", "001_a.rollback.sql", "001")]),
        (
            "001_a.sql",
            [
                ANOTHER.format("migration_verdicts.txt:3: ", "001", "001_a.sql", "001"),
                ANOTHER.format("migration_verdicts.txt:4: ", "002", "what it builds on", "002"),
                ANOTHER.format("migration_verdicts.txt:5: ", "003", "what it builds on", "003"),
            ],
        ),
    ],
)
def test_a_verdict_on_another_text_is_none(proven: Path, file: str, says: list[str]) -> None:
    (proven / file).write_text("SELECT 'edited'")
    assert [text for _, _, text in found(proven)] == says
    assert [version for _, version, _ in found(proven, ["003"])] == (["003"] if any("003" in s for s in says) else [])


def test_a_rollback_that_gave_back_what_was_kept_is_not_proven_without(make_folder: MakeFolder) -> None:
    keeps = BLOCKS + "  - {version: 2, keep: true}\n"
    path = make_folder({**FILES, "migration_config.yaml": REQUIRED + keeps})
    write(read_folder(path), dict.fromkeys(("001", "002", "003"), "exact"))
    assert found(path) == []
    (path / "migration_config.yaml").write_text(REQUIRED + BLOCKS)
    assert found(path) == [
        ("rollback_unproven", "002", ANOTHER.format("migration_verdicts.txt:4: ", "002", "what it builds on", "002"))
    ]


def test_a_migration_that_nobody_has_verified(proven: Path) -> None:
    (proven / "005_e.sql").write_text("SELECT 5")
    (proven / "005_e.rollback.sql").write_text("SELECT 5")
    says = (
        "005_e.sql: its rollback has no verdict in migration_verdicts.txt; prove it with `wmigrate verify 005 --write`"
    )
    assert found(proven, ["005"]) == [("rollback_unproven", "005", says)]


def test_a_grade_that_is_not_exact_needs_a_person(proven: Path) -> None:
    folder = read_folder(proven)
    write(folder, {"002": "rows_lost"})
    says = (
        "migration_verdicts.txt:4: the rollback of 002 is not exact: rows lost; correct it and prove it with"
        " `wmigrate verify 002 --write`; or, if that is all right: `wmigrate verify 002 --write --accept 002`"
    )
    assert found(proven) == [("rollback_unproven", "002", says)]
    write(folder, {"002": "rows_lost"}, "002")
    assert found(proven) == []
    write(folder, {"002": "rows_lost"})
    assert found(proven) == [], "it stays accepted"
    lost = Verdict("002", "b", Grade.ROWS_LOST)
    assert accepted(about(folder.migrations), read_verdicts(proven), lost)
    write(folder, {"002": "fails"})
    assert [version for _, version, _ in found(proven)] == ["002"], "a worse grade was not accepted"


def test_what_was_accepted_of_another_text_is_not_accepted(proven: Path) -> None:
    write(read_folder(proven), {"002": "rows_lost"}, "002")
    (proven / "002_b.rollback.sql").write_text("SELECT 'worse'")
    write(read_folder(proven), {"002": "rows_lost"})
    assert [version for _, version, _ in found(proven)] == ["002"]


def test_what_was_not_tried_keeps_its_verdict(proven: Path) -> None:
    before = (proven / VERDICT_FILE).read_text()
    write(read_folder(proven), {"002": "not_tried"})
    assert (proven / VERDICT_FILE).read_text() == before
    write(read_folder(proven), {"002": "not_tried"}, "002")
    assert "002 accepted:not_tried 15 " in (proven / VERDICT_FILE).read_text()
    assert found(proven) == []


def test_a_version_that_is_gone_leaves_the_file(proven: Path) -> None:
    for name in ("003_c.sql", "003_c.rollback.sql"):
        (proven / name).unlink()
    (proven / "migration_config.yaml").write_text(REQUIRED)
    assert found(proven, ["001", "002"]) == []
    write(read_folder(proven), {"002": "exact"}, postgresql=16)
    lines = (proven / VERDICT_FILE).read_text().splitlines()[2:]
    assert [line.split()[:3] for line in lines] == [["001", "exact", "15"], ["002", "exact", "16"]]


NOT_AS_WRITTEN = (
    "migration_verdicts.txt:{}: is not as `wmigrate verify --write` wrote it; restore that line, or delete it and run"
    " `wmigrate verify --write` again"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("002 rows_lost", "002 exact"),
        ("002 rows_lost", "002 accepted:rows_lost"),
        ("002 rows_lost", "005 rows_lost"),
        ("002 rows_lost 15", "002 rows_lost 16"),
        ("002 rows_lost", "002  rows_lost"),
        ("002 rows_lost", "ü2 rows_lost"),
        ("002 rows_lost", "\0"),
        ("002 rows_lost", "002"),
    ],
)
def test_a_line_that_was_edited_is_one_clear_error(proven: Path, old: str, new: str) -> None:
    write(read_folder(proven), {"002": "rows_lost"})
    file = proven / VERDICT_FILE
    file.write_text(file.read_text().replace(old, new), encoding="utf-8")
    assert found(proven) == [("folder_error", None, NOT_AS_WRITTEN.format(4))]
    with pytest.raises(FolderError, match="is not as"):
        read_verdicts(proven)


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "||||||| 12ab", "=======", ">>>>>>> main"])
def test_a_conflict_of_git_is_told_as_one(proven: Path, marker: str) -> None:
    file = proven / VERDICT_FILE
    head, *verdicts = file.read_text().splitlines()
    file.write_text("\n".join([head, marker, *verdicts]))
    says = (
        "migration_verdicts.txt:2: holds a conflict that git left; delete the file's lines of both sides, then"
        " `wmigrate verify --write` writes what is missing"
    )
    assert found(proven) == [("folder_error", None, says)]


def test_a_second_verdict_on_a_version_is_an_error(proven: Path) -> None:
    file = proven / VERDICT_FILE
    file.write_text(file.read_text() + file.read_text().splitlines()[3] + "\n")
    says = NOT_AS_WRITTEN.format(6).replace(
        "is not as `wmigrate verify --write` wrote it", "has a second verdict on 002"
    )
    assert found(proven) == [("folder_error", None, says)]


def test_a_file_that_cannot_be_read_is_an_error(proven: Path) -> None:
    (proven / VERDICT_FILE).unlink()
    (proven / VERDICT_FILE).mkdir()
    says = "migration_verdicts.txt: cannot be read: Is a directory; make it readable"
    assert found(proven) == [("folder_error", None, says)]


def test_lines_may_stand_in_any_order_and_end_in_any_way(proven: Path) -> None:
    file = proven / VERDICT_FILE
    lines = file.read_text().splitlines()
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(reversed(lines)).encode())
    assert found(proven) == []


def test_a_thousand_migrations_in_a_row(make_folder: MakeFolder) -> None:
    files = {f"{n:04}_x{kind}.sql": f"SELECT {n}" for n in range(1, 1001) for kind in ("", ".rollback")}
    path = make_folder({**files, "migration_config.yaml": REQUIRED})
    folder = read_folder(path)
    write(folder, dict.fromkeys([m.version for m in folder.migrations], "exact"))
    assert found(path, [m.version for m in folder.migrations]) == []


def test_the_verdicts_of_the_shipped_folder_are_fresh() -> None:
    """`wmigrate verify --write` on a server with TimescaleDB writes them again."""
    folder = read_folder(SHIPPED)
    assert [str(f) for f in unproven(folder, [m.version for m in folder.migrations])] == []
    assert {v.grade for v in read_verdicts(SHIPPED).values()} == {Grade.EXACT}
