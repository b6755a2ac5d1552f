"""An index that somebody else builds or drops is waited for; only what nobody builds any more counts as failed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, LockTimeout, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped, Waiting
from airflow_provider_wmigrate.engine.record import Outcome
from tests.waiting import PATIENCE, wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

WANTED = "CREATE INDEX CONCURRENTLY {} t_id ON t (id);"
IMPATIENT = {"migration_config.yaml": "settings: {execution: {concurrent_lock_timeout_seconds: 1}}"}


@pytest.fixture(autouse=True)
def table(conn: Conn) -> None:
    conn.execute("CREATE TABLE t (id int, v int); INSERT INTO t SELECT n, n FROM generate_series(1, 100) n")


@contextmanager
def held_up(database: str, conn: Conn, statement: str, *, begun: str = "SELECT true") -> Iterator[Callable[[], None]]:
    """Somebody runs the statement, and an older transaction holds it up until the function is called.

    :param begun: says whether the statement has come to where it waits.
    """
    errors: list[Exception] = []

    def run() -> None:
        try:
            with psycopg.connect(database, autocommit=True, application_name="somebody") as other:
                other.execute(statement.encode())
        except psycopg.Error as error:
            errors.append(error)

    with psycopg.connect(database) as older:
        older.execute("INSERT INTO t VALUES (0, 0)")
        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: conn.execute(begun.encode()).fetchone() == (True,))
        yield older.commit
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert errors == []


INVALID = "SELECT count(*) = 1 FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid"
WAITS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'somebody' AND wait_event_type = 'Lock'"


class Releasing(list[Event]):
    """Lets the older transaction end as soon as the runner is seen to wait."""

    def __init__(self) -> None:
        self.release: Callable[[], None] = lambda: None

    def append(self, event: Event) -> None:
        super().append(event)
        if isinstance(event, Waiting):
            self.release()


def indexes(conn: Conn) -> dict[str, bool]:
    rows = conn.execute("SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass")
    return dict(rows.fetchall())


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


@pytest.mark.parametrize("clause", ["", "IF NOT EXISTS"])
def test_somebodys_build_is_waited_for_and_taken(
    database: str, migrator: MakeMigrator, conn: Conn, clause: str
) -> None:
    events = Releasing()
    theirs = "CREATE INDEX CONCURRENTLY t_id ON t USING btree (id ASC)"
    with held_up(database, conn, theirs, begun=INVALID) as events.release:
        oid = conn.execute("SELECT 't_id'::regclass::oid").fetchone()
        made = migrator({"001_i.sql": WANTED.format(clause)}, on_event=events.append)
        assert made.apply("001").outcome is Outcome.APPLIED
    assert conn.execute("SELECT 't_id'::regclass::oid").fetchone() == oid
    assert indexes(conn) == {"t_id": True}
    assert notes(events) == ["its index is there: another session has built it meanwhile"]
    waiting = next(e for e in events if isinstance(e, Waiting))
    assert (waiting.version, len(waiting.holders)) == ("001", 1)
    assert waiting.what == "the table, of which another session builds or drops an index,"


def test_a_different_index_of_that_name_is_told(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    events = Releasing()
    theirs = "CREATE INDEX CONCURRENTLY t_id ON t (v DESC)"
    with held_up(database, conn, theirs, begun=INVALID) as events.release, pytest.raises(HistoryError) as told:
        migrator({"001_i.sql": WANTED.format("")}, on_event=events.append).apply("001")
    assert str(told.value) == (
        "001_i.sql:1: index public.t_id is there, built by somebody else, and is btree (v DESC), and the script wants"
        " btree (id); rename or drop that one, or correct the script; then run again"
    )
    assert indexes(conn) == {"t_id": True}
    assert conn.execute("SELECT count(*) FROM wmigrate.schema_migrations").fetchone() == (0,)  # nothing ran


def test_somebody_is_waited_for_no_longer_than_the_budget(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    with held_up(database, conn, "CREATE INDEX CONCURRENTLY t_id ON t (id)", begun=INVALID) as release:
        with pytest.raises(LockTimeout) as stopped:
            migrator({"001_i.sql": WANTED.format("")} | IMPATIENT).apply("001")
        release()
    assert re.fullmatch(
        r"001_i\.sql:1: the table, of which another session builds or drops an index, was not free within 1\.\d s,"
        r" held by pid (\d+); nothing ran before it, and nothing of it was kept;"
        r" let it end, or end it with pg_terminate_backend\(\1\); then run again",
        str(stopped.value),
    )
    assert stopped.value.retryable
    assert indexes(conn) == {"t_id": True}


THEIRS = {
    "another index": (
        "CREATE INDEX CONCURRENTLY t_v ON t (v)",
        WANTED.format(""),
        {"t_id": True, "t_v": True, "o": True},
    ),
    "a rebuild": ("REINDEX INDEX CONCURRENTLY o", "DROP INDEX CONCURRENTLY o;", {}),
    "a drop": ("DROP INDEX CONCURRENTLY o", "CREATE INDEX CONCURRENTLY o ON t (id);", {"o": True}),
    "a rebuild of the table": ("REINDEX TABLE CONCURRENTLY t", "REINDEX TABLE CONCURRENTLY t;", {"o": True}),
}


@pytest.mark.parametrize("theirs", THEIRS)
def test_nobody_dies_of_a_deadlock(database: str, migrator: MakeMigrator, conn: Conn, theirs: str) -> None:
    """Whoever waits for the table's lock in PostgreSQL holds a snapshot, for which the other one waits."""
    conn.execute("CREATE INDEX o ON t (id)")
    statement, mine, left = THEIRS[theirs]
    events = Releasing()
    with held_up(database, conn, statement, begun=WAITS) as events.release:
        assert migrator({"001_i.sql": mine}, on_event=events.append).apply("001").outcome is Outcome.APPLIED
    assert indexes(conn) == left
    assert any(isinstance(e, Waiting) for e in events)


