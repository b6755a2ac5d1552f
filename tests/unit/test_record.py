"""Events, locks and blockers in the words of the task log and the terminal, and as the audit log keeps them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.events import (
    BackedUp,
    BackingUp,
    BackupRemoved,
    Blocked,
    Event,
    Failed,
    HeldLong,
    OthersWait,
    Started,
    Stepped,
    Waiting,
)
from airflow_provider_wmigrate.engine.locks_taken import LockTaken, OnScratch
from airflow_provider_wmigrate.engine.model import Identity, Migration, Script
from airflow_provider_wmigrate.engine.record import (
    Backup,
    Blocker,
    Bystanders,
    Kept,
    Outcome,
    Record,
    ServerWords,
    taken_first,
)

EAST = datetime(2025, 1, 2, 1, 4, 5, tzinfo=timezone(timedelta(hours=2)))
"""Still the first of January in UTC."""
SESSION = Blocker(7, "bob", "psql", EAST)
PREPARED = Blocker(0, "bob", None, EAST, "it's")
SCRIPT = Script("001_a.sql", "SELECT 1", "ab")
LOCK = LockTaken("public.a", "AccessExclusive", 2500)


@pytest.mark.parametrize(
    ("blocker", "words", "way_out"),
    [
        (SESSION, "pid 7 (bob, psql, its query since 23:04:05 UTC)", ""),
        (replace(SESSION, query_start=None), "pid 7 (bob, psql)", ""),
        (Blocker(7, None, None, None), "pid 7 (unknown user, no application name)", ""),
        (
            PREPARED,
            'prepared transaction "it\'s" of bob since 2025-01-01 23:04:05 UTC',
            "end it with ROLLBACK PREPARED 'it''s' or COMMIT PREPARED 'it''s'",
        ),
        (
            Blocker(0, None, None, None, "g"),
            "prepared transaction 'g' of unknown user",
            "end it with ROLLBACK PREPARED 'g' or COMMIT PREPARED 'g'",
        ),
    ],
)
def test_a_blocker(blocker: Blocker, words: str, way_out: str) -> None:
    assert (str(blocker), blocker.way_out()) == (words, way_out)
    assert blocker.key == (blocker.pid, blocker.prepared)
    assert blocker.as_dict() == {
        "pid": blocker.pid,
        "user": blocker.user,
        "application": blocker.application,
        "query_start": "2025-01-02T01:04:05+02:00" if blocker.query_start else None,
        "prepared": blocker.prepared,
    }


def test_a_lock() -> None:
    assert [str(LOCK), str(replace(LOCK, dropped=True))] == [
        "public.a (AccessExclusive)",
        "public.a (AccessExclusive, dropped)",
    ]


def test_what_the_server_said() -> None:
    assert ServerWords("d", "h", "c", "k", "f").lines() == ["DETAIL: d", "HINT: h", "CONTEXT: c"]
    assert ServerWords(hint="h").lines() == ["HINT: h"]
    assert ServerWords(constraint="k", function="f").lines() == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Waiting(None, "the ledger's lock", 1.6), "waiting for the ledger's lock since 2 s"),
        (Started("001", "a", "apply", SCRIPT, False, None, 42), "applying 001_a on server process 42"),
        (
            Started("001", "a", "rollback", SCRIPT, True, None, 42),
            "rolling back 001_a (dry run) on server process 42",
        ),
        (
            Blocked("001", (SESSION, PREPARED), 1.25),
            'blocked for 1.2 s by pid 7 (bob, psql, its query since 23:04:05 UTC); prepared transaction "it\'s" of bob'
            " since 2025-01-01 23:04:05 UTC",
        ),
        (HeldLong("001", LOCK, 2), "public.a was locked against everybody for 2.5 s, limit 2 s"),
        (
            HeldLong("001", replace(LOCK, held_ms=99_990), 0.5),
            "public.a was locked against everybody for 100.0 s, limit 0.5 s",
        ),
        (
            HeldLong("001", replace(LOCK, held_ms=None), 2),
            "public.a was locked against everybody for 0.0 s, limit 2 s",
        ),
        (Stepped("001", 2, 2, 3, 4, "runs"), "statement 2 of 3 (line 4): runs"),
        (Failed("001", "rollback", "no", None), "rollback of 001 failed: no"),
        (Failed("001", "apply", "no", None, True, ServerWords("d")), "dry run of apply of 001 failed: no\nDETAIL: d"),
        (
            Failed("001", "apply", "no", None, bystanders=Bystanders(60, 9, 1, 1500, ("a.b",), 0)),
            "apply of 001 failed: no\n1 session waited 1.5 s, for a.b",
        ),
        (Failed("001", "apply", "no", None, bystanders=Bystanders(60, 9, 0, 0, (), 0)), "apply of 001 failed: no"),
        (
            OthersWait("001", Bystanders(0, 1, 2, 1500, ("a.b",))),
            "others wait because of it: 2 sessions waited, the longest 1.5 s, for a.b",
        ),
    ],
)
def test_an_event_in_words(event: Event, words: str) -> None:
    assert str(event) == words


# Backups, what is kept, and scratch databases

BACKUP = Backup("b", "pg_dump", "/backups/b", "database", {"001": "ab"}, bytes=2048, seconds=1.25)


@pytest.mark.parametrize(
    ("backup", "words"),
    [
        (BACKUP, "backup of the whole database in 1.2 s: /backups/b, 2.0 kB"),
        (
            replace(BACKUP, scope="relations", relations=("app.a", "app.b"), bytes=None),
            "backup of app.a, app.b in 1.2 s: /backups/b",
        ),
    ],
)
def test_a_backup(backup: Backup, words: str) -> None:
    assert (str(backup), str(BackedUp(backup))) == (words, words)
    plain = backup.as_dict()
    assert (plain["versions"], plain["relations"], plain["place"]) == (
        {"001": "ab"},
        list(backup.relations),
        "/backups/b",
    )
    assert Backup(**plain | {"relations": tuple(plain["relations"])}) == backup


def test_what_is_said_while_backups_are_made_and_deleted() -> None:
    assert str(BackingUp("b", 12.4, 3 * 1024**2)) == "backing up to b: 12 s, 3.0 MB written"
    assert str(BackupRemoved("/b")) == "deleted: /b"
    assert str(BackupRemoved("/b", "no right")) == "old backup /b could not be deleted: no right"


TABLE = Kept("table", "p", "app", "t", foreign_keys=(("k", "FOREIGN KEY (a) REFERENCES app.u(id)"),))


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (TABLE, "table app.t"),
        (Kept("column", "p", "app", "t", ("a", "b"), ("id",), 2000), "values of app.t.a, app.t.b of 2,000 rows"),
        (Kept("rows", "p", "app", "t", ("a",), (), 1), "1 row of app.t"),
        (Kept("rows", "p", "app", "t", rows=0), "0 rows of app.t"),
    ],
)
def test_what_is_kept(kept: Kept, words: str) -> None:
    assert str(kept) == words
    plain = kept.as_dict()
    assert Kept.from_dict(plain | {"unknown": 1}) == kept
    assert (plain["columns"], plain["key"]) == ([*kept.columns], [*kept.key])
    assert plain["foreign_keys"] == [[*each] for each in kept.foreign_keys]
    assert Kept.from_dict({"what": "table", "place": "p", "schema": "app", "table": "t"}) == replace(
        TABLE, foreign_keys=()
    )


SCRATCH = OnScratch("ran", 12, 3, (LOCK,))


@pytest.mark.parametrize(
    ("scratch", "words"),
    [
        (SCRATCH, "on a scratch database, which has no rows of the target, it ran in 12 ms"),
        (OnScratch("failed", reason="why"), "it failed on a scratch database: why"),
        (OnScratch("not_tried", reason="why"), "nor was it tried on a scratch database: why"),
    ],
)
def test_what_became_of_it_on_a_scratch_database(scratch: OnScratch, words: str) -> None:
    assert scratch.as_dict() == {
        "outcome": scratch.outcome,
        "duration_ms": scratch.duration_ms,
        "rows": scratch.rows,
        "locks": [lock.as_dict() for lock in scratch.locks],
        "reason": scratch.reason,
        "told": words,
    }


def test_what_others_felt_is_read_back_from_plain_values() -> None:
    felt = Bystanders(5, looks=2, sessions=1, longest_wait_ms=7, relations=("app.t",), deadlocks=0)
    assert Bystanders.from_dict(felt.as_dict() | {"unknown": 1}) == felt
    assert Bystanders.from_dict({}) == Bystanders(0)


MIGRATION = Migration("001", "a", SCRIPT)
RECORD = Record.of(MIGRATION, Outcome.APPLIED, Identity("ann"), duration_ms=5, locks=(LOCK,))


def test_a_record_of_a_migration() -> None:
    assert Record("001", "a", Outcome.APPLIED, "ab", Identity("ann"), duration_ms=5, locks=(LOCK,)) == RECORD
    full = replace(RECORD, kept=(TABLE,), on_scratch=SCRATCH, rewritten=("t",), bystanders=Bystanders(1))
    plain = full.as_dict()
    assert (plain["outcome"], plain["identity"]["actor"], plain["locks"]) == ("applied", "ann", [LOCK.as_dict()])
    assert (plain["kept"], plain["on_scratch"]) == ([TABLE.as_dict()], SCRATCH.as_dict())
    assert (plain["rewritten"], plain["bystanders"]) == (["t"], Bystanders(1).as_dict())
    empty = RECORD.as_dict()
    assert [empty[name] for name in ("kept", "on_scratch", "bystanders", "forecast", "rewritten")] == [
        [],
        None,
        None,
        None,
        [],
    ]
    assert empty["changes"] == {"each": [], "unread": False}


def test_each_lock_is_told_once_by_who_took_it_first() -> None:
    dropped, other = replace(LOCK, dropped=True), LockTaken("public.b", "RowExclusive")
    second = replace(RECORD, version="002", locks=(LOCK, dropped, other))
    third = replace(RECORD, version="003", locks=(replace(LOCK, held_ms=1), replace(LOCK, mode="Share")))
    assert taken_first([RECORD, second, third, replace(RECORD, version="004")]) == {
        "001": [LOCK],
        "002": [dropped, other],
        "003": [third.locks[1]],
    }
