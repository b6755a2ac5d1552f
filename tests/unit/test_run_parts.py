"""What engine/run decides without a server: how a script runs, why it is not tried, what is kept of a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from in_words import folder

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Identity, Script, Transactional
from airflow_provider_wmigrate.engine.record import Blocker, Outcome, Record
from airflow_provider_wmigrate.engine.run.dry_run import _Chain, reason_not_to_try
from airflow_provider_wmigrate.engine.run.execution import details_of
from airflow_provider_wmigrate.engine.run.failing import _lock_timeout
from airflow_provider_wmigrate.engine.run.index_work import _worked_on
from airflow_provider_wmigrate.engine.run.job import Job
from airflow_provider_wmigrate.engine.run.opening import _drops, _taking
from airflow_provider_wmigrate.engine.run.parallel import Parallel
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock, ledger_lock, report_lock, version_lock
from airflow_provider_wmigrate.engine.session.script_state import _number, _signed, _trying
from airflow_provider_wmigrate.engine.session.watch import Waits
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait, OwnLimit


def job(text: str, transactional: Transactional = "auto") -> Job:
    return Job(folder("1")[0][0], analyse(Script.of("001_a.sql", text)), transactional)


INDEX = "CREATE TABLE t (i int);\nCREATE INDEX CONCURRENTLY ON t (i);"
BLOCKS = "BEGIN; SELECT 1; COMMIT;\nBEGIN; SELECT 2; COMMIT;"


@pytest.mark.parametrize(
    ("text", "transactional", "begun", "reason"),
    [
        ("SELECT 1", True, False, None),
        ("SELECT 1", "auto", False, None),
        (
            "SELECT 1",
            "auto",
            True,
            "001_a.sql: it was begun before and is not finished, and a dry run goes on with nothing",
        ),
        (INDEX, "auto", False, "001_a.sql:2: CREATE INDEX CONCURRENTLY cannot be undone by a transaction"),
        (INDEX, False, False, "001_a.sql:2: CREATE INDEX CONCURRENTLY cannot be undone by a transaction"),
        (BLOCKS, "auto", False, "001_a.sql:1: it commits more than once, and a dry run is one transaction"),
        ("SELECT 1", False, False, "001_a.sql: it is declared transactional: false, and a dry run is one transaction"),
    ],
)
def test_why_a_script_is_not_tried(text: str, transactional: Transactional, begun: bool, reason: str | None) -> None:
    assert reason_not_to_try(job(text, transactional), begun=begun) == reason


def chain_of(*numbers: str, **more: Any) -> tuple[_Chain, list[Job]]:
    """Each needs the one before it."""
    jobs = [Job(folder(n)[0][0], analyse(Script.of(f"00{n}_m.sql", "SELECT 1")), "auto") for n in numbers]
    versions = [job.migration.version for job in jobs]
    needs = {v: {*versions[at - 1 : at]} if at else set() for at, v in enumerate(versions)}
    return _Chain(jobs, needs, **more), jobs


def test_what_needs_one_that_was_not_tried_is_not_tried() -> None:
    chain, (one, two, three) = chain_of("1", "2", "3")
    assert [chain.needs_untried(job) for job in (one, two, three)] == [None, None, None]
    chain.not_tried["001"] = "it commits"
    assert [chain.needs_untried(job) for job in (one, two, three)] == [
        None,
        "002_m.sql: it needs 001_m, which was not tried",
        None,
    ]


def refused(sqlstate: str, message: str = "no") -> StatementFailed:
    return StatementFailed("003", "003_m.sql", message, outcome="", sqlstate=sqlstate, line=2, column=5)


@pytest.mark.parametrize(
    ("message", "stem"),
    [('unsafe use of new value "red"', "001_m"), ('unsafe use of new value "blue"', "002_m"), ("anders", "002_m")],
)
def test_a_value_of_an_enum_type_can_be_used_after_a_commit_only(message: str, stem: str) -> None:
    added = {"red": "001_m", "blue": "002_m"}
    chain, jobs = chain_of("1", "2", "3", added=added)
    assert chain.only_after_commit(jobs[2], refused("55P04", message)) == (
        f"003_m.sql:2:5: it uses a value that {stem} adds to an enum type, which is possible only after a commit"
    )
    assert chain.only_after_commit(jobs[2], refused("42601", message)) is None
    without, jobs = chain_of("1", "2", "3")
    assert without.only_after_commit(jobs[2], refused("55P04", message)) is None


def test_many_scripts_together_may_lock_more_than_there_is_room_for() -> None:
    chain, jobs = chain_of("1", "2", "3")
    says = (
        "003_m.sql:2:5: its locks and those of {} together are more than the server has room for"
        " (max_locks_per_transaction); each commit would free some"
    )
    assert [chain.only_after_commit(job, refused("53200")) for job in jobs] == [
        None,
        says.format("001"),
        says.format("001 to 002"),
    ]
    four, jobs = chain_of("1", "2", "3", "4", added={"red": "001_m"})
    assert four.only_after_commit(jobs[3], refused("53200")) == says.format("001 to 003")
    assert four.only_after_commit(jobs[3], refused("40P01")) is None


def test_what_the_audit_log_keeps_of_a_record() -> None:
    lock = LockTaken("a", "Share", 3, dropped=True)
    blocker = Blocker(7, "bob", None, datetime(2025, 1, 2, tzinfo=timezone.utc), "gid")
    record = Record(
        "001",
        "a",
        Outcome.APPLIED,
        "c1",
        Identity("ann"),
        12,
        3,
        2,
        (lock,),
        4,
        (blocker,),
        audit_head="1:a",
        reason="x",
    )
    assert details_of(record) == {
        "name": "a",
        "checksum": "c1",
        "rows": 3,
        "statements": 2,
        "locks": [{"relation": "a", "mode": "Share", "held_ms": 3, "dropped": True}],
        "attempts": 4,
        "blocked_by": [
            {
                "pid": 7,
                "user": "bob",
                "application": None,
                "query_start": "2025-01-02T00:00:00+00:00",
                "prepared": "gid",
            }
        ],
        "bystanders": None,
        "changes": {"each": [], "unread": False},
    }


def locked(*, retryable: bool = True) -> StatementFailed:
    return StatementFailed(
        "001", "001_a.sql", "no", outcome="rolled back", sqlstate="55P03", line=2, retryable=retryable
    )


def waits(*blockers: Blocker, longest: float = 0.0) -> Waits:
    return Waits({b.key: b for b in blockers}, longest)


SESSION = Blocker(7, "bob", "psql", None)
A_LOCK = "001_a.sql:2: a lock of this migration"
PREPARED = Blocker(0, "bob", None, None, "it's")


@pytest.mark.parametrize(
    ("lock", "seen", "said", "holders"),
    [
        (
            LockWait(2.0, 2.0),
            waits(),
            f"{A_LOCK} was not free within 2.0 s; rolled back; the next try may find it free",
            (),
        ),
        (
            LockWait(2.0, 2.0, OwnLimit(1, 0.5)),
            waits(SESSION),
            f"{A_LOCK} was not free within 0.5 s, the limit that 001_a.sql:1 sets, held by pid 7;"
            " rolled back; pid 7 (bob, psql) held it up",
            (7,),
        ),
        (
            LockWait(2.0, 2.0),
            waits(SESSION, PREPARED, longest=9.0),
            f"{A_LOCK} was not free within 9.0 s, by a limit that the script set in a function"
            ' or a block, held by pid 7; rolled back; pid 7 (bob, psql); prepared transaction "it\'s" of bob held it'
            " up:"
            " end it with ROLLBACK PREPARED 'it''s' or COMMIT PREPARED 'it''s'",
            (7,),
        ),
    ],
)
def test_a_lock_that_was_not_free(lock: LockWait, seen: Waits, said: str, holders: tuple[int, ...]) -> None:
    found = _lock_timeout(locked(), lock, seen)
    assert (str(found), found.holders, found.retryable) == (said, holders, True)
    assert _lock_timeout(locked(retryable=False), lock, seen).retryable is False


def test_what_another_session_works_on() -> None:
    assert _worked_on("the table") == "the table, of which another session builds or drops an index,"
    assert _worked_on("index a_i") == "index a_i, which another session builds or drops,"


@pytest.mark.parametrize(
    ("text", "drops"),
    [
        *[(text, True) for text in ("DROP TABLE a", "ALTER TABLE a RENAME TO b", "ALTER TABLE a SET SCHEMA s")],
        *[(text, True) for text in ("DO $$ BEGIN END $$", "CALL p()", "SELECT f()", "DROP OWNED BY r", "EXECUTE e")],
        *[(text, False) for text in ("CREATE TABLE a ()", "INSERT INTO a VALUES (1)", "ALTER TABLE a ADD b int")],
        ("CREATE TABLE a ();\nDROP TABLE b", True),
    ],
)
def test_whether_a_relation_may_have_another_name_afterwards(text: str, drops: bool) -> None:
    assert _drops(job(text).analysis) is drops


def test_locks_in_one_question() -> None:
    one, other = AdvisoryLock("a"), AdvisoryLock("b", shared=True)
    assert _taking([one, other]).decode() == (
        f"pg_catalog.pg_advisory_unlock_all(), pg_catalog.pg_try_advisory_lock({one.number}),"
        f" pg_catalog.pg_try_advisory_lock_shared({other.number})"
    )
    assert _taking([]) == b"pg_catalog.pg_advisory_unlock_all()"


def test_names_of_locks() -> None:
    """Programs of different age keep out of one another's way by them."""
    names = ["wmigrate:s", "wmigrate:s:001", "wmigrate:s:report"]
    assert [ledger_lock("s"), version_lock("s", "001"), report_lock("s")] == [AdvisoryLock(name) for name in names]
    assert ledger_lock("s", shared=True).shared
    assert version_lock("s", "001", shared=True).shared
    assert [AdvisoryLock(name).number for name in names] == [
        4980060903786453986,
        -5654960508129464215,
        -1518071649435119817,
    ]


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32 - 1, 2**32 + 7, 2**63 - 1, -1, -(2**63), -(2**32)])
def test_the_number_of_an_advisory_lock(number: int) -> None:
    """pg_locks shows its halves, without a sign."""
    high, low = divmod(number % 2**64, 2**32)
    assert _number(f"{high} {low} 1 ExclusiveLock") == number
    assert _number(f"{high} {low} 2 ExclusiveLock") is None


