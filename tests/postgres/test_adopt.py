"""Another tool's table becomes entries: what is written, what is refused, and what others see of it.

The tables are those of each tool's documentation and sources, named beside them; tests/cli/test_come_from.py has tables
that the tools themselves have made.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.adopting.tools import TOOLS
from airflow_provider_wmigrate.engine.decisions.adopt import Adoption, adopt, plan_adoption
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.baseline import undo_baseline
from airflow_provider_wmigrate.engine.errors import HistoryError, LedgerDamaged, LockTimeout
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock

Conn = psycopg.Connection[Any]
MakeFolder = Callable[..., Path]
MakeMigrator = Callable[..., Any]
ANN = Identity("ann")
HELD = AdvisoryLock("wmigrate:wmigrate").number
NOON = datetime(2024, 1, 31, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Take:
    dsn: str
    make_folder: MakeFolder

    def __call__(self, tool: str, files: dict[str, str], **more: Any) -> Adoption:
        return self.of(tool, self.make_folder(files), **more)

    def of(self, tool: str, folder: Path, **more: Any) -> Adoption:
        what = {name: more.pop(name) for name in ("agreed", "accepted", "table") if name in more}
        more = {"reason": "we moved", "identity": ANN, **more}
        return adopt(Decider(lambda: psycopg.connect(self.dsn), read_folder(folder), **more), TOOLS[tool], **what)


@pytest.fixture
def take(database: str, make_folder: MakeFolder) -> Take:
    return Take(database, make_folder)


def refused(call: Callable[[], object], conn: Conn) -> list[str]:
    """The findings of a refusal that changed nothing."""
    before = everything(conn)
    with pytest.raises(HistoryError) as caught:
        call()
    assert everything(conn) == before
    assert {f.code for f in caught.value.findings} <= {"not_adoptable", "not_declarable"}
    return [str(f) for f in caught.value.findings]


def everything(conn: Conn) -> list[Any]:
    if conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,):
        return []
    return [conn.execute(f"TABLE wmigrate.{t}".encode()).fetchall() for t in ("schema_migrations", "audit_log")]


def entries(conn: Conn) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT version, name, actor, applied_at = timestamptz '2024-01-31 12:00Z', duration_ms FROM"
        " wmigrate.schema_migrations ORDER BY length(version), version"
    ).fetchall()


# Flyway: documentation.red-gate.com, "Flyway schema history table"; org.flywaydb.core ... PostgreSQLDatabase

FLYWAY = """\
CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar(200),
  type varchar(20), script varchar(1000), checksum int, installed_by varchar(100),
  installed_on timestamp DEFAULT now(), execution_time int, success bool)"""


def crc(text: str) -> int:
    """As java.util.zip.CRC32 over the lines, stored in a signed int."""
    value = zlib.crc32(text.encode())
    return value - 2**32 if value > 2**31 else value


def flyway(conn: Conn, *rows: tuple[Any, ...]) -> None:
    """Rows of version, type, script, checksum, success."""
    conn.execute("SET TimeZone = 'GMT'")
    conn.execute(FLYWAY.encode())
    for rank, (version, kind, script, checksum, success) in enumerate(rows, 1):
        conn.execute(
            "INSERT INTO flyway_schema_history VALUES (%s, %s, %s, %s, %s, %s, 'bob', '2024-01-31 12:00', 7, %s)",
            [rank, version, script, kind, script, checksum, success],
        )


FILES = {
    "001_a.sql": "CREATE TABLE a (id int);\nSELECT 1;\n",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "SELECT 2;",
}
OK = crc("CREATE TABLE a (id int);SELECT 1;")


def test_flyway(take: Take, conn: Conn) -> None:
    flyway(
        conn,
        (None, "SCHEMA", '"shop"', None, True),
        ("1", "SQL", "V1__a.sql", OK, True),
        ("2", "SQL", "V2__b.sql", 1, True),
        ("2", "UNDO_SQL", "U2__b.sql", 2, True),
    )
    found = take("flyway", FILES)
    assert [(o.version, o.called, o.applied_at, o.actor, o.checksum) for o in found.adopted] == [
        ("001", "V1__a.sql", NOON, "bob", "compared")
    ]
    assert (found.table, found.already, found.left_out, found.pending) == (
        "public.flyway_schema_history", (), (), ("002",)
    )  # fmt: skip
    assert entries(conn) == [("001", "a", "bob", True, 7)]
    ledger = Ledger()
    assert ledger.verify(conn, expected_head=found.audit_head) == ()
    assert ledger.metadata(conn)["schema_version"] == "001"
    (row,) = conn.execute("SELECT actor, details FROM wmigrate.audit_log WHERE event = 'adopted'").fetchall()
    details = {k: v for k, v in row[1].items() if k not in ("session", "entry", "checksum")}
    assert (row[0], details) == (
        "ann",
        {
            "from": "flyway", "table": "public.flyway_schema_history", "to": "001", "reason": "we moved", "name": "a",
            "called": "V1__a.sql", "time_known": True,
        },
    )  # fmt: skip


def test_flyways_baseline_covers_what_was_before(take: Take, conn: Conn) -> None:
    config = "migrations:\n" + "".join(
        f"  - {{version: '{v}', origin: '{o}'}}\n"
        for v, o in (("001", "V1__a.sql"), ("002", "V1.1__b.sql"), ("003", "V1.2__c.sql"), ("004", "R__v.sql"))
    )
    flyway(conn, ("1.1.0", "BASELINE", "<< Flyway Baseline >>", None, True), (None, "SQL", "R__v.sql", None, True))
    files = dict.fromkeys(("001_a.sql", "002_b.sql", "003_c.sql", "004_v.sql"), "SELECT 1;")
    found = take("flyway", {**files, "migration_config.yaml": config})
    assert ([o.version for o in found.adopted], found.pending) == (["001", "002", "004"], ("003",))
    rows = conn.execute("SELECT version, dependencies FROM wmigrate.schema_migrations ORDER BY 1").fetchall()
    assert rows == [("001", []), ("002", ["001"]), ("004", [])]


def test_flyways_baseline_needs_no_file(take: Take, conn: Conn) -> None:
    flyway(conn, ("1", "BASELINE", "<< Flyway Baseline >>", None, True), ("2", "SQL", "V2__b.sql", None, True))
    assert [o.version for o in take("flyway", {"002_b.sql": "SELECT 2;"}).adopted] == ["002"]


def test_what_flyway_must_settle_first(take: Take, conn: Conn) -> None:
    flyway(conn, ("1", "SQL", "V1__a.sql", OK, True), ("2", "SQL", "V2__b.sql", 0, False))
    assert refused(lambda: take("flyway", FILES), conn) == [
        "Flyway has V2__b.sql as failed; see what of it is in the database, run `flyway repair`, and adopt again"
    ]


def test_an_edited_file_and_one_that_is_gone(take: Take, conn: Conn) -> None:
    flyway(conn, ("1", "SQL", "V1__a.sql", 5, True), ("9", "SQL", "V9__z.sql", 1, True))
    assert refused(lambda: take("flyway", FILES), conn) == [
        "flyway has applied V9__z.sql, and the folder has no file of it; make the folder with `wmigrate convert --from"
        " flyway`, or restore the file; if it is gone for good, leave it out with --accept 'V9__z.sql'",
        "001_a.sql: is not what flyway applied: its checksum is not 5; restore it and write a new migration; if the"
        " difference means nothing, --accept 001",
    ]
    found = take("flyway", FILES, accepted=["V9__z.sql", "1"])
    assert ([(o.version, o.checksum) for o in found.adopted], found.left_out) == (
        [("001", "accepted")], ("V9__z.sql",)
    )  # fmt: skip


# Liquibase: docs.liquibase.com, "DATABASECHANGELOG table", "DATABASECHANGELOGLOCK table"

LIQUIBASE = """\
CREATE TABLE databasechangelog (id varchar(255) NOT NULL, author varchar(255) NOT NULL, filename varchar(255) NOT NULL,
  dateexecuted timestamp NOT NULL, orderexecuted int NOT NULL, exectype varchar(10) NOT NULL, md5sum varchar(35),
  description varchar(255), comments varchar(255), tag varchar(255), liquibase varchar(20), contexts varchar(255),
  labels varchar(255), deployment_id varchar(10));
