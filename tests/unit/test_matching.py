"""Which migrations of a folder count as applied by another tool, and the checksums by which it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from in_words import folder
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.adopting.marked import marked_pieces
from airflow_provider_wmigrate.engine.adopting.matching import Matched, accepted_versions, match, needed
from airflow_provider_wmigrate.engine.adopting.model import Applied, leading_digits
from airflow_provider_wmigrate.engine.adopting.renamed import renamed_pieces
from airflow_provider_wmigrate.engine.adopting.tools import TOOLS
from airflow_provider_wmigrate.engine.folder.problems import Problem
from airflow_provider_wmigrate.engine.model import Finding, Script

SEED, SQITCH = TOOLS["seed"], TOOLS["sqitch"]
FILES, GRAPH = folder("1 2<1 3<2 10")


def matched(
    *applied: Applied, origins: Mapping[str, str] | None = None, accepted: Collection[str] = (), tool: str = "seed"
) -> Matched:
    return match(TOOLS[tool], applied, {m.version: m for m in FILES}, origins or {}, GRAPH, accepted)


def no_file(name: str) -> Finding:
    return Finding(
        "not_adoptable",
        f"seed has applied {name}, and the folder has no file of it",
        "make the folder with `wmigrate convert --from seed`, or restore the file; if it is gone for good, leave it out"
        f" with --accept '{name}'",
    )


ONE, TWO, TEN = (Applied(number, number) for number in ("1", "2", "10"))


@pytest.mark.parametrize(
    ("applied", "more", "found", "left_out", "findings"),
    [
        ([], {}, [], (), ()),
        ([TEN, ONE], {}, ["001", "010"], (), ()),
        ([Applied("a", "9")], {}, [], (), (no_file("a"),)),
        ([Applied("a")], {}, [], (), (no_file("a"),)),
        ([Applied("a", "9")], {"accepted": ["a"]}, [], ("a",), ()),
        ([Applied("a", "9", is_baseline=True)], {}, [], (), ()),
        ([Applied("a")], {"origins": {"002": "a"}}, ["002"], (), ()),
        ([Applied("a", "1")], {"origins": {"002": "a"}}, ["002"], (), ()),
        ([Applied("a", "2")], {"origins": {"002": "b"}}, [], (), (no_file("a"),)),
    ],
)
def test_which_of_the_folder_count_as_applied(
    applied: list[Applied], more: dict[str, Any], found: list[str], left_out: tuple[str, ...], findings: Any
) -> None:
    made = matched(*applied, **more)
    assert (list(made.adopted), made.left_out, made.findings) == (found, left_out, findings)


def test_what_is_applied_with_its_ancestors() -> None:
    three = Applied("c", with_ancestors=True)
    made = matched(three, origins={"003": "c", "001": "a"})
    assert made.adopted == {"001": replace(three, name="a"), "002": replace(three, name="002"), "003": three}
    assert matched(replace(three, name="x"), origins={"003": "c"}).findings == (no_file("x"),)
    own = Applied("a", actor="bob")
    assert matched(three, own, origins={"003": "c", "001": "a"}).adopted["001"] == own, "its own row says more"
    assert matched(own, three, origins={"003": "c", "001": "a"}).adopted["001"] == own


def test_what_a_baseline_covers() -> None:
    asked: list[tuple[str, str]] = []

    def covers(version: str, origin: str) -> bool:
        asked.append((version, origin))
        return version < "003"

    base = Applied("base", is_baseline=True, covers=covers)
    assert list(matched(base, origins={"002": "b"}).adopted) == ["001", "002"]
    assert asked == [("001", ""), ("002", "b"), ("003", ""), ("010", "")]


EDITED = Finding(
    "not_adoptable",
    "is not what seed applied: its checksum is not x",
    "restore it and write a new migration; if the difference means nothing, --accept 001",
    version="001",
    file="001_m.sql",
)


@pytest.mark.parametrize(
    ("checksum", "accepted", "tool", "is_edited"),
    [
        (None, (), "seed", False),
        (Script.of("", "text 1").checksum, (), "seed", False),
        ("x", (), "seed", True),
        ("x", ("1",), "seed", False),
        ("x", ("a",), "seed", False),
        ("x", ("2",), "seed", True),
        ("x", (), "dbmate", False),
    ],
)
def test_a_file_with_another_checksum_is_not_what_was_applied(
    checksum: str | None, accepted: tuple[str, ...], tool: str, is_edited: bool
) -> None:
    made = matched(Applied("a", "1", checksum=checksum), accepted=accepted, tool=tool)
    assert (list(made.adopted), made.findings) == (["001"], (EDITED,) if is_edited else ())


def test_which_of_the_accepted_names_are_versions() -> None:
    assert accepted_versions(["1", "0002", "a", "a1", "\N{ARABIC-INDIC DIGIT THREE}"]) == {"001", "002"}


def test_only_dependencies_that_were_there_count() -> None:
    assert [list(needed(FILES[2], applied)) for applied in ({"002"}, {"001"})] == [["002"], []]


def test_the_checksums_that_tools_have_of_a_script() -> None:
    texts = ("a\nb\n", "a\nb", "a\r\nb\r\n")
    of_seed = {hashlib.new(name, t.encode()).hexdigest() for t in texts for name in ("sha256", "md5", "sha1")}
    assert SEED.digests("a\nb\n") == of_seed
    of_sqitch = {hashlib.sha1(t.encode()).hexdigest() for t in ("a\nb\n", "a\r\nb\r\n")}
    assert SQITCH.digests("a\nb\n") == of_sqitch
    assert TOOLS["dbmate"].digests("a") == set()


# Files


def problems(path: Path, *names: str, text: str = "SELECT 1;", **more: Any) -> list[Problem]:
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    return list(renamed_pieces(path, way="write SQL", **more).problems)


@pytest.mark.parametrize("end", [".java", ".class", ".kt", ".py", ".go", ".sh"])
def test_a_migration_that_is_a_program(tmp_path: Path, end: str) -> None:
    (found,) = problems(tmp_path, f"V1__a{end}", f"helper{end}")
    assert found == Problem(f"V1__a{end}", "is not SQL", "write SQL", kind="are not SQL", rule="write SQL")


def test_two_files_of_one_name_in_a_deep_folder(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (found,) = problems(tmp_path, "V1__a.sql", "x/V1__a.sql", deep=True)
    other = tmp_path / "V1__a.sql"
    assert found == Problem(str(tmp_path / "x" / "V1__a.sql"), f"has the name of {other}", "rename one of them")
    assert renamed_pieces(tmp_path, way="").problems == []


@pytest.mark.parametrize("end", [".py", ".go", ".js", ".ts", ".mjs", ".cjs", ".java", ".sh"])
def test_a_program_among_files_with_markers(tmp_path: Path, end: str) -> None:
    import re

    for name in (f"1_a{end}", "2_b.txt", f"c{end}"):
        (tmp_path / name).write_text("x")
    never = re.compile(r"(?P<down>never)")
    found = marked_pieces(tmp_path, marker=never, no_transaction=never, way="write SQL")
    assert found.problems == [Problem(f"1_a{end}", "is not SQL", "write SQL", kind="are not SQL", rule="write SQL")]


@pytest.mark.parametrize(
    ("name", "digits"), [("001_a", "001"), ("0987654321", "0987654321"), ("a1", ""), ("1\u00b2", "1")]
)
def test_the_number_with_which_a_name_begins(name: str, digits: str) -> None:
    assert leading_digits(name) == digits
