"""What others felt of a migration: who counts, what is told of it, and what is never called nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.waits import Waiter, because_of, in_a_circle
from airflow_provider_wmigrate.engine.record import NO_LOOK, Bystanders, together
from airflow_provider_wmigrate.engine.session.bystanders import Felt
from airflow_provider_wmigrate.engine.session.interruption import Spared

US = 1
SHORT = Bystanders(40, not_measured=NO_LOOK)
NOBODY = Bystanders(230, 9, 0, 0, (), 0)
ONE = Bystanders(230, 9, 1, 812, ("public.t",), 0)
SEVERAL = Bystanders(230, 9, 3, 5812, ("a.t", "a.u", "a.v", "a.w", "a.x"), 4)
BLIND = Bystanders(9000, not_measured="no right")


def waiter(pid: int, *behind: int, seconds: float | None = 1.0, counts: bool = True) -> Waiter:
    return Waiter(pid, behind, seconds, f"public.t{pid}", counts)


@pytest.mark.parametrize(
    ("waiting", "seconds"),
    [
        ([], {}),
        ([waiter(2, US)], {2: 1.0}),
        ([waiter(2, 9)], {}),
        ([waiter(2, 9, US)], {2: 1.0}),
        ([waiter(3, 2), waiter(2, US)], {2: 1.0, 3: 1.0}),
        ([waiter(3, 2, seconds=60.0), waiter(2, US)], {2: 1.0, 3: 1.0}),
        ([waiter(4, 3, US, seconds=2.0), waiter(3, 2, seconds=60.0), waiter(2, US)], {2: 1.0, 3: 1.0, 4: 2.0}),
        ([waiter(2, US, seconds=60.0)], {2: 5.0}),
        ([waiter(2, 3, seconds=2.0), waiter(3, 2, US)], {2: 1.0, 3: 1.0}),
        ([waiter(US, 2), waiter(2, 9)], {}),
        ([waiter(2, US, seconds=None)], {2: 0.0}),
    ],
    ids=[
        "nobody",
        "for us",
        "for another one",
        "for us as well",
        "for one that waits for us",
        "no longer than that one does",
        "the longest way counts",
        "no longer than the migration goes on",
        "in a circle",
        "for one that we wait for",
        "no time",
    ],
)
def test_who_waits_because_of_us(waiting: Sequence[Waiter], seconds: dict[int, float]) -> None:
    assert because_of(waiting, {US}, 5.0) == seconds


def test_who_waits_for_us_while_we_wait_for_it() -> None:
    assert in_a_circle([waiter(US, 2, 3, 4), waiter(2, US), waiter(3, 9), waiter(5, US)], {US}) == {2}
    assert in_a_circle([waiter(2, US)], {US}) == set()


@pytest.mark.parametrize(
    ("felt", "words"),
    [
        (SHORT, "nobody waited longer than 40 ms"),
        (NOBODY, "nobody waited longer than 230 ms"),
        (ONE, "1 session waited 812 ms, for public.t"),
        (replace(ONE, relations=()), "1 session waited 812 ms"),
        (
            SEVERAL,
            "3 sessions waited, the longest 5.8 s, for a.t, a.u, a.v and 2 more; 4 transactions ended in a deadlock",
        ),
        (replace(NOBODY, deadlocks=1), "nobody waited longer than 230 ms; 1 transaction ended in a deadlock"),
        (replace(ONE, not_measured="it broke"), "1 session waited 812 ms, for public.t (at least: it broke)"),
        (BLIND, "what others felt was not measured: no right"),
    ],
)
def test_in_words(felt: Bystanders, words: str) -> None:
    assert str(felt) == words


def test_several_migrations_together() -> None:
    assert together([]) is None
    assert together([SHORT, SHORT]) == SHORT
    assert together([SHORT, NOBODY]) == NOBODY
    assert together([ONE, SEVERAL, NOBODY]) == replace(
        SEVERAL, looks=27, relations=("a.t", "a.u", "a.v", "a.w", "a.x", "public.t")
    )
    assert str(together([NOBODY, BLIND])) == str(BLIND)
    assert str(together([ONE, BLIND])) == "1 session waited 812 ms, for public.t (at least: no right)"


def test_as_plain_values() -> None:
    assert ONE.as_dict() == {
        "unseen_ms": 230,
        "looks": 9,
        "sessions": 1,
        "longest_wait_ms": 812,
        "relations": ["public.t"],
        "deadlocks": 0,
        "not_measured": None,
    }


# Put together, look by look


class Migration:
    """Looks at a migration, at the times of a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: float | None = None, *, gives_way: bool = False) -> None:
        self.now, self.spared = 100.0, []  # type: float, list[Spared | None]
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.felt = Felt()
        self.felt.begin(limit, self.spared.append, gives_way=gives_way)

    def look(self, at: float, *waiting: Waiter, tries: int | None = None) -> Bystanders | None:
        self.now = 100.0 + at
        return self.felt.saw(waiting, {US}, self.felt.tries if tries is None else tries)

    def told(self, at: float) -> Bystanders:
        self.now = 100.0 + at
        return self.felt.told()


