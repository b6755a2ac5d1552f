"""Which migrations one file can stand for, and when it makes what they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_words import migration
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot, canonical, fact, ordered
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.squash import Made, refuse_difference, refuse_rows, to_squash


def a_folder(words: str, **squashes: Any) -> Folder:
    files = [replace(m, squashes=squashes.get(f"v{int(m.version)}", ())) for m in map(migration, words.split())]
    return Folder(Path("m"), Config(), tuple(files), Graph({m.version: m.dependencies for m in files}))


def not_squashable(message: str, nxt: str) -> Finding:
    return Finding("not_squashable", message, nxt)


@pytest.mark.parametrize(
    ("words", "to", "versions"),
    [
        ("1 2 3", "002", ["001", "002"]),
        ("1 2<1 10", "010", ["001", "002", "010"]),
        ("1 2 3", "009", ["001", "002", "003"]),
    ],
)
def test_the_migrations_up_to_a_version(words: str, to: str, versions: list[str]) -> None:
    assert [m.version for m in to_squash(a_folder(words), to)] == versions


ALONE = not_squashable("there is one migration up to 001 alone", "give a higher version")
OLDER = not_squashable(
    "002_m.sql stands for older files itself",
    "take `squashes` out of its block, and name 002 where `dependencies` name the older ones; then, on each target that"
    " has the older files, `wmigrate repair 002 --accept`, and `--forget` for each of the others",
)


@pytest.mark.parametrize(
    ("made", "to", "findings"),
    [
        (a_folder("1 2"), "001", [ALONE]),
        (
            a_folder("1 2<4 3 4<5 5"),
            "003",
            [
                not_squashable("migrations up to 003 need 004, which is above it", "squash up to 004, or higher"),
                not_squashable("migrations up to 003 need 005, which is above it", "squash up to 005, or higher"),
            ],
        ),
        (a_folder("2 3", v2=(("001", "x"), ("002", "y"))), "003", [OLDER]),
    ],
)
def test_what_one_file_cannot_stand_for(made: Folder, to: str, findings: list[Finding]) -> None:
    with pytest.raises(HistoryError) as raised:
        to_squash(made, to)
    assert list(raised.value.findings) == findings


def made(*tables: str, rows: dict[str, Any] | None = None, **not_compared: int) -> Made:
    facts = (fact("table", f"app.{name}", "app", "", canonical({"owner": "me"})) for name in tables)
    return Made(Snapshot(ordered(facts), {}, not_compared, 150000), rows or {})


def test_rows_are_not_lost_in_silence() -> None:
    refuse_rows(made("a"), "003")
    for names, told in [("b a", "a, b"), ("a b c d e", "a, b, c, d, e"), ("a b c d e f", "a, b, c, 3 more")]:
        with pytest.raises(HistoryError) as raised:
            refuse_rows(made(rows=dict.fromkeys(names.split(), 1)), "003")
        message = f"the migrations up to 003 leave rows or used sequences behind: {told}"
        assert list(raised.value.findings) == [not_squashable(message, "give --data to have them in the file")]


NEXT = "squash up to a version before it came: pg_dump does not write it as statements"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (made("a"), made("a"), []),
        (made("a", rows={"t": 1}), made("a", rows={"t": 1}), []),
        (made("a"), made("b"), ["table app.a is gone", "table app.b is new"]),
        (made("a", cast=2), made("a"), ["2 x cast, which no snapshot compares"]),
        (made("a"), made("a", cast=1), ["1 x cast, which no snapshot compares"]),
        (made("a", rows={"t": 1, "u": 1}), made("a", rows={"t": 2, "v": 1, "u": 1}), ["the rows of t, v differ"]),
    ],
)
def test_the_new_file_makes_the_same(before: Made, after: Made, said: list[str]) -> None:
    findings = [not_squashable(f"one file would not make what the migrations up to 003 make: {s}", NEXT) for s in said]
    if not findings:
        refuse_difference(before, after, "003")
        return
    with pytest.raises(HistoryError) as raised:
        refuse_difference(before, after, "003")
    assert list(raised.value.findings) == findings
