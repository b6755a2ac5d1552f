"""What a statement needs that must be the first of its session, and going on with another connection afterwards.

Only a real TimescaleDB can show that its update works; here is what any server shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, LockTimeout, StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.engine.session.connection import untouched
from airflow_provider_wmigrate.engine.session.sending import Sent
from airflow_provider_wmigrate.engine.session.session import Budget, Session, open_session
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from tests.struck import in_background
from tests.waiting import eventually

Conn = psycopg.Connection[Any]
BUDGET = Budget(total=30, statement=25, lock=7)
MINE = AdvisoryLock("test:mine")


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    options = "-c search_path=elsewhere,public"
    with open_session(lambda: psycopg.connect(database, options=options), application_name="wmigrate test") as session:
        yield session


def send_first(session: Session, text: str) -> tuple[int, int]:
    return session.send_first("001", analyse(Script.of("001_a.sql", text)), 0, BUDGET)


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_limits_and_name_come_with_the_login(session: Session, conn: Conn) -> None:
    conn.execute("CREATE TABLE seen (pid int, name text, value text)")
    names = (
        "lock_timeout statement_timeout search_path application_name client_encoding client_connection_check_interval"
    )
    listed = ", ".join(f"('{name}')" for name in names.split())
    done = send_first(
        session,
        "INSERT INTO seen SELECT pg_backend_pid(), name, current_setting(name)"
        f" FROM (VALUES {listed}) AS wanted (name)",
    )
    assert done == Sent(1, 6)
    rows = conn.execute("SELECT name, value FROM seen").fetchall()
    assert dict(rows) == {
        "lock_timeout": "7s",
        "statement_timeout": "25s",
        "search_path": "elsewhere,public",
        "application_name": "wmigrate test",
        "client_encoding": "UTF8",
        "client_connection_check_interval": "500ms",
    }
    assert conn.execute("SELECT count(*) FROM seen WHERE pid = %s", [session.login.pid]).fetchone() == (0,)


def test_a_password_comes_along(database: str) -> None:
    """This server asks for none, so what is looked at is what would be answered."""
    with (
        psycopg.connect(database, password="it's %s; x") as conn,
        untouched(conn, "wmigrate test", {}, watched=False) as other,
    ):
        assert other.info.password == "it's %s; x"


def test_a_cancel_reaches_it(session: Session, conn: Conn) -> None:
    def cancel() -> None:
        eventually(conn, "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
        session.interruption.cancel()

    with in_background(cancel), pytest.raises(StatementFailed, match="cancelled on request"):
        send_first(session, "SELECT pg_sleep(1000)")
    assert session.conn.execute("SELECT 1").fetchone() == (1,)


def test_the_total_budget_reaches_it(session: Session) -> None:
    with session.interruption.limited(0.5), pytest.raises(TimedOut, match="the total budget"):
        send_first(session, "SELECT pg_sleep(1000)")


def test_its_errors_have_their_place(session: Session) -> None:
    with pytest.raises(StatementFailed) as failed:
        send_first(session, "\n  SELECT * FROM nowhere")
    assert (failed.value.line, failed.value.column, failed.value.sqlstate) == (2, 17, "42P01")


def test_the_session_goes_on_with_its_locks(database: str, session: Session, conn: Conn) -> None:
    notices: list[str] = []
    session.on_notice = lambda diag: notices.append(diag.message_primary or "")
    session.locks.acquire([MINE], wait_seconds=1, on_wait=lambda *_: None)
    before = session.login.pid
    conn.execute("SELECT pg_terminate_backend(%s)", [before])
    session.renew()
    assert session.login.pid != before
    assert conn.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchall() == [(session.login.pid,)]
    session.conn.execute("DO $$ BEGIN RAISE NOTICE 'still heard'; END $$")
    assert notices == ["still heard"]
    assert session.conn.execute("SELECT current_setting('application_name')").fetchone() == ("wmigrate test",)


def test_a_runner_that_was_quicker_goes_on_alone(
    database: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wmigrate.engine.session.advisory._HANDOVER_SECONDS", 0.3)
    with open_session(lambda: psycopg.connect(database), application_name="other") as other:
        other.locks.acquire([MINE], wait_seconds=1, on_wait=lambda *_: None)
        session.locks._held = (MINE,)  # as if it had been given back and taken in between
        with pytest.raises(LockTimeout, match=f"held by pid {other.login.pid}"):
            session.renew()


def test_no_connection_is_said_in_one_sentence(cluster: Any, session: Session, database: str, conn: Conn) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        with pytest.raises(
            ConnectionFailed, match=r"not currently accepting connections.*connect to the server itself"
        ):
            send_first(session, "SELECT 1")
