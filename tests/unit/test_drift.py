"""The schema as it is, beside what is known of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot, canonical, fact, ordered
from airflow_provider_wmigrate.engine.folder.config.settings import DriftPolicy
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.drift import Drift, Known, merged
from airflow_provider_wmigrate.engine.plan.others import OthersChange

AT = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def schema(words: str, unseen: str = "", kind: str = "table") -> Snapshot:
    """`a b=2` are two tables; the second one has other attributes than `b`."""
    facts = [
        fact(kind, f"app.{name}", "app", "", canonical({"owner": value or "me"}))
        for name, _, value in (word.partition("=") for word in words.split())
    ]
    return Snapshot(ordered(facts), dict.fromkeys(unseen.split(), "not seen"), {}, 150000)


def known(snapshot: Snapshot, version: str = "003") -> Known:
    return Known(1, AT, version, 7, snapshot.fingerprint, snapshot)


def drift(before: str, now: str, **more: tuple[str, ...]) -> Drift:
    return Drift(known(schema(before)), schema(now), **more)  # type: ignore[arg-type]


SINCE = "from what was known after 003 (2026-01-31 12:00 UTC)"


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("a", "a", ""),
        ("a", "", f"the schema has 1 difference {SINCE}: table app.a is gone"),
        ("a b", "c a", f"the schema has 2 differences {SINCE}: table app.b is gone; table app.c is new"),
        (
            "",
            "a b c",
            f"the schema has 3 differences {SINCE}: table app.a is new; table app.b is new; table app.c is new",
        ),
        (
            "",
            "a b c d e",
            f"the schema has 5 differences {SINCE}: table app.a is new; table app.b is new; table app.c is new"
            " (and 2 more)",
        ),
    ],
)
def test_what_differs_in_one_sentence(before: str, now: str, said: str) -> None:
    assert drift(before, now).sentence == said


@pytest.mark.parametrize(
    ("unkept", "cause"),
    [
        ((), ""),
        (("004",), "; 004 was applied or rolled back after that, by a run that has not ended or was killed"),
        (
            ("004", "005"),
            "; 004, 005 were applied or rolled back after that, by a run that has not ended or was killed",
        ),
    ],
)
def test_migrations_may_be_the_cause(unkept: tuple[str, ...], cause: str) -> None:
    assert drift("a", "", unkept=unkept).sentence == f"the schema has 1 difference {SINCE}: table app.a is gone{cause}"


def test_before_any_migration() -> None:
    paris = AT.astimezone(timezone(timedelta(hours=1)))
    assert replace(known(schema("a")), version="", at=paris).since == "before any migration (2026-01-31 12:00 UTC)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"fingerprint": "0"},
            "the known schema is not what wmigrate wrote into the ledger: somebody has changed it there",
        ),
        (
            {"snapshot": replace(schema("a"), format=0)},
            "the known schema was kept in format 0, this wmigrate compares 1",
        ),
    ],
)
def test_a_known_schema_that_is_of_no_use(changes: dict[str, str], said: str) -> None:
    found = Drift(replace(known(schema("a")), **changes), schema(""))  # type: ignore[arg-type]
    assert (found.sentence, found.differences) == (said, ())
    step = "undo it, or take what is there now as known: `wmigrate drift --accept`"
    assert found.finding("error") == Finding("drift", said, step)


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [("", "view", ["unseen"]), ("view", "view", []), ("view", "", []), ("table", "view", ["unseen"])],
)
def test_kinds_that_could_not_be_seen_then_are_no_drift(before: str, now: str, changes: list[str]) -> None:
    seen = Drift(known(schema("a", before)), schema("a", now))
    assert [d.change for d in seen.differences] == changes


def test_who_did_it_stands_beside_the_difference() -> None:
    change = OthersChange(AT, "bob", None, None, "psql", 7, "DROP TABLE", ("table app.a",), 1)
    other = replace(change, objects=("table app.z",))
    found = drift("a b", "b", recorded=(other, change))  # type: ignore[arg-type]
    by_bob = "table app.a is gone (DROP TABLE by bob with psql, 2026-01-31 12:00 UTC)"
    assert found.sentence == f"the schema has 1 difference {SINCE}: {by_bob}"
    assert [found.last_change(d) for d in found.differences] == [change]
    assert drift("a", "", recorded=(other,)).last_change(found.differences[0]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("policy", "severity"), [("error", "error"), ("warn", "warning")])
def test_what_the_finding_says(policy: DriftPolicy, severity: str) -> None:
    step = "`wmigrate drift` tells all; undo it, or take what is there now as known: `wmigrate drift --accept`"
    found = drift("a", "")
    assert found.finding(policy) == Finding("drift", found.sentence, step, severity=severity)  # type: ignore[arg-type]
    assert drift("a", "a").finding(policy) is None


def test_that_nothing_is_kept_yet_is_never_an_error() -> None:
    found = Drift(None, schema("a"))
    assert found.differences == ()
    assert found.finding("error") == Finding(
        "drift",
        "the ledger keeps no known schema yet, so nobody can say what others have changed",
        "the next migration that runs keeps one; to keep what is there now: `wmigrate drift --accept`",
        severity="warning",
    )


@pytest.mark.parametrize(
    ("known_then", "before", "after", "known_now"),
    [
        ("a", "a", "a b", "a b"),
        ("a b", "a b", "a", "a"),
        ("a", "a", "a=you", "a=you"),
        ("a", "a b", "a b c", "a c"),
        ("a b", "a", "a c", "a b c"),
        ("a", "a=you", "a=you b", "a b"),
        ("a", "a=you", "", ""),
        ("a", "b", "b", "a"),
    ],
)
def test_after_a_run_all_else_is_as_it_was_known(known_then: str, before: str, after: str, known_now: str) -> None:
    """What others have changed stays a difference: the run has not made it."""
    made = merged(schema(known_then), schema(before), replace(schema(after), server_version=17))
    assert made == replace(schema(known_now), server_version=17)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_kind_that_somebody_could_not_see_stays_as_it_was_known(who: int) -> None:
    unseen = ["", "", ""]
    unseen[who] = "table"
    then, before, after = (schema(words, hidden) for words, hidden in zip(("a", "a", "b"), unseen, strict=True))
    made = merged(then, before, after)
    assert (made.facts, made.unseen) == (then.facts, then.unseen)
