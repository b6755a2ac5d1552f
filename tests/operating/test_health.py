"""Each check of a look at a target, with the thing it looks at broken for real; and the limit that always holds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.health import inspection as engine_health
from airflow_provider_wmigrate.engine.health.inspection import CHECKS, Health, check_health
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from tests.waiting import ENDLESS, PATIENCE, eventually, wait_until

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}


@pytest.fixture
def look(database: str, tmp_path: Path):
    """A look at the test's database with the folder the test wrote last."""

    def make(**more: Any) -> Health:
        return check_health(lambda: psycopg.connect(database), read_folder(tmp_path / "migrations"), **more)

    return make


def states(health: Health) -> dict[str, str]:
    """The checks that are not healthy."""
    return {check.name: check.status for check in health.checks if check.status != "healthy"}


def reason(health: Health, name: str) -> str:
    return next(f"{check.reason}; {check.next_step}" for check in health.checks if check.name == name)


def apply_all(migrator: Any) -> None:
    for version in migrator.migrations:
        migrator.apply(version)


def test_all_is_well(migrator, look) -> None:
    apply_all(migrator({**A, **B}))
    health = look()
    assert (health.status, health.reasons, health.pending) == ("healthy", (), 0)
    assert tuple(check.name for check in health.checks) == CHECKS
    assert health.audit_head is not None
    assert health.as_dict()["checks"][1]["reason"] == f"version {LEDGER_VERSION}, 2 entries"


def test_a_database_without_a_ledger_is_degraded(make_folder, look) -> None:
    make_folder(A)
    health = look()
    assert health.status == "degraded"
    assert states(health) == {"ledger": "degraded", "pending": "degraded", "audit_chain": "unknown"}
    assert health.pending == 1


def test_pending_is_degraded(migrator, make_folder, look) -> None:
    apply_all(migrator(A))
    make_folder({**A, **B})
    assert look().reasons == ("pending: 1 migration pending: 002; run the migrations",)


def test_a_changed_file(migrator, make_folder, look) -> None:
    apply_all(migrator({**A, **B}))
    make_folder({**A, **B, "002_b.sql": "CREATE TABLE b (id bigint);"})
    health = look()
    assert (health.status, states(health)) == ("unhealthy", {"checksums": "unhealthy"})
    assert "002_b.sql: was edited after it was applied" in reason(health, "checksums")


def test_a_missing_file(migrator, make_folder, look) -> None:
    apply_all(migrator({**A, **B}))
    make_folder(A)
    assert states(look()) == {"checksums": "unhealthy"}


def test_a_ledger_of_a_newer_program(migrator, conn, look) -> None:
    apply_all(migrator(A))
    conn.execute("UPDATE wmigrate.application_metadata SET value = '99' WHERE key = 'ledger_version'")
    health = look()
    assert health.status == "unhealthy"
    assert "has version 99" in reason(health, "ledger")
    assert states(health)["checksums"] == "unknown"


def test_half_a_ledger(migrator, conn, look) -> None:
    apply_all(migrator(A))
    conn.execute("DROP TABLE wmigrate.audit_log")
    assert states(look())["ledger"] == "unhealthy"


def test_a_tampered_audit_row(migrator, conn, look) -> None:
    apply_all(migrator({**A, **B}))
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("UPDATE wmigrate.audit_log SET actor = 'nobody' WHERE position = 2")
    health = look()
    assert states(health) == {"audit_chain": "unhealthy"}
    assert "row 2" in reason(health, "audit_chain")
    assert health.audit_head is None


def test_a_cut_off_tail_is_found_with_the_head_of_an_earlier_look(migrator, conn, look) -> None:
    apply_all(migrator({**A, **B}))
    head = look().audit_head
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > 2")
    conn.execute(
        "UPDATE wmigrate.application_metadata SET value ="
        " (SELECT position || ':' || hash FROM wmigrate.audit_log ORDER BY position DESC LIMIT 1)"
        " WHERE key = 'audit_head'"
    )
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE TRIGGER audit_log_append_only")
    assert reason(look(), "audit_chain").startswith("migration 002: its entry has no row in the audit log")
    conn.execute("DELETE FROM wmigrate.schema_migrations WHERE version = '002'")
    assert states(look()) == {"pending": "degraded"}
    assert states(look(expected_head=head)) == {"pending": "degraded", "audit_chain": "unhealthy"}