@pytest.mark.parametrize(
    ("lock", "call"),
    [
        ("0 7 1 ExclusiveLock", b"pg_catalog.pg_try_advisory_lock(7::pg_catalog.int8)"),
        ("0 7 1 ShareLock", b"pg_catalog.pg_try_advisory_lock_shared(7::pg_catalog.int8)"),
        ("4294967295 4294967295 1 ExclusiveLock", b"pg_catalog.pg_try_advisory_lock(-1::pg_catalog.int8)"),
        ("1 4294967295 2 ExclusiveLock", b"pg_catalog.pg_try_advisory_lock(1, -1)"),
        ("2147483648 0 2 ShareLock", b"pg_catalog.pg_try_advisory_lock_shared(-2147483648, 0)"),
    ],
)
def test_an_advisory_lock_is_taken_once_more(lock: str, call: bytes) -> None:
    assert _trying(lock) == call


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1, -1, -(2**31)])
def test_half_of_an_advisory_lock_with_two_numbers(number: int) -> None:
    assert _signed(number % 2**32) == number


# At the same time


def done(version: str) -> Record:
    return Record(version, "a", Outcome.APPLIED, "", Identity("ann"))


def side_by_side(
    parents: dict[str, tuple[str, ...]], jobs: int, *, fails: str = "", go_on: Callable[[], bool] = lambda: True
) -> tuple[list[str], list[str], int]:
    """In what order they began, what was returned, and how many sessions there were."""
    sessions: list[object] = []
    began: list[str] = []

    @contextmanager
    def session() -> Iterator[Any]:
        sessions.append(object())
        yield sessions[-1]

    def run_one(session: Any, version: str) -> list[Record]:
        assert session in sessions
        began.append(version)
        if version == fails:
            raise ValueError(version)
        return [done(version)]

    parallel = Parallel([*parents], parents, jobs, session, run_one, go_on)
    returned = []
    try:
        returned = [record.version for record in parallel.run()]
    except ValueError as error:
        returned = [f"failed: {error}"]
    return began, returned, len(sessions)


