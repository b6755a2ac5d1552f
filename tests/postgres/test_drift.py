"""Drift: what runs have made is kept as the known schema; what others change is found, until a person accepts it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.decisions.accept_drift import accept_drift
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.errors import StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.health.inspection import check_health
from airflow_provider_wmigrate.engine.ledger.known_schema import known_schema
from airflow_provider_wmigrate.engine.model import Identity

Conn = psycopg.Connection[Any]
MakeMigrator = Callable[..., Any]

SHOP = {
    "001_shop.sql": "CREATE TABLE shop (id int, name text);",
    "001_shop.rollback.sql": "DROP TABLE shop;",
    "002_price.sql": "ALTER TABLE shop ADD price int;",
    "002_price.rollback.sql": "ALTER TABLE shop DROP price;",
    "003_rows.sql": "INSERT INTO shop VALUES (1, 'a', 2);",
    "003_rows.rollback.sql": "DELETE FROM shop;",
}


def watched(policy: str = "error", **more: str) -> dict[str, str]:
    return {**SHOP, **more, "migration_config.yaml": f"settings: {{drift: '{policy}'}}\n"}


def drift(migrator: Any) -> list[tuple[str, str]]:
    """Of a plan: severity and message, without the time."""
    found = [f for f in migrator.plan().findings if f.code == "drift"]
    return [(f.severity, f.message.partition(" (2")[0] + f.message.partition(" UTC)")[2]) for f in found]


def facts_of(conn: Conn, number: int) -> dict[str, list[str]]:
    """What a snapshot has brought, and what it has ended."""
    query = (
        "SELECT kind || ' ' || identity FROM wmigrate.schema_facts"
        " WHERE {} = %s AND identity LIKE '%%shop%%' ORDER BY 1"
    )
    rows = {way: conn.execute(query.format(f"{way}_snapshot").encode(), [number]) for way in ("from", "to")}
    return {way: [name for (name,) in found] for way, found in rows.items()}


def accept(database: str, folder: Path, conn: Conn, reason: str = "agreed") -> Any:
    who = Decider(lambda: psycopg.connect(database), read_folder(folder), Identity("ann"), reason)
    return accept_drift(who, take(conn).fingerprint)


def test_each_run_writes_what_it_has_changed(conn: Conn, migrator: MakeMigrator) -> None:
    run = migrator(watched())
    run.apply("001")
    run.apply("002")
    run.apply("003")
    run.roll_back("003")
    run.roll_back("002")
    rows = conn.execute("SELECT number, version FROM wmigrate.schema_snapshots ORDER BY 1").fetchall()
    assert rows == [(1, "001"), (2, "002"), (3, "003"), (4, "002"), (5, "001")]
    assert facts_of(conn, 1)["from"] == ["column public.shop.id", "column public.shop.name", "table public.shop"]
    assert facts_of(conn, 2) == {"from": ["column public.shop.price"], "to": []}
    assert facts_of(conn, 3) == {"from": [], "to": []}
    assert facts_of(conn, 5) == {"from": [], "to": ["column public.shop.price"]}
    known = known_schema(conn, "wmigrate")
    assert known is not None
    assert known.fingerprint == known.snapshot.fingerprint == take(conn).fingerprint
    assert drift(run) == []


@pytest.mark.parametrize(("policy", "severity"), [("warn", "warning"), ("error", "error")])
def test_what_others_change_is_found(conn: Conn, migrator: MakeMigrator, policy: str, severity: str) -> None:
    run = migrator(watched(policy))
    run.apply("001")
    conn.execute("ALTER TABLE shop ALTER name TYPE varchar(9), ADD a int, ADD b int; CREATE INDEX i ON shop (id)")
    message = (
        "the schema has 4 differences from what was known after 001:"
        " column public.shop.a is new; column public.shop.b is new;"
        " column public.shop.name: text -> varchar(9) (and 1 more)"
    )
    assert drift(run) == [(severity, message)]
    back = [f.severity for f in run.plan_rollback(to="0").findings if f.code == "drift"]
    assert back == ["warning"]


FORGED = {
    "INSERT INTO wmigrate.schema_migrations SELECT '002', 'price', status, direction, checksum, checksum_algorithm,"
    " dependencies, rollback_sql, rollback_checksum, applied_at, duration_ms, statements_done, statements_total,"
    " statement_hashes, actor FROM wmigrate.schema_migrations": (
        "002",
        "migration 002: its entry has no row in the audit log",
    ),
    "UPDATE wmigrate.schema_migrations SET actor = 'eve'": (
        "001",
        "migration 001: its entry is not that of row 2 (applied) of the audit log: actor is 'eve' and was 'tester'",
    ),
    "DELETE FROM wmigrate.schema_migrations": (
        "001",
        "migration 001: its entry is gone, but row 2 (applied) of the audit log has one",
    ),
}


@pytest.mark.parametrize("statement", FORGED, ids=["inserted", "changed", "deleted"])
def test_an_entry_that_somebody_made_is_found_by_plan_and_health(
    conn: Conn, database: str, migrator: MakeMigrator, tmp_path: Path, statement: str
) -> None:
    run = migrator(watched("error"))
    run.apply("001")
    conn.execute(statement.encode())
    version, message = FORGED[statement]
    assert [(f.version, f.severity, f.message) for f in run.plan().findings if f.code == "entry_forged"] == [
        (version, "error", message)
    ]
    back = run.plan_rollback(to="0").findings
    assert {f.severity for f in back if f.code == "entry_forged"} == {"warning"}
    assert [f.message for f in run.ledger.verify(conn)] == [message]
    health = check_health(lambda: psycopg.connect(database), read_folder(tmp_path / "migrations"), timeout_seconds=60)
    (chain,) = [check for check in health.checks if check.name == "audit_chain"]
    assert (chain.status, chain.reason) == ("unhealthy", message)


def test_a_run_does_not_take_the_work_of_others_for_known(conn: Conn, migrator: MakeMigrator) -> None:
    run = migrator(watched("warn"))
    run.apply("001")
    conn.execute("CREATE INDEX i ON shop (id)")
    run.apply("002")
    assert drift(run) == [
        ("warning", "the schema has 1 difference from what was known after 002: index public.i is new")
    ]
    conn.execute("DROP INDEX i")
    assert drift(run) == []


def test_what_is_accepted_is_known(database: str, conn: Conn, migrator: MakeMigrator, tmp_path: Path) -> None:
    run = migrator(watched())
    run.apply("001")
    conn.execute("CREATE INDEX i ON shop (id)")
    done = accept(database, tmp_path / "migrations", conn, reason="asked\nfor")
    assert [d.sentence for d in done.differences] == ["index public.i is new"]
    assert drift(run) == []
    (row,) = [row for row in run.ledger.log.rows(conn) if row.event == "drift_accepted"]
    assert {k: row.details[k] for k in ("reason", "fingerprint", "differences", "names")} == {
        "reason": "asked for",
        "fingerprint": take(conn).fingerprint,
        "differences": 1,
        "names": ["index public.i"],
    }
    assert run.ledger.verify(conn) == ()


def test_what_was_not_seen_is_not_accepted(database: str, conn: Conn, migrator: MakeMigrator, tmp_path: Path) -> None:
    migrator(watched()).apply("001")
    folder, seen = read_folder(tmp_path / "migrations"), take(conn).fingerprint
    conn.execute("CREATE INDEX i ON shop (id)")
    with pytest.raises(WMigrateError, match="the schema has changed since you saw it"):
        accept_drift(Decider(lambda: psycopg.connect(database), folder, Identity("ann"), "r"), seen)
    assert conn.execute("SELECT count(*) FROM wmigrate.schema_snapshots").fetchone() == (1,)


def test_a_run_that_has_not_kept_its_work_is_named(conn: Conn, migrator: MakeMigrator) -> None:
    """As one that was killed between its commit and the end; and the next one does not hide it."""
    migrator(watched()).apply("001")
    migrator(watched("ignore")).apply("002")
    run = migrator(watched())
    message = (
        "the schema has 1 difference from what was known after 001: column public.shop.price is new;"
        " 002 was applied or rolled back after that, by a run that has not ended or was killed"
    )
    assert drift(run) == [("error", message)]
    run.apply("002")
    assert drift(run) == [("error", message)]


def test_what_a_failed_run_has_done_is_known(conn: Conn, migrator: MakeMigrator) -> None:
    run = migrator(watched(**{"003_rows.sql": "SELECT 1/0;"}))
    with pytest.raises(StatementFailed):
        run.apply_each(["001", "002", "003"])
    assert drift(run) == []
    assert known_schema(conn, "wmigrate").version == "002"  # type: ignore[union-attr]


def test_ignored_it_costs_nothing_and_keeps_nothing(conn: Conn, migrator: MakeMigrator) -> None:
    run = migrator(watched("ignore"))
    run.apply("001")
    conn.execute("CREATE INDEX i ON shop (id)")
    assert drift(run) == []
    assert conn.execute("SELECT count(*) FROM wmigrate.schema_snapshots").fetchone() == (0,)


def test_nothing_kept_yet_is_said_and_stops_nothing(
    database: str, conn: Conn, migrator: MakeMigrator, tmp_path: Path
) -> None:
    assert drift(migrator(watched())) == []
    migrator(watched("ignore")).apply("001")
    run = migrator(watched())
    said = "the ledger keeps no known schema yet, so nobody can say what others have changed"
    assert drift(run) == [("warning", said)]
    accept(database, tmp_path / "migrations", conn)
    assert drift(run) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE wmigrate.schema_facts SET attributes = '{}' WHERE identity = 'public.shop.id'",
            "the known schema is not what wmigrate wrote into the ledger: somebody has changed it there",
        ),
        (
            "DELETE FROM wmigrate.schema_facts WHERE identity = 'public.shop.id'",
            "the known schema is not what wmigrate wrote into the ledger: somebody has changed it there",
        ),
        (
            "UPDATE wmigrate.schema_facts SET hash = 'x' WHERE identity = 'public.shop.id'",
            "the known schema is not what wmigrate wrote into the ledger: somebody has changed it there",
        ),
        (
            "UPDATE wmigrate.schema_snapshots SET format = 0",
            "the known schema was kept in format 0, this wmigrate compares 1",
        ),
    ],
)
def test_a_known_schema_that_is_none(
    database: str, conn: Conn, migrator: MakeMigrator, tmp_path: Path, change: str, said: str
) -> None:
    run = migrator(watched())
    run.apply("001")
    conn.execute(change.encode())
    assert drift(run) == [("error", said)]
    run.apply("002")
    assert drift(run) == [("error", said)]
    accept(database, tmp_path / "migrations", conn)
    assert drift(run) == []
    conn.execute("ALTER TABLE shop DROP id")
    assert drift(run) == [
        ("error", "the schema has 1 difference from what was known after 002: column public.shop.id is gone")
    ]


def test_runners_beside_one_another_keep_what_all_have_done(conn: Conn, migrator: MakeMigrator) -> None:
    files = {f"{n:03d}_t.sql": f"CREATE TABLE t{n} (id int);" for n in range(1, 7)}
    config = "settings: {drift: error}\nmigrations:\n"
    files["migration_config.yaml"] = config + "".join(
        f"  - {{version: '{n:03d}', dependencies: []}}\n" for n in range(1, 7)
    )
    runs = [migrator(files) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for _ in pool.map(lambda n: runs[n % 3].apply(f"{n:03d}"), range(1, 7)):
            pass
    known = known_schema(conn, "wmigrate")
    assert known is not None
    assert known.snapshot.fingerprint == take(conn).fingerprint


def test_rights_to_keep_are_missed_before_anything_runs(
    cluster: Any, database: str, conn: Conn, tmp_path: Path, migrator: MakeMigrator
) -> None:
    run = migrator(watched())
    run.apply("001")
    conn.execute("DROP ROLE IF EXISTS keeper; CREATE ROLE keeper LOGIN; GRANT USAGE ON SCHEMA wmigrate TO keeper")
    conn.execute("GRANT ALL ON ALL TABLES IN SCHEMA wmigrate TO keeper; GRANT ALL ON SCHEMA public TO keeper")
    conn.execute("REVOKE ALL ON wmigrate.schema_snapshots, wmigrate.schema_facts FROM keeper")
    try:
        run._access.connect = lambda: psycopg.connect(database, user="keeper")
        with pytest.raises(WMigrateError) as refused:
            run.plan()
        assert str(refused.value) == (
            "the ledger cannot be used: permission denied for table schema_snapshots; ask a database administrator to"
            ' run: GRANT SELECT, INSERT, UPDATE ON "wmigrate"."schema_facts" TO "keeper";'
            ' GRANT SELECT, INSERT ON "wmigrate"."schema_snapshots" TO "keeper"'
        )
    finally:
        conn.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_health_follows(database: str, conn: Conn, migrator: MakeMigrator, tmp_path: Path) -> None:
    def checked() -> tuple[str, str]:
        health = check_health(lambda: psycopg.connect(database), read_folder(tmp_path / "migrations"))
        last = health.checks[-1]
        return last.name, last.status

    run = migrator(watched("ignore"))
    assert checked() == ("audit_chain", "unknown")
    run.apply("001")
    migrator(watched())
    assert checked() == ("drift", "degraded")
    migrator(watched()).apply("002")
    assert checked() == ("drift", "healthy")
    conn.execute("CREATE INDEX i ON shop (id)")
    assert checked() == ("drift", "unhealthy")
    migrator(watched("warn"))
    assert checked() == ("drift", "degraded")


def test_the_ledger_that_is_gone_is_not_known(conn: Conn, migrator: MakeMigrator) -> None:
    run = migrator(watched())
    run.apply("001")
    conn.execute("DROP TABLE wmigrate.schema_facts")
    with pytest.raises(WMigrateError, match="schema_facts has other columns"):
        run.plan()
