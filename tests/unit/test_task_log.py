"""What the task log shows of SQL: masked, or none of it."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_wmigrate.engine.events import Event, Failed, Started
from airflow_provider_wmigrate.engine.folder.config.settings import Logging
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.record import ServerWords
from airflow_provider_wmigrate.telling.task_log import log_listener

SCRIPT = Script("001_a.sql", "CREATE ROLE app\n  PASSWORD 'hunter2';", "ab" * 32)
UNDO = Script("001_a.rollback.sql", "ALTER ROLE app PASSWORD 'before2';", "cd" * 32)
STARTED = Started("001", "a", "apply", SCRIPT, False, UNDO, 42)
SAID = ServerWords(detail="Key (id)=(7) already exists.", context="line one\nline two", constraint="u_id_key")
FAILED = Failed("001", "apply", "001_a.sql:2: duplicate key", "23505", True, SAID)


def lines(caplog: pytest.LogCaptureFixture, event: Event, **settings: object) -> list[str]:
    log = logging.getLogger("test_task_log")
    with caplog.at_level(logging.DEBUG, log.name):
        log_listener(log, Logging(**settings))(event)
    return [record.getMessage() for record in caplog.records]


def test_scripts_are_shown_without_their_secrets(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, STARTED) == [
        "applying 001_a on server process 42",
        "::group::001_a.sql (sha256 abababababab)",
        "CREATE ROLE app",
        "  PASSWORD '***';",
        "::endgroup::",
        "::group::001_a.rollback.sql (sha256 cdcdcdcdcdcd)",
        "ALTER ROLE app PASSWORD '***';",
        "::endgroup::",
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_script_is_shown_where_none_is_to_be(caplog: pytest.LogCaptureFixture, form: str) -> None:
    (line,) = lines(caplog, STARTED, include_sql=False, format=form)
    assert "ROLE" not in line


def test_for_programs_scripts_are_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines(caplog, STARTED, format="json")
    assert "ALTER ROLE app PASSWORD '***'" in line
    assert "hunter2" not in line
    assert "before2" not in line


def test_a_failure_has_what_else_the_server_said(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, FAILED) == [
        "dry run of apply of 001 failed: 001_a.sql:2: duplicate key",
        "DETAIL: Key (id)=(7) already exists.",
        "CONTEXT: line one",
        "line two",
    ]
