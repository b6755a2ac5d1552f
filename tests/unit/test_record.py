"""Events, locks and blockers in the words of the task log and the terminal, and as the audit log keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_wmigrate.engine.events import (
    Blocked,
    Event,
    Failed,
    HeldLong,
    OthersWait,
    Started,
    Stepped,
    Waiting,
)
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.record import Blocker, Bystanders, ServerWords

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
