"""What a person has approved is bound: whatever was changed since, by whom, is refused and told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.proposal import Proposal

Conn = psycopg.Connection[Any]

CONFIG = """
settings: {execution: {timeout_seconds: 60}}
migrations:
  - {version: '001', dependencies: []}
  - {version: '002', dependencies: []}
  - {version: '003', dependencies: ['001']}
"""
FILES = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b (id int);",
    "002_b.rollback.sql": "DROP TABLE b;",
    "003_c.sql": "ALTER TABLE a ADD c text;",
    "003_c.rollback.sql": "ALTER TABLE a DROP c;",
    "migration_config.yaml": CONFIG,
}
ALICE = Identity("alice", "shop", "run_1", "migrate.001_a", 1)
AGAIN = "have a new plan approved"


class Approving:
    """A run from its plan to its migrations; each look at the folder is that of a new process."""

    def __init__(self, database: str, folder: Path) -> None:
        self.database, self.folder = database, folder

    def migrator(self, identity: Identity = ALICE, *, proposal: Proposal | None = None) -> Migrator:
        made = Migrator(lambda: psycopg.connect(self.database), read_folder(self.folder), identity=identity)
        made.proposal = proposal
        return made

    def plan(self, *, to: str | None = None) -> Proposal:
        migrator = self.migrator()
        head, snapshot = migrator.look()
        plan, settings = migrator.plan(to=to), migrator.settings
        found = Proposal.of(
            plan, migrator.migrations, environment=None, settings=settings, head=head, snapshot=snapshot
        )
        migrator.record("planned", details={})
        return Proposal.from_dict(found.as_dict())

    def answer(self, proposal: Proposal, event: str = "approved", by: str = "bob", run: Identity = ALICE) -> None:
        self.migrator(replace(run, actor=by)).record(event, details={"digest": proposal.digest})

    def apply(self, proposal: Proposal, *versions: str, identity: Identity = ALICE) -> None:
        self.migrator(identity, proposal=proposal).apply_each(versions)

    def refused(self, proposal: Proposal, version: str = "001") -> list[str]:
        """The messages, without times."""
        with pytest.raises(HistoryError) as raised:
            self.apply(proposal, version)
        assert {(f.code, f.severity, f.next_step) for f in raised.value.findings} == {
            ("not_as_approved", "error", AGAIN)
        }
        return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "NOW", f.message) for f in raised.value.findings]


@pytest.fixture
def run(database: str, make_folder: Callable[..., Path]) -> Approving:
    return Approving(database, make_folder(FILES))


@pytest.fixture
def approved(run: Approving) -> Proposal:
    proposal = run.plan()
    run.answer(proposal)
    return proposal


def tables(conn: Conn) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    return [name for (name,) in conn.execute(query)]


def test_what_was_approved_is_applied_and_nothing_else(run: Approving, conn: Conn) -> None:
    proposal = run.plan(to="002")
    assert run.refused(proposal) == ["nobody has approved this plan in this run"]
    run.answer(proposal)
    run.apply(proposal, "001")
    run.apply(proposal, "002")
    run.apply(proposal, "001")  # cleared, and done already
    assert run.refused(proposal, "003") == ["003 is not part of what was approved"]
    assert tables(conn) == ["a", "b"]
    refused = conn.execute("SELECT details -> 'findings' FROM wmigrate.audit_log WHERE event = 'refused'").fetchall()
    assert refused == [(["not_as_approved"],)] * 2


def edits(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """File, its new text, and what is told."""
    then = "after the plan that was approved"
    yield folder / "001_a.sql", "CREATE TABLE a (id bigint);", f"001_a.sql was edited {then}"
    yield folder / "002_b.sql", "CREATE TABLE z ();", f"002_b.sql was edited {then}"
    yield folder / "001_a.rollback.sql", "SELECT 1;", f"the rollback script of 001_a.sql was edited {then}"
    config = folder / "migration_config.yaml"
    slow = CONFIG.replace("60", "61")
    yield config, slow, f"settings.execution or settings.backup in migration_config.yaml were changed {then}"
    other = CONFIG.replace("'003', dep", "'003', transactional: false, dep")
    yield config, other, f"what migration_config.yaml says of 003 was changed {then}"


def test_an_edit_after_the_approval_is_refused(run: Approving, approved: Proposal, conn: Conn) -> None:
    for file, text, told in list(edits(run.folder)):
        before = file.read_text()
        file.write_text(text)
        # A changed limit counts for each migration that has none of its own.
        first, *others = run.refused(approved)
        assert told in (first, *others)
        assert not others or "settings" in told
        file.write_text(before)
    (run.folder / "003_c.rollback.sql").unlink()
    assert run.refused(approved) == ["the rollback script of 003_c.sql was deleted after the plan that was approved"]
    (run.folder / "003_c.rollback.sql").write_text(FILES["003_c.rollback.sql"])
    assert tables(conn) == []
    run.apply(approved, "001", "002", "003")
    assert tables(conn) == ["a", "b"]


def test_what_others_do_after_the_approval_is_refused(run: Approving, approved: Proposal, conn: Conn) -> None:
    run.migrator(Identity("carol")).apply("002")
    told = "applied 002 by carol at NOW, after the plan that was approved"
    assert run.refused(approved) == [told]
    run.migrator(Identity("carol", run_id="other")).roll_back("002")
    assert run.refused(approved) == [
        told,
        "rolled back 002 by carol in run other at NOW, after the plan that was approved",
    ]
    assert tables(conn) == []


def test_what_others_try_does_not_matter(run: Approving, approved: Proposal, conn: Conn) -> None:
    run.migrator(Identity("carol")).apply("003", dry_run=True)
    run.migrator(Identity("carol")).record("planned", details={})
    run.apply(approved, "001")
    assert tables(conn) == ["a"]


def test_another_schema_than_the_one_approved_is_refused(run: Approving, approved: Proposal, conn: Conn) -> None:
    conn.execute("CREATE TABLE other (id int); CREATE VIEW seen AS SELECT 1 AS one")
    assert run.refused(approved) == [
        "the schema is not the one for which the plan was approved: table public.other is new; view public.seen is new"
    ]
    conn.execute("DROP TABLE other; DROP VIEW seen")
    run.apply(approved, "001")
    conn.execute("CREATE TABLE other (id int)")  # the run itself has changed the schema by then
    run.apply(approved, "002")
    assert tables(conn) == ["a", "b", "other"]


def test_the_last_answer_counts_and_only_in_its_run(run: Approving, conn: Conn) -> None:
    proposal = run.plan()
    run.answer(proposal, run=replace(ALICE, run_id="run_2"))
    assert run.refused(proposal) == ["nobody has approved this plan in this run"]
    run.answer(proposal)
    run.answer(proposal, "rejected", "dave")
    assert run.refused(proposal) == ["this plan was rejected by dave at NOW"]
    run.answer(proposal)
    other = replace(proposal, environment="production")
    assert run.refused(other) == ["what bob approved at NOW is another plan than this one"]
    run.apply(proposal, "001")
    assert tables(conn) == ["a"]


def test_a_log_that_was_cut_off_is_refused(run: Approving, conn: Conn) -> None:
    run.migrator(Identity("carol")).record("planned", details={})
    proposal = run.plan()
    run.answer(proposal)
    conn.execute("DROP SCHEMA wmigrate CASCADE")
    with pytest.raises(HistoryError) as raised:
        run.apply(proposal, "001")
    assert [f.code for f in raised.value.findings] == ["audit_chain_broken", "not_as_approved"]
    assert tables(conn) == []


def test_a_failed_migration_that_was_mended_needs_a_new_approval(
    database: str, make_folder: Callable[..., Path], conn: Conn
) -> None:
    run = Approving(database, make_folder({**FILES, "001_a.sql": "CREATE TABLE a (id int); SELECT * FROM nowhere;"}))
    proposal = run.plan()
    run.answer(proposal)
    with pytest.raises(Exception, match="nowhere"):
        run.apply(proposal, "001")
    (run.folder / "001_a.sql").write_text(FILES["001_a.sql"])
    assert run.refused(proposal) == ["001_a.sql was edited after the plan that was approved"]
    again = run.plan()
    run.answer(again)
    run.apply(again, "001")
    assert tables(conn) == ["a"]
