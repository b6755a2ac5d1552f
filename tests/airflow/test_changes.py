"""What a run has changed is told: to consumers of single tables, and in the log of a task that misses what is gone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow_runner import Run, Runner

MakeFolder = Callable[..., Path]

MADE = {
    "001_made.sql": "CREATE TABLE a (id int, note text); CREATE SCHEMA s; CREATE TABLE s.b (id int);"
    " CREATE TABLE untouched (id int); CREATE VIEW s.v AS SELECT id FROM a;",
    "001_made.rollback.sql": "DROP VIEW s.v; DROP TABLE untouched; DROP TABLE s.b; DROP SCHEMA s; DROP TABLE a;",
}
CHANGED = {
    "002_changed.sql": "SET search_path = public; ALTER TABLE a DROP COLUMN note, ADD COLUMN n int;"
    " ALTER TABLE s.b RENAME TO c; CREATE INDEX ON a (n); DO $$ BEGIN END $$;",
    "002_changed.rollback.sql": "ALTER TABLE a DROP COLUMN n; ALTER TABLE s.c RENAME TO b;",
}


def by_table(run: Run) -> dict[str, tuple[list[str], list[dict[str, Any]]]]:
    """Schema and table -> versions and changes, of the events of tables."""
    found = {}
    for uri, extra in run.asset_events:
        match = re.fullmatch(r"postgres://[^/:]+:\d+/[^/]+/([^/]+)/([^/]+)", uri)
        if match:
            found[f"{match[1]}.{match[2]}"] = (extra["versions"], extra["changes"])
    return found


def by_schema(run: Run) -> dict[str, dict[str, list[str]]]:
    return {uri.rpartition("/")[2]: extra["tables"] for uri, extra in run.asset_events if "/schema/" in uri}


def test_each_table_that_changed_has_an_event_and_no_other(runner: Runner, make_folder: MakeFolder) -> None:
    first = runner.run(runner.migrations(make_folder(MADE)))
    assert first.state == "success"
    new = (["001"], [{"does": "create", "kind": "table"}])
    assert by_table(first) == {
        "public.a": new, "s.b": new, "public.untouched": new, "s.v": (["001"], [{"does": "create", "kind": "view"}]),
    }  # fmt: skip
    second = runner.run(runner.migrations(make_folder({**MADE, **CHANGED})))
    renamed = (["002"], [{"does": "rename", "kind": "table", "to": "c"}])
    assert by_table(second) == {
        "public.a": (["002"], [
            {"does": "alter", "kind": "table"},
            {"does": "drop", "kind": "column", "column": "note"},
            {"does": "create", "kind": "column", "column": "n"},
        ]),
        "s.b": renamed,
        "s.c": renamed,
    }  # fmt: skip
    assert by_schema(second) == {
        "public": {"a": ["alter", "create", "drop"]}, "s": {"b": ["rename"], "c": ["rename"]},
    }  # fmt: skip
    (event,) = second.events
    assert (event["applied"], event["tables"], event["unread"]) == (
        ["002"], {"public.a": ["alter", "create", "drop"], "s.b": ["rename"], "s.c": ["rename"]}, ["002"],
    )  # fmt: skip
    assert second.asset_events[0][0] == "x-wmigrate://target/schema"
    back = runner.run(runner.rollback(make_folder({**MADE, **CHANGED}), "001"))
    assert {table: versions for table, (versions, _) in by_table(back).items()} == {
        "public.a": ["002"], "s.b": ["002"], "s.c": ["002"],
    }  # fmt: skip
    again = runner.run(runner.migrations(make_folder({**MADE, **CHANGED, "003_no.sql": "SELECT * FROM nowhere"})))
    assert (again.state, again.asset_events) == ("failed", [])


def test_a_task_that_misses_a_column_says_which_migration_dropped_it(
    runner: Runner, make_folder: MakeFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

    run = runner.run(runner.migrations(make_folder({**MADE, **CHANGED})))
    assert run.state == "success"

    def log_of(sql: str, **more: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            task = SQLExecuteQueryOperator(task_id="reads", **{"conn_id": "target", "sql": sql, **more})
            assert runner.run(runner.of(task)).state == "failed"
        return [
            re.sub(r", \d{4}-\d\d-\d\d \d\d:\d\d UTC", ", WHEN", record.getMessage())
            for record in caplog.records
            if record.name == "airflow_provider_wmigrate.missing"
        ]

    by = f", WHEN by alice (run {run.run_id} of DAG {run.dag.dag_id})"
    assert log_of("SELECT note FROM a") == [f"column public.a.note was dropped by migration 002_changed{by}"]
    assert log_of("SELECT x.note FROM a x") == [f"column public.a.note was dropped by migration 002_changed{by}"]
    assert log_of("SELECT id FROM s.b") == [f"table s.b was renamed to c by migration 002_changed{by}"]
    assert log_of("SELECT other FROM a") == []
    assert log_of("SELECT id FROM never") == []
    assert log_of("SELECT 1/0") == []
    monkeypatch.setenv("AIRFLOW__WMIGRATE__EXPLAIN_MISSING", "False")
    from airflow_provider_wmigrate import preloading
    from airflow_provider_wmigrate.web.plugin import WMigratePlugin

    assert WMigratePlugin().listeners == [preloading]


def test_servers_that_do_not_answer_share_the_time(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that names several connections is not kept for so long at each of them."""
    import select
    import socket

    import psycopg
    from airflow.providers.standard.operators.python import PythonOperator

    from airflow_provider_wmigrate import missing

    def fails(**_: Any) -> None:
        raise psycopg.errors.UndefinedTable('relation "gone" does not exist')

    monkeypatch.setattr(missing, "_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        for name, server in (("FIRST", first), ("SECOND", second)):
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", f"postgres://a:b@127.0.0.1:{server.getsockname()[1]}/x")
        named = {"source_conn_id": "first", "target_conn_id": "second"}
        run = runner.run(runner.of(PythonOperator(task_id="copy", python_callable=fails, op_kwargs=named)))
        assert (run.state, str(run.errors["copy"])) == ("failed", 'relation "gone" does not exist')
        asked, _, _ = select.select([first, second], [], [], 0)
    assert asked == [first]