CREATE TABLE databasechangeloglock (id int PRIMARY KEY, locked bool NOT NULL, lockgranted timestamp,
  lockedby varchar(255));
INSERT INTO databasechangeloglock VALUES (1, false);
INSERT INTO databasechangelog VALUES
  ('1', 'bob', 'db/a.sql', '2024-01-31 12:00', 1, 'EXECUTED', '9:x'),
  ('2', 'eve', 'classpath:db/a.sql', '2024-01-31 12:00', 2, 'MARK_RAN', '9:y')"""
ORIGINS = "migrations:\n  - {version: '001', origin: 'a.sql::1::bob'}\n  - {version: '002', origin: 'a.sql::2::eve'}\n"


def test_liquibase(take: Take, conn: Conn) -> None:
    conn.execute("SET TimeZone = 'GMT'")
    conn.execute(LIQUIBASE.encode())
    take("liquibase", {**FILES, "migration_config.yaml": ORIGINS})
    assert entries(conn) == [("001", "a", "bob", True, 0), ("002", "b", "eve", True, 0)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE databasechangeloglock SET locked = true, lockedby = 'ci (10.0.0.7)'",
            "Liquibase is at work, or died: ci (10.0.0.7) has its lock; wait for it, or `liquibase release-locks`, and"
            " adopt again",
        ),
        (
            "UPDATE databasechangelog SET exectype = 'FAILED' WHERE id = '2'",
            "Liquibase has 2 of eve as failed; run `liquibase update` again, or mark it with `liquibase"
            " changelog-sync`, and adopt again",
        ),
    ],
)
def test_what_liquibase_must_settle_first(take: Take, conn: Conn, change: str, says: str) -> None:
    conn.execute(LIQUIBASE.encode())
    conn.execute(change.encode())
    assert refused(lambda: take("liquibase", {**FILES, "migration_config.yaml": ORIGINS}), conn) == [says]


# golang-migrate: github.com/golang-migrate/migrate, database/postgres/postgres.go, ensureVersionTable


@pytest.mark.parametrize(("version", "adopted"), [(20240131093000, ["001", "20240131093000"]), (1, ["001"])])
def test_golang_migrate(take: Take, conn: Conn, version: int, adopted: list[str]) -> None:
    conn.execute("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
    conn.execute("INSERT INTO schema_migrations VALUES (%s, false)", [version])
    found = take("golang-migrate", {"001_a.sql": "", "20240131093000_b.sql": "", "20990101000000_c.sql": ""})
    assert [o.version for o in found.adopted] == adopted
    assert conn.execute("SELECT count(*) FROM wmigrate.schema_migrations WHERE actor = 'ann'").fetchone() == (
        len(adopted),
    )


def test_golang_migrates_dirty_version(take: Take, conn: Conn) -> None:
    conn.execute("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
    conn.execute("INSERT INTO schema_migrations VALUES (2, true)")
    assert refused(lambda: take("golang-migrate", FILES), conn) == [
        "golang-migrate has version 2 as dirty: it stopped in the middle of it; see what of it is in the database, then"
        " `migrate force 2` if all of it is, or the version before it if nothing is, and adopt again"
    ]
    conn.execute("UPDATE schema_migrations SET dirty = false, version = 7")
    assert refused(lambda: take("golang-migrate", FILES), conn) == [
        "golang-migrate has applied 7, and the folder has no file of it; make the folder with `wmigrate convert --from"
        " golang-migrate`, or restore the file; if it is gone for good, leave it out with --accept '7'"
    ]


# goose: github.com/pressly/goose, internal/dialect/dialectquery/postgres.go


def test_goose(take: Take, conn: Conn) -> None:
    conn.execute("SET TimeZone = 'GMT'")
    conn.execute(
        "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL,"
        " tstamp timestamp DEFAULT now())"
    )
    rows = [(0, True), (1, True), (2, True), (2, False), (20240131093000, True)]
    for row in rows:
        conn.execute("INSERT INTO goose_db_version VALUES (DEFAULT, %s, %s, '2024-01-31 12:00')", row)
    take("goose", {**FILES, "20240131093000_c.sql": ""})
    assert entries(conn) == [("001", "a", "ann", True, 0), ("20240131093000", "c", "ann", True, 0)]


# diesel: github.com/diesel-rs/diesel, diesel/src/migration/mod.rs, CREATE_MIGRATIONS_TABLE


def test_diesel(take: Take, conn: Conn) -> None:
    conn.execute("SET TimeZone = 'GMT'")
    conn.execute(
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY NOT NULL,"
        " run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    for version in ("00000000000000", "20240131093000"):
        conn.execute("INSERT INTO __diesel_schema_migrations VALUES (%s, '2024-01-31 12:00')", [version])
    take("diesel", {"00000000000000_setup.sql": "", "20240131093000_a.sql": ""})
    assert entries(conn) == [("000", "setup", "ann", True, 0), ("20240131093000", "a", "ann", True, 0)]


# The plain schema_migrations of the warehouse's first design

SEED = (
    "CREATE TABLE {} (version varchar PRIMARY KEY, {} text, checksum text NOT NULL, applied_at timestamptz,"
    " rollback_sql text)"
)


@pytest.mark.parametrize(("column", "algorithm"), [("name", "sha256"), ("description", "md5")])
def test_seed_keeps_the_rollback_as_it_was_applied(
    take: Take, conn: Conn, make_folder: MakeFolder, migrator: MakeMigrator, column: str, algorithm: str
) -> None:
    conn.execute(SEED.format("schema_migrations", column).encode())
    conn.execute("CREATE TABLE a (id int)")
    digest = hashlib.new(algorithm, FILES["001_a.sql"].encode()).hexdigest()
    conn.execute(
        "INSERT INTO schema_migrations VALUES ('001', 'first', %s, '2024-01-31 12:00Z', 'DROP TABLE a CASCADE;')",
        [digest],
    )
    found = take("seed", FILES)
    assert [(o.version, o.called, o.checksum) for o in found.adopted] == [("001", "first", "compared")]
    (rollback,) = conn.execute("SELECT rollback_sql FROM wmigrate.schema_migrations").fetchall()
    assert rollback == ("DROP TABLE a CASCADE;",)
    assert migrator({k: v for k, v in FILES.items() if "rollback" not in k}).roll_back("001").outcome == "rolled_back"
    assert conn.execute("SELECT to_regclass('a')").fetchone() == (None,)


def test_a_ledger_in_the_schema_of_the_seeds_table_is_refused(take: Take, conn: Conn) -> None:
    conn.execute(SEED.format("schema_migrations", "name").encode())
    config = "settings:\n  ledger:\n    schema: public\n"
    with pytest.raises(LedgerDamaged) as damaged:
        take("seed", {**FILES, "migration_config.yaml": config})
    assert str(damaged.value) == (
        "schema public holds schema_migrations but no application_metadata, audit_log; restore the ledger, or choose"
        " another settings.ledger.schema"
    )


# Which table


def test_which_table_it_is(take: Take, conn: Conn) -> None:
    assert refused(lambda: take("dbmate", FILES), conn) == [
        "this database has no table schema_migrations of dbmate; connect to the database that it migrates, or name its"
        " table with --table SCHEMA.TABLE"
    ]
    conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)")
    assert refused(lambda: take("dbmate", FILES), conn) == [
        "public.schema_migrations is no table of dbmate, which would have the columns version; name the right one with"
        " --table SCHEMA.TABLE, or the right tool with --from (it may be golang-migrate)"
    ]
    conn.execute("CREATE SCHEMA x")
    conn.execute("CREATE TABLE x.schema_migrations (version varchar PRIMARY KEY)")
    conn.execute("INSERT INTO x.schema_migrations VALUES ('001')")
    conn.execute("CREATE TABLE x.mine AS TABLE x.schema_migrations")
    assert take("dbmate", FILES).table == "x.schema_migrations"
    assert take("dbmate", FILES).already == ("001",), "the ledger's own table of that name is none of dbmate's"
    assert take("dbmate", FILES, table="x.mine").already == take("dbmate", FILES, table="mine").already == ("001",)
    conn.execute("CREATE SCHEMA y")
    conn.execute("CREATE TABLE y.schema_migrations (version varchar PRIMARY KEY)")
    assert refused(lambda: take("dbmate", FILES), conn) == [
        "dbmate has a table schema_migrations in each of the schemas x, y; name the one that counts: --table"
        " x.schema_migrations"
    ]


def test_a_role_that_may_not_read_the_table(take: Take, conn: Conn) -> None:
    conn.execute("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
    role = f"reader_of_{conn.info.dbname}"
    conn.execute(f"CREATE ROLE {role} LOGIN".encode())
    try:
        reader = Take(make_conninfo(take.dsn, user=role), take.make_folder)
        assert refused(lambda: reader("dbmate", FILES), conn) == [
            '"public"."schema_migrations" may not be read: permission denied for table schema_migrations; ask its owner'
            f' to run: GRANT SELECT ON "public"."schema_migrations" TO "{role}"; and USAGE on its schema, if that is'
            " missing"
        ]
    finally:
        conn.execute(f"DROP ROLE {role}".encode())


# Beside a ledger


@pytest.fixture
def applied_by_dbmate(conn: Conn) -> Conn:
    conn.execute("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
    conn.execute("INSERT INTO schema_migrations VALUES ('001'), ('002')")
    return conn


def test_what_the_ledger_has_stays_as_it_is(
    take: Take, applied_by_dbmate: Conn, migrator: MakeMigrator, conn: Conn
) -> None:
    migrator(FILES).apply("001")
    before = everything(conn)[0]
    found = take("dbmate", FILES)
    assert ([o.version for o in found.adopted], found.already) == (["002"], ("001",))
    assert everything(conn)[0][0] == before[0]
    again = take("dbmate", FILES)
    assert (again.adopted, again.already, again.audit_head) == ((), ("001", "002"), None)


def test_what_was_rolled_back_since_is_not_believed_to_be_applied(
    take: Take, applied_by_dbmate: Conn, migrator: MakeMigrator
) -> None:
    """Nobody told the other tool's table of it."""
    files = FILES | {"002_b.rollback.sql": "SELECT 3;"}
    take("dbmate", files)
    migrator(files).roll_back("002")
    again = take("dbmate", files)
    assert (again.adopted, again.already, again.undone, again.pending) == ((), ("001",), ("002",), ())
    applied_by_dbmate.execute("ALTER TABLE schema_migrations ADD applied timestamptz DEFAULT now() + interval '1 day'")
    applied_by_dbmate.execute("CREATE VIEW run AS SELECT version, applied AS run_on FROM schema_migrations")
    later = take("diesel", files, table="run")
    assert ([o.version for o in later.adopted], later.undone) == (["002"], ()), "that tool has applied it again"


