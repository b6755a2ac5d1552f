"""What a migration with `keep: true` must not say, from its script and from what its tables are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from some_catalog import a_catalog

from airflow_provider_wmigrate.engine.catalog.keepable import Keepable
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, LockMode
from airflow_provider_wmigrate.engine.model import Finding, Migration, Script
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, parts_of
from airflow_provider_wmigrate.engine.plan.giving_back import kept_gone, locks_of_kept
from airflow_provider_wmigrate.engine.plan.keep_rules import keep_findings, keep_findings_of_rollback
from airflow_provider_wmigrate.engine.plan.keep_tables import hidden_losses, keep_findings_of_tables, why_not_of_table
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.destroying import Destroying, destroying, made_names

FILE = "001_a.sql"
WITHOUT = "take it out, or put it into a migration without keep"


def a_migration(text: str = "SELECT 1;", undo: str = "SELECT 1;", **changes: Any) -> Migration:
    rollback = Script.of("001_a.rollback.sql", undo)
    return replace(Migration("001", "a", Script.of(FILE, text), rollback, keep=True), **changes)


def not_kept(line: int | None, message: str, nxt: str, file: str = FILE, **more: Any) -> Finding:
    return Finding("not_kept", f"keep: true, but {message}", nxt, version="001", file=file, line=line, **more)


SPELT_OUT = "drop or empty what depends on it by statements of their own"
AS_STATEMENTS = "write what it does as statements, or take keep out"
CASCADE = "CASCADE takes away what nobody keeps", SPELT_OUT
INNER = "DELETE inside another statement is not kept", "write it as a DELETE of its own"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE t", None),
        ("DROP TABLE t RESTRICT", None),
        ("DROP TABLE t CASCADE", CASCADE),
        ("DROP VIEW v", None),
        ("DROP VIEW v CASCADE", CASCADE),
        ("DROP TYPE y CASCADE", CASCADE),
        ("TRUNCATE t", None),
        ("TRUNCATE t CASCADE", CASCADE),
        ("TRUNCATE t RESTART IDENTITY", (
            "RESTART IDENTITY is not undone", "leave it out, and set the sequence in a migration without keep"
        )),
        ("ALTER TABLE t DROP COLUMN a", None),
        ("ALTER TABLE t DROP COLUMN a, DROP COLUMN b CASCADE", CASCADE),
        ("ALTER TABLE t DROP CONSTRAINT k CASCADE", None),
        ("DROP OWNED BY bob", ("DROP OWNED is not kept", WITHOUT)),
        ("DO $$ BEGIN END $$", ("nobody sees what a DO block destroys", AS_STATEMENTS)),
        ("CALL p()", ("nobody sees what a procedure destroys", AS_STATEMENTS)),
        ("EXECUTE p", ("nobody sees what a prepared statement destroys", AS_STATEMENTS)),
        ("DELETE FROM t WHERE a = 1", None),
        ("DELETE FROM t RETURNING a", ("nobody reads what RETURNING gives", "leave it out")),
        ("DELETE FROM t WHERE a IN (SELECT 1)", None),
        ("WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone", INNER),
        ("WITH gone AS (DELETE FROM u RETURNING a) DELETE FROM t USING gone", INNER),
        ("CREATE RULE r AS ON DELETE TO t DO INSTEAD DELETE FROM u", None),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", (
            "MERGE ... DELETE inside another statement is not kept", "write it as a DELETE of its own"
        )),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET a = 1", None),
        ("INSERT INTO t VALUES (1)", None),
        ("CREATE TABLE n (a int)", None),
    ],
)  # fmt: skip
def test_what_the_script_alone_shows(statement: str, reason: tuple[str, str] | None) -> None:
    migration = a_migration(f"SELECT 1;\n{statement};")
    expected = [not_kept(2, *reason)] if reason else []
    assert list(keep_findings(migration, analyse(migration.script))) == expected


ONE_BY_ONE = "it does not run in one transaction, so that nothing of it can be kept"


@pytest.mark.parametrize(
    ("text", "transactional", "line"),
    [("SELECT 1;\nVACUUM t;", "auto", 2), ("SELECT 1;", False, None)],
)
def test_what_runs_outside_of_a_transaction_keeps_nothing(text: str, transactional: Any, line: int | None) -> None:
    migration = a_migration(text + "DROP TABLE t CASCADE;", transactional=transactional)
    assert list(keep_findings(migration, analyse(migration.script))) == [not_kept(line, ONE_BY_ONE, WITHOUT)]


def test_what_nobody_can_read_keeps_nothing() -> None:
    migration = a_migration("not SQL")
    (found,) = keep_findings(migration, analyse(migration.script))
    unread = "PostgreSQL's grammar does not read it: "
    assert found.message.startswith(f"keep: true, but {unread}")
    assert replace(found, message="") == replace(not_kept(None, "", "write it so that it does"), message="")


@pytest.mark.parametrize(
    ("undo", "transactional", "is_told"),
    [("SELECT 1;", "auto", False), ("VACUUM t;", "auto", True), ("SELECT 1;", False, True)],
)
def test_a_rollback_outside_of_a_transaction_gives_nothing_back(undo: str, transactional: Any, is_told: bool) -> None:
    migration = a_migration(undo=undo, rollback_transactional=transactional)
    assert migration.rollback is not None
    message = "its rollback script does not run in one transaction, so that it could give nothing back"
    told = not_kept(None, message, "write a rollback script that does", file="001_a.rollback.sql")
    found = list(keep_findings_of_rollback(migration, analyse(migration.rollback)))
    assert found == ([told] if is_told else [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1; DROP TABLE t, s.u", [Destroying(1, "table", (("", "t"), ("s", "u")))]),
        ("DROP TABLE d.s.t CASCADE", [Destroying(0, "table", (("s", "t"),), cascade=True)]),
        ("DROP VIEW v", []),
        (
            "ALTER TABLE s.t DROP COLUMN a, ADD COLUMN c int, DROP b",
            [Destroying(0, "column", (("s", "t"),), ("a", "b"))],
        ),
        ("ALTER TABLE t DROP a CASCADE, DROP b", [Destroying(0, "column", (("", "t"),), ("a", "b"), cascade=True)]),
        ("ALTER TABLE t ADD COLUMN c int", []),
        ("ALTER TYPE t DROP ATTRIBUTE a", []),
        ("ALTER FOREIGN TABLE t DROP a", []),
        ("TRUNCATE t, s.u CASCADE", [Destroying(0, "all rows", (("", "t"), ("s", "u")), cascade=True)]),
        ("TRUNCATE t", [Destroying(0, "all rows", (("", "t"),))]),
        ("DELETE FROM s.t", [Destroying(0, "rows", (("s", "t"),))]),
        ("DELETE FROM t; DROP TABLE t", [Destroying(0, "rows", (("", "t"),)), Destroying(1, "table", (("", "t"),))]),
        ("DO $$ BEGIN DROP TABLE t; END $$", []),
    ],
)
def test_which_statements_destroy_what_they_name(text: str, found: list[Destroying]) -> None:
    assert list(destroying(analyse(Script.of(FILE, text)))) == found


def test_which_tables_a_script_makes() -> None:
    text = """CREATE TABLE s.a (n int); CREATE TABLE b AS SELECT 1; SELECT 1; ALTER TABLE c RENAME TO d;
        ALTER TABLE c RENAME COLUMN e TO f; CREATE VIEW g AS SELECT 1;"""
    assert made_names(analyse(Script.of(FILE, text))) == {"a", "b", "d"}


# What the tables show

PLAIN = Keepable(1, "app", "t", "r", False, False, False, False, [], [], [], [], ["a", "b"], [], ["id"])
DROP, COLUMN = Destroying(0, "table", (("", "t"),)), Destroying(0, "column", (("", "t"),), ("b",))
EMPTY, DELETE = Destroying(0, "all rows", (("", "t"),)), Destroying(0, "rows", (("", "t"),))
INHERITED = "other tables inherit from app.t or it from them, as the chunks of a hypertable", WITHOUT
PARTITION = "app.t is a partition", "DETACH PARTITION first, then drop it"
NO_TABLE = "app.t is no table, and its rows are elsewhere", "name the table itself"


def trigger(name: str) -> tuple[str, str]:
    disabled = f"disable it around the statement (ALTER TABLE ... DISABLE TRIGGER {name})"
    return f"trigger {name} of app.t runs, and nobody sees what it destroys", disabled


@pytest.mark.parametrize("one", [DROP, COLUMN, EMPTY, DELETE], ids=lambda one: one.what)
def test_a_plain_table_can_be_kept(one: Destroying) -> None:
    assert why_not_of_table(one, PLAIN) is None


@pytest.mark.parametrize(
    ("one", "table", "reason"),
    [
        (DROP, {"partition": True, "inherited": True}, PARTITION),
        (DROP, {"kind": "p", "inherited": True}, (
            "app.t is partitioned, and its partitions would not come along", WITHOUT
        )),
        (DROP, {"inherited": True}, INHERITED),
        (DROP, {"published": ["pub", "more"]}, (
            "publication pub names app.t, and would go on with what is kept",
            "ALTER PUBLICATION pub DROP TABLE before it, and the rollback script adds it again",
        )),
        (DROP, {"rules": True, "delete_triggers": ["x"], "spreading": ["k"], "key": []}, None),
        *((one, {"inherited": True}, INHERITED) for one in (COLUMN, EMPTY, DELETE)),
        *((one, {"inherited": True, "partition": True}, None) for one in (COLUMN, EMPTY, DELETE)),
        *((one, {"inherited": True, "kind": "p"}, None) for one in (COLUMN, EMPTY, DELETE)),
        (COLUMN, {"numbered": ["b", "c"]}, ("app.t.b has a sequence of its own, which would not be kept", WITHOUT)),
        (COLUMN, {"key": []}, (
            "app.t has no key that stays and tells its rows apart",
            "add a primary key, or a unique index on columns that are NOT NULL",
        )),
        (COLUMN, {"key": [], "numbered": ["b"], "stored": ["a"]}, None),
        (COLUMN, {"rules": True, "delete_triggers": ["x"], "truncate_triggers": ["x"], "spreading": ["k"]}, None),
        (DELETE, {"kind": "v"}, NO_TABLE),
        (EMPTY, {"kind": "f"}, NO_TABLE),
        (EMPTY, {"kind": "p"}, None),
        (EMPTY, {"rules": True}, ("app.t has rules, and nobody sees what they destroy", WITHOUT)),
        (DELETE, {"delete_triggers": ["x", "y"], "truncate_triggers": ["z"]}, trigger("x")),
        (DELETE, {"truncate_triggers": ["z"]}, None),
        (EMPTY, {"delete_triggers": ["x"], "truncate_triggers": ["z"]}, trigger("z")),
        (EMPTY, {"delete_triggers": ["x"]}, None),
        (DELETE, {"spreading": ["k of app.x", "l"]}, (
            "foreign key k of app.x takes rows or values of another table along",
            "delete or change those rows before, by a statement of its own, and then drop the CASCADE of the key",
        )),
        (EMPTY, {"spreading": ["k of app.x"]}, None),
    ],
)  # fmt: skip
def test_why_what_a_statement_destroys_of_a_table_cannot_be_kept(
    one: Destroying, table: dict[str, Any], reason: tuple[str, str] | None
) -> None:
    assert why_not_of_table(one, PLAIN._replace(**table)) == reason


SPREADS = (
    "foreign key k of app.x takes rows or values of another table along",
    "delete or change those rows before, by a statement of its own, and then drop the CASCADE of the key",
)


@pytest.mark.parametrize(
    ("texts", "table", "found"),
    [
        (["SELECT 1;\nDROP TABLE t;"], {"partition": True}, [not_kept(2, *PARTITION)]),
        (["DROP TABLE t;"], {"partition": True, "temporary": True}, []),
        (["DROP TABLE t;"], None, []),
        (["SELECT 1;"], {"partition": True}, []),
        (["ALTER TABLE p DETACH PARTITION t; DROP TABLE t;"], {"partition": True}, []),
        (["ALTER TABLE p DETACH PARTITION t;", "DROP TABLE t;"], {"partition": True}, []),
        (
            ["INSERT INTO t VALUES (1); UPDATE t SET a = 1; DROP TABLE t;"],
            {"partition": True},
            [not_kept(1, *PARTITION)],
        ),
        (["SELECT 1 FROM t; COPY t TO STDOUT; DROP TABLE t;"], {"partition": True}, [not_kept(1, *PARTITION)]),
        (["DO $$ BEGIN END $$;", "DROP TABLE t;"], {"partition": True}, []),
        (["not SQL", "DROP TABLE t;"], {"partition": True}, []),
        (["DELETE FROM t;"], {"spreading": ["k of app.x"]}, [not_kept(1, *SPREADS)]),
        (["ALTER TABLE x DROP CONSTRAINT other;", "DELETE FROM t;"], {"spreading": ["k of app.x"]}, []),
        (["ALTER TABLE y DROP CONSTRAINT k2; DELETE FROM t;"], {"spreading": ["k of app.x"]}, [not_kept(1, *SPREADS)]),
    ],
)
def test_the_tables_as_they_are_before_the_first_script(
    texts: list[str], table: dict[str, Any] | None, found: list[Finding]
) -> None:
    looked: list[tuple[tuple[str, str], tuple[str, ...]]] = []

    def look(name: tuple[str, str], columns: Sequence[str]) -> Keepable | None:
        looked.append((name, tuple(columns)))
        return None if table is None else PLAIN._replace(**table)

    made = [a_migration(text) for text in texts]
    assert list(keep_findings_of_tables([(m, analyse(m.script)) for m in made], look)) == found
    assert looked in ([], [(("", "t"), ())])


def test_which_columns_are_looked_at() -> None:
    looked: list[Any] = []
    migration = a_migration("ALTER TABLE s.t DROP COLUMN b, DROP COLUMN c; TRUNCATE t, u;")
    found = keep_findings_of_tables([(migration, analyse(migration.script))], lambda *asked: looked.append(asked))
    assert (list(found), looked) == ([], [(("s", "t"), ("b", "c")), (("", "u"), ())])


def test_what_is_not_to_be_kept_is_not_looked_at() -> None:
    without, made = a_migration("DROP TABLE t;", keep=False), a_migration("DROP TABLE t;")
    scripts = [(m, analyse(m.script)) for m in (without, made)]
    assert list(keep_findings_of_tables(scripts[:1], lambda *_: PLAIN._replace(partition=True))) == []
    assert list(keep_findings_of_tables(scripts, lambda *_: PLAIN._replace(partition=True))) == [], "it is gone before"


def test_what_functions_destroy_is_a_warning() -> None:
    migration = a_migration("SELECT 1;\nDO $$ BEGIN END $$;")
    analysis = analyse(migration.script)
    scripts = [Ahead("001", analysis, parts_of(analysis, "auto")), Ahead("002", analysis, ())]
    message = "it may destroy more than it keeps: a DO block runs"
    told = not_kept(2, message, "look what that does", severity="warning")
    assert list(hidden_losses([migration], scripts, a_catalog())) == [told]
    assert list(hidden_losses([a_migration(), replace(migration, version="003")], scripts[1:], a_catalog())) == []
    dropped = analyse(Script.of(FILE, "DROP TABLE t;"))
    assert list(hidden_losses([migration], [Ahead("001", dropped, (range(1),))], a_catalog())) == []


# Giving back

KEPT = Kept("table", "wmigrate_kept_1", "app", "t", foreign_keys=(("k", "FOREIGN KEY (a) REFERENCES app.u(id)"),))
VALUES = Kept("column", "wmigrate_kept_2", "app", 'T"', ("a",), ("id",), 3)


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        ({"wmigrate_kept_1", "wmigrate_kept_2"}, None),
        ({"wmigrate_kept_2"}, "table app.t"),
        (set(), 'table app.t, values of app.T".a of 3 rows'),
    ],
)
def test_what_is_kept_no_more_cannot_be_given_back(there: set[str], gone: str | None) -> None:
    nxt = "restore it from a backup; or set keep: false for it, and its rollback script runs alone"
    told = Finding("kept_gone", f"what it kept was emptied: {gone}", nxt, version="001", file=FILE)
    assert kept_gone(a_migration(), (KEPT, VALUES), there) == ((told,) if gone else ())
    assert kept_gone(a_migration(keep=False), (KEPT, VALUES), there) == ()


def test_what_giving_back_locks() -> None:
    strong, weak = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE_ROW_EXCLUSIVE
    assert list(locks_of_kept([KEPT, VALUES])) == [
        KnownLock('"wmigrate_kept_1"."t"', strong, "kept"),
        KnownLock("app.u", weak, "kept"),
        KnownLock('"wmigrate_kept_2"."T"""', strong, "kept"),
        KnownLock('"app"."T"""', weak, "kept"),
    ]


@pytest.mark.parametrize(
    ("definition", "table"),
    [
        ('FOREIGN KEY (a) REFERENCES "a.b"."c(d"(id)', '"a.b"."c(d"'),
        ('FOREIGN KEY (a) REFERENCES s."x""y"(id)', 's."x""y"'),
        ("FOREIGN KEY (a) REFERENCES s.t (id) ON DELETE CASCADE", "s.t"),
        ("CHECK (a > 0)", None),
    ],
)
def test_the_table_that_a_key_names(definition: str, table: str | None) -> None:
    kept = replace(KEPT, foreign_keys=(("k", definition),))
    assert [lock.table for lock in locks_of_kept([kept])][1:] == ([table] if table else [])
