"""What an error keeps of what the server said: DETAIL, HINT, CONTEXT, the function, the constraint, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import RollbackFailed, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Failed
from airflow_provider_wmigrate.engine.record import ServerWords

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

KEPT = "; rolled back, nothing of it was kept"
BOOM = (
    "CREATE FUNCTION boom(n int) RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n  PERFORM 1/n;\nEND $$;\n"
    "DO $$ BEGIN PERFORM boom(0); END $$;"
)
DEFERRED = (
    "CREATE TABLE p (id int PRIMARY KEY);\n"
    "CREATE TABLE c (p_id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\n"
    "INSERT INTO c VALUES (99);\n"
)
MISSING = (
    'insert or update on table "c" violates foreign key constraint "c_p_id_fkey"'
    ' (Key (p_id)=(99) is not present in table "p".) (SQLSTATE 23503)'
)
UNIQUE = "CREATE TABLE u (id int CONSTRAINT only_one UNIQUE);\nINSERT INTO u VALUES (7);\nINSERT INTO u VALUES (7);"


def failed(made: Any) -> StatementFailed:
    with pytest.raises(StatementFailed) as caught:
        made.apply("001")
    return caught.value


def test_an_error_inside_a_function_names_it_and_its_line(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    error = failed(migrator({"001_a.sql": BOOM}))
    function = "PL/pgSQL function boom(integer) line 3 at PERFORM"
    assert str(error) == f"001_a.sql:5: division by zero (SQLSTATE 22012) in DO ..., {function}{KEPT}"
    context = (
        f'SQL statement "SELECT 1/n"\n{function}\nSQL statement "SELECT boom(0)"\n'
        "PL/pgSQL function inline_code_block line 1 at PERFORM"
    )
    assert error.said == ServerWords(context=context, function=function)
    assert [e.said for e in events if isinstance(e, Failed)] == [error.said]
    row = conn.execute("SELECT details FROM wmigrate.audit_log WHERE event = 'failed'").fetchone()
    assert row is not None
    assert (row[0]["context"], row[0]["function"], row[0]["error"]) == (context, function, str(error))
    assert "detail" not in row[0]


def test_an_error_in_a_block_has_its_line_in_the_script(migrator: MakeMigrator) -> None:
    error = failed(migrator({"001_a.sql": "SELECT 1;\nDO\n$body$\nBEGIN\n  PERFORM 1/0;\nEND $body$;"}))
    assert (error.line, error.said.function) == (5, None)
    assert error.said.context is not None
    assert error.said.context.endswith("PL/pgSQL function inline_code_block line 3 at PERFORM")


def test_a_deferred_constraint_names_the_key_and_the_line_of_the_only_change(migrator: MakeMigrator) -> None:
    error = failed(migrator({"001_a.sql": DEFERRED}))
    assert str(error) == f"001_a.sql:3: {MISSING}{KEPT}"
    detail = 'Key (p_id)=(99) is not present in table "p".'
    assert (error.said.detail, error.said.constraint, error.said.function) == (detail, "c_p_id_fkey", None)


def test_of_several_changes_none_is_blamed_for_a_deferred_constraint(migrator: MakeMigrator) -> None:
    error = failed(migrator({"001_a.sql": DEFERRED + "INSERT INTO p VALUES (1);"}))
    assert str(error) == f"001_a.sql: {MISSING}{KEPT}"


def test_detail_and_constraint_of_an_immediate_one(migrator: MakeMigrator) -> None:
    error = failed(migrator({"001_a.sql": UNIQUE}))
    text = 'duplicate key value violates unique constraint "only_one" (SQLSTATE 23505) in INSERT INTO u VALUES (7)'
    assert str(error) == f"001_a.sql:3: {text}{KEPT}"
    assert error.said == ServerWords(detail="Key (id)=(7) already exists.", constraint="only_one")


def test_a_secret_is_in_none_of_it(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    script = (
        "CREATE TABLE login (password text CONSTRAINT once UNIQUE);\n"
        "DO $$ BEGIN INSERT INTO login (password) VALUES ('hunter2'), ('hunter2'); END $$;"
    )
    error = failed(migrator({"001_a.sql": script}))
    assert error.said.constraint == "once"
    rows = conn.execute("SELECT details FROM wmigrate.audit_log").fetchall()
    assert "hunter2" not in f"{error} {error.said} {rows} {[e for e in events if isinstance(e, Failed)]}"


@pytest.mark.parametrize(
    ("script", "sqlstate", "advice"),
    [
        (
            "CREATE TABLE a (); DO $$ BEGIN COMMIT; END $$;",
            "2D000",
            "the script ends transactions itself: declare transactional: false for this migration, so that none is"
            " around it",
        ),
        (
            "DO $$ BEGIN EXECUTE 'VACUUM'; END $$;",
            "25001",
            "write it as a statement of its own, outside any function, and declare transactional: false for this"
            " migration",
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
            "25001",
            "wmigrate opens the transaction, at READ COMMITTED, and sets its limits: take this statement out",
        ),
        (
            "SELECT create_hypertable('t', 'at');",
            "42883",
            "it is TimescaleDB's: create that extension before it and name timescaledb under requires_extensions, or"
            " correct the call",
        ),
    ],
    ids=["commits", "in a function", "isolation", "timescaledb"],
)
def test_what_to_do_is_said(migrator: MakeMigrator, script: str, sqlstate: str, advice: str) -> None:
    error = failed(migrator({"001_a.sql": script}))
    assert (error.sqlstate, error.hint) == (sqlstate, advice)
    assert str(error).endswith(f"{KEPT}; {advice}")


def test_what_cannot_run_in_a_transaction_although_it_was_declared_so(migrator: MakeMigrator) -> None:
    config = {"migration_config.yaml": "migrations: [{version: '001', transactional: true}]"}
    error = failed(migrator({"001_a.sql": "CREATE TABLE t (); VACUUM t;"} | config))
    advice = "declare transactional: false for this migration, so that no transaction is around it"
    assert (error.sqlstate, error.hint) == ("25001", advice)


def test_a_rollback_that_commits_names_its_own_key(migrator: MakeMigrator) -> None:
    made = migrator({"001_a.sql": "SELECT 1;", "001_a.rollback.sql": "DO $$ BEGIN COMMIT; END $$;"})
    made.apply("001")
    with pytest.raises(RollbackFailed) as caught:
        made.roll_back("001")
    assert str(caught.value).endswith(
        "declare transactional: {rollback: false} for this migration, so that none is around it"
    )


def test_where_no_sql_may_be_shown_an_error_has_none(migrator: MakeMigrator, events: list[Event]) -> None:
    config = {"migration_config.yaml": "settings: {logging: {include_sql: false}}"}
    error = failed(migrator({"001_a.sql": BOOM} | config))
    function = "PL/pgSQL function boom(integer) line 3 at PERFORM"
    assert str(error) == f"001_a.sql:5: division by zero (SQLSTATE 22012), {function}{KEPT}"
    assert error.said == ServerWords(context=function, function=function)
    assert [(e.error, e.said) for e in events if isinstance(e, Failed)] == [(str(error), error.said)]