DIAMOND = {"1": (), "2": ("1", "0"), "3": ("1",), "4": ("2", "3"), "5": ()}


def test_one_at_a_time_is_the_given_order_where_nothing_has_to_wait() -> None:
    assert side_by_side(DIAMOND, 1) == (["1", "2", "3", "4", "5"], ["1", "2", "3", "4", "5"], 1)
    assert side_by_side({"3": (), "1": (), "2": ()}, 1)[0] == ["3", "1", "2"]


@pytest.mark.parametrize("jobs", [2, 3, 9])
def test_several_at_a_time_keep_what_needs_one_another(jobs: int) -> None:
    began, returned, sessions = side_by_side(DIAMOND, jobs)
    assert sorted(began) == sorted(returned) == ["1", "2", "3", "4", "5"]
    assert all(
        began.index(parent) < began.index(v) for v, needs in DIAMOND.items() for parent in needs if parent != "0"
    )
    assert sessions <= min(jobs, len(DIAMOND))


def test_after_a_failure_none_begins() -> None:
    assert side_by_side(DIAMOND, 1, fails="2") == (["1", "2"], ["failed: 2"], 1)


def test_asked_before_each() -> None:
    answers = iter([True, True, False, False])
    assert side_by_side(DIAMOND, 1, go_on=lambda: next(answers))[:2] == (["1", "2"], ["1", "2"])
    assert side_by_side({}, 2) == ([], [], 0)


def test_really_at_the_same_time() -> None:
    import threading

    both = threading.Barrier(2, timeout=20)

    @contextmanager
    def session() -> Iterator[Any]:
        yield None

    def run_one(_: Any, version: str) -> list[Record]:
        both.wait()
        return [done(version)]

    parallel = Parallel(["1", "2"], {"1": (), "2": ()}, 2, session, run_one, lambda: True)
    assert sorted(record.version for record in parallel.run()) == ["1", "2"]
