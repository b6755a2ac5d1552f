"""Locks are taken before the first statement, none is waited for while one is held: the application is never killed for
a migration, and waits for it only for a moment."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import LockTimeout, StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Finished, Noticed, Retrying
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.last_dry_run import learnt_from_dry_runs
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, Learnt, LockMode
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome
from tests.waiting import wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

TABLES = """
CREATE TABLE a (id int PRIMARY KEY, v int);
CREATE TABLE b (id int PRIMARY KEY, v int);
INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) g;
INSERT INTO b SELECT g, 0 FROM generate_series(1, 100) g;
"""


def config(**execution: object) -> str:
    return f"settings: {{execution: {{{', '.join(f'{key}: {value}' for key, value in execution.items())}}}}}\n"


def retries(events: list[Event]) -> list[str]:
    return [e.reason for e in events if isinstance(e, Retrying)]


@pytest.fixture(autouse=True)
def tables(conn: Conn) -> None:
    conn.execute(TABLES.encode())


@contextmanager
def in_thread(what: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=what)
    thread.start()
    try:
        yield
    finally:
        thread.join()


class Load:
    """Statements of an application, one transaction after another, each beside what it cost."""

    def __init__(self, dsn: str, *statements: str, writers: int = 1, pause: float = 0.003) -> None:
        self._dsn, self._statements, self._pause = dsn, statements, pause
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(1, writers + 1)]
        self.killed: list[str | None] = []
        self.longest = 0.0

    def _run(self, number: int) -> None:
        with psycopg.connect(self._dsn) as conn:
            while not self._over.is_set():
                start = time.monotonic()
                try:
                    for statement in self._statements:
                        conn.execute(statement.replace(":n", str(number)).encode())
                        time.sleep(self._pause)
                    conn.commit()
                except psycopg.Error as error:
                    self.killed.append(error.sqlstate)
                    conn.rollback()
                self.longest = max(self.longest, time.monotonic() - start)
                time.sleep(self._pause)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        time.sleep(0.1)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


# The case that has to be won

BOTH = "ALTER TABLE a ADD COLUMN c int;\nALTER TABLE b ADD COLUMN c int;"
BACK = "ALTER TABLE a DROP COLUMN c;\nALTER TABLE b DROP COLUMN c;"
CROSSWISE = "UPDATE b SET v = v + 1 WHERE id = :n", "UPDATE a SET v = v + 1 WHERE id = :n"


def test_two_tables_beside_four_writers_in_the_other_order(database: str, migrator: MakeMigrator) -> None:
    runner = migrator({"001_a.sql": BOTH, "001_a.rollback.sql": BACK})
    with Load(database, *CROSSWISE, writers=4) as load:
        for _ in range(15):
            assert runner.apply("001").outcome is Outcome.APPLIED
            assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert load.killed == []
    assert load.longest < 20


@contextmanager
def crosswise(database: str, killed: list[str | None], waited: list[float] | None = None) -> Iterator[None]:
    """Beside a transaction that has b, and wants a as soon as the migration has it.

    :param waited: gets the seconds until it has that too.
    """
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as look:
        other.execute("UPDATE b SET v = 1 WHERE id = 1")

        def wants_a() -> None:
            wait_until(lambda: look.execute(_A_IS_LOCKED).fetchone())
            start = time.monotonic()
            try:
                other.execute("UPDATE a SET v = 1 WHERE id = 1")
            except psycopg.Error as error:
                killed.append(error.sqlstate)
            if waited is not None:
                waited.append(time.monotonic() - start)
            other.commit()

        with in_thread(wants_a):
            yield


_A_IS_LOCKED = (
    "SELECT 1 FROM pg_locks WHERE relation = 'a'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
SLOW = "ALTER TABLE a ADD COLUMN c int;\nSELECT pg_sleep(0.6);\nALTER TABLE b ADD COLUMN c int;"


def test_without_it_the_application_is_killed(database: str, migrator: MakeMigrator) -> None:
    killed: list[str | None] = []
    runner = migrator({"001_a.sql": SLOW, "migration_config.yaml": config(lock_first="false", lock_timeout_seconds=5)})
    with crosswise(database, killed), suppress(WMigrateError):
        runner.apply("001")
    assert killed == ["40P01"]


def test_a_late_lock_is_never_waited_for_and_then_comes_first(
    database: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    """Nobody knows how long the call takes, so the second lock comes late; who has it waits for the first one."""
    killed: list[str | None] = []
    runner = migrator({"001_a.sql": SLOW, "migration_config.yaml": config(lock_timeout_seconds=0.3)})
    with crosswise(database, killed):
        record = runner.apply("001")
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 2)
    assert killed == []
    assert retries(events) == ["a lock was not free within its budget"]
    assert [str(e) for e in events if isinstance(e, Noticed)] == [
        "WARNING: 001_a.sql:3: locks public.b (ACCESS EXCLUSIVE) behind line 2, which may take long, so that what was"
        " locked before waits for it; put it into a migration of its own"
    ]


def test_a_late_lock_is_not_tried_for_longer_than_others_may_wait(
    database: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    """Who has it waits for the first one meanwhile: that must not take all of the budget."""
    waited: list[float] = []
    runner = migrator({"001_a.sql": SLOW, "migration_config.yaml": config(lock_timeout_seconds=20)})
    with crosswise(database, [], waited):
        record = runner.apply("001")
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 2)
    assert retries(events) == ["a lock was not free within its budget"]
    assert waited[0] < 5, "about a second: the call, and as long again at most"


def test_no_late_lock_where_several_tables_refer_to_a_small_one(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    conn.execute("CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int)")
    script = "".join(f"ALTER TABLE {table} ADD COLUMN n int REFERENCES c;\n" for table in "abd")
    migrator({"001_a.sql": script}).apply("001")
    assert [e for e in events if isinstance(e, Noticed)] == []


# How it waits


def test_nobody_stands_behind_it_while_it_waits_for_a_vacuum(database: str, migrator: MakeMigrator) -> None:
    """That takes until the VACUUM is over, or for deadlock_timeout, after which an autovacuum gives way."""
    files = {"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as vacuum, Load(database, "UPDATE a SET v = 1 WHERE id = 1", writers=2) as load:
        pid = vacuum.info.backend_pid
        vacuum.execute("LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE")
        threading.Timer(4.0, vacuum.rollback).start()
        record = migrator(files).apply("001")
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 1)
    assert pid in [b.pid for b in record.blocked_by]
    assert load.killed == []
    assert load.longest < 2, "no wait in the mode that keeps them away is longer than 0.2 s"


def test_who_stands_behind_it_waits_for_a_moment_only(database: str, migrator: MakeMigrator) -> None:
    files = {"001_a.sql": "ALTER TABLE a ADD COLUMN c int;", "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as idler, Load(database, "SELECT count(*) FROM a") as load:
        pid = idler.info.backend_pid
        idler.execute("SELECT FROM a")
        threading.Timer(2.0, idler.rollback).start()
        record = migrator(files).apply("001")
    assert record.attempts == 1
    assert pid in [b.pid for b in record.blocked_by]
    assert 0.02 < load.longest < 1.6, "not for the 2 s for which the migration had to try"


def test_nothing_is_held_while_it_waits(database: str, migrator: MakeMigrator) -> None:
    files = {"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as idler, Load(database, "UPDATE a SET v = 1 WHERE id = 1") as load:
        idler.execute("SELECT FROM b")
        threading.Timer(1.5, idler.rollback).start()
        record = migrator(files).apply("001")
    assert record.attempts == 1
    assert load.longest < 1, "the first table was free for everybody"


def test_partitions_are_not_waited_for_with_their_parent_in_hand(
    database: str, migrator: MakeMigrator, conn: Conn
) -> None:
    conn.execute("CREATE TABLE p (id int, v int) PARTITION BY LIST (id)")
    for n in range(20):
        conn.execute(f"CREATE TABLE p{n} PARTITION OF p FOR VALUES IN ({n})".encode())
    files = {"001_a.sql": "ALTER TABLE p ADD COLUMN c int;", "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as idler, Load(database, "INSERT INTO p (id) VALUES (1)") as load:
        idler.execute("SELECT FROM ONLY p7")
        threading.Timer(1.5, idler.rollback).start()
        record = migrator(files).apply("001")
    assert record.attempts == 1
    assert load.killed == []
    assert load.longest < 1


def test_in_the_script_a_wait_ends_before_anybody_looks_for_a_deadlock(
    database: str, migrator: MakeMigrator, conn: Conn
) -> None:
    """Also after it had to wait for its locks."""
    script = "ALTER TABLE a ADD COLUMN c text DEFAULT current_setting('lock_' || 'timeout');"
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM a")
        threading.Timer(0.2, idler.rollback).start()
        migrator({"001_a.sql": script}).apply("001")
    assert conn.execute("SELECT DISTINCT c FROM a").fetchall() == [("600ms",)]


def test_what_nobody_foresaw_is_put_first_in_the_next_attempt(
    database: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    script = "ALTER TABLE a ADD COLUMN c int;\nDO $$ BEGIN ALTER TABLE b ADD COLUMN c int; END $$;"
    files = {"001_a.sql": script, "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as idler, Load(database, "UPDATE a SET v = 1 WHERE id = 1") as load:
        idler.execute("SELECT FROM b")
        threading.Timer(2.5, idler.rollback).start()
        record = migrator(files).apply("001")
    assert (record.attempts, retries(events)) == (2, ["a lock was not free within its budget"])
    assert load.longest < 2, "the second attempt has waited for b alone"


def test_who_has_a_row_is_waited_for_with_nothing_in_hand(
    database: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    """It wants a table of the migration later, and would be killed."""
    script = "ALTER TABLE a ADD COLUMN c int;\nUPDATE b SET v = 2 WHERE id = 1;"
    files = {"001_a.sql": script, "migration_config.yaml": config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as other, Load(database, "UPDATE a SET v = 1 WHERE id = 2") as load:
        pid = other.info.backend_pid
        other.execute("UPDATE b SET v = 1 WHERE id = 1")

        def goes_on() -> None:
            try:
                other.execute("UPDATE a SET v = 1 WHERE id = 1")
                other.commit()
            except psycopg.Error as error:
                load.killed.append(error.sqlstate)
                other.rollback()

        threading.Timer(3.5, goes_on).start()
        record = migrator(files).apply("001")
    assert (record.attempts, retries(events)) == (2, ["a lock was not free within its budget"])
    assert pid in [b.pid for b in record.blocked_by]
    assert (load.killed, load.longest < 2.5) == ([], True)


def test_rows_in_the_other_order(database: str, migrator: MakeMigrator, events: list[Event]) -> None:
    """Every attempt would meet them."""
    rows = "UPDATE a SET v = 0 WHERE id < 5;\nUPDATE b SET v = 0 WHERE id < 5;"
    runner = migrator({"001_a.sql": rows, "001_a.rollback.sql": rows})
    with Load(database, *CROSSWISE, writers=4, pause=0.05) as load:
        for _ in range(3):
            assert runner.apply("001").outcome is Outcome.APPLIED
            assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert load.killed == []
    assert "deadlock" not in retries(events), "nor is the migration"


def test_a_long_script_gives_way_to_who_waits_for_it(
    database: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    """It waits for a row that one of them has, for as long as its budget says: a lock on the table would last."""
    script = "ALTER TABLE a ADD COLUMN c int;\nSELECT pg_sleep(0.3);\nUPDATE b SET v = 2 WHERE id = 1;"
    killed: list[str | None] = []
    runner = migrator({"001_a.sql": script, "migration_config.yaml": config(lock_timeout_seconds=20)})
    with crosswise(database, killed):
        record = runner.apply("001")
    assert killed == []
    assert (record.attempts, retries(events)) == (2, ["others waited because of it, while it waited for a lock"])


def test_a_lock_can_be_declared(database: str, migrator: MakeMigrator) -> None:
    script = "ALTER TABLE a ADD COLUMN c int;\nDO $$ BEGIN ALTER TABLE b ADD COLUMN c int; END $$;"
    declared = "migrations: [{version: 1, locks: {public.b: access exclusive, nowhere.x: SHARE}}]\n"
    files = {"001_a.sql": script, "migration_config.yaml": declared + config(lock_timeout_seconds=20)}
    with psycopg.connect(database) as idler, Load(database, "UPDATE a SET v = 1 WHERE id = 1") as load:
        idler.execute("SELECT FROM b")
        threading.Timer(1.5, idler.rollback).start()
        record = migrator(files).apply("001")
    assert record.attempts == 1
    assert load.longest < 1


DO_B = "DO $$ BEGIN ALTER TABLE IF EXISTS gone ADD COLUMN c int; ALTER TABLE b ADD COLUMN c int; END $$;"


@pytest.mark.parametrize("script", [f"ALTER TABLE a ADD COLUMN c int;\n{DO_B}", DO_B])
def test_what_a_dry_run_has_shown_is_taken_first(
    database: str, migrator: MakeMigrator, conn: Conn, script: str
) -> None:
    conn.execute("CREATE TABLE gone (id int)")
    files = {"001_a.sql": script, "migration_config.yaml": config(lock_timeout_seconds=20)}
    runner = migrator(files)
    runner.record("planned", details={})
    runner.apply("001", dry_run=True)
    conn.execute("DROP TABLE gone")
    with psycopg.connect(database) as idler, Load(database, "UPDATE a SET v = 1 WHERE id = 1") as load:
        idler.execute("SELECT FROM b")
        threading.Timer(1.5, idler.rollback).start()
        record = runner.apply("001")
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 1)
    assert load.longest < 1, "b was waited for alone"


def test_each_script_of_a_dry_run_is_learnt_from(migrator: MakeMigrator, conn: Conn) -> None:
    """What it took itself; of what those before it had locked already nobody sees it. Another text counts for none."""

    def learnt(runner: Any) -> dict[str, Learnt]:
        scripts = {version: each.script.checksum for version, each in runner.migrations.items()}
        return learnt_from_dry_runs(conn, runner.ledger.schema, scripts)

    conn.execute("CREATE TABLE parts (id int) PARTITION BY LIST (id)")
    for n in range(12):
        conn.execute(f"CREATE TABLE part_{n} PARTITION OF parts FOR VALUES IN ({n})".encode())
    needs = {
        "migration_config.yaml": "migrations: [{version: 2, dependencies: [1]}, {version: 3, dependencies: [2]}]\n"
    }
    last = "DO $$ BEGIN LOCK TABLE parts IN SHARE MODE; LOCK TABLE ONLY b; END $$;"
    scripts = {"001_a.sql": DO_B, "002_b.sql": "ALTER TABLE a ADD COLUMN d int; SELECT * FROM b;", "003_c.sql": last}
    runner = migrator(scripts | needs)
    runner.record("planned", details={})
    assert learnt(runner) == {}
    runner.try_each(["001", "002", "003"])
    exclusive = LockMode.ACCESS_EXCLUSIVE
    found = learnt(runner)
    assert found == {
        "001": Learnt((KnownLock("public.b", exclusive, "dry run", True, False),)),
        "002": Learnt((KnownLock("public.a", exclusive, "dry run", True, False),), ("public.b",)),
        "003": Learnt(
            (KnownLock("public.parts", LockMode.SHARE, "dry run", True, True),), ("public.a", "public.b")
        ),
    }  # fmt: skip
    assert learnt(migrator({**scripts, **needs, "001_a.sql": f"{DO_B} SELECT 1;"})).keys() == {"002", "003"}
    runner.apply("001", dry_run=True)
    assert learnt(runner) == found
    assert runner.apply("001").attempts == 1


# What cannot be locked, and what is gone


def test_a_table_that_goes_while_it_is_waited_for(database: str, migrator: MakeMigrator) -> None:
    for change in ("DROP TABLE b", "ALTER TABLE a RENAME TO old"):
        files = {"001_a.sql": "SELECT 1;\n" + BOTH, "migration_config.yaml": config(lock_timeout_seconds=20)}
        with psycopg.connect(database) as other:
            other.execute(change.encode())
            threading.Timer(0.3, other.commit).start()
            with pytest.raises(StatementFailed) as failed:
                migrator(files).apply("001")
        name, line = ("b", 3) if change.startswith("DROP") else ("a", 2)
        assert str(failed.value).startswith(f'001_a.sql:{line}: relation "{name}" does not exist (SQLSTATE 42P01)')


def test_without_the_right_to_lock_the_statement_takes_its_lock(
    database: str, migrator: MakeMigrator, conn: Conn
) -> None:
    conn.execute("CREATE ROLE lock_owner; ALTER TABLE a OWNER TO lock_owner; ALTER TABLE b OWNER TO lock_owner")
    conn.execute("CREATE ROLE lock_migrator LOGIN IN ROLE lock_owner NOINHERIT")
    conn.execute("GRANT CREATE ON SCHEMA public TO lock_owner")
    try:
        name = conn.execute("SELECT current_database()").fetchone()
        conn.execute(f"GRANT CREATE ON DATABASE {name[0] if name else ''} TO lock_migrator".encode())
        dsn = f"{database}?user=lock_migrator".replace("postgres@", "lock_migrator@")
        migrator({"001_a.sql": f"SET ROLE lock_owner;\n{BOTH}"}, dsn=dsn).apply("001")
        assert conn.execute("SELECT count(a.c) + count(b.c) FROM a, b").fetchone() == (0,)
    finally:
        conn.execute(
            "REASSIGN OWNED BY lock_owner, lock_migrator TO CURRENT_USER; DROP OWNED BY lock_owner, lock_migrator"
        )
        conn.execute("DROP ROLE lock_migrator; DROP ROLE lock_owner")


def test_names_of_any_kind(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    name = '"S p"."we""ird; DROP TABLE public.a; --é"'
    conn.execute(f'CREATE SCHEMA "S p"; CREATE TABLE {name} (id int)'.encode())
    with psycopg.connect(database) as idler:
        idler.execute(f"SELECT FROM {name}".encode())
        threading.Timer(0.3, idler.rollback).start()
        record = migrator({"001_a.sql": f"ALTER TABLE {name} ADD COLUMN c int;"}).apply("001")
    assert [(lock.relation, lock.mode) for lock in record.locks] == [(name, "AccessExclusiveLock")]


def test_a_temporary_table_is_the_scripts_own(database: str, migrator: MakeMigrator) -> None:
    script = "CREATE TEMP TABLE a (id int);\nALTER TABLE a ADD COLUMN c int;\nDROP TABLE a;"
    files = {"001_a.sql": script, "migration_config.yaml": config(lock_timeout_seconds=0.1, lock_attempts=1)}
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM a")
        assert migrator(files).apply("001").outcome is Outcome.APPLIED


def test_a_view_is_left_to_its_statement(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE VIEW v AS SELECT 1 AS one")
    record = migrator({"001_a.sql": "DROP VIEW v;\nALTER TABLE a ADD COLUMN c int;"}).apply("001")
    assert {lock.relation for lock in record.locks} == {"public.v", "public.a"}


# How it ends


def test_a_lock_that_is_never_free(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=0.2, lock_attempts=2)}
    with psycopg.connect(database, application_name="idler") as idler:
        idler.execute("SELECT FROM b")
        pid = idler.info.backend_pid
        with pytest.raises(LockTimeout) as failed:
            migrator(files).apply("001")
    said, _, held = str(failed.value).partition(f"; pid {pid} (postgres, idler")
    assert said == (
        f"001_a.sql:2: a lock of this migration was not free within 0.4 s, held by pid {pid}; rolled back, nothing of"
        " it was kept"
    )
    assert held.endswith(" held it up")
    assert failed.value.retryable
    row = conn.execute("SELECT count(*) FROM information_schema.columns WHERE column_name = 'c'").fetchone()
    assert row == (0,)


def test_a_cancel_while_it_waits(database: str, migrator: MakeMigrator) -> None:
    runner = migrator({"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=20)})
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM b")
        threading.Timer(0.5, runner.cancel).start()
        with pytest.raises(StatementFailed, match="cancelled on request"):
            runner.apply("001")


def test_a_session_that_is_ended_while_it_waits(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    runner = migrator({"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=20)})
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'wmigrate apply%' AND datname = current_database()"
    )
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM b")
        threading.Timer(0.5, lambda: conn.execute(end.encode())).start()
        with pytest.raises(StatementFailed) as failed:
            runner.apply("001")
        assert failed.value.retryable
        idler.rollback()
    assert runner.apply("001").outcome is Outcome.APPLIED


def run(dsn: str, folder: Path) -> None:
    Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("killed")).apply("001")


def test_of_a_runner_that_is_killed_while_it_waits_nothing_is_left(
    database: str, migrator: MakeMigrator, make_folder: Callable[..., Path], conn: Conn
) -> None:
    files = {"001_a.sql": BOTH, "migration_config.yaml": config(lock_timeout_seconds=60)}
    folder = make_folder(files)
    process = multiprocessing.get_context("spawn").Process(target=run, args=[database, folder])
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM b")
        process.start()
        waits = b"SELECT count(*) FROM pg_locks WHERE relation = 'b'::regclass AND NOT granted"
        wait_until(lambda: conn.execute(waits).fetchone() == (1,))
        process.kill()
        process.join()
        sessions = b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        wait_until(lambda: conn.execute(sessions + b" AND application_name LIKE 'wmigrate%'").fetchone() == (0,))
        held = "SELECT relation::regclass::text, pid FROM pg_locks WHERE relation IN ('a'::regclass, 'b'::regclass)"
        assert conn.execute(held.encode()).fetchall() == [("b", idler.info.backend_pid)]
        assert conn.execute("SELECT event FROM wmigrate.audit_log").fetchall() == [("ledger_created",)]
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    events = conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position").fetchall()
    assert events == [("ledger_created",), ("applied",)]


# The script beside them


def test_a_mistake_is_told_at_its_place(migrator: MakeMigrator) -> None:
    """The server counts characters from the beginning of the message, in which the locks stand in front."""
    script = "-- ä\nALTER TABLE a ADD COLUMN c int;\nSELECT nope FROM b;"
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script}).apply("001")
    assert str(failed.value).startswith('001_a.sql:3:8: column "nope" does not exist (SQLSTATE 42703) in SELECT nope')


def test_rows_below_a_copy_come_behind_the_locks(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    script = "ALTER TABLE a ADD COLUMN c int;\nCOPY b FROM stdin;\n1001\t1\n\\.\nALTER TABLE b ADD COLUMN c int;"
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM a")
        threading.Timer(0.3, idler.rollback).start()
        record = migrator({"001_a.sql": script}).apply("001")
    assert (record.rows, record.statements, record.attempts) == (1, 3, 1)
    assert conn.execute("SELECT v, c FROM b WHERE id = 1001").fetchone() == (1, None)


def test_a_dry_run_takes_them_alike(database: str, migrator: MakeMigrator, events: list[Event]) -> None:
    """And it never waits with the locks of the script before in its hands."""
    needs = "migrations: [{version: 2, dependencies: [1]}]\n"
    files = {"001_a.sql": "ALTER TABLE a ADD COLUMN c int;", "002_b.sql": "ALTER TABLE b ADD COLUMN c int;"}
    files["migration_config.yaml"] = needs + config(lock_timeout_seconds=5)
    with psycopg.connect(database) as idler:
        idler.execute("SELECT FROM b")
        threading.Timer(0.4, idler.rollback).start()
        migrator(files).apply("002", dry_run=True)
    assert [e.record.version for e in events if isinstance(e, Finished)] == ["001", "002"]
