"""An existing database is declared to be at a version: what is written, what is refused, and what others see of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.baseline import Baselined, baseline, plan_baseline
from airflow_provider_wmigrate.engine.errors import HistoryError, LockTimeout, UnknownVersion, WMigrateError
from airflow_provider_wmigrate.engine.events import Waiting
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.ledger_upgrades import UPGRADES
from airflow_provider_wmigrate.engine.model import CHECKSUM_ALGORITHM, Identity, Script, Status
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock

Files = dict[str, str]
MakeFolder = Callable[[Files], Path]
MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

ANN = Identity("ann", "dag", "run", "task", 2)
SHOP = {
    "001_shop.sql": "CREATE TABLE shop (id int);",
    "001_shop.rollback.sql": "DROP TABLE shop;",
    "002_price.sql": "ALTER TABLE shop ADD price int;",
    "003_view.sql": "CREATE VIEW dear AS SELECT * FROM shop;",
}
HELD = AdvisoryLock("wmigrate:wmigrate").number


def config(*blocks: str, execution: str = "") -> Files:
    lines = "".join(f"  - {{{block}}}\n" for block in blocks)
    return {"migration_config.yaml": f"settings:\n  execution: {{{execution}}}\nmigrations:\n{lines or '  []'}\n"}


@dataclass(frozen=True)
class Declare:
    """Calls of baseline on the test's database and folder."""

    dsn: str
    make_folder: MakeFolder

    def __call__(self, files: Files, to: str, **more: Any) -> Baselined:
        return self.of(self.make_folder(files), to, **more)

    def of(self, folder: Path, to: str, **more: Any) -> Baselined:
        what = {name: more.pop(name) for name in ("agreed", "accepted") if name in more}
        more = {"reason": "it was there", "identity": ANN, **more}
        return baseline(Decider(lambda: psycopg.connect(self.dsn), read_folder(folder), **more), to, **what)


@pytest.fixture
def declare(database: str, make_folder: MakeFolder) -> Declare:
    return Declare(database, make_folder)


def everything(conn: Conn) -> list[Any]:
    """Every row of the ledger, or that there is none."""
    if conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,):
        return []
    tables = ("schema_migrations", "application_metadata", "audit_log")
    return [conn.execute(f"SELECT * FROM wmigrate.{table} ORDER BY 1".encode()).fetchall() for table in tables]


def audit(conn: Conn) -> list[tuple[str, str | None]]:
    return conn.execute("SELECT event, version FROM wmigrate.audit_log ORDER BY position").fetchall()


def refused(call: Callable[[], object], conn: Conn) -> list[str]:
    """The findings of a refusal that changed nothing."""
    before = everything(conn)
    with pytest.raises(HistoryError) as caught:
        call()
    assert everything(conn) == before
    assert {f.code for f in caught.value.findings} == {"not_declarable"}
    return [str(f) for f in caught.value.findings]


# What is written


def test_the_ledger_is_made_and_nothing_is_run(declare: Declare, conn: Conn) -> None:
    done = declare(SHOP, "2", reason=" it was\n there ")
    assert (done.to, done.versions, done.reason) == ("002", ("001", "002"), "it was there")
    assert conn.execute("SELECT to_regclass('public.shop')").fetchone() == (None,)
    assert audit(conn) == [("ledger_created", None), ("baselined", "001"), ("baselined", "002")]
    ledger = Ledger()
    assert ledger.verify(conn, expected_head=done.audit_head) == ()
    assert ledger.metadata(conn)["schema_version"] == "002"
    assert ledger.metadata(conn)["audit_head"] == done.audit_head


