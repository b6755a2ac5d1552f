"""Which limit held when a lock was not free, and whose it is."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.errors import LockTimeout
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait, OwnLimit, own_limit


@pytest.mark.parametrize(
    ("first", "found"),
    [
        ("SELECT 1;", None),
        ("SET work_mem = '4MB';", None),
        ("SET lock_timeout = '100ms';", OwnLimit(1, 0.1)),
        ("SET LOCAL lock_timeout TO 1500;", OwnLimit(1, 1.5)),
        ("SET lock_timeout = '2 min';", OwnLimit(1, 120.0)),
        ("SET lock_timeout = '.5s';", OwnLimit(1, 0.5)),
        ("SET lock_timeout = 'soon';", OwnLimit(1, None)),
        ("SET lock_timeout = 1.5;", OwnLimit(1, 0.0015)),
        ("SET lock_timeout = '250';", OwnLimit(1, 0.25)),
        ("SET lock_timeout = '500 us';", OwnLimit(1, 0.0005)),
        ("SET lock_timeout = ' 1.5s ';", OwnLimit(1, 1.5)),
        ("SET lock_timeout = '2.h';", OwnLimit(1, 7200.0)),
        ("SET lock_timeout = '1d';", OwnLimit(1, 86400.0)),
        ("SET lock_timeout = '1 week';", OwnLimit(1, None)),
        ("SET lock_timeout = on;", OwnLimit(1, None)),
        ("SET lock_timeout = '1s'; SET lock_timeout = '2s';", OwnLimit(1, 2.0)),
        ("SET lock_timeout = '1s';\nRESET lock_timeout;", OwnLimit(2, None)),
        ("SET lock_timeout TO DEFAULT;", OwnLimit(1, None)),
        ("RESET ALL;", OwnLimit(1, None)),
        ("DISCARD ALL;", OwnLimit(1, None)),
        ("DISCARD TEMP;", None),
    ],
)
def test_what_a_script_says_of_its_own_limit(first: str, found: OwnLimit | None) -> None:
    analysis = analyse(Script.of("001_a.sql", f"{first}\nALTER TABLE t ADD n int;\nSET lock_timeout = '9s';"))
    assert own_limit(analysis, len(analysis.statements) - 2) == found


TEXT = "SET lock_timeout = '1s';\nLOCK TABLE t;\nLOCK TABLE t NOWAIT;\nSELECT nowait_ FROM t"


@pytest.mark.parametrize(
    ("index", "own", "nowait"),
    [
        (0, None, False),
        (1, OwnLimit(1, 1.0), False),
        (2, OwnLimit(1, 1.0), True),
        (3, OwnLimit(1, 1.0), False),
        (4, OwnLimit(1, 1.0), False),
        (None, OwnLimit(1, 1.0), False),
    ],
)
def test_what_is_known_of_a_wait(index: int | None, own: OwnLimit | None, nowait: bool) -> None:
    analysis = analyse(Script.of("001_a.sql", TEXT))
    assert LockWait.of(analysis, index, 2.0, 0.5) == LockWait(2.0, 0.5, own, nowait)


def test_nowait_is_looked_for_in_the_statement_that_failed_alone() -> None:
    analysis = analyse(Script.of("001_a.sql", "LOCK TABLE t; SELECT 1 FROM t FOR UPDATE nowait"))
    assert [LockWait.of(analysis, index, 2.0, 0.5).nowait for index in (0, 1, 2, None)] == [False, True, False, False]


BLOCK = ", by a limit that the script set in a function or a block"


@pytest.mark.parametrize(
    ("wait", "seen", "held"),
    [
        (LockWait(2.0, 2.01), 0.0, (2.0, "")),
        (LockWait(2.0, 30.0), 2.1, (2.0, "")),
        (LockWait(2.0, 0.12, OwnLimit(3, 0.1)), 0.0, (0.1, ", the limit that 001_a.sql:3 sets")),
        (LockWait(2.0, 14.0, OwnLimit(3, 10.0)), 9.0, (10.0, ", the limit that 001_a.sql:3 sets")),
        (LockWait(2.0, 0.3), 0.0, (0.3, BLOCK)),
        (LockWait(2.0, 6.0), 5.5, (5.5, BLOCK)),
        (LockWait(2.0, 0.01, nowait=True), 0.0, (0.0, ", as NOWAIT asks")),
        (LockWait(2.0, 1.79, nowait=True), 0.0, (0.0, ", as NOWAIT asks")),
        (LockWait(2.0, 1.8, nowait=True), 0.0, (2.0, "")),
        (LockWait(2.0, 1.8), 0.0, (2.0, "")),
        (LockWait(2.0, 1.79), 0.0, (1.79, BLOCK)),
        (LockWait(2.0, 6.0), 3.4, (2.0, "")),
        (LockWait(2.0, 6.0), 3.41, (3.41, BLOCK)),
        (
            LockWait(2.0, 7.0, OwnLimit(1, None)),
            0.0,
            (7.0, ", the limit of the role, the database or the server, to which 001_a.sql:1 resets it"),
        ),
    ],
)
def test_the_limit_that_held(wait: LockWait, seen: float, held: tuple[float, str]) -> None:
    assert wait.held("001_a.sql", seen) == held


@pytest.mark.parametrize(
    ("seconds", "limit", "text"),
    [
        (0.05, "", "a lock was not free within 0.05 s; nothing was changed"),
        (0.1, ", by a rule", "a lock was not free within 0.1 s, by a rule; nothing was changed"),
        (0.123, "", "a lock was not free within 0.12 s; nothing was changed"),
        (12.34, "", "a lock was not free within 12.3 s; nothing was changed"),
    ],
)  # fmt: skip
def test_short_waits_are_told_exactly(seconds: float, limit: str, text: str) -> None:
    assert str(LockTimeout("a lock", seconds, limit=limit, outcome="nothing was changed")) == text