def test_of_a_long_audit_log_only_the_end_is_recomputed(migrator, conn, look, monkeypatch) -> None:
    apply_all(migrator({**A, **B}))
    monkeypatch.setattr(engine_health, "AUDIT_ROWS", 2)
    head = look().audit_head
    assert "the last 2 of 3 rows" in reason(look(), "audit_chain")
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("UPDATE wmigrate.audit_log SET actor = 'nobody' WHERE position = 1")
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE TRIGGER audit_log_append_only")
    assert look(expected_head=head).status == "healthy"
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("UPDATE wmigrate.audit_log SET hash = 'forged' WHERE position = 1")
    assert "row 2 does not follow the row before it" in reason(look(), "audit_chain")


def test_a_failed_rollback_is_over_when_a_whole_run_has_gone_on_with_it(migrator, look) -> None:
    broken = migrator({**A, **B, "002_b.rollback.sql": "DROP TABLE nowhere;"})
    apply_all(broken)
    broken.record_success()
    with pytest.raises(WMigrateError):
        broken.roll_back("2")
    assert states(look()) == {"failures": "unhealthy"}
    assert reason(look(), "failures").startswith("the last rollback of 002 failed on ")
    assert list(broken.plan().failures) == ["002"]
    broken.record_success()
    assert look().status == "healthy"
    assert broken.plan().failures == {}
    with pytest.raises(WMigrateError):
        broken.roll_back("2")
    assert states(look()) == {"failures": "unhealthy"}


def test_a_failure_counts_until_it_has_healed(migrator, look) -> None:
    broken = migrator({**A, **B, "002_b.sql": "SELECT 1 / 0;"})
    broken.apply("1")
    with pytest.raises(WMigrateError):
        broken.apply("2")
    health = look()
    assert states(health) == {"failures": "unhealthy", "pending": "degraded"}
    assert "the last apply of 002 failed on" in reason(health, "failures")
    assert "division by zero" in reason(health, "failures")
    migrator({**A, **B}).apply("2")
    assert look().status == "healthy"


def test_a_failed_dry_run_is_no_failure(migrator, look) -> None:
    runner = migrator({**A, "002_b.sql": "SELECT 1 / 0;"})
    runner.apply("1")
    with pytest.raises(WMigrateError):
        runner.apply("2", dry_run=True)
    assert "failures" not in states(look())


def test_a_failed_rollback_counts_until_it_has_healed(migrator, make_folder, look) -> None:
    runner = migrator({**A, "001_a.rollback.sql": "DROP TABLE nothing;"})
    runner.apply("1")
    with pytest.raises(WMigrateError):
        runner.roll_back("1")
    assert "fix the rollback script" in reason(look(), "failures")
    runner = migrator(A, rollback_script="folder")
    runner.roll_back("1")
    assert states(look()) == {"pending": "degraded"}


def test_an_incomplete_migration(migrator, conn, look) -> None:
    apply_all(migrator(A))
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete'")
    assert states(look())["failures"] == "unhealthy"


def test_a_runner_at_work_is_told_and_no_trouble(migrator, conn, look) -> None:
    apply_all(migrator(A))
    conn.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock("wmigrate:wmigrate:001").number])
    conn.execute("SELECT set_config('application_name', 'wmigrate apply 001', false)")
    health = look()
    assert health.status == "healthy"
    assert f"pid {conn.info.backend_pid} (wmigrate apply 001) holds migration 001" in reason(health, "locks")


def test_the_lock_of_another_ledger_is_not_ours(migrator, conn, look) -> None:
    apply_all(migrator(A))
    conn.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock("wmigrate:elsewhere:001").number])
    assert reason(look(), "locks").startswith("nobody holds")