def test_what_somebody_rebuilds_is_not_swept_away(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    """REINDEX CONCURRENTLY of the database sweeps up what failed ones left, not what lives on another table."""
    conn.execute("CREATE TABLE other (id int); CREATE INDEX o ON other (id); CREATE INDEX mine ON t (id)")
    conn.execute("CREATE INDEX mine_ccnew ON t (id); CREATE INDEX o_ccnew ON other (id)")
    conn.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('mine_ccnew'::regclass, 'o_ccnew'::regclass)"
    )
    with psycopg.connect(database) as somebody:
        somebody.execute("LOCK TABLE other IN SHARE UPDATE EXCLUSIVE MODE")
        migrator({"001_i.sql": "REINDEX (CONCURRENTLY) SCHEMA public;"} | IMPATIENT)
        with pytest.raises((StatementFailed, LockTimeout)):  # it has to wait for that table
            migrator({"001_i.sql": "REINDEX SCHEMA CONCURRENTLY public;"} | IMPATIENT).apply("001")
    rows = conn.execute("SELECT relname FROM pg_class WHERE relname IN ('mine_ccnew', 'o_ccnew')").fetchall()
    assert rows == [("o_ccnew",)]


def test_a_role_that_must_not_see_who_builds(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE INDEX t_id ON t (id)")
    conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_id'::regclass")
    conn.execute("CREATE ROLE blind LOGIN; ALTER TABLE t OWNER TO blind; GRANT CREATE ON SCHEMA public TO blind")
    conn.execute(
        f"GRANT CREATE ON DATABASE {conn.info.dbname} TO blind; REVOKE SELECT ON pg_locks FROM PUBLIC".encode()
    )
    dsn = psycopg.conninfo.make_conninfo(database, user="blind")
    try:
        with pytest.raises(HistoryError) as asked:
            migrator({"001_i.sql": WANTED.format("")} | IMPATIENT, dsn=dsn).apply("001")
        assert str(asked.value) == (
            "001_i.sql:1: index public.t_id is invalid, and whether another session builds it now must not be seen by"
            " this role; drop index public.t_id CONCURRENTLY if nobody builds it, or grant SELECT on pg_locks; then run"
            " again"
        )
        assert indexes(conn) == {"t_id": False}
    finally:
        conn.execute("DROP OWNED BY blind CASCADE; DROP ROLE blind")
