"""Several migrations on one session: what one leaves, how many round trips each costs, what a crash leaves of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from airflow_provider_wmigrate.engine.errors import (
    HistoryError,
    LedgerTooNew,
    RollbackFailed,
    StatementFailed,
    WMigrateError,
)
from airflow_provider_wmigrate.engine.events import Event, Finished, Started
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.run import commits
from airflow_provider_wmigrate.engine.session import connection, watch
from dev.cluster import Cluster
from tests.waiting import ENDLESS

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

LEAVES = """
CREATE ROLE left_role; GRANT left_role TO CURRENT_USER;
SET search_path = nowhere; SET statement_timeout = '77s'; SET lock_timeout = '78s'; SET work_mem = '9MB';
SET default_transaction_read_only = on; SET client_encoding = LATIN1; SET DateStyle = 'German'; SET row_security = off;
SET session_replication_role = replica; SET synchronous_commit = off; SET standard_conforming_strings = off;
SET application_name = 'somebody else'; SET client_min_messages = error; SET idle_in_transaction_session_timeout = '1s';
CREATE TEMPORARY TABLE left_table (id int); CREATE TEMPORARY SEQUENCE left_sequence; SELECT nextval('left_sequence');
PREPARE left_statement AS SELECT 1; LISTEN left_channel; SELECT pg_advisory_lock(4711), pg_advisory_lock_shared(1, 2);
DECLARE left_cursor CURSOR WITH HOLD FOR SELECT 1;
SET SESSION AUTHORIZATION left_role; SET ROLE left_role;
"""
LOOK = """
CREATE TABLE public.looked AS SELECT
    (SELECT json_object_agg(name, setting) FROM pg_settings WHERE source = 'session'
        AND name NOT LIKE 'transaction%' AND name <> 'application_name') AS settings,
    session_user::text AS login, current_user::text AS role,
    (SELECT json_agg(relname) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) AS temporary,
    (SELECT json_agg(name) FROM pg_prepared_statements) AS prepared, (SELECT json_agg(name) FROM pg_cursors) AS cursors,
    (SELECT json_agg(c) FROM pg_listening_channels() c) AS channels,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks;