def test_a_migration_that_holds_up_others_is_degraded(migrator, database, conn, look) -> None:
    apply_all(migrator(A))
    with psycopg.connect(database) as runner, psycopg.connect(database) as reader:
        runner.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock("wmigrate:wmigrate:001").number])
        runner.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        waiting = reader.info.backend_pid
        thread = threading.Thread(target=lambda: reader.execute("SELECT FROM a"))
        thread.start()
        eventually(conn, "SELECT FROM pg_locks WHERE NOT granted")
        health = look()
        runner.rollback()
        thread.join()
    assert states(health) == {"locks": "degraded"}
    assert f"waiting for it: pid {waiting}" in reason(health, "locks")


def test_a_lock_left_behind_is_degraded(migrator, database, conn, make_folder, look) -> None:
    apply_all(migrator(A))
    make_folder({**A, "migration_config.yaml": "settings: {execution: {timeout_seconds: 1}}\n"})
    conn.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock("wmigrate:wmigrate:001").number])
    time.sleep(1.1)
    assert "longer than any migration may take" in reason(look(), "locks")


def test_a_look_writes_nothing(migrator, conn, look, database) -> None:
    apply_all(migrator(A))
    before = conn.execute("SELECT count(*) FROM wmigrate.audit_log").fetchone()
    look()
    assert conn.execute("SELECT count(*) FROM wmigrate.audit_log").fetchone() == before


# The server does not answer


def test_a_stopped_server(start_cluster, make_folder) -> None:
    folder = read_folder(make_folder(A))
    with start_cluster() as cluster:
        dsn = cluster.dsn()
    health = check_health(lambda: psycopg.connect(dsn), folder)
    assert health.status == "unhealthy"
    assert states(health)["connection"] == "unhealthy"
    assert set(states(health).values()) == {"unhealthy", "unknown"}
    assert "check that the server runs" in health.reasons[0]


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/nothing"


def _accept(listener: socket.socket) -> None:
    kept = []
    with suppress(OSError):
        while True:
            kept.append(listener.accept())


def test_a_server_that_accepts_and_never_answers(make_folder) -> None:
    folder = read_folder(make_folder(A))
    began = time.monotonic()
    with silent_server() as dsn:
        health = check_health(lambda: psycopg.connect(dsn, connect_timeout=ENDLESS), folder, timeout_seconds=0.5)
    assert time.monotonic() - began < PATIENCE
    assert "connection: no answer within 0.5 s" in health.reasons[0]


def test_a_ledger_that_is_locked_is_told_within_the_limit(migrator, database, conn, look) -> None:
    apply_all(migrator(A))
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE wmigrate.application_metadata IN ACCESS EXCLUSIVE MODE")
        health = look(timeout_seconds=1)
    assert states(health)["ledger"] == "unhealthy"
    assert states(health)["audit_chain"] == "unknown"


class Frozen:
    """Passes everything on, until it does not."""

    def __init__(self, host: str, port: int) -> None:
        self._target, self._stop = (host, port), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def freeze(self) -> None:
        self._stop.set()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self._target)
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._stop.is_set():
                    return
                sink.sendall(data)


def test_a_server_that_falls_silent_in_the_middle(migrator, database, cluster, make_folder, monkeypatch) -> None:
    apply_all(migrator(A))
    folder = read_folder(make_folder(A))
    frozen = Frozen("127.0.0.1", cluster.port)
    asked = psycopg.conninfo.make_conninfo(database, port=frozen.listener.getsockname()[1], gssencmode="disable")

    def freeze(_: Any) -> bool:
        frozen.freeze()
        return False

    monkeypatch.setattr(engine_health, "is_standby", freeze)
    before = set(threading.enumerate())  # an earlier test may have left one that waits for its connection
    health = check_health(lambda: psycopg.connect(asked), folder, timeout_seconds=1)
    assert "ledger: no answer within 1 s" in health.reasons[0]
    assert health.checks[0].status == "healthy"
    # Its thread ends by itself: the connection was hung up.
    looking = [t for t in threading.enumerate() if t.name == "wmigrate health" and t not in before]
    wait_until(lambda: not any(t.is_alive() for t in looking), f"the end of {looking}")
