"""Statements of PostgreSQL that run in parts: they fail, somebody cancels them, or their runner is killed in the
middle. What is left is found and cleared away or finished, and never what somebody else is at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome
from tests.struck import WAITS, in_background, killed_while
from tests.waiting import eventually

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
PENDING = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
SETUP = """
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE INDEX t_v ON t (v);
CREATE INDEX t_w ON t (id, v);
INSERT INTO t SELECT n, -n FROM generate_series(1, 100) n;
CREATE TABLE u (id int PRIMARY KEY);
ALTER TABLE u CLUSTER ON u_pkey;
ALTER TABLE t CLUSTER ON t_v;
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (9);
CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (9) TO (19);
CREATE INDEX p_id ON p (id);
"""


class Kind(NamedTuple):
    """:param in_the_way: what an older transaction has done, so that the statement waits in its middle.
    :param left: a query about what the statement leaves half done, and its answer after a cancel or a death.
    :param noted: what the next run says before it is done.
    """

    statement: str
    in_the_way: str
    left: tuple[str, list[str]]
    noted: tuple[str, ...]


FLIGHT, ALONE = "was in flight; it runs again", "runs outside a transaction"
DROPPED = "dropped index public.{}, which a failed build had left invalid"
KINDS = {
    "an index": Kind(
        "REINDEX INDEX CONCURRENTLY t_v;",
        "UPDATE t SET v = 0 WHERE id = 1",
        (INVALID, ["t_v_ccnew"]),
        (DROPPED.format("t_v_ccnew"), ALONE),
    ),
    "a table": Kind(
        "REINDEX TABLE CONCURRENTLY t;",
        "UPDATE t SET v = 0 WHERE id = 1",
        (INVALID, ["t_pkey_ccnew", "t_v_ccnew", "t_w_ccnew"]),
        (*(DROPPED.format(f"{name}_ccnew") for name in ("t_pkey", "t_v", "t_w")), ALONE),
    ),
    "a schema": Kind(
        "REINDEX SCHEMA public;", "LOCK TABLE u", (INVALID, []), (ALONE,)
    ),
    "a partition": Kind(
        "ALTER TABLE p DETACH PARTITION p_1 CONCURRENTLY;",
        "SELECT * FROM p",
        (PENDING, ["p_1"]),
        ("finished the detaching, which had been left half done",),
    ),
    "cluster": Kind("CLUSTER;", "LOCK TABLE u", (INVALID, []), (ALONE,)),
    "vacuum": Kind("VACUUM FULL;", "LOCK TABLE u", (INVALID, []), (ALONE,)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def tables(conn: Conn) -> None:
    for statement in SETUP.strip().split(";\n"):
        conn.execute(statement.encode())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, conn: Conn) -> Kind:
    if request.param == "a partition" and conn.info.server_version < 140000:
        pytest.skip("PostgreSQL 14 was the first with DETACH CONCURRENTLY")
    return KINDS[request.param]


@contextmanager
def older(database: str, statement: str) -> Iterator[None]:
    with psycopg.connect(database) as somebody:
        somebody.execute(statement.encode())
        yield
        somebody.rollback()


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


def names(conn: Conn, query: str) -> list[str]:
    return [row[0] for row in conn.execute(query.encode())]


def done(conn: Conn) -> None:
    assert (names(conn, INVALID), conn.execute("SELECT count(*) FROM t").fetchone()) == ([], (100,))
    if conn.info.server_version >= 140000:
        assert names(conn, PENDING) == []


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_a_runner_that_is_killed(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn, events: list[Event], kind: Kind
) -> None:
    folder = make_folder({"001_a.sql": kind.statement})
    with older(database, kind.in_the_way):
        killed_while(database, folder, conn, WAITS)
    query, left = kind.left
    assert names(conn, query) == left
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == [FLIGHT, *kind.noted]
    done(conn)


def test_somebody_cancels_it(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event], kind: Kind
) -> None:
    files = {"001_a.sql": kind.statement}
    with older(database, kind.in_the_way), in_background(lambda: migrator(files).apply("001")) as result:
        ((pid,),) = eventually(conn, WAITS)
        conn.execute("SELECT pg_cancel_backend(%s)", [pid])
        with pytest.raises(StatementFailed) as cancelled:
            result()
    assert (cancelled.value.sqlstate, cancelled.value.outcome.split(";")[0].split(",")[0]) == (
        "57014",
        "nothing ran before it",
    )
    query, left = kind.left
    assert names(conn, query) == left
    events.clear()
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == list(kind.noted)
    done(conn)


def test_a_rebuild_that_fails_is_cleared_away_and_not_what_somebody_else_has_left(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    conn.execute("CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    conn.execute("CREATE INDEX t_f ON t (f(v))")
    conn.execute("CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 / ($1 + 7)'")
    conn.execute("CREATE INDEX u_mine_ccnew ON u (id)")
    conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u_mine_ccnew'::regclass")
    files = {"001_a.sql": "REINDEX INDEX CONCURRENTLY t_f;"}
    with pytest.raises(StatementFailed, match="division by zero") as failed:
        migrator(files).apply("001")
    assert failed.value.outcome == "nothing ran before it; the next run goes on at statement 1"
    assert names(conn, INVALID) == ["t_f_ccnew", "u_mine_ccnew"]
    conn.execute("CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    events.clear()
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == [DROPPED.format("t_f_ccnew"), ALONE]
    assert names(conn, INVALID) == ["u_mine_ccnew"]


def test_cluster_of_one_table_is_one_transaction(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({"001_a.sql": "CREATE TABLE before ();\nCLUSTER t USING t_w;\nCLUSTER u;"})
    with older(database, "LOCK TABLE u"):
        killed_while(database, folder, conn, WAITS)
    clustered = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisclustered ORDER BY 1"
    assert names(conn, clustered) == ["t_v", "u_pkey"]
    assert names(conn, "SELECT relname::text FROM pg_class WHERE relname = 'before'") == []
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert names(conn, clustered) == ["t_w", "u_pkey"]