ALTER TABLE public.looked ADD lastval bigint;
"""


def looked(conn: Conn) -> Any:
    return conn.execute("SELECT looked.*::text FROM looked").fetchone()


def test_what_a_script_leaves_does_not_reach_the_next_one(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    runner = migrator({"001_look.sql": LOOK, "001_look.rollback.sql": "DROP TABLE looked;"})
    runner.apply("001")
    alone = looked(conn)
    runner.roll_back("001")
    events.clear()
    migrator({"001_leave.sql": LEAVES, "002_look.sql": LOOK, "migration_config.yaml": NEEDS_NOTHING}).apply_each(
        ["001", "002"]
    )
    assert len({e.backend_pid for e in events if isinstance(e, Started)}) == 1, "one session"
    assert looked(conn) == alone
    conn.execute("DROP ROLE left_role")


NEEDS_NOTHING = "migrations: [{version: 1, dependencies: []}, {version: 2, dependencies: []}]"


@pytest.mark.parametrize(
    "script",
    [
        "SET my.setting = 'x';",
        "SELECT set_config('my.setting', 'x', false);",
        "SELECT setseed(0.5);",
        "LOAD 'plpgsql';",
    ],
)
def test_what_no_statement_takes_away_costs_a_session(
    migrator: MakeMigrator, conn: Conn, events: list[Event], script: str
) -> None:
    look = "CREATE TABLE looked AS SELECT current_setting('my.setting', true) AS setting;"
    migrator({"001_leave.sql": script, "002_look.sql": look}).apply_each(["001", "002"])
    assert len({e.backend_pid for e in events if isinstance(e, Started)}) == 2
    assert conn.execute("SELECT setting FROM looked").fetchone() == (None,)


# Round trips


@contextmanager
def counting(database: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """A proxy, and how often the client has spoken after the server, up to the farewell of every connection."""
    known: dict[str, Any] = conninfo_to_dict(database)
    trips = [0]
    pumps: list[threading.Thread] = []
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, last: list[str], name: str) -> None:
        while data := source.recv(65536):
            if name == "client" and last[0] != "client":
                trips[0] += 1
            last[0] = name
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            there = socket.create_connection((known["host"], known["port"]))
            last = [""]
            for source, target, name in ((client, there, "client"), (there, client, "server")):
                pumps.append(threading.Thread(target=pump, args=(source, target, last, name), daemon=True))
                pumps[-1].start()

    def counted() -> int:
        for thread in list(pumps):
            thread.join(30)
        return trips[0]

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield make_conninfo(database, host="127.0.0.1", port=server.getsockname()[1], sslmode="disable"), counted
    finally:
        server.close()


def folder_of(make_folder: Any, count: int) -> Any:
    files = {
        f"{n:03d}_t.sql": f"CREATE TABLE t{n} (id int);\nINSERT INTO t{n} VALUES (1);" for n in range(1, count + 1)
    }
    files |= {f"{n:03d}_t.rollback.sql": f"DROP TABLE t{n};" for n in range(1, count + 1)}
    return read_folder(make_folder(files))


def test_a_migration_costs_two_round_trips_and_no_connection(
    database: str, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_FIRST_LOOK", ENDLESS)  # on a slow machine, these would be watched
    folder = folder_of(make_folder, 30)
    versions = [m.version for m in folder.migrations]
    connections = []
    with counting(database) as (through, trips):

        def connect() -> Any:
            connections.append(1)
            return psycopg.connect(through)

        runner = Migrator(connect, folder, identity=Identity("tester"))
        runner.apply_each(versions[:1])
        used = []
        for some in (versions[1:11], versions[11:]):
            before, connections[:] = trips(), []
            runner.apply_each(some)
            used.append(trips() - before)
            assert len(connections) == 1
        assert used[1] - used[0] == 2 * 9, "two for each migration more"
        for some in (versions[-1:-6:-1], versions[-6:-21:-1]):
            before = trips()
            runner.roll_back_each(some)
            used.append(trips() - before)
        assert used[3] - used[2] == 2 * 10


def test_a_plan_costs_one_connection_and_few_round_trips(database: str, make_folder: Any) -> None:
    folder = folder_of(make_folder, 3)
    with counting(database) as (through, trips):
        runner = Migrator(lambda: psycopg.connect(through), folder, identity=Identity("tester"))
        for _ in range(2):  # without a ledger, and with one
            before = trips()
            assert len(runner.plan().statuses) == 3
            assert trips() - before <= 6, "connecting, at most four questions, the farewell"
            runner.apply_each(["001"])


# Order, another runner, failures


def test_the_first_that_fails_ends_it(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    files = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b (;", "003_c.sql": "CREATE TABLE c ();"}
    runner = migrator(files)
    with pytest.raises(StatementFailed, match=r"002_b\.sql:1"):
        runner.apply_each(["001", "002", "003"])
    assert [e.record.version for e in events if isinstance(e, Finished)] == ["001"]
    assert [e.version for e in runner.ledger.entries(conn)] == ["001"]
    assert Ledger().verify(conn) == ()


def test_what_another_runner_does_meanwhile_is_seen(
    migrator: MakeMigrator, conn: Conn, database: str, make_folder: Any
) -> None:
    """Its row in the audit log moves the head, which each migration looks at under its locks."""
    names = "abcd"
    files = {f"{n:03d}_{c}.sql": f"CREATE TABLE {c} ();" for n, c in enumerate(names, start=1)}
    files |= {f"{n:03d}_{c}.rollback.sql": f"DROP TABLE {c};" for n, c in enumerate(names, start=1)}
    files["migration_config.yaml"] = "migrations: [{version: 3, dependencies: [1]}, {version: 4, dependencies: [1]}]"
    other = migrator(files)

    def meanwhile(event: Event) -> None:
        if isinstance(event, Finished) and event.record.version == "001":  # and the transaction of 002 is open
            other.apply_each(["003"])

    folder = read_folder(make_folder(files))
    runner = Migrator(lambda: psycopg.connect(database), folder, identity=Identity("t"), on_event=meanwhile)
    records = runner.apply_each(["001", "002", "003", "004"])
    done, before = Outcome.APPLIED, Outcome.ALREADY_APPLIED
    assert [r.outcome for r in records] == [done, done, before, done]
    assert Ledger().verify(conn) == ()
    assert len(runner.ledger.entries(conn)) == 4
    with pytest.raises(HistoryError, match="003, 004 depend on it"):
        runner.roll_back_each(["001"])
    with pytest.raises(HistoryError):
        runner.roll_back_each(["004", "001"])
    assert [e.version for e in runner.ledger.entries(conn)] == ["001", "002", "003"]


def test_a_ledger_that_a_newer_program_upgrades_meanwhile_is_left_alone(
    migrator: MakeMigrator, conn: Conn, database: str, make_folder: Any
) -> None:
    def upgraded(event: Event) -> None:
        if isinstance(event, Finished) and event.record.version == "001":
            conn.execute("UPDATE wmigrate.application_metadata SET value = '99' WHERE key = 'ledger_version'")
            with conn.transaction():
                Ledger().log.append(conn, "ledger_upgraded", Identity("newer"), details={})

    folder = folder_of(make_folder, 4)
    runner = Migrator(lambda: psycopg.connect(database), folder, identity=Identity("t"), on_event=upgraded)
    with pytest.raises(LedgerTooNew):
        runner.apply_each(["001", "002", "003", "004"])
    assert conn.execute("SELECT max(version) FROM wmigrate.schema_migrations").fetchone() == ("002",)


def test_rolling_back_several(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();", "003_c.sql": "CREATE TABLE c ();"}
    files |= {"001_a.rollback.sql": "DROP TABLE a;", "002_b.rollback.sql": "DROP TABLE nowhere;"}
    files |= {"003_c.rollback.sql": "DROP TABLE c;"}
    runner = migrator(files)
    runner.apply_each(["001", "002", "003"])
    assert runner.ledger.metadata(conn)["schema_version"] == "003"
    with pytest.raises(RollbackFailed, match="002"):
        runner.roll_back_each(["003", "002", "001"])
    assert [e.version for e in runner.ledger.entries(conn)] == ["001", "002"]
    assert runner.ledger.metadata(conn)["schema_version"] == "002"
    assert Ledger().verify(conn) == ()


def test_by_statement_and_in_one_transaction_in_turn(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_a.sql": "CREATE TABLE a (id int);",
        "002_b.sql": "CREATE INDEX CONCURRENTLY a_id ON a (id); SET search_path = nowhere;",
        "003_c.sql": "CREATE TABLE c (id int); COPY c FROM stdin;\n1\n2\n\\.\n",
        "004_d.sql": "ALTER TABLE c RENAME TO d;",
        "005_e.sql": "",
    }
    runner = migrator(files)
    records = runner.apply_each([f"{n:03d}" for n in range(1, 6)])
    assert [r.outcome for r in records] == [Outcome.APPLIED] * 5
    assert [lock.relation for lock in records[3].locks] == ["public.c"]
    assert conn.execute("SELECT count(*) FROM public.d").fetchone() == (2,)
    assert Ledger().verify(conn) == ()


def test_only_what_is_still_incomplete_is_rolled_back(migrator: MakeMigrator, conn: Conn) -> None:
    """What another runner has finished between the look of a failure's callback and its turn stays."""
    runner = migrator({"001_a.sql": "CREATE TABLE a ();", "001_a.rollback.sql": "DROP TABLE a;"})
    runner.apply("001")
    (record,) = runner.roll_back_each(["001"], only_incomplete=True)
    assert record.outcome is Outcome.ALREADY_APPLIED
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete'")
    (record,) = runner.roll_back_each(["001"], only_incomplete=True)
    assert record.outcome is Outcome.ROLLED_BACK


