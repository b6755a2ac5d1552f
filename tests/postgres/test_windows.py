"""The window of an environment where it counts: before each migration begins, whatever the plan has said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import OutsideWindow
from airflow_provider_wmigrate.engine.events import Event, Finished, Retrying, Started
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.planning import Planning
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.replay import Scratch, replayed
from airflow_provider_wmigrate.engine.session.scratch import ScratchServer

Conn = psycopg.Connection[Any]

INSIDE, OUTSIDE = (datetime(2026, 11, 27, hour, 30, tzinfo=timezone.utc) for hour in (22, 12))
CONFIG = "settings: {window: {open: [{from: 22:00, to: 23:00}]}, execution: {lock_timeout_seconds: 0.05}}\n"
FILES = {
    "migration_config.yaml": CONFIG,
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b (id int);",
    "002_b.rollback.sql": "DROP TABLE b;",
    "003_c.sql": "CREATE INDEX CONCURRENTLY a_id ON a (id);",
    "003_c.rollback.sql": "DROP INDEX a_id;",
}
REFUSED = (
    "migration {} may not begin now: this is outside the window of this environment, which opens at 2026-11-27 22:00"
    " UTC; run it then, or now with --outside-window"
)


class Clock:
    def __init__(self, now: datetime = INSIDE) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Planning, "now", staticmethod(clock))
    return clock


def audit(conn: Conn) -> list[tuple[str, str | None]]:
    return conn.execute("SELECT event, version FROM wmigrate.audit_log ORDER BY position").fetchall()


def then(what: Callable[[Event], bool], clock: Clock, moment: datetime = OUTSIDE) -> Callable[[Event], None]:
    """A listener that puts the clock to another time at an event."""

    def listen(event: Event) -> None:
        if what(event):
            clock.now = moment

    return listen


@pytest.mark.parametrize("version", ["001", "003"])
def test_outside_nothing_begins(migrator: Callable[..., Migrator], conn: Conn, clock: Clock, version: str) -> None:
    made = migrator(FILES)
    if version == "003":
        made.apply_each(["001", "002"])
    before = audit(conn) if version == "003" else [("ledger_created", None)]
    clock.now = OUTSIDE
    with pytest.raises(OutsideWindow) as caught:
        made.apply(version)
    assert str(caught.value) == REFUSED.format(version)
    assert (caught.value.waits, caught.value.opens) == (False, INSIDE.replace(minute=0))
    assert audit(conn) == before


@pytest.mark.parametrize("event", [Started, Finished])
def test_the_clock_runs_out_between_two(
    migrator: Callable[..., Migrator], conn: Conn, clock: Clock, event: type[Event]
) -> None:
    """What has begun ends; the next one does not begin, be it in the same message or outside a transaction."""
    first = migrator(FILES, on_event=then(lambda e: isinstance(e, event), clock))
    with pytest.raises(OutsideWindow, match=r"^migration 002 may not"):
        first.apply_each(["001", "002", "003"])
    assert audit(conn)[1:] == [("applied", "001")]
    clock.now = INSIDE
    second = migrator(FILES, on_event=then(lambda e: isinstance(e, Started) and e.version == "002", clock))
    with pytest.raises(OutsideWindow, match=r"^migration 003 may not"):
        second.apply_each(["002", "003"])
    assert audit(conn)[1:] == [("applied", "001"), ("applied", "002")]


def test_what_does_not_fit_any_more_does_not_begin(migrator: Callable[..., Migrator], conn: Conn, clock: Clock) -> None:
    more = "migrations: [{version: '002', estimated_duration_seconds: 1801}]\n"
    made = migrator({**FILES, "migration_config.yaml": CONFIG + more})
    with pytest.raises(OutsideWindow) as caught:
        made.apply_each(["001", "002"])
    assert str(caught.value) == (
        "migration 002 may not begin now: it should take 1801 s, and the window ends at 23:00 UTC; the next one opens"
        " at 2026-11-28 22:00 UTC; run it then, or now with --outside-window"
    )
    assert audit(conn)[1:] == [("applied", "001")]


def test_no_other_try_begins_when_it_has_ended(
    migrator: Callable[..., Migrator], conn: Conn, database: str, clock: Clock
) -> None:
    """Nothing has failed then: nothing was done, and no alarm is due."""
    files = {**FILES, "002_b.sql": "ALTER TABLE a ADD b int;"}
    migrator(files).apply("001")
    with psycopg.connect(database) as other:
        other.execute("SELECT * FROM a")
        made = migrator(files, on_event=then(lambda e: isinstance(e, Retrying), clock))
        with pytest.raises(OutsideWindow, match=r"^migration 002 may not"):
            made.apply("002")
    assert audit(conn)[1:] == [("applied", "001")]
    assert conn.execute("SELECT * FROM pg_locks WHERE locktype = 'advisory'").fetchall() == []


def test_a_person_may_say_so_and_the_audit_log_keeps_it(
    migrator: Callable[..., Migrator], conn: Conn, clock: Clock
) -> None:
    clock.now = OUTSIDE
    made = migrator(FILES, outside_window="--outside-window")
    made.apply_each(["001", "002", "003"])
    made.roll_back("003")
    rows = conn.execute(
        "SELECT version, details - 'session', actor FROM wmigrate.audit_log WHERE event = 'outside_window'"
        " ORDER BY position"
    ).fetchall()
    told = {"because": "--outside-window", "opens": "2026-11-27 22:00 UTC"}
    applied = [(version, {"direction": "apply", **told}, "tester") for version in ("001", "002", "003")]
    assert rows == [*applied, ("003", {"direction": "rollback", **told}, "tester")]
    events = [event for event, _ in audit(conn)[1:]]
    assert events == [
        "outside_window", "applied", "outside_window", "applied", "outside_window", "started", "applied",
        "outside_window", "rolled_back",
    ]  # fmt: skip
    assert made.ledger.verify(conn) == ()
    clock.now = INSIDE
    made.apply("003")
    assert audit(conn)[-2:] == [("started", "003"), ("applied", "003")]


def test_what_is_done_is_told_as_done(migrator: Callable[..., Migrator], clock: Clock) -> None:
    made = migrator(FILES)
    made.apply("001")
    clock.now = OUTSIDE
    assert made.apply("001").outcome is Outcome.ALREADY_APPLIED
    assert made.roll_back("002").outcome is Outcome.NOT_APPLIED
    with pytest.raises(OutsideWindow, match=r"^migration 001 may not"):
        made.roll_back("001")


def test_a_dry_run_and_a_scratch_database_have_no_window(
    migrator: Callable[..., Migrator], database: str, clock: Clock
) -> None:
    clock.now = OUTSIDE
    made = migrator(FILES)
    assert made.apply("001", dry_run=True).outcome is Outcome.DRY_RUN
    folder, me = read_folder(made._folder.path), Identity("tester")
    with replayed(folder, "002", Scratch(ScratchServer(lambda: psycopg.connect(database)), me)) as (
        _,
        versions,
    ):
        assert versions == {"001", "002"}


def test_side_by_side_too(migrator: Callable[..., Migrator], conn: Conn, clock: Clock) -> None:
    files = {**FILES, "migration_config.yaml": CONFIG + "migrations: [{version: '002', dependencies: []}]\n"}
    made = migrator(files, on_event=then(lambda e: isinstance(e, Finished), clock))
    with pytest.raises(OutsideWindow):
        made.apply_each(["001", "002", "003"], jobs=2)
    assert ("applied", "003") not in audit(conn)
