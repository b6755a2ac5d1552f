"""What a rollback says that it will take away, before it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import RollbackFailed
from airflow_provider_wmigrate.engine.foreseen import Loss
from airflow_provider_wmigrate.engine.migrator import Migrator

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

MADE = """
CREATE TYPE mood AS ENUM ('glad');
CREATE TABLE shop (id int PRIMARY KEY, price int, feels mood);
INSERT INTO shop VALUES (1, 5, 'glad'), (2, NULL, NULL), (3, 7, NULL);
CREATE INDEX ON shop (price);
CREATE SEQUENCE tickets;
CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, shop int REFERENCES shop ON DELETE CASCADE);
INSERT INTO item (shop) VALUES (1);
CREATE VIEW dear AS SELECT id FROM shop WHERE price > 5;
CREATE MATERIALIZED VIEW sums AS SELECT sum(price) FROM shop;
CREATE TABLE part (n int) PARTITION BY LIST (n);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
INSERT INTO part VALUES (1), (1);
CREATE SCHEMA other;
CREATE TABLE other."Odd name" ();
"""


def lost(migrator: Migrator) -> dict[str, list[str]]:
    foreseen, _ = migrator.forecast(migrator.plan_rollback(to=None), migrator.analyses.of)
    return {each.version: [loss.told for loss in each.losses] for each in foreseen}


@pytest.mark.parametrize(
    ("undo", "told"),
    [
        ("DROP TABLE item", ["takes away table public.item with 1 row (counted)"]),
        ("DROP TABLE IF EXISTS nothing, other.\"Odd name\"",
         ['takes away table other."Odd name" with 0 rows (counted)']),
        ("DROP TABLE part", ["takes away table public.part with 2 rows (counted)"]),
        ("DROP TABLE part_1", ["takes away table public.part_1 with 2 rows (counted)"]),
        ("DROP VIEW dear; DROP SEQUENCE tickets; DROP INDEX shop_price_idx",
         ["takes away view public.dear", "takes away sequence public.tickets"]),
        ("DROP TABLE shop CASCADE",
         ["takes away table public.shop with 3 rows (counted)", "takes away view public.dear, through CASCADE",
          "takes away materialized view public.sums, through CASCADE"]),
        ("ALTER TABLE shop DROP COLUMN id", ["takes away column public.shop.id with 3 values (counted)"]),
        ("ALTER TABLE shop ADD COLUMN n int, DROP price CASCADE",
         ["takes away column public.shop.price with 2 values (counted)", "takes away view public.dear, through CASCADE",
          "takes away materialized view public.sums, through CASCADE"]),
        ("DROP TYPE mood CASCADE", ["takes away column public.shop.feels with 1 value (counted), through CASCADE"]),
        ("DROP SCHEMA other CASCADE",
         ['takes away table other."Odd name" with 0 rows (counted), through CASCADE']),
        ("TRUNCATE item", ["takes 1 row (counted) of public.item away"]),
        ("TRUNCATE shop CASCADE",
         ["takes 3 rows (counted) of public.shop away", "takes 1 row (counted) of public.item away, through CASCADE"]),
        ("DELETE FROM item", ["takes 1 row (counted) of public.item away"]),
        ("WITH gone AS (DELETE FROM shop WHERE id = 2 RETURNING id) SELECT FROM gone",
         ["takes rows of public.shop away, which has 3 rows (counted)",
          "takes rows of public.item away, which has 1 row (counted), through foreign key item_shop_fkey"]),
        ("SELECT 1;\nDO $$ BEGIN DROP TABLE item; END $$",
         ["line 2 may take away more than can be foreseen: a DO block runs"]),
        ("DROP TABLE item; CREATE TABLE item (); DROP TABLE item",
         ["takes away table public.item with 1 row (counted)"]),
        ("CREATE TABLE new (n int); ALTER TABLE new DROP n; ALTER TABLE item RENAME TO goods; DROP TABLE goods",
         ["takes away table public.item with 1 row (counted)"]),
        ("ALTER TABLE shop ALTER price SET DEFAULT 1", []),
    ],
)  # fmt: skip
def test_what_a_rollback_takes_away(migrator: MakeMigrator, conn: Conn, undo: str, told: list[str]) -> None:
    shop = migrator({"001_made.sql": MADE, "001_made.rollback.sql": undo})
    shop.apply("001")
    assert lost(shop) == {"001": told}
    assert conn.execute("SELECT count(*) FROM shop").fetchone() == (3,)


def test_what_is_too_large_to_count_is_estimated(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_a.sql": "CREATE TABLE a (n int, m int);\nINSERT INTO a SELECT n FROM generate_series(1, 120000) n",
        "001_a.rollback.sql": "ALTER TABLE a DROP m;\nDROP TABLE a;",
    }
    made = migrator(files)
    made.apply("001")
    conn.execute("ANALYZE a")
    assert lost(made) == {
        "001": [
            "takes away column public.a.m with at most about 120,000 values (estimated)",
            "takes away table public.a with about 120,000 rows (estimated)",
        ]
    }
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE a")
        assert lost(made)["001"][1] == "takes away table public.a with about 120,000 rows (estimated)"
        other.rollback()


def test_a_table_that_somebody_holds_and_nobody_has_counted(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({"001_a.sql": "CREATE TABLE a ()", "001_a.rollback.sql": "DROP TABLE a"})
    made.apply("001")
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE a")
        assert lost(made) == {"001": ["takes away table public.a with an unknown number of rows"]}


def test_a_table_that_somebody_holds_keeps_nobody_elses_count(migrator: MakeMigrator, conn: Conn) -> None:
    """Ten are counted in one message."""
    numbers = range(1, 24)
    files = {f"{n:03d}_t.sql": f"CREATE TABLE t{n} AS SELECT generate_series(1, {n})" for n in numbers}
    files |= {f"{n:03d}_t.rollback.sql": f"DROP TABLE t{n}" for n in numbers}
    made = migrator(files)
    made.apply_each([f"{n:03d}" for n in numbers])
    rows = {n: f"{n} {'row' if n == 1 else 'rows'} (counted)" for n in numbers}
    told = {f"{n:03d}": [f"takes away table public.t{n} with {rows[n]}"] for n in numbers}
    assert lost(made) == told
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE t15")
        held = lost(made)
    assert "(counted)" not in held["015"][0], "it may be estimated, or not even that"
    assert held | {"015": told["015"]} == told


def test_losses_are_told_from_the_ledger_alone(migrator: MakeMigrator, conn: Conn) -> None:
    both = {
        "001_a.sql": "CREATE TABLE a ()", "001_a.rollback.sql": "DROP TABLE a",
        "002_b.sql": "CREATE TABLE b ()", "002_b.rollback.sql": "DROP TABLE b",
    }  # fmt: skip
    migrator(both).apply("001")
    migrator(both).apply("002")
    older = migrator({"001_a.sql": both["001_a.sql"]})
    foreseen, _ = older.forecast(older.plan_rollback(to=None), older.analyses.of)
    assert {each.version: each.losses for each in foreseen} == {
        "002": (Loss("public.b", 0, True, "takes away table public.b with 0 rows (counted)"),),
        "001": (Loss("public.a", 0, True, "takes away table public.a with 0 rows (counted)"),),
    }
    assert older.roll_back_each(["002", "001"])


OTHERS = """
CREATE VIEW late AS SELECT id FROM shop;
CREATE MATERIALIZED VIEW later AS SELECT * FROM late;
CREATE TABLE visit (shop int CONSTRAINT goes_there REFERENCES shop);
CREATE FUNCTION cheers(shop) RETURNS bool LANGUAGE sql BEGIN ATOMIC SELECT $1.feels = 'glad'; END;
"""


@pytest.mark.parametrize(
    ("undo", "what"),
    [
        ("SELECT;\nDROP TABLE shop CASCADE",
         ["view late", "materialized view later", "constraint goes_there on table visit", "function cheers(shop)"]),
        ("SELECT;\nALTER TABLE shop DROP id CASCADE",
         ["view late", "materialized view later", "constraint goes_there on table visit"]),
        ("SELECT;\nDROP TYPE mood CASCADE; DROP FUNCTION cheers", ["function cheers(shop)"]),
        ("DROP MATERIALIZED VIEW later; DROP VIEW late; DROP TABLE visit; DROP FUNCTION cheers(shop);\n"
         "DROP TABLE shop CASCADE", []),
        ("DROP TABLE shop", []),
    ],
)  # fmt: skip
@pytest.mark.needs_postgresql(14, "function bodies that the server reads")
def test_cascade_does_not_take_what_others_made(migrator: MakeMigrator, conn: Conn, undo: str, what: list[str]) -> None:
    files = {"001_made.sql": MADE, "001_made.rollback.sql": undo}
    shop = migrator(files)
    shop.apply("001")
    conn.execute(OTHERS)
    _, found = shop.forecast(shop.plan_rollback(to=None), shop.analyses.of)
    assert {(f.code, f.severity, f.file, f.line, f.message) for f in found} == {
        ("drops_of_others", "error", "001_made.rollback.sql", 2,
         f"CASCADE would take {each} along, which no migration that is rolled back has made")
        for each in what
    }  # fmt: skip
    alone = migrator({"002_other.sql": "SELECT"})
    _, found = alone.forecast(alone.plan_rollback(to=None), alone.analyses.of)
    assert {f.severity for f in found} <= {"warning"}


def test_a_plain_drop_that_is_refused_names_what_depends_on_it(migrator: MakeMigrator, conn: Conn) -> None:
    shop = migrator({"001_made.sql": MADE, "001_made.rollback.sql": "DROP VIEW dear; DROP MATERIALIZED VIEW sums;\n"
                     "DROP TABLE item; DROP TABLE shop"})  # fmt: skip
    shop.apply("001")
    conn.execute("CREATE VIEW late AS SELECT id FROM shop")
    with pytest.raises(RollbackFailed) as failed:
        shop.roll_back("001")
    assert str(failed.value) == (
        "rollback of 001 failed: 001_made.rollback.sql:2: cannot drop table shop because other objects depend on it"
        " (view late depends on table shop) (SQLSTATE 2BP01) in DROP TABLE shop; rolled back, nothing of it was kept;"
        " drop that before, by name, or roll back first what made it"
    )
