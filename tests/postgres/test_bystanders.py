"""What others feel of a migration: who waits because of it, for how long, for what, and that the migration pays."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import OthersWaited, RollbackFailed
from airflow_provider_wmigrate.engine.events import Event, Noticed, OthersWait, Retrying
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import NO_LOOK, Bystanders, Outcome
from tests.waiting import PATIENCE

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

PATIENT = "settings: {execution: {lock_timeout_seconds: 20, lock_first: false}}"
SLOW = "ALTER TABLE t ADD COLUMN w int;\nSELECT pg_sleep(1.2);"


@pytest.fixture(autouse=True)
def table(conn: Conn) -> None:
    conn.execute("CREATE TABLE t (id int); CREATE TABLE u (id int); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)")


def limit(seconds: float, **more: object) -> str:
    lines = "".join(f", {key}: {value}" for key, value in more.items())
    return f"settings: {{execution: {{max_bystander_wait_seconds: {seconds:g}{lines}}}}}"


class Application:
    """Sessions of an application. Each begins once the migration has or wants a lock, and notes how long it waits."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.waited: list[float] = []
        self.refused: list[str | None] = []
        self._threads: list[threading.Thread] = []

    def runs(self, sql: str, *, behind: str = "mode = 'AccessExclusiveLock' AND relation = 't'::regclass") -> None:
        ready = threading.Event()
        self._threads.append(threading.Thread(target=self._run, args=(sql, behind, ready)))
        self._threads[-1].start()
        assert ready.wait(PATIENCE)

    def _run(self, sql: str, behind: str, ready: threading.Event) -> None:
        with psycopg.connect(self._dsn, application_name="shop", autocommit=True) as conn:
            ready.set()
            end = time.monotonic() + 20
            while (
                time.monotonic() < end and not conn.execute(f"SELECT 1 FROM pg_locks WHERE {behind}".encode()).rowcount
            ):
                time.sleep(0.005)
            start = time.monotonic()
            try:
                conn.execute(sql.encode())
            except psycopg.Error as error:
                self.refused.append(error.sqlstate)
            self.waited.append(time.monotonic() - start)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def shop(database: str) -> Iterator[Application]:
    application = Application(database)
    yield application
    application.join()


