"""Entries, rollback scripts and the trigger against what the audit log says of them: the decisions alone."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.ledger.guard import (
    TriggerState,
    changed_rollback,
    forged_entries,
    open_log,
    original_body,
)
from airflow_provider_wmigrate.engine.ledger.trail import AuditRow
from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, Script

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
ASK = "find out who has write access to the ledger"
FACTS = {"name": "shop", "status": "applied", "checksum": "aa", "rollback_checksum": "bb", "actor": "ann"}
SESSION = {"user": "mig", "address": None, "pid": 7}
UNDO = Script.of("002_shop.rollback.sql", "DROP TABLE shop;")
ENTRY = Entry("002", "shop", "applied", "aa", "sha256", (), UNDO.checksum, AT, 5, 1, 1, (), Identity("ann"))


def row(event: str = "applied", *, version: str = "002", position: int = 9, **details: Any) -> AuditRow:
    made = AuditRow(position, AT, event, version, "ann", None, None, None, None, 5, details, "0" * 64, "")
    return replace(made, hash=made.computed_hash())


def said(entry: dict[str, Any] | None, event: str = "applied") -> AuditRow:
    return row(event, session=SESSION, entry=entry)


def found(log: AuditRow | None, entry: dict[str, Any] | None) -> list[Finding]:
    return list(forged_entries({"002": log} if log else {}, {"002": entry} if entry else {}))


def forged(message: str, next_step: str) -> list[Finding]:
    return [Finding("entry_forged", f"migration 002: {message}", next_step, version="002")]


# Entries


def test_entries_that_agree() -> None:
    assert found(said(FACTS), dict(FACTS)) == []
    assert found(said(None, "rolled_back"), None) == []
    assert list(forged_entries({}, {})) == []


def test_an_entry_that_nobody_wrote() -> None:
    next_step = f"delete it, and declare it with `wmigrate baseline` if it is right; {ASK}"
    assert found(None, FACTS) == forged("its entry has no row in the audit log", next_step)


def test_an_entry_of_what_was_rolled_back() -> None:
    message = "it has an entry, but row 9 (rolled_back) of the audit log has none"
    assert found(said(None, "rolled_back"), FACTS) == forged(message, f"delete it, and {ASK}")


def test_an_entry_that_is_gone() -> None:
    message = "its entry is gone, but row 9 (applied) of the audit log has one"
    assert found(said(FACTS), None) == forged(message, f"put it back as it is there, and {ASK}")


@pytest.mark.parametrize("name", sorted(FACTS))
def test_any_fact_that_was_changed(name: str) -> None:
    message = f"its entry is not that of row 9 (applied) of the audit log: {name} is 'x' and was {FACTS[name]!r}"
    assert found(said(FACTS), {**FACTS, name: "x"}) == forged(message, f"put back what was, and {ASK}")


def test_facts_that_only_one_of_them_has() -> None:
    message = (
        "its entry is not that of row 9 (applied) of the audit log: actor is None and was 'ann', more is 1 and was None"
    )
    fewer = {name: value for name, value in FACTS.items() if name != "actor"}
    assert found(said(FACTS), {**fewer, "more": 1}) == forged(message, f"put back what was, and {ASK}")


def test_a_row_of_the_log_that_was_changed_vouches_for_nothing() -> None:
    message = "row 9 of the audit log, which says what its entry is, was changed"
    assert found(replace(said(FACTS), actor="bob"), FACTS) == forged(message, ASK)
    listed = replace(row(), details=["session"])
    assert found(replace(listed, hash=listed.computed_hash()), FACTS) == forged(message, ASK)


def test_rows_from_before_they_said_it_say_nothing() -> None:
    assert found(row(checksum="other"), FACTS) == []
    assert found(row("rolled_back"), FACTS) == []
    assert found(row(), None) == []


def test_in_the_order_of_versions() -> None:
    names = [f.version for f in forged_entries({}, {"1000": FACTS, "999": FACTS, "x": FACTS, "٣": FACTS})]
    assert names == ["x", "٣", "999", "1000"]


# Rollback scripts


def judged(script: Script = UNDO, *, kept: str | None = UNDO.checksum, log: AuditRow | None) -> Finding | None:
    return changed_rollback(replace(ENTRY, rollback_checksum=kept), script, log)


@pytest.mark.parametrize(
    "log",
    [None, said({"rollback_checksum": UNDO.checksum}), row(), row(entry={"rollback_checksum": "old"}), said({})],
    ids=["no row", "the same", "a row from before", "a row from before with an entry", "facts from before"],
)
def test_a_rollback_script_that_is_the_stored_one(log: AuditRow | None) -> None:
    assert judged(log=log) is None


def changed(has: str, stored: str | None) -> Finding:
    return Finding(
        "entry_forged",
        f"the rollback script of migration 002 in the ledger has the checksum {has}, but {stored} was stored",
        "put 002_shop.rollback.sql into the folder beside its migration and say `--script folder`, or restore the"
        f" ledger's row; {ASK}",
        version="002",
    )


def test_a_rollback_script_that_is_not() -> None:
    other = Script.of(UNDO.file, "DROP TABLE users;")
    assert judged(other, log=None) == changed(other.checksum, UNDO.checksum)
    assert judged(other, log=said({"rollback_checksum": UNDO.checksum})) == changed(other.checksum, UNDO.checksum)
    both = judged(other, kept=other.checksum, log=said({"rollback_checksum": UNDO.checksum}))
    assert both == changed(other.checksum, UNDO.checksum)
    assert judged(kept="cc", log=said({"rollback_checksum": UNDO.checksum})) == changed(UNDO.checksum, UNDO.checksum)
    assert judged(log=said({"rollback_checksum": None})) == changed(UNDO.checksum, UNDO.checksum)
    assert judged(log=said(None, "rolled_back")) == changed(UNDO.checksum, UNDO.checksum)
    assert judged(replace(UNDO, checksum="dd"), kept=None, log=None) == changed("dd", None)


# The trigger

WHOLE = TriggerState(True, True, "wmigrate.refuse_change", "the text")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (WHOLE, None),
        (None, "it is gone"),
        (replace(WHOLE, enabled=False), "it is disabled"),
        (replace(WHOLE, complete=False), "it does not fire before every UPDATE, DELETE and TRUNCATE"),
        (replace(WHOLE, function="public.nothing"), "it calls public.nothing instead of wmigrate.refuse_change"),
        (replace(WHOLE, body="another"), "its function wmigrate.refuse_change was replaced"),
    ],
)
def test_whether_the_log_is_append_only(state: TriggerState | None, reason: str | None) -> None:
    assert open_log(state, "wmigrate", "the text") == reason


def test_the_functions_text_is_that_of_the_script_that_makes_the_ledger() -> None:
    body = original_body()
    assert "RAISE EXCEPTION 'audit_log is append-only: % refused', TG_OP" in body
    assert (body[0], body.strip()[:5], body.strip()[-3:]) == ("\n", "BEGIN", "END")