def test_an_entry_is_as_an_apply_would_leave_it(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    declare(SHOP, "2")
    first, second = Ledger().entries(conn)
    assert (first.version, first.name, first.status, first.direction) == ("001", "shop", "applied", "apply")
    assert first.checksum == Script.of("", SHOP["001_shop.sql"]).checksum
    assert first.checksum_algorithm == CHECKSUM_ALGORITHM
    assert first.rollback_checksum == Script.of("", SHOP["001_shop.rollback.sql"]).checksum
    assert Ledger().rollback_script(conn, first) == Script.of("001_shop.rollback.sql", SHOP["001_shop.rollback.sql"])
    assert (first.duration_ms, first.statements_done, first.statements_total) == (0, 0, 0)
    assert (first.statement_hashes, first.identity) == ((), ANN)
    assert (first.dependencies, second.dependencies, second.rollback_checksum) == ((), ("001",), None)


def test_the_audit_row_says_why_and_holds_no_sql(declare: Declare, conn: Conn) -> None:
    declare(SHOP, "1")
    row = list(Ledger().log.rows(conn))[-1]
    assert (row.event, row.version, row.actor, row.run_id, row.duration_ms) == ("baselined", "001", "ann", "run", None)
    checksum = Script.of("", SHOP["001_shop.sql"]).checksum
    details = {name: value for name, value in row.details.items() if name not in ("session", "entry")}
    assert details == {"to": "001", "reason": "it was there", "name": "shop", "checksum": checksum}
    assert "CREATE" not in str(row)


def test_what_the_versions_need_is_declared_too(declare: Declare, conn: Conn) -> None:
    files = SHOP | config("version: '001', dependencies: []", "version: '002', dependencies: ['003']",
                          "version: '003', dependencies: ['001']")  # fmt: skip
    assert declare(files, "2").versions == ("001", "003", "002")
    assert Ledger().metadata(conn)["schema_version"] == "003"


def test_what_is_applied_stays_as_it_is(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    migrator(SHOP).apply("001")
    before = Ledger().entries(conn)[0]
    assert declare(SHOP, "3").versions == ("002", "003")
    assert Ledger().entries(conn)[0] == before


def test_nothing_to_declare_changes_nothing(declare: Declare, conn: Conn) -> None:
    declare(SHOP, "2")
    before = everything(conn)
    done = declare(SHOP, "1")
    assert (done.versions, done.audit_head) == ((), None)
    assert everything(conn) == before


def test_all_or_nothing(declare: Declare, conn: Conn) -> None:
    """The server refuses the last audit row: neither an entry nor the ledger before it stays."""
    declare(SHOP, "1")
    conn.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';"
        "CREATE TRIGGER no BEFORE INSERT ON wmigrate.audit_log FOR EACH ROW WHEN (NEW.version = '003')"
        " EXECUTE FUNCTION no()"
    )
    before = everything(conn)
    with pytest.raises(WMigrateError) as refused:
        declare(SHOP, "3")
    assert str(refused.value) == (
        "the ledger cannot be used: no, in PL/pgSQL function no() line 1 at RAISE; that is not wmigrate's own"
        " (an event trigger?): fix it, or make it ignore schema wmigrate"
    )
    assert everything(conn) == before


def test_an_older_ledger_is_upgraded(declare: Declare, conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_wmigrate.engine.decisions import alone as module
    from airflow_provider_wmigrate.engine.ledger.ledger_upgrades import LedgerUpgrade

    declare(SHOP, "1")
    step = LedgerUpgrade(len(UPGRADES) + 2, "COMMENT ON SCHEMA {schema} IS 'newer'")
    monkeypatch.setattr(module, "Ledger", lambda schema: Ledger(schema, upgrades=(*UPGRADES, step)))
    declare(SHOP, "2")
    assert audit(conn)[-2:] == [("ledger_upgraded", None), ("baselined", "002")]
    assert Ledger().metadata(conn)["ledger_version"] == str(step.version)


# What is refused


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("9", "the newest one is 003"),
        ("0003x", "did you mean 003?"),
        ("0", "no migration 0 in"),
        ("", "no migration  in"),
    ],
)
def test_an_unknown_version(declare: Declare, conn: Conn, version: str, sentence: str) -> None:
    with pytest.raises(UnknownVersion, match=sentence.replace("?", r"\?")):
        declare(SHOP, version)
    assert everything(conn) == []


def test_a_reason_is_needed(declare: Declare, conn: Conn) -> None:
    with pytest.raises(WMigrateError, match="a baseline needs a reason"):
        declare(SHOP, "1", reason=" \n")
    assert everything(conn) == []


