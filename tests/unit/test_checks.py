"""Each rule of the config's `validation`, and each finding about files, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.folder_rules import folder_findings
from airflow_provider_wmigrate.engine.plan.script_rules import empty_rollbacks, script_findings

MakeFolder = Callable[..., Path]
CONFIG = "migration_config.yaml"


def about_folder(folder: Path) -> list[tuple[str, str]]:
    return [(f.code, str(f)) for f in folder_findings(read_folder(folder))]


def about_scripts(folder: Path) -> list[str]:
    read = read_folder(folder)
    return [str(f) for f in script_findings(read.migrations, read.config)]


def codes_of(folder: Path) -> list[tuple[str, str, str | None]]:
    read = read_folder(folder)
    return [(f.code, f.severity, f.version) for f in script_findings(read.migrations, read.config)]


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        (
            {"001_a.sql": "SELECT 1", "004_b.sql": "SELECT 1",
             CONFIG: "validation: {migrations: {require_sequential_versions: true}}"},
            "version_gap",
            "no migration has a version from 002 to 003, and require_sequential_versions is on;"
            " add it or renumber the later ones",
        ),
        (
            {"002_a.sql": "SELECT 1", CONFIG: "validation: {migrations: {require_sequential_versions: true}}"},
            "version_gap",
            "no migration has version 001, and require_sequential_versions is on; add it or renumber the later ones",
        ),
        (
            {"001_a.sql": "SELECT 1", CONFIG: "validation: {files: {require_description: true}}"},
            "description_missing",
            "001_a.sql: has no description; describe 001 in migration_config.yaml",
        ),
        (
            {"001_a.sql": "SELECT 1", CONFIG: "migrations:\n  - {version: 1, rollback_supported: true}"},
            "rollback_missing",
            "migration_config.yaml:2: rollback_supported is true, but there is no 001_a.rollback.sql;"
            " write it or say false",
        ),
        (
            {"001_a.sql": "SELECT 1", "001_a.rollback.sql": "SELECT 1",
             CONFIG: "migrations:\n  - version: 1\n    rollback_supported: false"},
            "rollback_undeclared",
            "migration_config.yaml:2: rollback_supported is false, but there is 001_a.rollback.sql;"
            " delete it or say true",
        ),
        (
            {"001_a.sql": "SELECT 1", CONFIG: "validation: {migrations: {require_rollback_validation: true}}"},
            "rollback_missing",
            "001_a.sql: has no rollback script, and require_rollback_validation is on;"
            " write 001_a.rollback.sql, or declare rollback_supported: false",
        ),
        (
            {"001_a.sql": "SELECT 1;" + " " * 2000, CONFIG: "validation: {files: {max_file_size_mb: 0.001}}"},
            "file_too_large",
            "001_a.sql: has 0.00201 MB, the limit is 0.001 MB (max_file_size_mb); split it or raise the limit",
        ),
        (
            {"001_a.sql": "SELECT 1;", "001_a.rollback.sql": "-- " + "ü" * 700 + "\nSELECT 1",
             CONFIG: "validation: {files: {max_file_size_mb: 0.001}}"},
            "file_too_large",
            "001_a.rollback.sql: has 0.00141 MB, the limit is 0.001 MB (max_file_size_mb); split it or raise the limit",
        ),
    ],
)  # fmt: skip
def test_files(make_folder: MakeFolder, files: dict[str, str], code: str, says: str) -> None:
    found = about_folder(make_folder(files))
    assert " ".join(c for c, _ in found) == code
    assert found[0][1] == says


@pytest.mark.parametrize(
    "files",
    [
        {"001_a.sql": "SELECT 1", "004_b.sql": "SELECT 1"},
        {"001_a.sql": "SELECT 1", CONFIG: "migrations:\n  - {version: 1, rollback_supported: false}"},
        {"001_a.sql": "SELECT 1", "001_a.rollback.sql": "SELECT 1",
         CONFIG: "migrations:\n  - {version: 1, rollback_supported: true}"},
        {
            "001_a.sql": "SELECT 1",
            CONFIG: "migrations:\n  - {version: 1, rollback_supported: false}\n"
            "validation: {migrations: {require_rollback_validation: true}}",
        },
    ],
)  # fmt: skip
def test_files_with_nothing_to_find(make_folder: MakeFolder, files: dict[str, str]) -> None:
    assert about_folder(make_folder(files)) == []


def rule(key: str) -> str:
    return f"validation: {{sql: {{{key}: false}}}}\n"


_END = "; take it out or allow it"


@pytest.mark.parametrize(
    ("key", "statement", "what"),
    [
        ("allow_drop", "DROP TABLE t", "DROP"),
        ("allow_drop", "DROP INDEX i", "DROP"),
        ("allow_drop", "DROP ROLE r", "DROP ROLE"),
        ("allow_drop", "DROP OWNED BY r", "DROP OWNED"),
        ("allow_drop", "DROP TABLESPACE s", "DROP TABLE SPACE"),
        ("allow_drop", "DROP DATABASE d", "DROPDB"),
        ("allow_drop", "DROP SUBSCRIPTION s", "DROP SUBSCRIPTION"),
        ("allow_drop", "ALTER TABLE t DROP COLUMN c", "ALTER TABLE"),
        ("allow_drop", "ALTER TABLE t ADD x int, DROP CONSTRAINT c", "ALTER TABLE"),
        ("allow_dml", "INSERT INTO t VALUES (1)", "INSERT"),
        ("allow_dml", "UPDATE t SET a = 1", "UPDATE"),
        ("allow_dml", "DELETE FROM t", "DELETE"),
        ("allow_dml", "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "MERGE"),
        ("allow_dml", "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", "SELECT"),
        ("allow_dml", "TRUNCATE t", "TRUNCATE"),
        ("allow_dml", "COPY t FROM '/x'", "COPY"),
        ("allow_dml", "COPY t (a) FROM stdin;\n1\n\\.\n", "COPY"),
        ("allow_ddl", "CREATE TABLE t ()", "CREATE"),
        ("allow_ddl", "CREATE INDEX i ON t (a)", "INDEX"),
        ("allow_ddl", "ALTER TABLE t ADD x int", "ALTER TABLE"),
        ("allow_ddl", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", "CREATE FUNCTION"),
        ("allow_ddl", "GRANT SELECT ON t TO r", "GRANT"),
        ("allow_ddl", "SELECT 1 INTO t", "SELECT"),
    ],
)
def test_statements_that_are_not_allowed(make_folder: MakeFolder, key: str, statement: str, what: str) -> None:
    files = {"001_a.sql": f"SELECT 1;\n\n{statement};\n", CONFIG: rule(key)}
    says = f"001_a.sql:3: {what} is not allowed: validation.sql.{key} is false" + _END
    assert about_scripts(make_folder(files)) == [says]
    assert codes_of(make_folder(files)) == [(f"{key}_violated", "error", "001")]
    assert about_scripts(make_folder({"001_a.sql": statement})) == []
    for other in {"allow_drop", "allow_dml", "allow_ddl"} - {key}:
        assert about_scripts(make_folder({"001_a.sql": statement, CONFIG: rule(other)})) == []


@pytest.mark.parametrize("key", ["allow_ddl", "allow_dml", "allow_drop"])
def test_what_the_grammar_cannot_read_is_not_let_through(make_folder: MakeFolder, key: str) -> None:
    """It may hold anything: nobody knows is not a yes."""
    files = {"001_a.sql": "SELECT 1;\nDROP TABEL t;", CONFIG: rule(key)}
    unread = '001_a.sql:2:6: syntax error at or near "TABEL"'
    (said,) = [text for text in about_scripts(make_folder(files)) if "validation.sql" in text]
    way = "write it so that PostgreSQL's parser reads it"
    assert said == f"001_a.sql: cannot be held against validation.sql.{key}: {unread}; {way}"


@pytest.mark.parametrize(
    ("key", "statement"),
    [
        ("allow_drop", "ALTER TABLE t ADD c int"),
        ("allow_drop", "ALTER TABLE t ALTER c DROP NOT NULL"),
        ("allow_drop", "DELETE FROM t"),
        ("allow_dml", "SELECT * FROM t"),
        ("allow_dml", "CREATE TABLE t AS SELECT 1"),
        ("allow_ddl", "INSERT INTO t VALUES (1)"),
        ("allow_ddl", "DROP TABLE t"),
        ("allow_ddl", "SET search_path = s; SELECT 1; DO $$ BEGIN END $$; LOCK TABLE t; REFRESH MATERIALIZED VIEW v"),
        ("allow_ddl", "SAVEPOINT s; CALL p(); NOTIFY c; EXPLAIN SELECT 1; SET CONSTRAINTS ALL DEFERRED"),
        ("allow_ddl", "SHOW x; LISTEN c; UNLISTEN c; CHECKPOINT; DISCARD PLANS; VACUUM t; PREPARE p AS SELECT 1"),
        ("allow_ddl", "EXECUTE p; DEALLOCATE p; RESET x; RELEASE s; ANALYZE t"),
    ],
)
def test_statements_that_are(make_folder: MakeFolder, key: str, statement: str) -> None:
    assert about_scripts(make_folder({"001_a.sql": statement, CONFIG: rule(key)})) == []


def test_a_rollback_may_always_do_what_undoing_needs(make_folder: MakeFolder) -> None:
    rules = "validation: {sql: {allow_drop: false, allow_dml: false, allow_ddl: false}}\n"
    files = {"001_a.sql": "SELECT 1", "001_a.rollback.sql": "DELETE FROM t; DROP TABLE t", CONFIG: rules}
    assert about_scripts(make_folder(files)) == []


ROWS_LOST = (
    ":2: DROP EXTENSION timescaledb CASCADE deletes the rows of every hypertable in the database;"
    " drop the tables that are to go by name, and the extension, if at all, without CASCADE"
)


@pytest.mark.parametrize(
    "statement", ["DROP EXTENSION timescaledb CASCADE", "DROP EXTENSION IF EXISTS a, timescaledb CASCADE"]
)
def test_what_deletes_the_rows_of_all_hypertables_is_told_in_both_directions(
    make_folder: MakeFolder, statement: str
) -> None:
    files = {"001_a.sql": f"SELECT 1;\n{statement};", "001_a.rollback.sql": f"SELECT 1;\n{statement};"}
    assert about_scripts(make_folder(files)) == [f"{file}{ROWS_LOST}" for file in files]
    assert codes_of(make_folder(files)) == [("drops_all_hypertables", "error", "001")] * 2


@pytest.mark.parametrize(
    "statement", ["DROP EXTENSION timescaledb", "DROP EXTENSION postgis CASCADE", "DROP TABLE timescaledb CASCADE"]
)
def test_what_refuses_by_itself_is_not(make_folder: MakeFolder, statement: str) -> None:
    assert about_scripts(make_folder({"001_a.sql": statement})) == []


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE INDEX CONCURRENTLY ON t (a)", "CREATE INDEX CONCURRENTLY"),
        ("CREATE INDEX ON t (a) WITH (timescaledb.transaction_per_chunk)", "CREATE INDEX with transaction_per_chunk"),
    ],
)
def test_an_index_that_could_not_be_found_again(make_folder: MakeFolder, statement: str, what: str) -> None:
    says = f"001_a.sql:1: {what} without a name: a failed build could not be found again; name the index"
    read = read_folder(make_folder({"001_a.sql": statement}))
    found = script_findings(read.migrations, read.config)
    assert [str(f) for f in found if f.code != "extension_undeclared"] == [says]
    assert ("unnamed_index", "error", "001") in codes_of(make_folder({"001_a.sql": statement}))


def test_a_script_that_has_to_be_split_and_cannot_be_read(make_folder: MakeFolder) -> None:
    block = "migrations:\n  - version: 1\n    transactional: {}\n"
    files = {"001_a.sql": "SELECT 1;\nWIBBLE;", "001_a.rollback.sql": "SELECT 1"}
    read = read_folder(make_folder({**files, CONFIG: block.format("false")}))
    said = 'syntax error at or near "WIBBLE"'
    nxt = "fix it; a server newer than this grammar may know it"
    warned = Finding("syntax_error", said, nxt, "warning", "001", "001_a.sql", 2, 1)
    refused = Finding(
        "unsplittable",
        f"is declared transactional: false, but cannot be split into statements (001_a.sql:2:1: {said})",
        "write it so that PostgreSQL's parser reads it",
        version="001",
        file="001_a.sql",
    )
    assert script_findings(read.migrations, read.config) == (warned, refused)
    for declared in ("true", "auto", "{apply: auto, rollback: false}"):
        read = read_folder(make_folder({**files, CONFIG: block.format(declared)}))
        assert script_findings(read.migrations, read.config) == (warned,)


@pytest.mark.parametrize("rollback", [False, True])
def test_what_needs_to_run_outside_a_transaction_and_may_not(make_folder: MakeFolder, rollback: bool) -> None:
    script = "SELECT 1;\nVACUUM;\nANALYZE;\nDISCARD ALL;"
    files = {"001_a.sql": "SELECT 1", "001_a.rollback.sql": script} if rollback else {"001_a.sql": script}
    declared = "migrations:\n  - version: 1\n    transactional: true\n"
    strict = "validation: {sql: {require_transaction: true}}"
    for config, reason in {
        declared: "transactional is true",
        strict: "validation.sql.require_transaction is true",
    }.items():
        read = read_folder(make_folder({**files, CONFIG: config}))
        found = tuple(
            Finding(
                "outside_transaction",
                f"{what} cannot run inside a transaction, and {reason}",
                "take it out, or allow it",
                version="001",
                file=list(files)[-1],
                line=line,
            )
            for what, line in [("VACUUM", 2), ("DISCARD ALL", 4)]
        )
        assert script_findings(read.migrations, read.config) == (() if rollback and config == strict else found)
    for apply, undo in [("true", "auto"), ("auto", "true")]:
        declared = f"migrations:\n  - {{version: 1, transactional: {{apply: {apply}, rollback: {undo}}}}}"
        read = read_folder(make_folder({**files, CONFIG: declared}))
        lines = [f.line for f in script_findings(read.migrations, read.config)]
        assert lines == ([2, 4] if (undo if rollback else apply) == "true" else [])


BLOCK = "BEGIN;\nSELECT 1;\nCOMMIT;"


@pytest.mark.parametrize(
    ("script", "line", "what", "begins"),
    [
        (f"{BLOCK}\nCOMMENT ON TABLE t IS 'x';", 4, "COMMENT", 1),
        (f"{BLOCK}\n{BLOCK}", 5, "SELECT", 1),
        (f"-- x\nLOCK TABLE t;\n{BLOCK}", 2, "LOCK", 3),
    ],
)
@pytest.mark.parametrize("rollback", [False, True])
def test_a_script_that_has_to_be_one_transaction_and_is_several(
    make_folder: MakeFolder, script: str, line: int, what: str, begins: int, rollback: bool
) -> None:
    files = {"001_a.sql": "SELECT 1", "001_a.rollback.sql": script} if rollback else {"001_a.sql": script}
    declared = "migrations:\n  - version: 1\n    transactional: true\n"
    strict = "validation: {sql: {require_transaction: true}}"
    reasons = {declared: "transactional is true", strict: "validation.sql.require_transaction is true"}
    for config, reason in reasons.items():
        read = read_folder(make_folder({**files, CONFIG: config}))
        found = Finding(
            "outside_transaction",
            f"{what} stands outside of the script's BEGIN ... COMMIT of line {begins}, and {reason}",
            "write one BEGIN ... COMMIT around everything or none, or allow several",
            version="001",
            file=list(files)[-1],
            line=line,
        )
        assert script_findings(read.migrations, read.config) == (() if rollback and config == strict else (found,))
    read = read_folder(make_folder({**files, CONFIG: ""}))
    assert script_findings(read.migrations, read.config) == ()


def test_every_broken_statement_is_told(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "DROP TABLE a;\nDROP TABLE b;", "002_b.sql": "DROP TABLE c;", CONFIG: rule("allow_drop")}
    assert [text.split(" ")[0] for text in about_scripts(make_folder(files))] == [
        "001_a.sql:1:",
        "001_a.sql:2:",
        "002_b.sql:1:",
    ]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "SELECT 1;\n\nCOMMIT;",
            "3: COMMIT is transaction control; wmigrate commits the script together with its ledger entry; remove it",
        ),
        (
            "\nROLLBACK;",
            "2: ROLLBACK is transaction control; wmigrate commits the script together with its ledger entry; remove it",
        ),
    ],
)
def test_scripts_that_cannot_be_run_are_findings_in_both_directions(
    make_folder: MakeFolder, script: str, says: str
) -> None:
    assert about_scripts(make_folder({"001_a.sql": script})) == [f"001_a.sql:{says}"]
    assert codes_of(make_folder({"001_a.sql": script})) == [("script_refused", "error", "001")]
    assert about_scripts(make_folder({"001_a.sql": "SELECT 1", "001_a.rollback.sql": script})) == [
        f"001_a.rollback.sql:{says}"
    ]


def test_a_script_newer_than_the_grammar_is_only_warned_of(make_folder: MakeFolder) -> None:
    read = read_folder(make_folder({"001_a.sql": "SELECT 1;\n  WIBBLE wobble"}))
    message, nxt = 'syntax error at or near "WIBBLE"', "fix it; a server newer than this grammar may know it"
    found = Finding("syntax_error", message, nxt, "warning", "001", "001_a.sql", 2, 3)
    assert script_findings(read.migrations, read.config) == (found,)
    assert str(found) == f"001_a.sql:2:3: {message}; {nxt}"


def test_variables_are_told_in_both_directions(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "SELECT 1;\nSELECT :'a' FROM t", "001_a.rollback.sql": "INSERT INTO t VALUES ('${env}')"}
    read = read_folder(make_folder(files))
    nxt = "write what it stands for"
    assert script_findings(read.migrations, read.config) == tuple(
        Finding(
            "variable",
            f"{variable} is a variable of another tool, and nothing is templated here",
            nxt,
            "warning",
            "001",
            file,
            line,
            column,
        )
        for variable, file, line, column in [(":'a'", "001_a.sql", 2, 8), ("${env}", "001_a.rollback.sql", 1, 24)]
    )


def test_between_versions_that_are_times_there_are_no_gaps(make_folder: MakeFolder) -> None:
    """Only what is counted has gaps. And fourteen digits have room for more versions than a machine has memory."""
    on = "validation: {migrations: {require_sequential_versions: true}}"
    versions = ["000", "001", "003", "20240131", "20240131093001", "20250131093000"]
    files = {f"{version}_a.sql": "SELECT 1" for version in versions} | {CONFIG: on}
    found = folder_findings(read_folder(make_folder(files)))
    assert [(f.version, f.message.partition(",")[0]) for f in found] == [("002", "no migration has version 002")]


def test_a_wide_gap_between_numbers_is_one_finding(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "SELECT 1", "9999999_b.sql": "SELECT 1"}
    files[CONFIG] = "validation: {migrations: {require_sequential_versions: true}}"
    found = folder_findings(read_folder(make_folder(files)))
    assert [f.message.partition(",")[0] for f in found] == ["no migration has a version from 002 to 9999998"]


@pytest.mark.parametrize(
    "script", ["", " \n", "-- later", "/* SELECT 1; */", ";\n;", "BEGIN;\nCOMMIT;", "BEGIN;\nCOMMIT;\nBEGIN;\nEND;"]
)
@pytest.mark.parametrize(
    ("allowed", "severity", "nxt"),
    [
        ("", "warning", "that is allowed"),
        ("true", "warning", "that is allowed"),
        ("false", "error", "write one, delete the file, or allow it (validation.files.allow_empty)"),
    ],
)
def test_a_script_without_a_statement(
    make_folder: MakeFolder, script: str, allowed: str, severity: str, nxt: str
) -> None:
    config = f"validation: {{files: {{allow_empty: {allowed}}}}}" if allowed else ""
    folder = read_folder(make_folder({"001_a.sql": script, "001_a.rollback.sql": script, CONFIG: config}))
    assert [
        (f.code, f.severity, f.version, f.line, str(f)) for f in script_findings(folder.migrations, folder.config)
    ] == [
        ("empty_script", severity, "001", None, f"001_a.sql: has no statement: applying it does nothing; {nxt}"),
        ("empty_script", severity, "001", None,
         f"001_a.rollback.sql: has no statement: rolling it back does nothing; {nxt}"),
    ]  # fmt: skip


def test_rollbacks_that_undo_nothing_are_told_and_the_others_not(make_folder: MakeFolder) -> None:
    files = {f"00{n}_a.sql": "SELECT 1" for n in (1, 2, 3, 4, 5)}
    files |= {"001_a.rollback.sql": "-- nothing", "003_a.rollback.sql": "COMMIT;", "004_a.rollback.sql": "SELECT 2"}
    folder = read_folder(make_folder(files | {"005_a.rollback.sql": ""}))
    assert empty_rollbacks(folder.migrations) == tuple(
        Finding(
            "empty_script",
            "has no statement: rolling it back does nothing",
            "that is allowed",
            "warning",
            version,
            f"{version}_a.rollback.sql",
        )
        for version in ("001", "005")
    )
