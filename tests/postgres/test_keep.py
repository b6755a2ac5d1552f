"""`keep: true`: what a migration destroys is put aside, and its rollback gives it back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.catalog.row_sums import take_sums
from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.errors import HistoryError, RollbackFailed, StatementFailed
from airflow_provider_wmigrate.engine.events import Noticed
from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.ledger.kept import all_kept, kept_places
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings
from tests.waiting import wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

LONG = "x" * 63
MADE = f"""
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('glad', 'sad');
CREATE TABLE app.customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, fax text,
    feels app.mood, short char(4), twice text GENERATED ALWAYS AS (name || name) STORED);
CREATE TABLE app.orders (id serial PRIMARY KEY, customer bigint REFERENCES app.customer, total numeric(9,2),
    before int REFERENCES app.orders, CONSTRAINT positive CHECK (total > 0));
CREATE INDEX by_total ON app.orders (total DESC) WHERE total > 10;
CREATE TABLE app.noted (what text);
CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO app.noted VALUES (TG_TABLE_NAME || TG_OP); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.note();
CREATE TRIGGER always AFTER INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.note();
ALTER TABLE app.orders ENABLE ALWAYS TRIGGER always;
CREATE TABLE "{LONG}" ("odd ""name%s" int PRIMARY KEY);
CREATE STATISTICS app.of_orders ON id, total FROM app.orders;
CREATE SCHEMA "of trees";
CREATE EXTENSION ltree SCHEMA "of trees";
CREATE DOMAIN app.path AS "of trees".ltree;
CREATE TABLE app.tagged (path "of trees".ltree, dom app.path, n int, PRIMARY KEY (path, n, dom), note text);
INSERT INTO app.tagged VALUES ('a.b', 'c', 1, 'one');
INSERT INTO app.customer (name, fax, feels, short) VALUES ('Ada', '1', 'glad', 'a'), ('Bob', NULL, NULL, 'b  ');
INSERT INTO app.orders (customer, total, before) VALUES (1, 5, NULL), (2, 20.5, 1), (NULL, NULL, 2);
INSERT INTO "{LONG}" VALUES (1), (2);
GRANT SELECT ON app.orders TO PUBLIC;
COMMENT ON TABLE app.orders IS 'what they want';
"""
KEEP = "migrations:\n  - {version: '002', keep: true}\n"


def both(destroy: str, undo: str, *, config: str = KEEP) -> dict[str, str]:
    return {
        "001_made.sql": MADE,
        "002_gone.sql": destroy,
        "002_gone.rollback.sql": undo,
        "migration_config.yaml": config,
    }


def picture(conn: Conn) -> tuple[Any, Any]:
    """The schema, and what is in the tables: not where, since rows may have been written anew."""
    sums = take_sums(conn, "wmigrate")
    rows = {name: each._replace(file=0) for name, each in sums.tables.items()}
    return take(conn), (rows, sums.sequences, sums.unread)


@pytest.mark.parametrize(
    ("destroy", "undo", "kept"),
    [
        ("DROP TABLE app.orders", "SELECT", ["table app.orders"]),
        ("SET search_path TO app;\nDROP TABLE IF EXISTS orders, nothing;", "SELECT count(*) FROM app.orders",
         ["table app.orders"]),
        ("DROP TABLE app.orders, app.customer", "SELECT", ["table app.orders", "table app.customer"]),
        ("DROP TABLE app.orders; DROP TABLE app.customer;",
         "CREATE VIEW app.v AS SELECT c.id FROM app.customer c JOIN app.orders o ON o.customer = c.id; DROP VIEW app.v",
         ["table app.orders", "table app.customer"]),
        (f'DROP TABLE "{LONG}"', "SELECT", [f"table public.{LONG}"]),
        ("ALTER TABLE app.customer DROP COLUMN fax, DROP COLUMN feels",
         "ALTER TABLE app.customer ADD COLUMN fax text DEFAULT 'none', ADD COLUMN feels app.mood;"
         "ALTER TABLE app.customer ALTER fax DROP DEFAULT",
         ["values of app.customer.fax, app.customer.feels of 2 rows"]),
        ("ALTER TABLE app.customer DROP COLUMN twice",
         "ALTER TABLE app.customer ADD COLUMN twice text GENERATED ALWAYS AS (name || name) STORED", []),
        ("TRUNCATE app.orders, app.noted", "SELECT", ["3 rows of app.orders", "6 rows of app.noted"]),
        ("DELETE FROM app.noted AS n USING app.orders o WHERE o.id = 3 AND n.what <> '%s {} 100%' -- all",
         "SELECT", ["6 rows of app.noted"]),
        ("WITH few AS (SELECT id FROM app.orders) DELETE FROM app.orders WHERE id IN (TABLE few) AND id = 3;\n"
         "DELETE FROM app.orders WHERE total > 1000", "SELECT", ["1 row of app.orders"]),
        ("DELETE FROM app.orders;\nDROP TABLE app.orders;\nCREATE TABLE app.orders (n int);\nDROP TABLE app.orders",
         "SELECT", ["3 rows of app.orders", "table app.orders"]),
        (f'DELETE FROM "{LONG}"', "SELECT", [f"2 rows of public.{LONG}"]),
        ("TRUNCATE app.customer, app.orders", "SELECT", ["3 rows of app.orders", "2 rows of app.customer"]),
        ("DROP TABLE app.customer, app.orders", "SELECT", ["table app.orders", "table app.customer"]),
        ("DROP TABLE app.orders;\nCREATE TABLE app.orders (id int, total int);\n"
         "CREATE STATISTICS app.of_orders ON id, total FROM app.orders", "DROP TABLE app.orders",
         ["table app.orders"]),
        ("ALTER TABLE app.tagged DROP COLUMN note", "ALTER TABLE app.tagged ADD COLUMN note text",
         ["values of app.tagged.note of 1 row"]),
    ],
)  # fmt: skip
def test_what_is_destroyed_comes_back(
    migrator: MakeMigrator, conn: Conn, destroy: str, undo: str, kept: list[str]
) -> None:
    made = migrator(both(destroy, undo))
    made.apply("001")
    before = picture(conn)
    for _ in range(2):
        record = made.apply("002")
        assert [str(each) for each in record.kept] == kept
        assert len(kept_places(conn)) == len(kept) == len(all_kept(conn, "wmigrate"))
        assert not [fact for fact in take(conn).facts if "wmigrate_kept" in fact.identity + fact.text]
        back = made.roll_back("002")
        now = picture(conn)
        assert diff(before[0], now[0]) == ()
        assert now[1] == before[1]
        assert {str(each) for each in back.kept} == {*kept}
        assert not kept_places(conn)


REFUSED = [
    ("DROP TABLE app.orders CASCADE", 1, "CASCADE takes away what nobody keeps"),
    ("SELECT 1;\nALTER TABLE app.customer DROP name CASCADE", 2, "CASCADE takes away what nobody keeps"),
    ("TRUNCATE app.customer CASCADE", 1, "CASCADE takes away what nobody keeps"),
    ("DROP SCHEMA app CASCADE", 1, "CASCADE takes away what nobody keeps"),
    ("DROP OWNED BY CURRENT_USER", 1, "DROP OWNED is not kept"),
    ("TRUNCATE app.orders RESTART IDENTITY", 1, "RESTART IDENTITY is not undone"),
    ("DELETE FROM app.orders RETURNING id", 1, "nobody reads what RETURNING gives"),
    ("WITH x AS (DELETE FROM app.orders RETURNING id) SELECT * FROM x", 1,
     "DELETE inside another statement is not kept"),
    ("DO $$ BEGIN END $$", 1, "nobody sees what a DO block destroys"),
    ("CALL app.any()", 1, "nobody sees what a procedure destroys"),
    ("CREATE INDEX CONCURRENTLY other ON app.orders (id)", 1,
     "it does not run in one transaction, so that nothing of it can be kept"),
    ("this is no SQL", None,
     "PostgreSQL's grammar does not read it: 002_gone.sql:1:1: syntax error at or near \"this\""),
]  # fmt: skip


@pytest.mark.parametrize(("destroy", "line", "why"), REFUSED)
def test_what_cannot_be_kept_is_refused_before_anything_is_done(
    migrator: MakeMigrator, conn: Conn, destroy: str, line: int | None, why: str
) -> None:
    made = migrator(both(destroy, "SELECT"))
    made.apply("001")
    found = script_findings([made.migrations["002"]], Config())
    told = [(f.code, f.severity, f.file, f.line, f.message) for f in found if f.code == "not_kept"]
    sentence = f"keep: true, but {why}"
    assert told == [("not_kept", "error", "002_gone.sql", line, sentence)]
    with pytest.raises(HistoryError) as refused:
        made.apply("002")
    assert [(f.code, f.line, f.message) for f in refused.value.findings] == [("not_kept", line, sentence)]
    assert not kept_places(conn)


MORE = """
CREATE TABLE app.line (of int REFERENCES app.orders ON DELETE CASCADE);
CREATE TABLE app.part (n int) PARTITION BY LIST (n);
CREATE TABLE app.part_1 PARTITION OF app.part FOR VALUES IN (1);
CREATE TABLE app.mother (n int PRIMARY KEY);
CREATE TABLE app.child () INHERITS (app.mother);
CREATE VIEW app.view AS SELECT * FROM app.mother;
CREATE TABLE app.ruled (n int);
CREATE TABLE app.published (n int);
CREATE PUBLICATION news FOR TABLE app.published;
CREATE RULE stays AS ON DELETE TO app.ruled DO INSTEAD NOTHING;
CREATE TABLE app.told (n int);
CREATE TRIGGER tells AFTER DELETE ON app.told EXECUTE FUNCTION app.note();
CREATE TRIGGER tells_too AFTER TRUNCATE ON app.told EXECUTE FUNCTION app.note();
"""


@pytest.mark.parametrize(
    ("destroy", "why"),
    [
        ("DELETE FROM app.orders",
         "foreign key line_of_fkey of app.line takes rows or values of another table along"),
        ("DROP TABLE app.part", "app.part is partitioned, and its partitions would not come along"),
        ("DROP TABLE app.part_1", "app.part_1 is a partition"),
        ("DROP TABLE app.child",
         "other tables inherit from app.child or it from them, as the chunks of a hypertable"),
        ("DELETE FROM app.mother",
         "other tables inherit from app.mother or it from them, as the chunks of a hypertable"),
        ("DROP TABLE app.published", "publication news names app.published, and would go on with what is kept"),
        ("DELETE FROM app.view", "app.view is no table, and its rows are elsewhere"),
        ("DELETE FROM app.ruled", "app.ruled has rules, and nobody sees what they destroy"),
        ("DELETE FROM app.told", "trigger tells of app.told runs, and nobody sees what it destroys"),
        ("TRUNCATE app.told", "trigger tells_too of app.told runs, and nobody sees what it destroys"),
        ("ALTER TABLE app.noted DROP COLUMN what", "app.noted has no key that stays and tells its rows apart"),
        ("ALTER TABLE app.orders DROP COLUMN id",
         "app.orders.id has a sequence of its own, which would not be kept"),
    ],
)  # fmt: skip
def test_what_the_table_shows_is_refused_too(migrator: MakeMigrator, conn: Conn, destroy: str, why: str) -> None:
    made = migrator(both("SELECT;\n" + destroy, "SELECT"))
    made.apply("001")
    conn.execute(MORE)
    _, found = made.forecast(made.plan(), made.analyses.of)
    sentence = f"keep: true, but {why}"
    assert [(f.code, f.line, f.message) for f in found] == [("not_kept", 2, sentence)]
    with pytest.raises(HistoryError) as refused:
        made.apply("002")
    assert [(f.code, f.line, f.message) for f in refused.value.findings] == [("not_kept", 2, sentence)]
    assert not kept_places(conn)


def test_foreign_keys_in_a_circle_are_refused_since_no_row_could_come_first(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("SELECT;\nTRUNCATE app.orders, app.customer, app.noted", "SELECT"))
    made.apply("001")
    conn.execute("ALTER TABLE app.customer ADD last int REFERENCES app.orders")
    with pytest.raises(HistoryError) as refused:
        made.apply("002")
    assert [(f.code, f.line, f.message, f.next_step) for f in refused.value.findings] == [
        ("not_kept", 2, "keep: true, but foreign keys tie app.customer and app.orders in a circle",
         "take it out, or put it into a migration without keep")
    ]  # fmt: skip
    assert not kept_places(conn)


def test_the_server_says_what_a_drop_may_not_take(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("SELECT;\nDROP TABLE app.customer", "SELECT"))
    made.apply("001")
    with pytest.raises(StatementFailed) as refused:
        made.apply("002")
    assert (refused.value.sqlstate, refused.value.line) == ("2BP01", 2)
    assert not kept_places(conn)


def test_what_a_kept_table_needs_stays_until_that_is_let_go(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("ALTER TABLE app.customer DROP COLUMN feels;\nDROP TYPE app.mood", "SELECT"))
    made.apply("001")
    with pytest.raises(StatementFailed) as refused:
        made.apply("002")
    assert str(refused.value) == (
        "002_gone.sql:2: cannot drop type app.mood because other objects depend on it"
        " (column feels of table wmigrate_kept_002_1.customer depends on type app.mood) (SQLSTATE 2BP01)"
        " in DROP TYPE app.mood; rolled back, nothing of it was kept;"
        " what is kept needs it: drop it in a later migration, when that was let go (`wmigrate kept`)"
    )


def test_a_table_that_the_script_makes_anew_gets_the_rows(migrator: MakeMigrator, conn: Conn) -> None:
    undo = "CREATE TABLE app.orders (id serial PRIMARY KEY, total numeric(9,2), customer bigint, before int, more int)"
    made = migrator(both("DROP TABLE app.orders", undo))
    made.apply("001")
    rows = conn.execute("SELECT id, customer, total, before FROM app.orders ORDER BY id").fetchall()
    made.apply("002")
    made.roll_back("002")
    assert conn.execute("SELECT id, customer, total, before FROM app.orders ORDER BY id").fetchall() == rows
    assert conn.execute("INSERT INTO app.orders DEFAULT VALUES RETURNING id").fetchone() == (4,)
    assert not kept_places(conn)


@pytest.mark.parametrize(
    ("destroy", "undo", "meanwhile", "why"),
    [
        ("ALTER TABLE app.customer DROP COLUMN fax", "SELECT", "SELECT",
         "values of app.customer.fax of 2 rows of schema wmigrate_kept_002_1 cannot be given back:"
         " the rollback script makes no column fax of app.customer"),
        ("DELETE FROM app.orders WHERE id = 3", "SELECT", "INSERT INTO app.orders (id) VALUES (3)",
         "1 row of app.orders of schema wmigrate_kept_002_1 cannot be given back:"
         ' duplicate key value violates unique constraint "orders_pkey" (SQLSTATE 23505)'),
        ("DELETE FROM app.noted", "SELECT", "DROP TABLE app.noted",
         "6 rows of app.noted of schema wmigrate_kept_002_1 cannot be given back: there is no such table"),
        ("DROP TABLE app.orders", "SELECT", "DELETE FROM app.customer",
         "table app.orders of schema wmigrate_kept_002_1 cannot be given back: insert or update on table \"orders\""
         ' violates foreign key constraint "orders_customer_fkey" (SQLSTATE 23503)'),
    ],
)  # fmt: skip
def test_what_cannot_be_given_back_stays_kept(
    migrator: MakeMigrator, conn: Conn, destroy: str, undo: str, meanwhile: str, why: str
) -> None:
    made = migrator(both(destroy, undo))
    made.apply("001")
    made.apply("002")
    conn.execute(meanwhile)
    with pytest.raises(RollbackFailed) as failed:
        made.roll_back("002")
    rolled_back = (
        "rolled back, nothing of it was kept; change what stands in its way, or the rollback script;"
        " it stays kept until then"
    )
    assert str(failed.value) == f"rollback of 002 failed: 002_gone.rollback.sql: {why}; {rolled_back}"
    assert kept_places(conn) == {"wmigrate_kept_002_1"}
    assert [e.version for e in made.read().entries] == ["001", "002"]


def test_values_whose_row_is_gone_are_told(migrator: MakeMigrator, conn: Conn, events: list[Any]) -> None:
    made = migrator(both("ALTER TABLE app.customer DROP COLUMN fax", "ALTER TABLE app.customer ADD COLUMN fax text"))
    made.apply("001")
    made.apply("002")
    conn.execute("UPDATE app.orders SET customer = NULL")
    conn.execute("DELETE FROM app.customer WHERE name = 'Bob'; INSERT INTO app.customer (name) VALUES ('Cleo')")
    made.roll_back("002")
    assert conn.execute("SELECT name, fax FROM app.customer ORDER BY 1").fetchall() == [("Ada", "1"), ("Cleo", None)]
    assert [(e.severity, e.message) for e in events if isinstance(e, Noticed)] == [
        ("NOTICE", "keeps values of app.customer.fax of 2 rows in schema wmigrate_kept_002_1"),
        ("WARNING", "1 of values of app.customer.fax of 2 rows have no row any more:"
                    " it was deleted, or has another key now"),
        ("NOTICE", "gives back values of app.customer.fax of 2 rows"),
    ]  # fmt: skip


def test_a_dry_run_keeps_nothing_and_says_what_it_would(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("DROP TABLE app.orders", "SELECT"))
    made.apply("001")
    before = picture(conn)
    assert [each.what for each in made.apply("002", dry_run=True).kept] == ["table"]
    assert not kept_places(conn)
    assert picture(conn) == before
    made.apply("002")
    assert [each.what for each in made.roll_back("002", dry_run=True).kept] == ["table"]
    assert kept_places(conn) == {"wmigrate_kept_002_1"}


def test_it_comes_back_from_the_ledger_alone(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("DROP TABLE app.orders", "SELECT 1"))
    made.apply("001")
    before = picture(conn)
    made.apply("002")
    record = migrator({"001_made.sql": MADE}).roll_back("002")
    assert picture(conn) == before
    assert record.rollback_script == "ledger"
    row = conn.execute("SELECT details FROM wmigrate.audit_log ORDER BY position DESC LIMIT 1").fetchone()
    assert row is not None
    assert row[0]["rollback_script"] == "ledger"
    assert [each["table"] for each in row[0]["kept"]] == ["orders"]


def test_what_was_emptied_is_not_passed_over(migrator: MakeMigrator, conn: Conn) -> None:
    files = both("DELETE FROM app.noted", "SELECT 1")
    made = migrator(files)
    made.apply("001")
    made.apply("002")
    conn.execute("DROP SCHEMA wmigrate_kept_002_1 CASCADE")
    with pytest.raises(HistoryError) as refused:
        made.roll_back("002")
    assert [(f.code, f.message) for f in refused.value.findings] == [
        ("kept_gone", "what it kept was emptied: 6 rows of app.noted")
    ]
    alone = migrator({**files, "migration_config.yaml": ""})
    assert alone.roll_back("002").kept == ()
    assert conn.execute("SELECT count(*) FROM app.noted").fetchone() == (0,)


def test_policies_hide_no_row_from_what_is_kept(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    made = migrator(both("TRUNCATE app.noted", "SELECT"))
    made.apply("001")
    conn.execute(f"CREATE ROLE truncates LOGIN; GRANT CREATE ON DATABASE {conn.info.dbname} TO truncates")
    try:
        conn.execute(
            "GRANT ALL ON SCHEMA wmigrate, app TO truncates; GRANT ALL ON ALL TABLES IN SCHEMA wmigrate TO truncates;"
            " ALTER TABLE app.noted OWNER TO truncates; ALTER TABLE app.noted ENABLE ROW LEVEL SECURITY;"
            " ALTER TABLE app.noted FORCE ROW LEVEL SECURITY; CREATE POLICY none ON app.noted USING (false)"
        )
        hidden = migrator(both("TRUNCATE app.noted", "SELECT"), dsn=make_conninfo(database, user="truncates"))
        with pytest.raises(StatementFailed) as refused:
            hidden.apply("002")
        assert (refused.value.sqlstate, refused.value.line) == ("42501", 1)
        assert conn.execute("SELECT count(*) FROM app.noted").fetchone() == (6,)
    finally:
        conn.execute("DROP OWNED BY truncates CASCADE; DROP ROLE truncates")


def test_a_rollback_says_what_it_gives_back_and_what_that_locks(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("DELETE FROM app.noted;\nDROP TABLE app.orders", "SELECT 1"))
    made.apply("001")
    (foreseen,), _ = made.forecast(made.plan(), made.analyses.of)
    assert foreseen.gives_back == ("puts aside what it destroys, and its rollback gives it back (keep: true)",)
    made.apply("002")
    (foreseen,), found = made.forecast(made.plan_rollback_of("002"), made.analyses.of)
    assert found == ()
    assert foreseen.gives_back == ("gives back 6 rows of app.noted", "gives back table app.orders")
    assert {(lock.relation, lock.mode, lock.known_by) for lock in foreseen.locks} == {
        ("app.noted", "ShareRowExclusiveLock", "kept"),
        ("app.customer", "ShareRowExclusiveLock", "kept"),
        ("wmigrate_kept_002_1.noted", "AccessExclusiveLock", "kept"),
        ("wmigrate_kept_002_2.orders", "AccessExclusiveLock", "kept"),
    }
    assert made.roll_back("002", dry_run=True).forecast.differences == ()
    taken = {lock.relation: lock.mode for lock in made.roll_back("002").locks}
    assert taken["app.noted"] == "ShareRowExclusiveLock"
    assert taken["app.customer"] == "ShareRowExclusiveLock"


def test_the_plan_of_a_rollback_says_that_it_was_emptied(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(both("DELETE FROM app.noted", "SELECT 1"))
    made.apply("001")
    made.apply("002")
    conn.execute("DROP SCHEMA wmigrate_kept_002_1 CASCADE")
    _, found = made.forecast(made.plan_rollback_of("002"), made.analyses.of)
    assert [(f.code, f.severity, f.message) for f in found] == [
        ("kept_gone", "error", "what it kept was emptied: 6 rows of app.noted")
    ]


def test_lint_has_nothing_against_what_is_kept(migrator: MakeMigrator, conn: Conn) -> None:
    files = both("DROP TABLE app.orders", "SELECT 1")
    made = migrator(files)
    made.apply("001")
    assert made.evidence(made.plan(), made.analyses.of) == ()
    made = migrator({**files, "migration_config.yaml": ""})
    assert [f.code for f in made.evidence(made.plan(), made.analyses.of)] == ["loses_rows"]


def test_the_end_of_a_run_drops_what_is_old(migrator: MakeMigrator, conn: Conn, events: list[Any]) -> None:
    made = migrator(both("DELETE FROM app.noted;\nDROP TABLE app.orders", "SELECT 1"))
    for version in ("001", "002"):
        made.apply(version)
    made.record_success()
    assert len(kept_places(conn)) == 2
    conn.execute("CREATE VIEW uses AS SELECT * FROM wmigrate_kept_002_2.orders")
    assert made.empty_kept(1) == ()
    made.settings = type(made.settings)(keep_days=1e-9)
    made.record_success()
    assert kept_places(conn) == {"wmigrate_kept_002_2"}
    assert [e.message for e in events if isinstance(e, Noticed)][-1] == (
        "table app.orders in schema wmigrate_kept_002_2 is kept on:"
        " cannot drop table wmigrate_kept_002_2.orders because other objects depend on it"
    )
    row = conn.execute("SELECT event, version, details FROM wmigrate.audit_log ORDER BY position DESC LIMIT 1")
    event, version, details = row.fetchone() or ("", "", {})
    assert (event, version, details["kept"][0]["place"]) == ("kept_emptied", "002", "wmigrate_kept_002_1")
    assert made.read().entries[-1].status == "applied"


def test_two_that_let_go_of_the_same(migrator: MakeMigrator, conn: Conn, database: str, events: list[Any]) -> None:
    made = migrator(both("DROP TABLE app.orders", "SELECT 1"))
    for version in ("001", "002"):
        made.apply(version)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database) as other, ThreadPoolExecutor() as pool:
        other.execute("DROP TABLE wmigrate_kept_002_1.orders; DROP SCHEMA wmigrate_kept_002_1")
        gone = pool.submit(made.empty_kept, 0)
        wait_until(lambda: conn.execute(waits).fetchone() == (1,))
        other.commit()
        assert gone.result() == ()
    assert not [e for e in events if isinstance(e, Noticed) and e.severity == "WARNING"]
