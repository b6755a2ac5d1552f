"""What was done to a target, read from the rows of its audit log."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from in_words import BEFORE, entry

from airflow_provider_wmigrate.engine.awaited import NoMigration, Objects
from airflow_provider_wmigrate.engine.errors import LedgerDamaged, WMigrateError
from airflow_provider_wmigrate.engine.ledger.trail import GENESIS, AuditRow, following
from airflow_provider_wmigrate.engine.model import Entry, Identity
from airflow_provider_wmigrate.engine.reporting import (
    NOTHING_APPLIED,
    Account,
    Attempt,
    begun_by,
    changed_tables,
    changes,
    not_so,
)


def row(position: int, event: str, version: str | None = "001", **more: Any) -> AuditRow:
    who = {"actor": "ann", "dag_id": "d", "run_id": "r", "task_id": "t", "try_number": 1, "duration_ms": 5}
    values = {"at": BEFORE, "details": {}, "previous_hash": "", "hash": "ab", **who, **more}
    return AuditRow(position=position, event=event, version=version, **values)


ATTEMPT = Attempt("d", "r", frozenset({"t", "u"}), 10)
ANN = Identity("ann", dag_id="d", run_id="r")


def rows(words: str) -> list[AuditRow]:
    """`applied:1 rolled_back:1`, in this order."""
    parts = [word.split(":") for word in words.split()]
    return [row(number, event, f"00{version}") for number, (event, version) in enumerate(parts, 11)]


@pytest.mark.parametrize(
    ("each", "is_its"),
    [
        (row(11, "applied"), True),
        (row(11, "applied", task_id="u"), True),
        (row(10, "applied"), False),
        (row(11, "applied", task_id="x"), False),
        (row(11, "applied", dag_id="x"), False),
        (row(11, "applied", run_id="x"), False),
    ],
)
def test_which_rows_are_of_an_attempt(each: AuditRow, is_its: bool) -> None:
    assert ATTEMPT.rows([each]) == ((each,) if is_its else ())


BEGUN = {"direction": "apply"}


@pytest.mark.parametrize(
    ("all_rows", "entries", "begun"),
    [
        ([row(11, "applied")], ["1"], {"001"}),
        ([row(11, "started", details=BEGUN)], ["1~"], {"001"}),
        ([row(11, "started", details={"direction": "rollback"})], ["1^"], set()),
        ([row(11, "started")], ["1"], set()),
        ([row(11, "rolled_back")], ["1"], set()),
        ([row(11, "applied")], [], set()),
        ([row(11, "applied"), row(12, "applied", "002")], ["1", "2"], {"001", "002"}),
        ([row(11, "applied"), row(12, "reported", None), row(13, "applied", "002")], ["1", "2"], {"002"}),
        ([row(11, "applied"), row(12, "reported", None, run_id="x")], ["1"], {"001"}),
        ([row(9, "reported", None), row(11, "applied")], ["1"], {"001"}),
        ([row(9, "applied")], ["1"], set()),
        ([row(11, "applied", task_id="x")], ["1"], set()),
        ([row(11, "applied", None)], ["1"], set()),
    ],
)
def test_what_an_attempt_has_begun_and_no_report_closed(
    all_rows: list[AuditRow], entries: list[str], begun: set[str]
) -> None:
    account = Account("x", tuple(entry(word, identity=ANN) for word in entries), tuple(all_rows))
    assert begun_by(ATTEMPT, account) == begun


@pytest.mark.parametrize(
    "identity", [Identity("ann", dag_id="d", run_id="x"), Identity("ann", dag_id="x", run_id="r"), Identity("ann")]
)
def test_what_another_run_has_applied_since_is_not_its_own(identity: Identity) -> None:
    account = Account("x", (entry("1", identity=identity),), (row(11, "applied"),))
    assert begun_by(ATTEMPT, account) == set()


@pytest.mark.parametrize(
    ("words", "applied", "came", "went"),
    [
        ("", "", "", ""),
        ("applied:1", "1", "1", ""),
        ("applied:1", "", "", ""),
        ("applied:1 rolled_back:1", "", "", ""),
        ("applied:1 rolled_back:1 applied:1", "1", "1", ""),
        ("rolled_back:1", "", "", "1"),
        ("rolled_back:1 applied:1", "1", "1", "1"),
        ("started:1 reported:1", "1", "", ""),
        ("started:1 applied:1", "1", "1", ""),
        ("applied:3 applied:2", "2 3", "2 3", ""),
        ("rolled_back:3 rolled_back:2", "", "", "2 3"),
    ],
)
def test_what_the_rows_come_to_in_the_end(words: str, applied: str, came: str, went: str) -> None:
    expected = tuple([f"00{number}" for number in each.split()] for each in (came, went))
    assert changes(rows(words), {f"00{number}" for number in applied.split()}) == expected


@pytest.mark.parametrize(
    ("before", "applied", "expected"),
    [
        ({"status": "applied"}, True, ([], [])),
        ({"status": "applied"}, False, ([], ["001"])),
        ({"status": "incomplete"}, True, (["001"], [])),
        (None, True, (["001"], [])),
        (None, False, ([], [])),
    ],
)
def test_what_a_person_has_decided(before: Any, applied: bool, expected: tuple[list[str], list[str]]) -> None:
    each = row(11, "repaired", details={"before": before})
    assert changes([each, row(12, "reported", None)], {"001"} if applied else set()) == expected


def changed(version: str, *each: dict[str, Any], event: str = "applied", unread: bool = False) -> AuditRow:
    return row(11, event, version, details={"changes": {"each": each, "unread": unread}})


ALTER = {"does": "alter", "kind": "table", "schema": "app", "name": "t"}
RENAME = {"does": "rename", "kind": "table", "schema": "app", "name": "t", "to": "u"}
MOVE = {**RENAME, "to": "other.t"}
COLUMN = {"does": "rename", "kind": "column", "name": "t", "column": "a", "to": "b"}


@pytest.mark.parametrize(
    ("each", "tables", "unread"),
    [
        (changed("001", ALTER), {("app", "t"): [("001", ALTER)]}, []),
        (changed("001", RENAME), {("app", "t"): [("001", RENAME)], ("app", "u"): [("001", RENAME)]}, []),
        (changed("001", MOVE), {("app", "t"): [("001", MOVE)], ("other", "t"): [("001", MOVE)]}, []),
        (changed("001", COLUMN), {("", "t"): [("001", COLUMN)]}, []),
        (changed("001", {**ALTER, "kind": "function"}, {**ALTER, "kind": "sequence"}), {}, []),
        (changed("001", unread=True), {}, ["001"]),
        (changed("001", ALTER, event="rolled_back"), {("app", "t"): [("001", ALTER)]}, []),
        (changed("001", ALTER, event="started"), {}, []),
        (changed("009", ALTER), {}, []),
        (row(11, "applied"), {}, ["001"]),
        (row(11, "applied", details={"changes": None}), {}, []),
        (row(11, "applied", None), {}, []),
    ],
)
def test_which_tables_were_changed(each: AuditRow, tables: dict[Any, Any], unread: list[str]) -> None:
    assert changed_tables([each], {"001", "002"}) == (tables, unread)


def test_changes_of_one_table_stand_together_and_unread_ones_in_order() -> None:
    found = changed_tables([changed("002", ALTER, unread=True), changed("001", ALTER, unread=True)], {"001", "002"})
    assert found == ({("app", "t"): [("002", ALTER), ("001", ALTER)]}, ["001", "002"])


NOT_ROLLED_BACK = "001 was marked as success but is not rolled back; clear t with its downstream"


@pytest.mark.parametrize(
    ("there", "events", "direction", "said"),
    [
        ("1", "", "apply", None),
        ("", "", "apply", "001 was marked as success but is not applied; clear t with its downstream"),
        ("1~", "", "apply", "001 was marked as success but is incomplete; clear t with its downstream"),
        ("", "rolled_back:1", "apply", None),
        ("", "applied:1", "apply", "001 was marked as success but is not applied; clear t with its downstream"),
        ("", "", "rollback", None),
        ("1", "", "rollback", NOT_ROLLED_BACK),
        ("1^", "", "rollback", "001 was marked as success but is incomplete; clear t with its downstream"),
        ("1", "applied:1", "rollback", None),
        (
            "1",
            "rolled_back:1",
            "rollback",
            NOT_ROLLED_BACK,
        ),
    ],
)
def test_what_airflow_has_as_a_success_and_the_ledger_has_not(
    there: str, events: str, direction: str, said: str | None
) -> None:
    account = Account("x", tuple(map(entry, there.split())))
    assert not_so({"001": "t"}, account, rows(events), direction=direction) == ([said] if said else [])


def test_the_state_of_a_target_tells_what_is_applied_and_since_when() -> None:
    def state(*entries: Entry) -> str:
        return Account("x", entries).state

    one, two = entry("1"), entry("2@5")
    assert Account("x", (one, entry("3~"), two)).applied == ("001", "002")
    assert state(one, entry("3~")) == state(one)
    assert state() == NOTHING_APPLIED == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert len({state(), state(one), state(one, two), state(entry("1@5")), state(two)}) == 5
    east = entry("1", applied_at=one.applied_at.astimezone(timezone(timedelta(hours=2))))
    assert state(east) == state(one)


# Rows of the audit log


def test_the_row_behind_the_last_one() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    who = {"actor": "ann", "dag_id": None, "run_id": None, "task_id": None, "try_number": None}
    made = following(f"0:{GENESIS}", "wm", at, "applied", "001", who, 5, {"rows": 3})
    assert made == AuditRow(1, at, "applied", "001", **who, duration_ms=5, details={"rows": 3}, previous_hash=GENESIS,
                            hash=made.computed_hash())  # fmt: skip
    assert made.head == f"1:{made.hash}"
    assert made.line() == made.canonical()[:-1] + f',"hash":"{made.hash}"}}'
    after = following(made.head, "wm", at, "applied", "002", who, 5, {})
    assert (after.position, after.previous_hash) == (2, made.hash)


@pytest.mark.parametrize("head", [None, "", "x"])
def test_a_log_without_a_head_is_damaged(head: str | None) -> None:
    with pytest.raises(LedgerDamaged, match=r"^wm\.application_metadata has no audit_head"):
        following(head, "wm", BEFORE, "applied", "001", {}, 5, {})


# What a sensor waits for


def test_which_objects_are_asked_for() -> None:
    _, parameters = Objects(["app.t", 'App."T x".c']).question()
    assert parameters == [["app.t", 'App."T x".c'], ["app", "app"], ["t", "T x"], [None, "c"]]
    assert Objects(["a.b", "c.d"]).waiting([("a.b", True), ("c.d", False)]) == ["c.d"]


@pytest.mark.parametrize(
    ("names", "named"),
    [([], "nothing"), (["t"], "t"), (["a.b", "a.b.c.d"], "a.b.c.d"), (["a.1"], "a.1"), ([""], "nothing")],
)
def test_what_names_no_table(names: list[str], named: str) -> None:
    with pytest.raises(WMigrateError) as raised:
        Objects(names).question()
    assert str(raised.value).startswith(f"{named} names no table")
    assert raised.value.hint == "write schema.table or schema.table.column, as in SQL"


def test_locks_of_migrations_are_asked_for_by_their_numbers() -> None:
    _, (numbers,) = NoMigration("wm").question()
    _, (others,) = NoMigration("other").question()
    assert numbers[0] == others[0]
    assert numbers[1] != others[1]