def test_a_changed_migration_is_refused(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    migrator(SHOP).apply("001")
    edited = {**SHOP, "001_shop.sql": "CREATE TABLE shop (id bigint);"}
    found = refused(lambda: declare(edited, "2"), conn)
    assert found == [
        "migration 001 is changed, so nothing is declared; restore its file, or accept it with"
        " `wmigrate repair 001 --accept`"
    ]


@pytest.mark.parametrize("gone", [False, True])
def test_an_incomplete_migration_is_refused(declare: Declare, conn: Conn, migrator: MakeMigrator, gone: bool) -> None:
    half = {**SHOP, "002_price.sql": "CREATE INDEX CONCURRENTLY one ON shop (id);\nSELECT nowhere;\n"}
    runner = migrator(half)
    runner.apply("001")
    with pytest.raises(WMigrateError):
        runner.apply("002")
    if gone:
        del half["002_price.sql"]
    found = refused(lambda: declare(half, "3"), conn)
    assert found == [
        "migration 002 is incomplete, so nothing is declared; settle it first with `wmigrate repair 002 --done` or"
        " `--undone`",
    ]


def test_what_stands_apart_is_nobodys_business(declare: Declare, migrator: MakeMigrator) -> None:
    """003 is changed, but neither among them nor in need of them."""
    apart = SHOP | {"003_view.sql": "CREATE VIEW dear AS SELECT 1;"} | config("version: '003', dependencies: []")
    migrator(apart).apply("003")
    edited = {**apart, "003_view.sql": "CREATE VIEW dear AS SELECT 2;"}
    assert declare(edited, "2").versions == ("001", "002")


def test_what_an_entry_needed_before_is_refused(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    """003 was applied before 002 was merged, on which the config says that it depends. Without a config nobody does."""
    late = {name: text for name, text in SHOP.items() if "002" not in name}
    runner = migrator(late)
    for version in ("001", "003"):
        runner.apply(version)
    sentence = (
        "migration 002 cannot be declared applied: 003, which needs it, went on without it;"
        " apply 002 with `wmigrate up`, or correct the dependencies of 003 in the config"
    )
    needing = SHOP | config("version: '003', dependencies: ['002']")
    assert refused(lambda: declare(needing, "2"), conn) == [sentence]
    assert refused(lambda: declare(needing, "3"), conn) == [sentence]
    assert declare(SHOP, "2").versions == ("002",)


def test_what_an_entry_says_it_needed_counts_too(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    """The file of 003 is gone; only its entry knows that it needed 002."""
    declare(SHOP, "3")
    conn.execute("DELETE FROM wmigrate.schema_migrations WHERE version = '002'")
    without = {name: text for name, text in SHOP.items() if "003" not in name}
    assert "003, which needs it, went on without it" in refused(lambda: declare(without, "2"), conn)[0]


def test_more_than_was_agreed_is_refused(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    declare(SHOP, "1")
    conn.execute("DELETE FROM wmigrate.schema_migrations")
    found = refused(lambda: declare(SHOP, "2", agreed=["002"]), conn)
    assert found == ["migration 001 was rolled back meanwhile, so nothing is declared; look at `wmigrate status`"]
    assert declare(SHOP, "2", agreed=["001", "002", "003"]).versions == ("001", "002")


# What others make of it


def test_the_others_take_it_for_applied(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    conn.execute("CREATE TABLE shop (id int, price int)")
    declare(SHOP, "2")
    runner = migrator(SHOP)
    plan = runner.plan()
    assert [step.version for step in plan.steps] == ["003"]
    assert plan.statuses["001"] is Status.APPLIED
    assert plan.findings == ()
    assert runner.apply("001").outcome is Outcome.ALREADY_APPLIED
    assert runner.apply("003").outcome is Outcome.APPLIED


@pytest.mark.parametrize("gone", [False, True])
def test_it_can_be_rolled_back(declare: Declare, conn: Conn, migrator: MakeMigrator, gone: bool) -> None:
    """With the folder's script, or with the one that the ledger keeps."""
    conn.execute("CREATE TABLE shop (id int)")
    declare(SHOP, "1")
    files = {name: text for name, text in SHOP.items() if "001" not in name} if gone else SHOP
    assert migrator(files).roll_back("001").outcome is Outcome.ROLLED_BACK
    assert conn.execute("SELECT to_regclass('public.shop')").fetchone() == (None,)
    assert audit(conn)[-1] == ("rolled_back", "001")
    assert Ledger().verify(conn) == ()


def test_a_mistake_is_taken_back_with_an_empty_rollback(declare: Declare, migrator: MakeMigrator) -> None:
    """As the how-to says."""
    declare(SHOP, "2")
    runner = migrator({**SHOP, "002_price.rollback.sql": "SELECT 1;"})
    assert [f.severity for f in runner.plan_rollback(to="001").findings] == ["warning"]
    assert runner.roll_back("002").outcome is Outcome.ROLLED_BACK
    assert runner.plan().statuses["002"] is Status.PENDING


def test_what_the_server_cannot_have_stays_pending(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    needs = "version: '002', requires_extensions: [{name: nowhere_to_be_had, when_missing: skip}]"
    files = SHOP | config(needs, "version: '003', dependencies: ['002']")
    assert declare(files, "3").versions == ("001",)
    plan = migrator(files).plan()
    assert (plan.steps, set(plan.left_out)) == ((), {"002", "003"})


# Several at once


def test_baselines_at_once_declare_each_version_once(declare: Declare, conn: Conn) -> None:
    folder = declare.make_folder(SHOP)
    start = threading.Barrier(4)

    def one(_: int) -> tuple[str, ...]:
        start.wait()
        return declare.of(folder, "3").versions

    with ThreadPoolExecutor(4) as pool:
        found = Counter(pool.map(one, range(4)))
    assert found == {("001", "002", "003"): 1, (): 3}
    assert Counter(audit(conn)) == Counter(
        [("ledger_created", None), *(("baselined", v) for v in ("001", "002", "003"))]
    )
    assert Ledger().verify(conn) == ()


def test_it_waits_for_a_runner_and_reads_again(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    files = {**SHOP, "001_shop.sql": "CREATE TABLE shop (id int);\nSELECT pg_sleep(1.5);"}
    runner = migrator(files)
    folder = declare.make_folder(files)
    told: list[Any] = []
    with ThreadPoolExecutor(2) as pool:
        applying = pool.submit(runner.apply, "001")
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        while not conn.execute(query.encode()).fetchall():
            assert not applying.done()
            time.sleep(0.01)
        declaring = pool.submit(declare.of, folder, "2", on_event=told.append)
        assert applying.result().outcome is Outcome.APPLIED
        assert declaring.result().versions == ("002",)
    assert [type(event) for event in told] in ([], [Waiting])
    assert Ledger().entries(conn)[0].statements_done == 2


def test_a_runner_waits_for_it_and_reads_again(declare: Declare, conn: Conn, migrator: MakeMigrator) -> None:
    """The baseline stands in its transaction, held up by a lock on the log; the runner comes meanwhile."""
    declare(SHOP, "1")
    runner = migrator(SHOP)
    with ThreadPoolExecutor(2) as pool:
        with conn.transaction():
            conn.execute("LOCK TABLE wmigrate.audit_log IN EXCLUSIVE MODE")
            declaring = pool.submit(declare.of, Path(declare.make_folder(SHOP)), "2")
            query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'wmigrate.audit_log'::regclass"
            while not conn.execute(query.encode()).fetchall():
                assert not declaring.done()
                time.sleep(0.01)
            applying = pool.submit(runner.apply, "002")
            time.sleep(0.3)
            assert not applying.done()
        assert declaring.result().versions == ("002",)
        assert applying.result().outcome is Outcome.ALREADY_APPLIED


def test_it_gives_up_when_a_runner_goes_on(declare: Declare, conn: Conn) -> None:
    conn.execute("SELECT pg_advisory_lock_shared(%s)", [HELD])
    with pytest.raises(LockTimeout, match=f"held by pid {conn.info.backend_pid}"):
        declare(SHOP | config(execution="lock_wait_seconds: 0.3"), "1")
    assert everything(conn) == []


# The decision alone


def test_the_decision_alone(make_folder: MakeFolder, migrator: MakeMigrator) -> None:
    runner = migrator(SHOP)
    plan = plan_baseline(list(runner.migrations.values()), runner.graph, runner.read(), to="002")
    assert [step.version for step in plan.steps] == ["001", "002"]
    assert (plan.to, plan.findings, plan.left_out) == ("002", (), {})
