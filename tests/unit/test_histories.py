"""What the tables of other tools say was applied; tests/cli/test_come_from.py has what these tools write there."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.adopting.model import Applied, Table
from airflow_provider_wmigrate.engine.adopting.tools import TOOLS
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.model import Finding

AT = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def read(tool: str, *rows: dict[str, Any], **beside: Any) -> list[Applied]:
    return list(TOOLS[tool].read([{"adopted_at": AT, **row} for row in rows], beside))


def refused(tool: str, *rows: dict[str, Any], **beside: Any) -> list[Finding]:
    with pytest.raises(HistoryError) as error:
        read(tool, *rows, **beside)
    return list(error.value.findings)


@pytest.mark.parametrize(
    ("tool", "table"),
    [
        ("dbmate", Table("schema_migrations", ("version",), ("dirty", "checksum", "statement_hashes"))),
        ("diesel", Table("__diesel_schema_migrations", ("version", "run_on"), (), "run_on::pg_catalog.timestamptz")),
        ("django", Table("django_migrations", ("id", "app", "name", "applied"), (), "applied")),
        ("golang-migrate", Table("schema_migrations", ("version", "dirty"))),
        ("goose", Table("goose_db_version", ("id", "version_id", "is_applied", "tstamp"), (),
                        "tstamp::pg_catalog.timestamptz")),
        ("alembic", Table("alembic_version", ("version_num",))),
        ("node-pg-migrate", Table("pgmigrations", ("id", "name", "run_on"), (), "run_on::pg_catalog.timestamptz")),
        ("flyway", Table("flyway_schema_history",
                         ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by",
                          "success"), (), "installed_on::pg_catalog.timestamptz")),
        ("liquibase", Table("databasechangelog",
                            ("id", "author", "filename", "dateexecuted", "orderexecuted", "exectype", "md5sum"), (),
                            "dateexecuted::pg_catalog.timestamptz", None, ("databasechangeloglock",))),
        ("seed", Table("schema_migrations", ("version", "checksum", "applied_at", "rollback_sql"),
                       ("statement_hashes",), "applied_at::pg_catalog.timestamptz")),
        ("sqitch", Table("changes", ("change_id", "change", "project", "committed_at", "planned_at"), (),
                         "committed_at", "sqitch")),
        ("yoyo", Table("_yoyo_migration", ("migration_hash", "migration_id", "applied_at_utc"), (),
                       "pg_catalog.timezone('UTC', applied_at_utc)", None, ("yoyo_lock", "_yoyo_log"))),
    ],
)  # fmt: skip
def test_where_a_tool_keeps_its_history(tool: str, table: Table) -> None:
    assert TOOLS[tool].table == table


def test_tools_with_plain_rows() -> None:
    assert read("dbmate", {"version": 7}) == [Applied("7", "7")]
    assert read("diesel", {"version": "2"}, {"version": "1"}) == [Applied("1", "1", AT), Applied("2", "2", AT)]
    django = [{"id": 2, "app": "b", "name": "0001_x"}, {"id": 1, "app": "a", "name": "0001_y"}]
    assert read("django", *django) == [Applied("a.0001_y", at=AT), Applied("b.0001_x", at=AT)]
    assert read("alembic", {"version_num": "ab12"}) == [Applied("ab12", with_ancestors=True)]
    node = [{"id": 2, "name": "20_b"}, {"id": 1, "name": "10_a"}]
    assert read("node-pg-migrate", *node) == [Applied("10_a", "10", AT), Applied("20_b", "20", AT)]


def test_of_goose_the_last_row_of_a_version_counts() -> None:
    rows = [(4, 2, False), (1, 0, True), (2, 1, True), (3, 2, True), (5, 3, False), (6, 3, True)]
    found = read("goose", *({"id": i, "version_id": v, "is_applied": done} for i, v, done in rows))
    assert found == [Applied("1", "1", AT), Applied("3", "3", AT)]


def test_golang_migrate_has_the_newest_version_alone() -> None:
    (found,) = read("golang-migrate", {"version": "12", "dirty": False})
    assert (found.name, found.version, found.at) == ("12", "12", None)
    assert found.covers is not None
    assert [found.covers(number, "") for number in ("002", "12", "013")] == [True, True, False]
    message = "golang-migrate has version 12 as dirty: it stopped in the middle of it"
    nxt = "see what of it is in the database, then `migrate force 12` if all of it is, or the version before it if"
    nxt += " nothing is, and adopt again"
    assert refused("golang-migrate", {"version": "12", "dirty": True}) == [Finding("not_adoptable", message, nxt)]


def flyway(rank: int, number: str | None, kind: str = "SQL", **more: Any) -> dict[str, Any]:
    plain = {"description": f"d{rank}", "script": f"in/V{number}.sql", "checksum": -5, "installed_by": "me"}
    return {**plain, "installed_rank": rank, "version": number, "type": kind, "execution_time": 3, "success": True,
            **more}  # fmt: skip


def test_flyway() -> None:
    rows = [
        flyway(0, None, "SCHEMA"),
        flyway(3, "2", "UNDO_SQL"),
        flyway(1, "2"),
        flyway(4, "1.5", checksum=None),
        flyway(5, None, script="R__v.sql", description="v"),
        flyway(6, None, script="R__v.sql", description="v", checksum=9),
        flyway(7, "3"),
        flyway(8, "3", "DELETE"),
        flyway(9, "4"),
    ]
    assert read("flyway", *rows) == [
        Applied("V1.5.sql", "", AT, "me", 3),
        Applied("R__v.sql", "", AT, "me", 3, "9"),
        Applied("V4.sql", "4", AT, "me", 3, "-5"),
    ]
    said = "see what of it is in the database, run `flyway repair`, and adopt again"
    failed = Finding("not_adoptable", "Flyway has in/V1.sql as failed", said)
    assert refused("flyway", flyway(1, "1", success=False)) == [failed]


def test_a_baseline_of_flyway_covers_what_is_not_newer() -> None:
    (found,) = read("flyway", flyway(1, "1.2.0", "BASELINE"))
    assert (found.is_baseline, found.version) == (True, "")
    assert found.covers is not None
    origins = {"": "001", "V1_2__a.sql": "", "v1.2.0.0__a.sql": "", "V1_3__a.sql": "", "V1.2.0.1__a.sql": "",
               "R__v.sql": ""}  # fmt: skip
    covered = [found.covers(number, origin) for origin, number in origins.items()]
    assert covered == [True, True, True, False, False, False]
    assert found.covers("002", "") is False


@pytest.mark.parametrize(("text", "digest"), [("a\nb\n", "-1635563411"), ("hello", "907060870"), ("", "0")])
def test_flyways_checksum_is_signed(text: str, digest: str) -> None:
    assert TOOLS["flyway"].digests(text) == {digest}


def test_liquibase() -> None:
    def row(at: int, kind: str, name: str) -> dict[str, Any]:
        return {"orderexecuted": at, "exectype": kind, "id": name, "author": "me", "filename": "db/a.sql"}

    free = [{"locked": False, "lockedby": None}]
    rows = [row(2, "EXECUTED", "2"), row(1, "MARK_RAN", "1"), row(3, "SKIPPED", "3")]
    found = read("liquibase", *rows, databasechangeloglock=free)
    assert found == [Applied(f"a.sql::{name}::me", at=AT, actor="me") for name in ("1", "2")]
    again = "run `liquibase update` again, or mark it with `liquibase changelog-sync`, and adopt again"
    failed = Finding("not_adoptable", "Liquibase has 1 of me as failed", again)
    assert refused("liquibase", row(1, "FAILED", "1"), databasechangeloglock=free) == [failed]
    wait = "wait for it, or `liquibase release-locks`, and adopt again"
    busy = Finding("not_adoptable", "Liquibase is at work, or died: host has its lock", wait)
    assert refused("liquibase", databasechangeloglock=[{"locked": True, "lockedby": "host"}]) == [busy]


def test_yoyo() -> None:
    def log(at: int, operation: str, who: str) -> dict[str, Any]:
        return {"migration_id": "10.a", "username": who, "hostname": "h", "created_at_utc": at, "operation": operation}

    rows = [{"applied_at_utc": 2, "migration_id": "b"}, {"applied_at_utc": 1, "migration_id": "10.a"}]
    logs = [log(2, "apply", "two"), log(1, "mark", "one"), log(3, "rollback", "three")]
    found = read("yoyo", *rows, yoyo_lock=[], _yoyo_log=logs)
    assert found == [Applied("10.a", "10", AT, "two@h"), Applied("b", "", AT)]
    busy = Finding(
        "not_adoptable",
        "yoyo is at work, or died: process 5 has its lock",
        "wait for it, or `yoyo break-lock`, and adopt again",
    )
    assert refused("yoyo", yoyo_lock=[{"pid": 5}], _yoyo_log=[]) == [busy]


def test_the_warehouses_first_design() -> None:
    row = {"version": "V007", "name": None, "description": "d", "checksum": "AB", "rollback_sql": "x"}
    assert read("seed", row) == [Applied("d", "007", AT, "", checksum="ab", rollback_sql="x")]
    named = {**row, "name": "n", "applied_by": "me"}
    assert read("seed", named) == [Applied("n", "007", AT, "me", checksum="ab", rollback_sql="x")]
    assert read("seed", {**row, "description": None})[0].name == "V007"


def test_sqitch() -> None:
    def row(at: int, name: str) -> dict[str, Any]:
        who = {"committer_name": "Me", "committer_email": "me@x", "script_hash": "ab"}
        return {**who, "change": name, "committed_at": at, "planned_at": AT}

    found = read("sqitch", row(2, "b"), row(1, "a"))
    assert found == [
        Applied(f"{name} 2026-01-31T12:00:00Z", at=AT, actor="Me <me@x>", checksum="ab") for name in ("a", "b")
    ]