def test_a_ledger_that_somebody_locks_is_no_lost_connection(
    migrator: MakeMigrator, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_WATCHED", connection._WATCHED.replace(b"'30s'", b"'300ms'"))
    runner = migrator({"001_a.sql": "CREATE TABLE a ();"})
    runner.record("planned")
    with conn.transaction():
        conn.execute("LOCK wmigrate.application_metadata")
        with pytest.raises(WMigrateError) as failed:
            runner.apply("001")
    assert str(failed.value) == (
        "the ledger did not answer in time: canceling statement due to statement timeout;"
        " look in pg_stat_activity who keeps a lock on the tables in schema wmigrate; then try again"
    )
    assert failed.value.retryable


def test_a_runner_that_is_killed_in_a_series_is_gone_on_with(conn: Conn, database: str, make_folder: Any) -> None:
    folder = make_folder({f"{n:03d}_t.sql": f"CREATE TABLE t{n} (id int);" for n in range(1, 201)})
    command = [sys.executable, "-c", RUNNER, database, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(30)]
        process.kill()
        told += process.stdout.read().split()
    there = [e.version for e in Ledger().entries(conn)]
    assert set(told) <= set(there)
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        f"{n:03d}" for n in range(1, 201)
    ]
    assert len(Ledger().entries(conn)) == 200
    assert Ledger().verify(conn) == ()
    assert conn.execute("SELECT count(*) FROM wmigrate.audit_log WHERE event = 'applied'").fetchone() == (200,)


# At the same time

WIDE = {f"{n:03d}_t.sql": f"CREATE TABLE t{n} (); SELECT pg_sleep(1);" for n in range(2, 10)}
WIDE |= {"001_t.sql": "CREATE TABLE t1 ();", "010_t.sql": "CREATE TABLE t10 ();"}


def wide(conn: Conn, migrator: MakeMigrator, **more: str) -> Any:
    """001, eight that need it alone, and 010 that needs the eight."""
    lines = [f"  - {{version: {n}, dependencies: [1]}}" for n in range(2, 10)]
    lines += ["  - {version: 10, dependencies: [2, 3, 4, 5, 6, 7, 8, 9]}"]
    return migrator({**WIDE, **more, "migration_config.yaml": "\n".join(["migrations:", *lines])})


