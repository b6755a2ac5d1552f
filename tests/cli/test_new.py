"""`new`: three files or none, a config that keeps every character it had, and templates that work."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.config_entry import block, quoted, with_block
from airflow_provider_wmigrate.cli.patterns import PATTERNS
from airflow_provider_wmigrate.cli.shared_options import TEMPLATES
from airflow_provider_wmigrate.engine.folder.config.reading import parse_config

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


def test_the_first_migration_of_a_project(wmigrate: Wmigrate) -> None:
    result = wmigrate("new", "create customers", "--template", "table", "--description", "Who buys: 'them'")
    assert result.code == 0
    assert result.out.split() == [
        "migrations/001_create_customers.sql",
        "migrations/001_create_customers.rollback.sql",
        "migrations/migration_config.yaml",
    ]
    sql = Path("migrations/001_create_customers.sql").read_text()
    assert sql.startswith("-- Who buys: 'them'\n")
    assert "CREATE TABLE customers (" in sql
    assert "IS 'Who buys: ''them'''" in sql
    assert Path("migrations/001_create_customers.rollback.sql").read_text().endswith("DROP TABLE customers;\n")
    (entry,) = parse_config(Path("migrations/migration_config.yaml").read_text()).blocks
    assert (entry.version, entry.filename) == ("001", "001_create_customers.sql")
    assert (entry.description, entry.rollback_supported) == ("Who buys: 'them'", True)


def test_the_next_one(shop: Path, wmigrate: Wmigrate) -> None:
    data = wmigrate("new", "add-email", "--depends-on", "1", "--depends-on", "003", "--json").json
    assert (data["version"], data["name"], data["template"]) == ("004", "add-email", "empty")
    assert data["files"] == ["004_add-email.sql", "004_add-email.rollback.sql", "migration_config.yaml"]
    config = (shop / "migration_config.yaml").read_text()
    assert '    dependencies: ["001", "003"]\n' in config
    assert "    description: Add email\n" in config
    assert wmigrate("check", "--offline").code == 0


def test_the_number_after_999(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "999_x.sql").write_text("SELECT 1;")
    assert wmigrate("new", "y", "--json").json["version"] == "1000"


@pytest.mark.parametrize(
    ("there", "stem"), [("9_x", "10_y"), ("09_x", "10_y"), ("0001_x", "0002_y"), ("000_x", "001_y")]
)
def test_a_number_is_written_as_the_folder_writes_its_numbers(wmigrate: Wmigrate, there: str, stem: str) -> None:
    Path("migrations").mkdir()
    Path(f"migrations/{there}.sql").write_text("SELECT 1;")
    assert wmigrate("new", "y", "--json").json["files"][:2] == [f"{stem}.sql", f"{stem}.rollback.sql"]
    assert wmigrate("check", "--offline", "--strict").code == 0


def test_a_folder_of_timestamps_gets_one_of_now_in_utc(wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        Path("migrations").mkdir()
        Path("migrations/20240131093000_x.sql").write_text("SELECT 1;")
        began = datetime.now(timezone.utc)
        version = wmigrate("new", "y", "--json").json["version"]
    finally:
        monkeypatch.undo()
        time.tzset()
    written = datetime.strptime(version, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    assert began.replace(microsecond=0) <= written <= datetime.now(timezone.utc)


def test_seeds_below_do_not_keep_the_first_migration_from_being_written(wmigrate: Wmigrate) -> None:
    Path("migrations/seeds").mkdir(parents=True)
    Path("migrations/seeds/customers.sql").write_text("SELECT 1;")
    assert wmigrate("check", "--offline").code == 3
    assert wmigrate("new", "x").code == 0
    assert wmigrate("check", "--offline").code == 0


@pytest.mark.parametrize("theirs", ["001_a/up.sql", "deploy/a.sql", "sql/V1__a.sql", "V1__a.sql", "a.sql"])
def test_nothing_is_written_into_a_folder_of_another_tool(wmigrate: Wmigrate, theirs: str) -> None:
    """The first migration would make the rest look finished."""
    file = Path("migrations") / theirs
    file.parent.mkdir(parents=True)
    file.write_text("SELECT 1;")
    result = wmigrate("new", "x")
    assert result.code == 1
    assert "another layout" in result.err or "name it" in result.err
    assert [p for p in Path("migrations").rglob("*") if p.is_file()] == [file]


def test_a_config_with_variables_can_be_added_to(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "migration_config.yaml").write_text('settings: {logging: {level: "${SHOP_LEVEL}"}}\n')
    assert wmigrate("new", "x").code == 1
    monkeypatch.setenv("SHOP_LEVEL", "WARN")
    assert wmigrate("new", "x").code == 0
    assert '- version: "004"' in (shop / "migration_config.yaml").read_text()


def test_a_named_folder_must_be_there(wmigrate: Wmigrate, tmp_path: Path) -> None:
    assert wmigrate("new", "x", "--folder", "elsewhere").code == 2
    (tmp_path / "elsewhere").mkdir()
    assert wmigrate("new", "x", "--folder", "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / "001_x.sql").exists()


def test_nothing_is_left_behind_when_a_file_cannot_be_written(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "migration_config.yaml").write_text("# mine\n")

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "migration_config.yaml")

    before = {p.name: p.read_bytes() for p in shop.iterdir()}
    monkeypatch.setattr("airflow_provider_wmigrate.cli.new.replace_file", broken)
    result = wmigrate("new", "x")
    assert (result.code, result.err) == (1, "wmigrate: migration_config.yaml: No space left on device\n")
    assert {p.name: p.read_bytes() for p in shop.iterdir()} == before


def test_templates_are_listed(wmigrate: Wmigrate) -> None:
    listed = wmigrate("new", "--templates", "--json").json["templates"]
    assert [row["template"] for row in listed] == list(TEMPLATES) == list(PATTERNS)
    assert wmigrate("new", "--templates").out.count("\n") == len(TEMPLATES) + 2


# The config

ENTRY = block("002", ["filename: 002_b.sql"])
NESTED = (
    "migrations:\n  - version: 1\n    transactional:\n      apply: true\n    requires_extensions:\n      - name: a\n"
)
ADDED = '  - version: "002"\n    filename: 002_b.sql\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "migrations:\n" + ADDED),
        ("# only a comment\n", "# only a comment\n\nmigrations:\n" + ADDED),
        ("settings:\n  ledger: {schema: x}\n", "settings:\n  ledger: {schema: x}\n\nmigrations:\n" + ADDED),
        ("migrations:\n", "migrations:\n" + ADDED),
        ("migrations:  # none yet\n", "migrations:  # none yet\n" + ADDED),
        ("migrations:\n\nenvironments: {}\n", "migrations:\n" + ADDED + "\nenvironments: {}\n"),
        (
            "migrations:\n- version: 1  # first\n",
            'migrations:\n- version: 1  # first\n- version: "002"\n  filename: 002_b.sql\n',
        ),
        ("migrations:\n  - {version: 1}\n", "migrations:\n  - {version: 1}\n" + ADDED),
        ("migrations:\n  - version: 1", "migrations:\n  - version: 1\n" + ADDED),
        (
            "migrations:\n  - version: 1\n    dependencies: []\n\n# about what follows\nenvironments: {}\n",
            "migrations:\n  - version: 1\n    dependencies: []\n"
            + ADDED
            + "\n# about what follows\nenvironments: {}\n",
        ),
        (
            "migrations:\n  - version: 1\n    description:\n    filename:\nvalidation:\n  sql:\n",
            None,
        ),
        (
            NESTED,
            NESTED + ADDED,
        ),
        (
            "migrations:\n  - version: 1\n    description: |\n      long\n      text\n\n# end\n",
            "migrations:\n  - version: 1\n    description: |\n      long\n      text\n" + ADDED + "\n# end\n",
        ),
        (
            "migrations:\n\n  - version: 1\n\n  - version: 3\n\nvalidation: {}\n",
            "migrations:\n\n  - version: 1\n\n  - version: 3\n\n" + ADDED + "\nvalidation: {}\n",
        ),
        ("migrations: []\n", None),
        ("migrations: [{version: 1}]\n", None),
        ("{migrations: []}\n", None),
        ("migrations:\n  - version: 2\n", None),
        ("a: [\n", None),
        ("migrations:\n  - version: 1\n...\n", "migrations:\n  - version: 1\n" + ADDED + "...\n"),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_block_is_added_and_nothing_else_changes(before: str, after: str | None, ending: str) -> None:
    text = with_block(before.replace("\n", ending), ENTRY)
    if after is None or text is None:
        assert text is after
        return
    assert text == (after.replace("\n", ending) if "\n" in before else after)
    kept = [line for line in before.splitlines() if line.strip()]
    assert [line for line in text.splitlines() if line in kept][: len(kept)] == kept


@pytest.mark.parametrize(
    "text",
    ["Add e-mail", "a: b", "# no comment", "yes", "12", 'it\'s "so"', "- x", "ünï", "", "a\\b", "null", "x #y"],
)
def test_a_description_means_what_was_typed(text: str) -> None:
    config = parse_config(f'migrations:\n  - version: "001"\n    description: {quoted(text)}\n')
    assert config.blocks[0].description == text


def test_the_shipped_config_can_be_added_to() -> None:
    old = (Path(__file__).resolve().parents[2] / "migrations" / "migration_config.yaml").read_text()
    new = with_block(old, block("099", ["filename: 099_b.sql"]))
    assert new is not None
    lines = new.splitlines()
    at = lines.index('  - version: "099"')
    assert lines[at - 1] == ""
    assert [*lines[: at - 1], *lines[at + 2 :]] == old.splitlines()


def test_a_config_that_cannot_be_added_to_is_left_alone(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "migration_config.yaml").write_text("migrations: []  # none\n")
    result = wmigrate("new", "x")
    assert result.code == 0
    assert (shop / "004_x.sql").exists()
    assert (shop / "migration_config.yaml").read_text() == "migrations: []  # none\n"
    assert '- version: "004"\n    filename: 004_x.sql' in result.err
    assert '- version: "005"' in wmigrate("new", "y", "--json").json["config_entry_by_hand"]


# The templates, on a database

TABLES = """
CREATE TABLE other (id int PRIMARY KEY);
CREATE TYPE colour AS ENUM ('red');
CREATE TABLE items (id int PRIMARY KEY, name text, other_id int, colour colour);
INSERT INTO other VALUES (1), (2);
INSERT INTO items SELECT n, 'name ' || n, 1, 'red' FROM generate_series(1, 1000) n;
"""
UNDO = "DROP TABLE items; DROP TYPE colour; DROP TABLE other;"

WORDS: dict[str, list[str]] = {
    "empty": [],
    "table": [],
    "column": ["table=items", "column=email"],
    "not-null": ["table=items", "column=name"],
    "index-concurrently": ["table=public.items", "column=name"],
    "enum-value": ["type=colour", "value=blue", "table=items", "column=colour"],
    "foreign-key": ["table=items", "column=other_id", "references=other (id)"],
    "hypertable": [],
    "continuous-aggregate": ["table=measurements"],
    "backfill": ["table=items", "column=note", "expression=name", "batch=300"],
    "view": ["table=items"],
    "function": ["body=1"],
}
MADE = {
    "table": "SELECT to_regclass('pattern') IS NOT NULL",
    "column": "SELECT count(*) = 1 FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'email'",
    "not-null": "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'name'",
    "index-concurrently": "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('items_name_idx')",
    "foreign-key": "SELECT convalidated FROM pg_constraint WHERE conname = 'items_other_id_fkey'",
    "hypertable": "SELECT to_regclass('pattern') IS NOT NULL",
    "backfill": "SELECT count(*) = 1000 FROM items WHERE note = name",
    "view": "SELECT to_regclass('pattern') IS NOT NULL",
    "function": "SELECT to_regproc('pattern') IS NOT NULL",
    "continuous-aggregate": "SELECT to_regclass('pattern') IS NOT NULL",
}


def is_made(conn: Conn, template: str) -> bool:
    row = conn.execute(MADE[template].encode()).fetchone() if template in MADE else (None,)
    return bool(row and row[0])


FROM_A_DATABASE = ("change-aggregate", "aggregate-column")
"""See tests/timescale/test_change_aggregate.py."""


@pytest.mark.parametrize("template", [t for t in TEMPLATES if t not in FROM_A_DATABASE])
def test_a_template_is_applied_rolled_back_and_applied_again(
    template: str, shop: Path, wmigrate: Wmigrate, conn: Conn
) -> None:
    for file in shop.iterdir():
        file.unlink()
    more, undo_more = "", ""
    if template in ("hypertable", "continuous-aggregate"):
        more, undo_more = "CREATE EXTENSION IF NOT EXISTS timescaledb;", ""
        if template == "continuous-aggregate":
            more += "CREATE TABLE measurements (at timestamptz NOT NULL, source text, value float8);"
            more += "SELECT create_hypertable('measurements', by_range('at'));"
            undo_more = "DROP TABLE measurements;"
    if template == "backfill":
        more = "ALTER TABLE items ADD note text;"
    (shop / "001_tables.sql").write_text(TABLES + more)
    (shop / "001_tables.rollback.sql").write_text(undo_more + UNDO)
    words = [part for word in WORDS[template] for part in ("--set", word)]
    assert wmigrate("new", "create_pattern", "--template", template, *words).code == 0
    assert wmigrate("check", "--offline", "--strict").code == 0
    if template in ("hypertable", "continuous-aggregate") and not has_timescaledb(conn):
        pytest.skip("no TimescaleDB here: applied in tests/timescale")
    for _ in range(2):
        up = wmigrate("up", "--yes")
        assert up.code == 0, up.err
        assert is_made(conn, template) == (template in MADE)
        down = wmigrate("down", "001", "--yes")
        assert down.code == 0, down.err
        assert not is_made(conn, template)
    assert wmigrate("up", "--yes").code == 0


@pytest.mark.parametrize(
    ("template", "given", "missing"),
    [
        ("column", [], "table and column"),
        ("column", ["table=a", "type=int"], "column"),
        ("not-null", [], "table and column"),
        ("index-concurrently", ["column=b"], "table"),
        ("foreign-key", ["table=a", "column=b"], "references"),
        ("enum-value", [], "type and value and table and column"),
        ("backfill", ["table=a", "column=b"], "expression"),
        ("view", [], "table"),
        ("function", [], "body"),
        ("continuous-aggregate", [], "table"),
    ],
)
def test_a_template_is_not_written_without_its_words(
    shop: Path, wmigrate: Wmigrate, template: str, given: list[str], missing: str
) -> None:
    before = sorted(shop.iterdir())
    words = [part for word in given for part in ("--set", word)]
    result = wmigrate("new", "pattern", "--template", template, *words)
    give = " ".join(f"--set {word}=..." for word in missing.split(" and "))
    assert (result.code, result.out, result.err) == (
        2,
        "",
        f"wmigrate: template {template} needs {missing}; give {give}\n",
    )
    assert sorted(shop.iterdir()) == before
    assert wmigrate("new", "pattern", "--template", template, *words, "--json").json["error"]["code"] == "usage_error"


def has_timescaledb(conn: Conn) -> bool:
    row = conn.execute(
        "SELECT count(*) FROM pg_available_extensions, pg_settings s WHERE pg_available_extensions.name = 'timescaledb'"
        " AND s.name = 'timescaledb.max_background_workers'"
    ).fetchone()
    return bool(row and row[0])