def test_what_a_person_must_settle_first(take: Take, applied_by_dbmate: Conn, migrator: MakeMigrator) -> None:
    migrator(FILES).apply("001")
    assert refused(lambda: take("dbmate", FILES | {"001_a.sql": "SELECT 1;"}), applied_by_dbmate) == [
        "migration 001 is changed, so nothing is declared; restore its file, or accept it with `wmigrate repair 001"
        " --accept`"
    ]


def test_what_comes_after_the_question_is_not_agreed_to(take: Take, applied_by_dbmate: Conn) -> None:
    assert refused(lambda: take("dbmate", FILES, agreed=["001"]), applied_by_dbmate) == [
        "dbmate has applied 002 meanwhile, so nothing is taken over; stop that tool, and adopt again"
    ]


def test_a_runner_is_waited_for(take: Take, applied_by_dbmate: Conn) -> None:
    applied_by_dbmate.execute("SELECT pg_advisory_lock(%s)", [HELD])
    config = "settings: {execution: {lock_wait_seconds: 0.1}}\n"
    with pytest.raises(LockTimeout):
        take("dbmate", {**FILES, "migration_config.yaml": config})
    assert everything(applied_by_dbmate) == []


def test_a_look_changes_nothing(take: Take, applied_by_dbmate: Conn, make_folder: MakeFolder, database: str) -> None:
    with psycopg.connect(database) as looking:
        looking.execute("SET default_transaction_read_only = on")
        who = Decider(lambda: looking, read_folder(make_folder(FILES)), ANN)
        planned = plan_adoption(looking, who, TOOLS["dbmate"])
    assert [o.version for o in planned.adoption.adopted] == ["001", "002"]
    assert everything(applied_by_dbmate) == []


def test_a_wrong_adoption_is_taken_back_as_a_baseline_is(
    take: Take, applied_by_dbmate: Conn, make_folder: MakeFolder, database: str
) -> None:
    take("dbmate", FILES)
    folder = read_folder(make_folder(FILES))
    undone = undo_baseline(Decider(lambda: psycopg.connect(database), folder, ANN, "wrong"), "2")
    assert undone.versions == ("001", "002")
    assert everything(applied_by_dbmate)[0] == []
    assert Ledger().verify(applied_by_dbmate) == ()


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_has_its_own_table(tool: str) -> None:
    """No table that one tool makes is taken for another's."""
    made = {
        "dbmate": ["version"],
        "golang-migrate": ["version", "dirty"],
        "seed": ["version", "name", "checksum", "applied_at", "rollback_sql"],
    }
    from airflow_provider_wmigrate.engine.decisions.adopt import _fits
    from airflow_provider_wmigrate.engine.ledger.structure import ENTRY

    assert not _fits(TOOLS[tool].table, ENTRY)
    for other, columns in made.items():
        if TOOLS[tool].table.name == "schema_migrations":
            assert _fits(TOOLS[tool].table, columns) == (tool == other)
