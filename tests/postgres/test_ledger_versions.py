"""Every version of the ledger that was ever released is read, upgraded and extended; a new one equals an upgraded one.

`ledgers/v<N>.sql` is what a program of that version left behind; see dev/freeze_ledger.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions import alone
from airflow_provider_wmigrate.engine.decisions.repair import repair
from airflow_provider_wmigrate.engine.errors import LedgerDamaged, LedgerTooNew
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION, Ledger
from airflow_provider_wmigrate.engine.ledger.ledger_upgrades import UPGRADES, LedgerUpgrade, newest
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from dev.freeze_ledger import FILES, LEDGERS

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

ANN = Identity("ann")
VERSIONS = sorted(int(file.stem.removeprefix("v")) for file in LEDGERS.glob("v*.sql"))
STEP = LedgerUpgrade(
    newest(UPGRADES) + 1,
    "ALTER TABLE {schema}.schema_migrations ADD COLUMN owner text;"
    "COMMENT ON COLUMN {schema}.schema_migrations.owner IS 'Who is asked';"
    "CREATE TABLE {schema}.notes (id int, tags text[] NOT NULL DEFAULT '{{}}');",
    {"schema_migrations": ("owner",)},
)
"""A step as a later version may have one."""
LATER = Ledger(upgrades=(*UPGRADES, STEP))

CATALOGS = (
    "SELECT c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    " WHERE c.relnamespace = 'wmigrate'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm') ORDER BY 1, 3",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'wmigrate'::regnamespace ORDER BY 1, 2",
    "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    " WHERE c.relnamespace = 'wmigrate'::regnamespace ORDER BY 1",
    "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE c.relnamespace = 'wmigrate'::regnamespace AND NOT t.tgisinternal ORDER BY 1",
    "SELECT pg_get_functiondef(oid), obj_description(oid, 'pg_proc') FROM pg_proc"
    " WHERE pronamespace = 'wmigrate'::regnamespace ORDER BY 1",
    "SELECT relname, relkind, relrowsecurity, obj_description(oid, 'pg_class') FROM pg_class"
    " WHERE relnamespace = 'wmigrate'::regnamespace ORDER BY 1",
)


def catalogs(conn: Conn) -> list[list[tuple[Any, ...]]]:
    return [conn.execute(query.encode()).fetchall() for query in CATALOGS]


def load(conn: Conn, version: int) -> None:
    """Into an empty database."""
    conn.execute((LEDGERS / f"v{version}.sql").read_bytes())


def entries(conn: Conn) -> dict[str, str]:
    return dict(conn.execute("SELECT version, status FROM wmigrate.schema_migrations").fetchall())


def test_every_version_has_its_frozen_ledger() -> None:
    assert list(range(1, LEDGER_VERSION + 1)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_ledger_is_read_as_it_is(conn: Conn, migrator: MakeMigrator, version: int) -> None:
    load(conn, version)
    before = catalogs(conn)
    old = migrator(FILES)
    state = old.read()
    assert state.ledger_version == version
    assert {e.version: e.status for e in state.entries} == entries(conn)
    assert [f.code for f in old.plan().findings if f.severity == "error"] == []
    assert old.ledger.verify(conn) == ()
    assert catalogs(conn) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_ledger_is_upgraded_and_goes_on(conn: Conn, migrator: MakeMigrator, version: int) -> None:
    load(conn, version)
    head = Ledger().metadata(conn)["audit_head"]
    right = {**FILES, "003_index.sql": FILES["003_index.sql"].replace("nope)", "name)")}
    run = migrator(right)
    assert run.apply("001").outcome is Outcome.ALREADY_APPLIED
    assert run.apply("003").outcome is Outcome.APPLIED
    assert run.roll_back("004").outcome is Outcome.ROLLED_BACK
    assert entries(conn) == {"001": "applied", "002": "applied", "003": "applied"}
    assert run.ledger.version(conn) == LEDGER_VERSION
    assert run.ledger.verify(conn, expected_head=head) == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_ledger_equals_an_upgraded_one(cluster: Cluster, conn: Conn, version: int) -> None:
    """Fails when ledger.sql was edited: add a step to engine/ledger/ledger_upgrades.py instead."""
    load(conn, version)
    with conn.transaction():
        make_current(Ledger(), conn, ANN, version)
    with psycopg.connect(cluster.create_database(f"fresh_{version}", template="template0")) as fresh:
        make_current(Ledger(), fresh, ANN)
        assert catalogs(conn) == catalogs(fresh)
    cluster.drop_database(f"fresh_{version}")


# A step that is yet to come


def later(migrator: MakeMigrator, files: dict[str, str] = FILES, **more: Any) -> Any:
    """A migrator of the program that has one more step."""
    made = migrator(files, **more)
    made._access.ledger = LATER
    return made


def test_the_first_run_that_writes_upgrades_once(conn: Conn, migrator: MakeMigrator) -> None:
    load(conn, VERSIONS[-1])
    run = later(migrator)
    assert run.read().ledger_version == LEDGER_VERSION
    run.record("planned")
    run.record("planned")
    assert run.ledger.version(conn) == LEDGER_VERSION + 1
    rows = [row for row in run.ledger.log.rows(conn) if row.event == "ledger_upgraded"]
    assert [(row.details["from"], row.details["to"]) for row in rows] == [(LEDGER_VERSION, LEDGER_VERSION + 1)]
    assert run.ledger.verify(conn) == ()
    assert run.roll_back("004").outcome is Outcome.ROLLED_BACK
    assert conn.execute("SELECT count(*) FROM wmigrate.notes").fetchone() == (0,)


def test_a_new_ledger_has_the_step_too(cluster: Cluster, conn: Conn) -> None:
    load(conn, VERSIONS[-1])
    with conn.transaction():
        make_current(LATER, conn, ANN, VERSIONS[-1])
    with psycopg.connect(cluster.create_database("later", template="template0")) as fresh:
        make_current(LATER, fresh, ANN)
        assert LATER.version(fresh) == LEDGER_VERSION + 1
        assert catalogs(conn) == catalogs(fresh)
    cluster.drop_database("later")


@pytest.mark.parametrize("act", ["roll_back", "dry_run"])
def test_rollbacks_and_dry_runs_upgrade_too(conn: Conn, migrator: MakeMigrator, act: str) -> None:
    load(conn, VERSIONS[-1])
    run = later(migrator)
    run.roll_back("004") if act == "roll_back" else run.roll_back("004", dry_run=True)
    assert run.ledger.version(conn) == LEDGER_VERSION + 1


def test_a_repair_upgrades_too(
    conn: Conn, make_folder: Callable[..., Path], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(conn, VERSIONS[-1])
    name = next(name for name in FILES if name.startswith("001"))
    folder = read_folder(make_folder({**FILES, name: FILES[name] + "-- edited"}))
    monkeypatch.setattr(alone, "Ledger", lambda schema: Ledger(schema, upgrades=(*UPGRADES, STEP)))
    repair(alone.Decider(lambda: psycopg.connect(database), folder, ANN, "a comment"), "001", "accept")
    assert [row.event for row in LATER.log.rows(conn)][-2:] == ["ledger_upgraded", "repaired"]
    assert LATER.version(conn) == STEP.version


@pytest.mark.parametrize("version", [v for v in VERSIONS if v < 3])
def test_a_role_without_create_goes_on_after_the_upgrade(
    conn: Conn, database: str, migrator: MakeMigrator, version: int
) -> None:
    """What it was granted once is enough: an upgrade that its DBA makes asks for no other grant."""
    load(conn, version)
    conn.execute("CREATE ROLE granted LOGIN; GRANT USAGE ON SCHEMA wmigrate TO granted")
    conn.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON wmigrate.schema_migrations TO granted")
    conn.execute("GRANT SELECT, INSERT, UPDATE ON wmigrate.application_metadata TO granted")
    conn.execute("GRANT SELECT, INSERT ON wmigrate.audit_log TO granted")
    conn.execute("GRANT ALL ON SCHEMA public TO granted; GRANT ALL ON shop TO granted")
    conn.execute("ALTER VIEW dear OWNER TO granted")
    try:
        run = migrator(FILES)
        run._access.connect = lambda: psycopg.connect(database, user="granted")
        (lacks,) = [f.next_step for f in run.plan().findings if f.code == "ledger_rights"]
        assert lacks == (
            'ask a database administrator to run: GRANT CREATE ON SCHEMA "wmigrate" TO "granted";'
            ' GRANT "postgres" TO "granted"'
        )
        migrator(FILES).record("planned")
        assert [f for f in run.plan().findings if f.code == "ledger_rights"] == []
        assert run.roll_back("004").outcome is Outcome.ROLLED_BACK
        assert conn.execute("SELECT count(*) FROM wmigrate.schema_snapshots").fetchone() == (1,)
        assert run.apply("004").outcome is Outcome.APPLIED
    finally:
        conn.execute("DROP OWNED BY granted; DROP ROLE granted")


def test_the_program_before_refuses_it(conn: Conn, migrator: MakeMigrator) -> None:
    load(conn, VERSIONS[-1])
    later(migrator).record("planned")
    with pytest.raises(LedgerTooNew):
        migrator(FILES).apply("001")


def test_a_step_that_fails_leaves_the_old_ledger(conn: Conn, migrator: MakeMigrator) -> None:
    load(conn, VERSIONS[-1])
    before = catalogs(conn)
    wrong = LedgerUpgrade(STEP.version, STEP.script + "SELECT 1/0;", STEP.columns)
    run = migrator(FILES)
    run._access.ledger = Ledger(upgrades=(*UPGRADES, wrong))
    with pytest.raises(Exception, match="division by zero"):
        run.apply("001")
    assert catalogs(conn) == before
    assert Ledger().verify(conn) == ()


def test_two_who_come_at_once_upgrade_once(conn: Conn, migrator: MakeMigrator) -> None:
    load(conn, VERSIONS[-1])
    runs = [later(migrator) for _ in range(4)]
    with ThreadPoolExecutor(len(runs)) as pool:
        assert list(pool.map(lambda run: bool(run.record("planned")), runs)) == [True] * 4
    events = [row.event for row in LATER.log.rows(conn)]
    assert (events.count("ledger_upgraded"), events[-4:].count("planned")) == (1, 4)
    assert LATER.verify(conn) == ()


def test_an_upgrade_that_commits_during_the_look_is_no_damage(conn: Conn, database: str) -> None:
    """The look stands at the version, behind the lock; the columns it has seen by then are the old ones."""
    load(conn, VERSIONS[-1])
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'wmigrate.application_metadata'::regclass"
    with psycopg.connect(database, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        with conn.transaction():
            conn.execute("LOCK TABLE wmigrate.application_metadata IN ACCESS EXCLUSIVE MODE")
            found = pool.submit(LATER.version, other)
            while not conn.execute(waiting).fetchall():
                assert not found.done()
                time.sleep(0.01)
            make_current(LATER, conn, ANN, VERSIONS[-1])
        assert found.result() == STEP.version


def test_a_ledger_that_lacks_the_columns_of_its_version(conn: Conn) -> None:
    load(conn, VERSIONS[-1])
    conn.execute(
        "UPDATE wmigrate.application_metadata SET value = %s WHERE key = 'ledger_version'", [str(STEP.version)]
    )
    with pytest.raises(LedgerDamaged, match="other columns"):
        LATER.version(conn)


def test_the_steps_are_numbered_without_gaps() -> None:
    with pytest.raises(ValueError, match="number them 2, 3, 4"):
        Ledger(upgrades=[LedgerUpgrade(3, "")])
