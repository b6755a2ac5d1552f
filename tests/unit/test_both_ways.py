"""Files of tools that keep both ways in one file: refused by name and line. What looks alike and is none is run."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse

MARKERS = {
    "-- migrate:down": "dbmate",
    "--migrate:down": "dbmate",
    "  --  Migrate:DOWN transaction:false": "dbmate",
    "-- +goose Down": "goose",
    "--+goose DOWN": "goose",
    "-- +migrate Down": "sql-migrate",
    "-- +migrate Down notransaction": "sql-migrate",
    "-- +micrate Down": "micrate",
    "-- rambler down": "rambler",
    "-- //@UNDO": "MyBatis Migrations",
    "--//@undo": "MyBatis Migrations",
    "-- @UNDO": "MyBatis Migrations",
    "# --- !Downs": "Play",
    "-- !Downs": "Play",
    "-- Down Migration": "node-pg-migrate",
    "--- DOWN migration ---": "node-pg-migrate",
    "-- ==== DOWN ====": "shmig",
    "---- create above / drop below ----": "tern",
    "-- down.sql --": "Atlas",
}


def converted(tool: str) -> str:
    """The other way out, where there is one."""
    known = tool in ("dbmate", "goose", "node-pg-migrate", "Sqitch", "Liquibase")
    return f", or convert the whole folder: `wmigrate convert --from {tool.lower()} SOURCE DEST`" if known else ""


def refusal(text: str, file: str = "001_a.sql") -> str:
    with pytest.raises(ScriptError) as refused:
        analyse(Script.of(file, text))
    return str(refused.value)


@pytest.mark.parametrize(("marker", "tool"), MARKERS.items())
def test_what_undoes_is_not_run_with_what_it_undoes(marker: str, tool: str) -> None:
    shown = marker.strip().removeprefix("# ")
    assert refusal(f"CREATE TABLE t ();\n\n{marker}\nDROP TABLE t;") == (
        f"001_a.sql:3: {shown} belongs to {tool}, and what is below it undoes the migration: it would be run too;"
        f" move what is below into 001_a.rollback.sql{converted(tool)}"
    )


@pytest.mark.parametrize(("marker", "tool"), MARKERS.items())
def test_a_rollback_script_holds_no_way_up(marker: str, tool: str) -> None:
    """Its own marker, left behind when somebody took the file apart, does no harm."""
    assert analyse(Script.of("001_a.rollback.sql", f"{marker if '#' not in marker else ''}\nDROP TABLE t;")).statements
    words = {"down": "up", "DOWN": "UP", "Down": "Up", "Downs": "Ups"}
    if tool in ("MyBatis Migrations", "tern", "Atlas"):  # have no marker for the way up
        return
    word = next(w for w in ("Downs", "Down", "DOWN", "down") if w in marker)
    other = marker.replace(word, words[word])
    assert analyse(Script.of("001_a.sql", f"{other if '#' not in other else ''}\nCREATE TABLE t ();")).statements
    assert refusal(f"DROP TABLE t;\n{other}\nCREATE TABLE t ();", "001_a.rollback.sql") == (
        f"001_a.rollback.sql:2: {other.strip().removeprefix('# ')} belongs to {tool}, and what is below it applies the"
        " migration: it would be run too; keep only what undoes it here"
    )


@pytest.mark.parametrize("line", ["--liquibase formatted sql", "-- Liquibase formatted SQL", "--changeset me:1 x:y"])
@pytest.mark.parametrize("file", ["001_a.sql", "001_a.rollback.sql"])
def test_changesets(line: str, file: str) -> None:
    assert refusal(f"{line}\nCREATE TABLE t ();\n--rollback DROP TABLE t;", file) == (
        f"{file}:1: {line} belongs to Liquibase, which keeps changesets and their rollbacks in one file;"
        " make a migration of each changeset, and its .rollback.sql of what follows --rollback"
        f"{converted('Liquibase')}"
    )


NONE = ", or word the comment otherwise if it is none"


@pytest.mark.parametrize(
    ("up", "down", "tool", "more"),
    [
        ("-- Deploy app:users to pg", "-- Revert app:users from pg", "Sqitch", ""),
        ("-- Up", "-- Down", "another tool", NONE),
        ("-- @up", "-- @down", "another tool", NONE),
        ("-- [DO]", "-- [UNDO]", "another tool", NONE),
        ("--- deploy ---", "--- revert ---", "another tool", NONE),
        ("-- upgrade:", "-- downgrade:", "another tool", NONE),
        ("-- forward", "-- backward", "another tool", NONE),
        ("-- forwards", "-- backwards", "another tool", NONE),
        ("-- ups", "-- downs", "another tool", NONE),
        ("-- migration", "-- down", "another tool", NONE),
        ("-- migrate", "-- rollback", "another tool", NONE),
        ("-- apply", "-- rollback", "another tool", NONE),
    ],
)
def test_words_of_every_day_are_markers_as_a_pair(up: str, down: str, tool: str, more: str) -> None:
    assert refusal(f"-- a table\n{up}\nCREATE TABLE t ();\n{down}\nDROP TABLE t;") == (
        f"001_a.sql:4: {down} belongs to {tool}, and what is below it undoes the migration: it would be run too;"
        f" move what is below into 001_a.rollback.sql{converted(tool)}{more}"
    )
    for one in (up, down):
        assert analyse(Script.of("001_a.sql", f"{one}\nCREATE TABLE t ();")).statements


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'x\n-- migrate:down\n'",
        "SELECT $$\n-- +goose Down\n$$",
        'SELECT 1 AS "\n-- +goose Down\n"',
        "/*\n-- rambler down\n*/ SELECT 1",
        "COPY t FROM stdin;\n-- migrate:down\n\\.\n",
        "SELECT 1 -- migrate:down",
        "-- migrate:down undoes it in dbmate\nSELECT 1",
        "-- +goose Downwards\nSELECT 1",
        "-- see !Downs below\nSELECT 1",
        "-- down migration of the users table\nSELECT 1",
        "-- rollback: DROP TABLE t\nSELECT 1",
        "--rollback DROP TABLE t\nSELECT 1",
        "-- changeset\nSELECT 1",
        "-- Deploy the users table\nSELECT 1;\n-- Revert the users table\nSELECT 2",
        "-- goes up\nSELECT 1;\n-- goes down\nSELECT 2",
        "INSERT INTO votes VALUES\n-- up\n(1),\n-- down\n(2)",
        "SELECT 1;\n-- up\nSELECT 2;\n-- down\nSELECT 3",
        "-- up\nSELECT 1;\n-- undo\nSELECT 2",
        "-- up\nSELECT 1;\n-- ups\nSELECT 2",
    ],
)
def test_ordinary_comments_and_strings_are_no_markers(text: str) -> None:
    assert analyse(Script.of("001_a.sql", text)).statements


HEADINGS = [
    "-- Rollback",
    "-- DOWN:",
    "-- undo (run by hand)",
    "/* Revert */",
    "/*\n * Roll back\n */",
    "-- tern: down",
]


@pytest.mark.parametrize("heading", HEADINGS)
@pytest.mark.parametrize(
    ("makes", "takes"),
    [
        ("CREATE TABLE IF NOT EXISTS app.t ();", 'DROP TABLE IF EXISTS "app"."t" CASCADE;'),
        ("ALTER TABLE t ADD COLUMN c int;", "ALTER TABLE t DROP c;"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a);", "DROP INDEX CONCURRENTLY i;"),
        ("INSERT INTO t VALUES (1);", "DELETE FROM t;"),
    ],
)
def test_a_heading_below_which_goes_what_was_made_above(heading: str, makes: str, takes: str) -> None:
    shown = " ".join(heading.split())
    assert refusal(f"{makes}\n{heading}\n{takes}") == (
        f"001_a.sql:2: what is below {shown} takes away what is made above it: both would be run; move what is below"
        " into 001_a.rollback.sql, or word the comment otherwise if it is none"
    )
    assert analyse(Script.of("001_a.sql", f"{makes}\n{heading}\nDROP TABLE another;")).statements
    assert analyse(Script.of("001_a.sql", f"{makes}\nSELECT $$\n{heading}\n$$;\n{takes}")).statements
    assert analyse(Script.of("001_a.rollback.sql", f"{makes}\n{heading}\n{takes}")).statements


def test_a_sentence_about_undoing_is_no_heading() -> None:
    text = "CREATE TABLE t ();\n-- the helper goes again here, so that nobody has to undo it by hand\nDROP TABLE t;"
    assert analyse(Script.of("001_a.sql", text)).statements


def test_the_line_is_counted_from_the_first() -> None:
    assert refusal("\n-- migrate:down").startswith("001_a.sql:2: ")


def test_a_pair_counts_below_comments_only() -> None:
    assert "belongs to another tool" in refusal("/* a\n */ -- b\n-- up\nSELECT 1;\n-- down\nSELECT 2")