def of_audit(conn: Conn, event: str) -> dict[str, Any]:
    row = conn.execute(
        "SELECT details -> 'bystanders' FROM wmigrate.audit_log WHERE event = %s ORDER BY position DESC LIMIT 1",
        [event],
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def test_who_waits_is_measured_and_told(
    migrator: MakeMigrator, conn: Conn, shop: Application, events: list[Event]
) -> None:
    """Two wait for the table, and a third one for what the first of them has locked before."""
    shop.runs("BEGIN; LOCK TABLE u; SELECT count(*) FROM t; COMMIT")
    shop.runs("SELECT count(*) FROM t")
    shop.runs("SELECT count(*) FROM u", behind="relation = 'u'::regclass AND granted AND mode = 'AccessExclusiveLock'")
    record = migrator({"001_a.sql": SLOW.replace("1.2", "2")}).apply("001")
    shop.join()
    felt = record.bystanders
    assert felt.not_measured is None
    assert (felt.sessions, felt.relations, felt.deadlocks) == (3, ("public.t", "public.u"), 0)
    assert felt.longest_wait_ms == pytest.approx(1000 * max(shop.waited), rel=0.5)
    assert felt.looks > 5
    assert of_audit(conn, "applied") == felt.as_dict()
    told = [e for e in events if isinstance(e, OthersWait)]
    assert [e.bystanders.sessions for e in told] == [3]
    assert 1000 <= (told[0].bystanders.longest_wait_ms or 0) <= felt.longest_wait_ms


def test_rows_are_waited_for_too(migrator: MakeMigrator, shop: Application) -> None:
    """The second one waits for the first, which waits for the row."""
    for _ in range(2):
        shop.runs("UPDATE t SET id = 3", behind="mode = 'RowExclusiveLock' AND relation = 't'::regclass")
    record = migrator({"001_a.sql": "UPDATE t SET id = 2;\nSELECT pg_sleep(0.8);"}).apply("001")
    shop.join()
    assert (record.bystanders.sessions, record.bystanders.relations) == (2, ("public.t",))
    assert record.bystanders.longest_wait_ms == pytest.approx(1000 * max(shop.waited), rel=0.5)


def test_who_waits_for_somebody_else_or_is_one_of_ours_does_not_count(
    migrator: MakeMigrator, database: str, conn: Conn
) -> None:
    files = {"001_a.sql": SLOW}
    other = psycopg.connect(database, autocommit=True)
    ours = psycopg.connect(database, autocommit=True, application_name="wmigrate apply 007")
    with other, ours, psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE u")
        threads = [threading.Thread(target=each.execute, args=[b"SELECT * FROM u"]) for each in (other, ours)]
        for thread in threads:
            thread.start()
        felt = migrator(files).apply("001").bystanders
        holder.rollback()
        for thread in threads:
            thread.join()
    assert (felt.sessions, felt.longest_wait_ms, felt.relations, felt.deadlocks) == (0, 0, (), 0)
    assert felt.unseen_ms > 0
    assert str(felt) == f"nobody waited longer than {felt.unseen_ms} ms"


def test_a_short_migration_is_not_looked_at(make_folder: Callable[..., Path], conn: Conn, database: str) -> None:
    connections: list[Conn] = []

    def connect() -> Conn:
        connections.append(psycopg.connect(database))
        return connections[-1]

    folder = read_folder(make_folder({"001_a.sql": "ALTER TABLE t ADD COLUMN w int;"}))
    felt = Migrator(connect, folder, identity=Identity("tester")).apply("001").bystanders
    assert felt is not None
    assert len(connections) == 1
    assert felt == Bystanders(felt.unseen_ms, not_measured=NO_LOOK)
    assert str(felt) == f"nobody waited longer than {felt.unseen_ms} ms"
    assert of_audit(conn, "applied") == felt.as_dict()


def test_a_dry_run_is_felt_as_well(migrator: MakeMigrator, conn: Conn, shop: Application) -> None:
    shop.runs("SELECT count(*) FROM t")
    made = migrator({"001_a.sql": SLOW.replace("1.2", "20"), "migration_config.yaml": limit(0.5)})
    with pytest.raises(OthersWaited, match="1 session waited"):
        made.apply("001", dry_run=True)
    shop.join()
    shop.runs("SELECT count(*) FROM t")
    felt = migrator({"001_a.sql": SLOW.replace("1.2", "0.5")}).apply("001", dry_run=True).bystanders
    assert (felt.sessions, felt.relations) == (1, ("public.t",))


# Deadlocks

CROSSWISE = "ALTER TABLE t ADD COLUMN w int;\nSELECT pg_sleep(0.8);\nALTER TABLE u ADD COLUMN w int;"


def test_a_deadlock_that_ends_somebody_else_is_counted(migrator: MakeMigrator, shop: Application) -> None:
    shop.runs("SET deadlock_timeout = '1300ms'; BEGIN; UPDATE u SET id = 3; SELECT * FROM t; COMMIT")
    record = migrator({"001_a.sql": CROSSWISE, "migration_config.yaml": PATIENT}).apply("001")
    shop.join()
    assert shop.refused == ["40P01"]
    assert (record.attempts, record.bystanders.deadlocks) == (1, 1)
    assert str(record.bystanders).endswith(", for public.t; 1 transaction ended in a deadlock")


def test_our_own_end_in_a_deadlock_is_nobody_elses(migrator: MakeMigrator, shop: Application, conn: Conn) -> None:
    shop.runs("SET deadlock_timeout = '30s'; BEGIN; UPDATE u SET id = 3; SELECT * FROM t; COMMIT")
    script = CROSSWISE.replace("SELECT pg_sleep(0.8)", "SET LOCAL deadlock_timeout = '400ms'; SELECT pg_sleep(0.8)")
    record = migrator({"001_a.sql": script, "migration_config.yaml": PATIENT}).apply("001")
    shop.join()
    assert shop.refused == []
    assert (record.attempts, record.bystanders.deadlocks) == (2, 0)


# What cannot be measured is never called nothing


def restricted(conn: Conn, database: str, more: str = "") -> str:
    """The DSN of a role that may do no more than a migration needs."""
    role = f"felt_{conn.info.dbname}"
    conn.execute(f"CREATE ROLE {role} LOGIN {more}; GRANT CREATE ON DATABASE {conn.info.dbname} TO {role}".encode())
    conn.execute(f"GRANT ALL ON SCHEMA public TO {role}; ALTER TABLE t OWNER TO {role}".encode())
    return psycopg.conninfo.make_conninfo(database, user=role)


def unmeasured(record: Any, events: list[Event]) -> str:
    """Why; the migration is none the worse for it, and is told what it loses."""
    felt = record.bystanders
    assert record.outcome is Outcome.APPLIED
    assert felt == Bystanders(felt.unseen_ms, felt.looks, None, None, (), felt.deadlocks, felt.not_measured)
    assert str(felt) == f"what others felt was not measured: {felt.not_measured}"
    assert [str(e) for e in events if isinstance(e, Noticed)] == [
        f"WARNING: max_bystander_wait_seconds has no effect on this migration: {felt.not_measured}"
    ]
    return str(felt.not_measured)


LONG_ENOUGH = {"001_a.sql": SLOW, "migration_config.yaml": limit(60)}


def test_a_role_without_the_right(migrator: MakeMigrator, database: str, conn: Conn, events: list[Event]) -> None:
    conn.execute("REVOKE EXECUTE ON FUNCTION pg_blocking_pids(int) FROM PUBLIC")
    record = migrator(LONG_ENOUGH, dsn=restricted(conn, database)).apply("001")
    assert unmeasured(record, events) == (
        "this role has no right to look (permission denied for function pg_blocking_pids)"
    )


def test_an_ordinary_role_sees_enough(migrator: MakeMigrator, database: str, conn: Conn, shop: Application) -> None:
    """Not what others do: whom they wait for."""
    shop.runs("SELECT count(*) FROM t")
    felt = migrator(LONG_ENOUGH, dsn=restricted(conn, database)).apply("001").bystanders
    assert (felt.sessions, felt.relations, felt.not_measured) == (1, ("public.t",), None)


def test_no_connection_is_left(migrator: MakeMigrator, database: str, conn: Conn, events: list[Event]) -> None:
    dsn = restricted(conn, database, "CONNECTION LIMIT 1")
    record = migrator(LONG_ENOUGH, dsn=dsn).apply("001")
    assert re.fullmatch(
        r"no connection to the target database: .*FATAL:  too many connections for role \"felt_\w+\"",
        unmeasured(record, events),
    )


def test_nobody_waits_for_a_connection_that_does_not_come(make_folder: Callable[..., Path], database: str) -> None:
    """As of a pooler whose connections are all taken."""
    made, over = itertools.count(), threading.Event()

    def connect() -> Conn:
        if next(made):
            over.wait(20)
        return psycopg.connect(database)

    folder = read_folder(make_folder({"001_a.sql": SLOW.replace("1.2", "0.5")}))
    start = time.monotonic()
    felt = Migrator(connect, folder, identity=Identity("tester")).apply("001").bystanders
    lasted = time.monotonic() - start
    over.set()
    assert felt == Bystanders(getattr(felt, "unseen_ms", 0), not_measured=NO_LOOK)
    assert felt.unseen_ms >= 500
    assert lasted < 15


def test_the_second_connection_is_lost(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    def end() -> None:
        watching = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wmigrate watch'"
        while not conn.execute(f"{watching} AND datname = current_database()".encode()).rowcount:
            time.sleep(0.01)

    ending = threading.Thread(target=end)
    ending.start()
    record = migrator(LONG_ENOUGH).apply("001")
    ending.join(10)
    why = unmeasured(record, events)
    assert why is not None
    assert why.startswith("the second connection failed ("), why  # what the client hears of it depends on the moment


# Somebody pays


def test_a_migration_gives_way_and_is_not_tried_again(
    migrator: MakeMigrator, conn: Conn, shop: Application, events: list[Event]
) -> None:
    shop.runs("SELECT count(*) FROM t")
    files = {"001_a.sql": SLOW.replace("1.2", "20"), "migration_config.yaml": limit(0.5)}
    with pytest.raises(OthersWaited) as failed:
        migrator(files).apply("001")
    shop.join()
    felt = Bystanders(**{**of_audit(conn, "failed"), "relations": ("public.t",)})
    waited = str(failed.value).partition("1 session waited ")[2].partition(",")[0]
    assert str(failed.value) == (
        "001_a.sql:2: cancelled for others, limit 0.5 s (max_bystander_wait_seconds): 1 session waited "
        f"{waited}, for public.t (SQLSTATE 57014) in SELECT pg_sleep(20); rolled back, nothing of it was kept; "
        "do less in one migration, run it at a quieter time, or raise max_bystander_wait_seconds for it"
    )
    assert not failed.value.retryable
    assert [e for e in events if isinstance(e, Retrying)] == []
    assert 0.5 < shop.waited[0] < 6
    assert (felt.sessions, felt.longest_wait_ms) == (1, pytest.approx(1000 * shop.waited[0], rel=0.5))
    assert conn.execute("SELECT * FROM t").fetchall() == [(1,)]


def test_one_that_waits_itself_is_tried_again(
    migrator: MakeMigrator, database: str, conn: Conn, shop: Application, events: list[Event]
) -> None:
    """A long reader holds it up, and it holds up everybody else."""
    shop.runs("SELECT count(*) FROM t", behind="mode = 'AccessExclusiveLock' AND relation = 't'::regclass")
    files = {
        "001_a.sql": "ALTER TABLE t ADD COLUMN w int;",
        "migration_config.yaml": limit(0.5, lock_timeout_seconds=9, lock_first="false"),
    }
    with psycopg.connect(database) as reader:

        def listen(event: Event) -> None:
            events.append(event)
            if isinstance(event, Retrying):
                reader.rollback()

        reader.execute("SELECT * FROM t")
        record = migrator(files, on_event=listen).apply("001")
    shop.join()
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 2)
    assert [e.reason for e in events if isinstance(e, Retrying)] == [
        "others waited because of it, while it waited for a lock"
    ]
    assert 0.5 < shop.waited[0] < 6
    assert record.bystanders.longest_wait_ms == pytest.approx(1000 * shop.waited[0], rel=0.5)


def test_one_transaction_of_several_gives_way_and_so_does_a_rollback(
    migrator: MakeMigrator, conn: Conn, shop: Application
) -> None:
    files = {"001_a.sql": f"BEGIN;\n{SLOW}\nCOMMIT;\nSELECT 1;", "002_b.sql": "SELECT 1;", "002_b.rollback.sql": SLOW}
    made = migrator({**files, "migration_config.yaml": limit(0.5) + "\nmigrations: [{version: 2, dependencies: []}]"})
    made.apply("002")
    shop.runs("SELECT count(*) FROM t")
    with pytest.raises(OthersWaited) as failed:
        made.apply("001")
    shop.join()
    shop.runs("SELECT count(*) FROM t")
    with pytest.raises(RollbackFailed) as back:
        made.roll_back("002")
    shop.join()
    assert "001_a.sql:3: cancelled for others, limit 0.5 s" in str(failed.value)
    assert "002_b.rollback.sql:2: cancelled for others, limit 0.5 s" in str(back.value)
    assert (failed.value.retryable, shop.refused) == (False, [])
    assert conn.execute("SELECT version, status FROM wmigrate.schema_migrations").fetchall() == [("002", "applied")]


def test_the_limit_of_one_migration_counts_more(migrator: MakeMigrator, shop: Application) -> None:
    config = limit(0.5) + "\nmigrations:\n  - {version: '001', max_bystander_wait_seconds: 30}\n"
    shop.runs("SELECT count(*) FROM t")
    assert migrator({"001_a.sql": SLOW, "migration_config.yaml": config}).apply("001").outcome is Outcome.APPLIED


def test_outside_a_transaction_what_ran_is_kept(migrator: MakeMigrator, conn: Conn, shop: Application) -> None:
    """An index is built again by the next run."""
    shop.runs("VACUUM t", behind="mode = 'ShareUpdateExclusiveLock' AND relation = 't'::regclass")
    conn.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF NOT EXISTS (SELECT FROM public.u WHERE id = 2) THEN PERFORM pg_sleep(20); END IF; RETURN $1; END'"
    )
    script = "CREATE TABLE kept (id int);\nCREATE INDEX CONCURRENTLY t_id ON t (slow(id));"
    made = migrator({"001_a.sql": script, "migration_config.yaml": limit(0.5)})
    with pytest.raises(OthersWaited) as failed:
        made.apply("001")
    shop.join()
    assert "001_a.sql:2: cancelled for others" in str(failed.value)
    conn.execute("UPDATE u SET id = 2")
    assert made.apply("001").outcome is Outcome.APPLIED
    assert conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_id'::regclass").fetchone() == (True,)
