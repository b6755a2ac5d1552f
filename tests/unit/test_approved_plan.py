"""What a person approves, as one value, and what is not so any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta, timezone
from typing import Any

import pytest
from in_words import BEFORE, migration
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot, canonical, fact, ordered
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.ledger.approval import has_begun, of_ledger
from airflow_provider_wmigrate.engine.ledger.trail import AuditRow
from airflow_provider_wmigrate.engine.model import Finding, Identity, Migration, Plan, Script, Step
from airflow_provider_wmigrate.engine.plan.proposal import Proposal, not_as_approved

SETTINGS = Settings()
STEP = "have a new plan approved"


def schema(*names: str, unseen: str = "", **owners: str) -> Snapshot:
    def a_fact(name: str) -> Any:
        kind = "column" if name.count(".") > 1 else "table"
        return fact(kind, name, "app", "", canonical({"owner": owners.get(name[-1], "me")}))

    return Snapshot(ordered(map(a_fact, names)), dict.fromkeys(unseen.split(), "no right"), {}, 150000)


SCHEMA = schema("app.a", "app.b")


def proposal(words: str = "1 2<1", **changes: Any) -> Proposal:
    migrations = {m.version: m for m in map(migration, words.split())}
    plan = Plan(
        "apply", None, tuple(Step("apply", m.version, m.name, m.script.checksum) for m in migrations.values()), {}
    )
    given: dict[str, Any] = {"environment": "production", "settings": SETTINGS, "head": "7:abc", "snapshot": SCHEMA}
    return Proposal.of(plan, migrations, **given | changes)


def folder(**changes: Migration | None) -> dict[str, Migration]:
    there: dict[str, Migration | None] = {"001": migration("1"), "002": migration("2<1"), **changes}
    return {version: found for version, found in there.items() if found is not None}


def said(findings: Iterable[Finding]) -> list[Finding]:
    return list(findings)


def test_a_proposal_survives_json() -> None:
    made = proposal()
    assert Proposal.from_dict(made.as_dict()) == made
    assert made.as_dict()["steps"][1] == {
        "version": "002",
        "file": "002_m.sql",
        "checksum": Script.of("", "text 2").checksum,
        "rollback_checksum": Script.of("", "undo 2").checksum,
        "declared": made.steps[1].declared,
    }
    assert made.versions == ("001", "002")
    assert list(made.objects) == ["table app.a", "table app.b"]
    assert [len(each) for each in made.objects.values()] == [16, 16]
    assert (made.environment, made.head, made.fingerprint) == ("production", "7:abc", SCHEMA.fingerprint)


EXECUTION = SETTINGS.having(execution=SETTINGS.execution.having(timeout_seconds=7))
BACKUP = SETTINGS.having(backup=SETTINGS.backup.having(enabled=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"words": "1"},
        {"words": "1! 2<1"},
        {"words": "1 2"},
        {"environment": "staging"},
        {"environment": None},
        {"head": "8:abc"},
        {"head": None},
        {"snapshot": schema("app.a")},
        {"snapshot": schema("app.a", "app.b", unseen="role")},
        {"settings": EXECUTION},
        {"settings": BACKUP},
    ],
)
def test_all_that_is_bound_is_in_the_digest(changes: dict[str, Any]) -> None:
    assert proposal(**changes).digest != proposal().digest


def test_what_is_not_bound_is_not_in_the_digest() -> None:
    logging = SETTINGS.having(logging=SETTINGS.logging.having(include_sql=not SETTINGS.logging.include_sql))
    assert proposal(settings=logging).digest == proposal().digest
    assert replace(proposal(), objects={}).digest == proposal().digest, "the fingerprint stands for them"
    assert len(proposal().digest) == 64


def other(version: str, **changes: Any) -> Migration:
    return replace(folder()[version], **changes)


WITHOUT = other("001", rollback=None)


@pytest.mark.parametrize(
    ("now", "edit"),
    [
        (None, "001_m.sql is gone"),
        (other("001", script=Script.of("001_n.sql", "text 1")), "001_m.sql is 001_n.sql now"),
        (other("001", script=Script.of("001_m.sql", "edited")), "001_m.sql was edited"),
        (WITHOUT, "the rollback script of 001_m.sql was deleted"),
        (other("001", rollback=Script.of("r", "edited")), "the rollback script of 001_m.sql was edited"),
        (other("001", transactional=False), "what migration_config.yaml says of 001 was changed"),
        (other("001", name="x"), "what migration_config.yaml says of 001 was changed"),
    ],
)
def test_what_was_edited_since(now: Migration | None, edit: str) -> None:
    message = f"{edit} after the plan that was approved"
    found = said(proposal().of_folder(folder(**{"001": now}), SETTINGS, "002"))
    assert found == [Finding("not_as_approved", message, STEP, version="001")]


def test_a_rollback_script_that_was_added_since() -> None:
    plan = Plan("apply", None, (Step("apply", "001", "m", ""),), {})
    made = Proposal.of(plan, {"001": WITHOUT}, environment=None, settings=SETTINGS, head=None, snapshot=SCHEMA)
    message = "the rollback script of 001_m.sql was added after the plan that was approved"
    assert said(made.of_folder(folder(), SETTINGS, "001")) == [not_as_approved(message, "001")]


@pytest.mark.parametrize(
    "changes", [{"description": "x"}, {"config_line": 7}, {"estimated_duration_seconds": 3.0}], ids=str
)
def test_what_says_nothing_of_the_work_may_change(changes: dict[str, Any]) -> None:
    assert said(proposal().of_folder(folder(**{"001": other("001", **changes)}), SETTINGS, "001")) == []


def test_another_version_and_other_settings_were_not_approved() -> None:
    changed = (
        "settings.execution or settings.backup in migration_config.yaml were changed after the plan that was approved"
    )
    assert said(proposal().of_folder(folder(), EXECUTION, "003")) == [
        Finding("not_as_approved", "003 is not part of what was approved", STEP, version="003"),
        Finding("not_as_approved", changed, STEP),
    ]
    assert said(proposal().of_folder(folder(), BACKUP, "002")) == [Finding("not_as_approved", changed, STEP)]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (SCHEMA, None),
        (schema("app.a"), "table app.b is gone"),
        (schema("app.a", "app.b", b="you"), "table app.b was changed"),
        (schema("app.a", "app.b", "app.c", "app.c.id"), "table app.c is new"),
        (schema("app.a", "app.a.id", "app.b"), "column app.a.id is new"),
        (schema("app.c"), "table app.a is gone; table app.b is gone; table app.c is new"),
        (schema("app.c", "app.d"), "table app.a is gone; table app.b is gone; table app.c is new (and 1 more)"),
        (schema("app.a", "app.b", unseen="role"), "this role sees another part of it"),
    ],
)
def test_which_objects_are_not_what_they_were(now: Snapshot, told: str | None) -> None:
    message = f"the schema is not the one for which the plan was approved: {told}"
    assert said(proposal().of_schema(now)) == ([Finding("not_as_approved", message, STEP)] if told else [])


# What the audit log says

RUN = Identity("ann", dag_id="d", run_id="r1")


def row(event: str, version: str | None = None, **changes: Any) -> AuditRow:
    values: dict[str, Any] = {"actor": "bob", "dag_id": "d", "run_id": "r1", "details": {}, "at": BEFORE}
    rest = dict.fromkeys(("task_id", "try_number", "duration_ms"))
    return AuditRow(position=8, event=event, version=version, previous_hash="", hash="", **values | rest | changes)


def answer(event: str = "approved", **changes: Any) -> AuditRow:
    return row(event, **{"details": {"digest": proposal().digest}, **changes})


PARIS = BEFORE.astimezone(timezone(timedelta(hours=1)))
NOBODY = "nobody has approved this plan in this run"
REJECTED = "this plan was rejected by bob at 2025-01-02 03:04 UTC"
ANOTHER = "what bob approved at 2025-01-02 03:04 UTC is another plan than this one"
BY_EVE = "by eve in run x at 2025-01-02 03:04 UTC, after the plan that was approved"
BY_US = "by bob in run r1 at 2025-01-02 03:04 UTC, after the plan that was approved"
EVE = {"actor": "eve", "run_id": "x"}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], [(NOBODY, None)]),
        ([answer()], []),
        ([answer(run_id="r2")], [(NOBODY, None)]),
        ([answer(dag_id="e")], [(NOBODY, None)]),
        ([answer("rejected")], [(REJECTED, None)]),
        ([answer("rejected", at=PARIS)], [(REJECTED, None)]),
        ([answer("rejected"), answer()], []),
        ([answer(), answer("rejected")], [(REJECTED, None)]),
        ([answer(details={"digest": "x"})], [(ANOTHER, None)]),
        ([answer(details={})], [(ANOTHER, None)]),
        ([answer(), row("applied", "001")], []),
        ([answer(), row("applied", "003")], [(f"applied 003 {BY_US}", "003")]),
        ([answer(), row("applied", "001", **EVE)], [(f"applied 001 {BY_EVE}", "001")]),
        ([answer(), row("rolled_back", "001", **EVE)], [(f"rolled back 001 {BY_EVE}", "001")]),
        ([answer(), row("started", "003", **EVE)], [(f"started 003 {BY_EVE}", "003")]),
        ([answer(), row("planned", None, **EVE)], []),
        ([answer(), row("failed", "003", **EVE)], []),
        (
            [answer(), row("applied", "009", actor="eve", dag_id=None, run_id=None)],
            [("applied 009 by eve at 2025-01-02 03:04 UTC, after the plan that was approved", "009")],
        ),
    ],
)  # fmt: skip
def test_who_has_approved_it_and_what_others_did_since(
    rows: list[AuditRow], found: list[tuple[str, str | None]]
) -> None:
    made = list(of_ledger(proposal(), rows, RUN))
    assert made == [Finding("not_as_approved", message, STEP, version=version) for message, version in found]


@pytest.mark.parametrize(
    ("rows", "begun"),
    [
        ([], False),
        ([answer()], False),
        ([row("started", "001")], True),
        ([row("applied", "002")], True),
        ([row("applied", "003")], False),
        ([row("applied", "001", run_id="x")], False),
        ([row("planned", "001")], False),
    ],
)
def test_whether_the_run_itself_has_begun(rows: list[AuditRow], begun: bool) -> None:
    assert has_begun(proposal(), rows, RUN) is begun
