"""PgBouncer between wmigrate and the server: in session mode it works, in transaction mode it is refused."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Started
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.engine.session.loads import load_guard
from airflow_provider_wmigrate.engine.session.session import Budget, open_session
from dev.ports import free_port
from tests.needs import need
from tests.waiting import PATIENCE

installed = pytest.mark.needs_program("pgbouncer")

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]
StartPooler = Callable[..., AbstractContextManager[str]]

FOLDER = {
    "001_a.sql": "CREATE TABLE a (i int); CREATE INDEX CONCURRENTLY x ON a (i); INSERT INTO a SELECT pg_backend_pid()",
    "001_a.rollback.sql": "DROP TABLE a;",
}
REFUSED = (
    "no connection to the target database: a pooler (PgBouncer in transaction mode?) gives every transaction another"
    " server process, on which this session's advisory locks are not held;"
    " connect to the server itself, or through a pool in session mode"
)


@pytest.fixture
def pooler(database: str, tmp_path: Path) -> StartPooler:
    """Start PgBouncer before the test's database; it refuses to run as root."""

    @contextmanager
    def start(mode: str, *, size: int = 20) -> Iterator[str]:
        port, behind = free_port(), conninfo_to_dict(database)
        config = tmp_path / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{behind['dbname']} = host={behind['host']} port={behind['port']} user={behind['user']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
        )
        root = os.geteuid() == 0
        account = pwd.getpwnam("nobody") if root else None
        command = [need("pgbouncer")[0], "/dev/stdin"]
        with config.open() as stdin:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **({"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}),
            )
        dsn = make_conninfo(database, host="127.0.0.1", port=port)
        try:
            _wait_for(dsn, process)
            yield dsn
        finally:
            process.terminate()
            process.wait(PATIENCE)

    return start


def _wait_for(dsn: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(dsn).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, "pgbouncer ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)


@installed
@pytest.mark.parametrize("call", ["apply", "read", "plan"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_transaction_mode_is_refused(
    pooler: StartPooler, migrator: MakeMigrator, conn: Conn, mode: str, call: str
) -> None:
    with pooler(mode) as dsn, pytest.raises(ConnectionFailed) as refused:
        getattr(migrator(FOLDER, dsn=dsn), call)(*["001"] * (call == "apply"))
    assert str(refused.value) == REFUSED
    assert not refused.value.retryable
    assert conn.execute("SELECT to_regclass('a'), to_regnamespace('wmigrate')").fetchone() == (None, None)


@installed
def test_a_load_is_refused_there_too(pooler: StartPooler) -> None:
    with pooler("transaction") as dsn:
        guard = load_guard(lambda: psycopg.connect(dsn), "load", wait_seconds=1, told=lambda *_: None)
        with pytest.raises(ConnectionFailed) as refused, guard:
            raise AssertionError("it has begun")
    assert str(refused.value) == REFUSED


@installed
@pytest.mark.parametrize("size", [1, 2])
def test_transaction_mode_with_a_small_or_busy_pool_is_refused(
    pooler: StartPooler, migrator: MakeMigrator, size: int
) -> None:
    with ExitStack() as stack:
        dsn = stack.enter_context(pooler("transaction", size=size))
        others = [stack.enter_context(psycopg.connect(dsn, autocommit=True)) for _ in range(size)]
        for other in others:
            other.execute("BEGIN")
        for other in others:
            other.execute("COMMIT")
        with pytest.raises(ConnectionFailed) as refused:
            migrator(FOLDER, dsn=dsn).apply("001")
        assert str(refused.value) == REFUSED


@installed
def test_nothing_is_left_on_a_shared_server_process(pooler: StartPooler, migrator: MakeMigrator) -> None:
    """It goes on working for others: with their settings, not with ours."""
    with pooler("transaction", size=1) as dsn:
        with pytest.raises(WMigrateError):
            migrator(FOLDER, dsn=dsn).apply("001")
        with psycopg.connect(dsn) as other:
            assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
            assert other.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


@installed
@pytest.mark.parametrize("size", [1, 3])
def test_session_mode_works(
    pooler: StartPooler, migrator: MakeMigrator, conn: Conn, events: list[Event], size: int
) -> None:
    with pooler("session", size=size) as dsn:
        runner = migrator(FOLDER, dsn=dsn)
        assert runner.apply("001").outcome is Outcome.APPLIED
        assert runner.apply("001").outcome is Outcome.ALREADY_APPLIED
        started = next(e for e in events if isinstance(e, Started))
        assert conn.execute("SELECT i FROM a").fetchone() == (started.backend_pid,), "not the pooler's own number"
        assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK


def test_a_server_process_that_changes_later_is_noticed(database: str) -> None:
    """Before a script runs, and when a lock is given back that is not held any more."""
    with open_session(lambda: psycopg.connect(database), application_name="test") as session:
        with pytest.raises(ConnectionFailed) as refused:
            session.locks.release(AdvisoryLock("never taken"))
        assert str(refused.value) == REFUSED
        session.login = replace(session.login, pid=session.login.pid + 1)
        with pytest.raises(ConnectionFailed) as refused:
            session.begin(Budget(10, None, 10))
        assert str(refused.value) == REFUSED