def test_eight_at_the_same_time(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    """Each of the eight waits for the other seven, on and on."""
    conn.execute("CREATE SEQUENCE come")  # which others see at once, unlike a row
    wait = "WHILE (SELECT last_value FROM come) < 8 LOOP PERFORM pg_sleep(0.02); END LOOP;"
    meet = f"DO $$ BEGIN PERFORM nextval('come'); {wait} END $$;"
    runner = wide(conn, migrator, **{name: sql.replace("SELECT pg_sleep(1);", meet) for name, sql in WIDE.items()})
    records = runner.apply_each([f"{n:03d}" for n in range(1, 11)], jobs=8)
    assert [r.version for r in records][:1] + [r.version for r in records][-1:] == ["001", "010"]
    assert {r.outcome for r in records} == {Outcome.APPLIED}
    assert len(records) == len([e for e in events if isinstance(e, Finished)]) == 10
    assert Ledger().verify(conn) == ()
    assert runner.ledger.metadata(conn)["schema_version"] == "010"
    row = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert row == (0,)


def test_when_one_fails_the_others_end_and_no_other_begins(migrator: MakeMigrator, conn: Conn) -> None:
    runner = wide(conn, migrator, **{"005_t.sql": "CREATE TABLE t5 (;"})
    with pytest.raises(StatementFailed, match="005_t"):
        runner.apply_each([f"{n:03d}" for n in range(1, 11)], jobs=8)
    there = {e.version for e in runner.ledger.entries(conn)}
    assert {"001", "002", "003", "004"} <= there
    assert not {"005", "010"} & there
    assert Ledger().verify(conn) == ()
    assert runner.apply_each(["001"], jobs=8)[0].outcome is Outcome.ALREADY_APPLIED


# Not waiting for the disk


def test_a_long_run_waits_for_the_disk_now_and_then(
    migrator: MakeMigrator,
    conn: Conn,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    make_folder: Any,
    database: str,
) -> None:
    """Nothing is told before a later commit has waited, and the last one always does."""
    monkeypatch.setattr(commits, "BETWEEN_FLUSHES", 3600.0)
    look = "INSERT INTO commits SELECT current_setting('synchronous_commit');"
    files = {f"{n:03d}_t.sql": look for n in range(2, 31)} | {"001_t.sql": "CREATE TABLE commits (how text);" + look}
    files["020_t.sql"] += "VACUUM commits;"
    runner = Migrator(
        lambda: psycopg.connect(database),
        read_folder(make_folder(files)),
        identity=Identity("t"),
        on_event=events.append,
    )
    runner.apply_each([f"{n:03d}" for n in range(1, 31)])
    hows = [how for (how,) in conn.execute("SELECT how FROM commits")]
    assert [n for n, how in enumerate(hows, start=1) if how == "on"] == [19, 20, 30]
    told = [
        (type(e).__name__, e.version if isinstance(e, Started) else e.record.version)
        for e in events
        if isinstance(e, Started | Finished)
    ]
    assert told.index(("Finished", "001")) == told.index(("Started", "019")) + 1
    assert [v for kind, v in told if kind == "Finished"] == [f"{n:03d}" for n in range(1, 31)]


RUNNER = """
import sys, psycopg
from pathlib import Path
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
def told(event):
    if type(event).__name__ == "Finished":
        print(event.record.version, flush=True)
folder = read_folder(Path(sys.argv[2]))
runner = Migrator(lambda: psycopg.connect(sys.argv[1]), folder, identity=Identity("t"), on_event=told)
runner.apply_each([m.version for m in folder.migrations])
"""


def test_a_server_that_is_killed_keeps_what_was_told(tmp_path: Path, make_folder: Any) -> None:
    """A clean beginning of the run is there, ledger and schema agree, and nothing that was told is gone."""
    folder = make_folder({f"{n:03d}_t.sql": f"CREATE TABLE t{n} (id int);" for n in range(1, 401)})
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    cluster = Cluster(home / "data")
    try:
        cluster.start()
        command = [sys.executable, "-c", RUNNER, cluster.dsn(), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            told = [process.stdout.readline().strip() for _ in range(40)]
            pid = cluster.running_pid()
            assert pid is not None
            for victim in [*_children(pid), pid]:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            told += process.stdout.read().split()
        cluster.stop()
        cluster.start()
        with psycopg.connect(cluster.dsn()) as conn:
            there = [e.version for e in Ledger().entries(conn)]
            tables = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
            assert there == [f"{n:03d}" for n in range(1, len(there) + 1)]
            assert tables == (len(there),)
            assert set(told) <= set(there)
            assert len(there) < 400, "it was killed in the middle"
            assert Ledger().verify(conn) == ()
    finally:
        cluster.stop()
        shutil.rmtree(home)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]