def test_a_wait_is_as_long_as_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch)
    assert one.look(0.3) is None
    assert one.look(0.5, waiter(2, US, seconds=0.1), waiter(3, 2, seconds=0.05)) == Bystanders(
        0, 1, 2, 100, ("public.t2", "public.t3")
    )
    one.look(0.7, waiter(2, US, seconds=0.3))
    one.look(0.9)
    assert one.told(0.95) == Bystanders(300, 4, 2, 400, ("public.t2", "public.t3"), None)


def test_a_server_that_tells_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before PostgreSQL 14: since it was first seen."""
    one = Migration(monkeypatch)
    one.look(0.3, waiter(2, US, seconds=None))
    one.look(0.5, waiter(2, US, seconds=None))
    assert one.told(0.5).longest_wait_ms == 200


def test_the_end_of_a_try_ends_all_waits_and_what_was_seen_before_is_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch, limit=1.0)
    one.look(0.5, waiter(2, US, seconds=0.5))
    one.now += 0.25
    one.felt.try_over()
    assert one.look(0.8, waiter(2, US, seconds=9.0), tries=0) is None
    one.look(1.0, waiter(2, US, seconds=9.0))
    assert one.told(1.0).longest_wait_ms == 750
    assert one.spared == [None]


def test_others_are_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch, limit=0.5)
    one.look(0.5, waiter(2, US, seconds=0.4))
    assert one.spared == []
    one.look(0.7, waiter(2, US, seconds=0.6))
    one.look(0.8, waiter(2, US, seconds=0.7), waiter(US, 3))
    assert [spared and (spared.limit_seconds, spared.blocked) for spared in one.spared] == [(0.5, False), (0.5, True)]
    one.felt.done()
    one.look(0.9, waiter(2, US, seconds=0.8))
    assert one.spared[2:] == [None], "the commit is under way"


@pytest.mark.parametrize("gives_way", [True, False])
def test_a_circle_is_left_before_the_server_ends_one_in_it(monkeypatch: pytest.MonkeyPatch, gives_way: bool) -> None:
    one = Migration(monkeypatch, gives_way=gives_way)
    one.look(0.5, waiter(2, US, seconds=0.1), waiter(US, 3))
    assert one.spared == []
    found = one.look(0.6, waiter(2, US, seconds=0.2), waiter(US, 2))
    assert found is not None
    assert one.spared == ([Spared(found, None, True)] if gives_way else [])


def test_our_own_sessions_are_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch)
    one.look(0.5, waiter(2, US, counts=False), waiter(3, 2, seconds=0.1))
    assert one.told(0.5) == Bystanders(500, 1, 1, 100, ("public.t3",), None)


def test_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    circle = (waiter(US, 2, 3), waiter(2, US), waiter(3, US))
    one = Migration(monkeypatch)
    one.felt.counted(7)
    one.look(0.5, *circle)
    one.look(0.6, *circle[::2])
    assert one.told(0.6).deadlocks == 1, "seen, though the server has not counted it yet"
    one.felt.counted(9)
    assert one.told(0.7).deadlocks == 2
    one.felt.try_over(deadlock=True)
    one.felt.counted(10)
    assert one.told(0.8).deadlocks == 2, "the third one was ours"


def test_our_own_end_takes_others_out_of_the_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch)
    one.look(0.5, waiter(US, 2), waiter(2, US))
    one.look(0.6)
    one.felt.try_over(deadlock=True)
    one.look(0.7)
    assert one.told(0.7).deadlocks is None


def test_no_look_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch)
    assert one.told(0.04) == SHORT
    assert one.told(9.0) == Bystanders(9000, not_measured="there was no second connection in time")
    one.felt.cannot("no right")
    assert one.told(9.0) == BLIND


def test_nothing_seen_before_it_broke_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Migration(monkeypatch)
    one.look(0.5)
    one.felt.cannot("it broke")
    assert one.told(0.6) == Bystanders(500, 1, not_measured="it broke")
    one.look(0.7, waiter(2, US, seconds=0.2))
    assert one.told(0.7) == Bystanders(500, 2, 1, 200, ("public.t2",), None, "it broke")
