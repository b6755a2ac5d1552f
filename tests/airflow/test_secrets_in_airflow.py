"""A password in a script, and in what the server says of it, leaves the task by no way that Airflow has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, TaskLog

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

SECRETS = ("hunter2", "before2", "never2")
ROLE = {
    "001_role.sql": "CREATE ROLE masked_app LOGIN PASSWORD 'hunter2';",
    "001_role.rollback.sql": "ALTER ROLE masked_app PASSWORD 'before2';\nDROP ROLE masked_app;",
}
REFUSED = {
    "002_refused.sql": "ALTER ROLE masked_app\n  PASSWORD 'never2' VALID UNTIL 'never2';",
    "002_refused.rollback.sql": "SELECT 1;",
}


@pytest.fixture
def no_role(conn: Conn) -> Iterator[None]:
    """Roles belong to the whole server."""
    yield
    conn.execute("DROP ROLE IF EXISTS masked_app")


def rendered(run: Run) -> list[Any]:
    """What Airflow shows under Rendered Templates."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.run_id == run.run_id)
    with create_session() as session:
        return [row.rendered_fields for row in session.scalars(query)]


def outlets(run: Run, log: TaskLog, conn: Conn) -> dict[str, str]:
    """Every text that a run leaves where others can read it."""
    from airflow.serialization.serialized_objects import DagSerialization

    tasks = run.dag.tasks
    rows = conn.execute("SELECT a::text FROM wmigrate.audit_log a ORDER BY position").fetchall()
    entries = conn.execute("SELECT (to_jsonb(m) - 'rollback_sql')::text FROM wmigrate.schema_migrations m").fetchall()
    return {
        "serialized DAG": json.dumps(DagSerialization.to_dict(run.dag), default=str),
        "doc_md": repr([task.doc_md for task in tasks]),
        "doc_json": repr([task.doc_json for task in tasks]),
        "rendered templates": repr(rendered(run)),
        "task log": log.text,
        "XCom": repr(run.xcoms),
        "asset events": repr(run.events),
        "error": repr({task: str(error) for task, error in run.errors.items()}),
        "audit log": repr(rows),
        "ledger": repr(entries),
    }


def test_a_password_leaves_by_no_outlet(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog, no_role: None
) -> None:
    folder = make_folder({**ROLE, **REFUSED})
    run = runner.run(runner.migrations(folder))
    assert (run.states["001_role"], run.states["002_refused"]) == ("success", "failed")
    back = runner.run(runner.rollback(folder, to="0"))
    assert back.state == "success"
    for left in (run, back):
        told = outlets(left, task_log, conn)
        assert {outlet: secret for outlet, text in told.items() for secret in SECRETS if secret in text} == {}
    assert "PASSWORD '***'" in outlets(run, task_log, conn)["doc_md"], "the rest of the script is shown"
    assert "CREATE ROLE masked_app LOGIN PASSWORD '***';" in task_log.lines
    assert str(run.errors["002_refused"]) == (
        '002_refused.sql:1: invalid input syntax for type timestamp with time zone: "***" (SQLSTATE 22007)'
        " in ALTER ROLE masked_app PASSWORD ...; rolled back, nothing of it was kept"
    )
