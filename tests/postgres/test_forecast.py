"""What a plan foresees of locks, in words, and what a dry run says of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import relations_message
from airflow_provider_wmigrate.engine.foreseen import Forecast
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.session.message import ask, values
from tests.waiting import eventually

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

BEFORE = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n;
CREATE TABLE items (id int, order_id int);
CREATE TABLE log (id int);
CREATE TABLE parts (id int, part int) PARTITION BY LIST (part);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
"""


def foreseen(migrator: Migrator) -> dict[str, list[str]]:
    """What would wait; who uses what goes is told beside it, and has tests of its own."""
    made = migrator.forecast(migrator.plan(), migrator.analyses.of)[0]
    return {each.version: replace(each, blast=None).lines() for each in made}


def test_who_would_wait(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE)
    conn.execute("ANALYZE orders")
    scripts = {
        "001_rewrite.sql": "SELECT 1;\nALTER TABLE orders ALTER id TYPE bigint;",
        "002_scan.sql": "ALTER TABLE orders ADD CHECK (id > 0);\nCOMMENT ON TABLE items IS 'x';",
        "003_build.sql": "ALTER TABLE items ADD COLUMN n int;\nCREATE INDEX ON orders (note);",
        "004_moment.sql": "ALTER TABLE items ADD COLUMN m int; ALTER TABLE items ALTER m SET STATISTICS 5;",
        "005_parts.sql": "ALTER TABLE parts ADD COLUMN n int;",
        "006_keys.sql": "ALTER TABLE items ADD FOREIGN KEY (order_id) REFERENCES orders NOT VALID;",
        "007_rows.sql": "UPDATE orders SET note = '';\nDO $$ BEGIN TRUNCATE log; END $$;",
        "009_change.sql": "ALTER TABLE orders ADD COLUMN n int;\nUPDATE orders SET n = 1;",
        "008_concurrently.sql": "CREATE INDEX CONCURRENTLY ON orders (id);\nALTER TABLE items ADD COLUMN k int;\n",
    }
    config = {"migration_config.yaml": "settings: {execution: {timeout_seconds: 60}}\n"}
    pages = conn.execute(
        "SELECT pg_size_pretty(sum(relpages) * 8192) FROM pg_class c WHERE relname IN ('orders', 'orders_pkey')"
    ).fetchone()
    assert pages is not None
    orders = f"public.orders ({pages[0]})"
    runs = "for as long as the statement of line"
    assert foreseen(migrator(scripts | config)) == {
        "001": [f"blocks reads and writes of {orders} {runs} 2 runs: it writes the table anew"],
        "002": [
            f"blocks reads and writes of {orders} {runs} 1 runs: it reads the whole table",
            "blocks VACUUM and changes of the schema of public.items, but no reads and writes for a moment",
        ],
        "003": [
            "blocks reads and writes of public.items until the migration commits, and line 2 may take long",
            f"blocks writes of {orders} {runs} 2 runs: it builds an index",
        ],
        "004": ["blocks reads and writes of public.items for a moment"],
        "005": ["blocks reads and writes of public.parts and its 2 chunks or partitions for a moment"],
        "006": ["blocks writes of public.items for a moment", f"blocks writes of {orders} for a moment"],
        "007": [
            f"changes rows of {orders}, and blocks only who changes the same rows",
            "line 2 may lock more than can be foreseen: a DO block runs",
        ],
        "008": [
            "blocks reads and writes of public.items for a moment",
            f"blocks VACUUM and changes of the schema of {orders}, but no reads and writes {runs} 1 runs:"
            " it builds an index",
        ],
        "009": [f"blocks reads and writes of {orders} until the migration commits, and line 2 may take long"],
    }  # fmt: skip


def test_event_triggers_are_named(migrator: MakeMigrator, conn: Conn) -> None:
    """For the commands that they are for, and not where they are off."""
    conn.execute(BEFORE)
    for name, event in {
        "ends": "ddl_command_end WHEN TAG IN ('CREATE INDEX', 'COMMENT')", "drops": "sql_drop",
        "rewrites": "table_rewrite", "off": "ddl_command_start",
    }.items():  # fmt: skip
        function = f"CREATE FUNCTION {name}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
        conn.execute(f"{function}; CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION {name}()".encode())
    conn.execute("ALTER EVENT TRIGGER off DISABLE")
    text = (
        "CREATE UNIQUE INDEX ON log (id);\nCOMMENT ON TABLE log IS '';\nDROP TABLE items;\n"
        "ALTER TABLE log ADD COLUMN n int;\nCREATE TABLE x (i int);\nUPDATE log SET id = 1;\nCREATE ROLE nobody;\n"
    )
    made = migrator({"001_a.sql": text})
    ((found,), _) = made.forecast(made.plan(), made.analyses.of)
    unforeseen = "line {} may lock more than can be foreseen: event trigger {} runs a function"
    assert found.unforeseen == tuple(
        unforeseen.format(*each) for each in [(1, "ends"), (2, "ends"), (3, "drops"), (4, "drops"), (4, "rewrites")]
    )


def test_a_table_that_was_just_filled_is_not_small(migrator: MakeMigrator, conn: Conn) -> None:
    """No VACUUM and no ANALYZE has looked at it yet."""
    conn.execute("CREATE TABLE fresh (id int) WITH (autovacuum_enabled = false)")
    conn.execute("INSERT INTO fresh SELECT generate_series(1, 100000)")
    eventually(conn, "SELECT FROM pg_stat_all_tables WHERE relname = 'fresh' AND n_live_tup > 0")
    assert foreseen(migrator({"001_a.sql": "ALTER TABLE fresh ADD COLUMN n int;"})) == {
        "001": ["blocks reads and writes of public.fresh (13 MB) for a moment"]
    }


def test_a_file_that_should_be_split(migrator: MakeMigrator, conn: Conn) -> None:
    """Said only of a transaction that takes its locks first, and where something may take long."""
    conn.execute(BEFORE)
    script = "ALTER TABLE items ADD COLUMN n int;\nSELECT pg_sleep(0);\nALTER TABLE log ADD COLUMN n int;\n"
    small = "ALTER TABLE items ADD COLUMN m int;\nUPDATE orders SET note = '';\nALTER TABLE log ADD COLUMN m int;"
    scripts = {"001_split.sql": script, "002_off.sql": script, "003_small.sql": small}
    scripts |= {"004_one_by_one.sql": script, "005_own.sql": f"SELECT set_config('lock_timeout', '0', true);\n{script}"}
    scripts |= {"006_a_block.sql": f"BEGIN;\n{script}COMMIT;\n"}
    config = "migrations: [{version: 2, lock_first: false}, {version: 4, transactional: false},"
    config += " {version: 6, transactional: false}]\n"
    made = migrator({**scripts, "migration_config.yaml": config})
    forecasts, findings = made.forecast(made.plan(), made.analyses.of)
    late = {"001_split.sql": 3, "006_a_block.sql": 4}
    assert findings == tuple(
        Finding(
            "late_lock",
            f"locks public.log (ACCESS EXCLUSIVE) behind line {line - 1}, which may take long, so that what was locked"
            " before waits for it",
            "put it into a migration of its own",
            "warning",
            version=file[:3],
            file=file,
            line=line,
        )
        for file, line in late.items()
    )
    assert {each.version: each.late for each in forecasts if each.late} == {
        file[:3]: (
            f"takes just before line {line}, since line {line - 1} may take long: public.log (ACCESS EXCLUSIVE)",
        )
        for file, line in late.items()
    }


def test_what_dry_runs_have_shown_and_what_is_declared(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE + "CREATE TABLE plain (id int, note text);")
    scripts = {
        "001_learnt.sql": "DO $$ BEGIN TRUNCATE log; LOCK TABLE parts IN SHARE MODE; END $$;",
        "002_behind.sql": "ALTER TABLE items ADD COLUMN n int;\nDO $$ BEGIN LOCK TABLE plain IN SHARE MODE; END $$;",
        "003_declared.sql": "ALTER TABLE plain ALTER note TYPE varchar;\nDO $$ BEGIN TRUNCATE plain; END $$;",
        "migration_config.yaml": "migrations: [{version: 3, locks: {public.plain: SHARE, public.log: EXCLUSIVE}}]\n",
    }
    made = migrator(scripts)
    hidden = "may lock more than can be foreseen: a DO block runs"
    declared = [
        "blocks reads and writes of public.plain until the migration commits, and line 2 may take long",
        "blocks writes and SELECT ... FOR UPDATE of public.log until the migration commits, and line 2 may take long,"
        " as the migration declares",
    ]
    assert foreseen(made) == {
        "001": [f"line 1 {hidden}"],
        "002": ["blocks reads and writes of public.items until the migration commits, and line 2 may take long",
                f"line 2 {hidden}"],
        "003": declared,
    }  # fmt: skip
    made.record("planned", details={})
    made.try_each(["001", "002", "003"])
    shown = "until the migration commits, and line {} may take long, as the last dry run of the same script has shown"
    learnt = {
        "001": [
            f"blocks reads and writes of public.log {shown.format(1)}",
            f"blocks writes of public.parts and its 2 chunks or partitions {shown.format(1)}",
        ],
        "002": [
            "blocks reads and writes of public.items until the migration commits, and line 2 may take long",
            f"blocks writes of public.plain {shown.format(2)}",
            f"line 2 {hidden}; its dry run did not show whether it locks public.log, public.parts, public.parts_1,"
            " public.parts_2, locked before it",
        ],
        "003": declared,
    }
    assert foreseen(made) == learnt
    found = {each.version: each for each in made.forecast(made.plan(), made.analyses.of)[0]}
    assert [lock.known_by for lock in found["002"].locks] == ["script", "dry run"]
    assert foreseen(migrator({**scripts, "001_learnt.sql": "DO $$ BEGIN TRUNCATE log; END $$;"})) == {
        **learnt, "001": [f"line 1 {hidden}"],
    }  # fmt: skip


def test_a_stronger_lock_that_is_declared_leaves_what_is_done(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE + "CREATE TABLE plain (id int, note text);")
    script = "CREATE INDEX ON plain (note);\nDO $$ BEGIN TRUNCATE plain; END $$;"
    config = "migrations: [{version: 1, locks: {public.plain: ACCESS EXCLUSIVE}}]\n"
    made = migrator({"001_a.sql": script, "migration_config.yaml": config})
    ((found,), _) = made.forecast(made.plan(), made.analyses.of)
    (lock,) = found.locks
    assert (lock.mode, lock.work, lock.known_by) == ("AccessExclusiveLock", "build", "declared")
    assert lock.who_waits.endswith(
        "for as long as the statement of line 1 runs: it builds an index, as the migration declares"
    )


def test_what_the_plan_itself_makes_locks_nobody(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE TABLE old (id int)")
    scripts = {
        "001_new.sql": "CREATE TABLE made (id int);",
        "002_change.sql": "ALTER TABLE made ADD COLUMN n int; CREATE INDEX ON made (n);",
        "003_rename.sql": "ALTER TABLE old RENAME TO young; CREATE TABLE old (id int);",
        "004_both.sql": "ALTER TABLE old ADD COLUMN n int;",
        "005_renamed.sql": "ALTER TABLE young ADD COLUMN n int;",
    }
    assert foreseen(migrator(scripts)) == {
        "001": [],
        "002": [],
        "003": ["blocks reads and writes of public.old for a moment"],
        "004": [],
        "005": ["blocks reads and writes of public.old for a moment"],
    }


def test_one_session_for_all_and_none_for_nothing(migrator: MakeMigrator, database: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE old (id int)")
    asked: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        asked.append(psycopg.connect(database))
        return asked[-1]

    def questions(scripts: dict[str, str]) -> int:
        made = migrator(scripts)
        plan = made.plan()
        made._access.connect = connect
        asked.clear()
        made.forecast(plan, made.analyses.of)
        return len(asked)

    assert questions({f"{n:03d}_a.sql": f"ALTER TABLE old ADD COLUMN c{n} int;" for n in range(1, 30)}) == 1
    assert questions({"001_a.sql": "DO $$ BEGIN END $$;"}) == 1
    assert questions({}) == 0


@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_the_question_is_not_compiled(conn: Conn, begin: str) -> None:
    """The server thinks that it costs much. To compile it takes a second for ten names, to answer it milliseconds."""
    conn.execute("SET jit = on")
    conn.execute(begin.encode())
    answers = ask(conn, relations_message("SHOW jit"))
    assert (len(answers), values(answers[1])) == (3, ["off"])
    assert conn.execute("SHOW jit").fetchone() == (("on",) if not begin else (default_jit(conn),))


def default_jit(conn: Conn) -> str:
    row = conn.execute("SELECT reset_val FROM pg_settings WHERE name = 'jit'").fetchone()
    assert row is not None
    return str(row[0])


def test_what_cannot_be_read_is_left_out(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE TABLE old (id int)")
    made = migrator({"001_a.sql": "BEGIN;\nALTER TABLE old ADD a int;", "002_b.sql": "ALTER TABLE old ADD b int;"})
    assert foreseen(made) == {"002": ["blocks reads and writes of public.old for a moment"]}


def test_a_rollback_is_foreseen_as_well(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(
        {
            "001_a.sql": "CREATE TABLE t (id int);",
            "001_a.rollback.sql": "DROP TABLE t;",
            "002_b.sql": "ALTER TABLE t ADD COLUMN n int;",
            "002_b.rollback.sql": "ALTER TABLE t DROP COLUMN n;",
        }
    )
    made.apply("001")
    made.apply("002")
    plan = made.plan_rollback(to=None)
    blocks = "blocks reads and writes of public.t for a moment"
    assert [(each.version, each.lines()) for each in made.forecast(plan, made.analyses.of)[0]] == [
        ("002", ["takes away column public.t.n with 0 values (counted)", blocks]),
        ("001", ["takes away table public.t with 0 rows (counted)", blocks]),
    ]


# A dry run


def tried(migrator: MakeMigrator, script: str) -> Forecast:
    found = migrator({"001_a.sql": script}).apply("001", dry_run=True).forecast
    assert isinstance(found, Forecast)
    return found


def test_a_dry_run_that_is_as_foreseen(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE)
    script = "ALTER TABLE orders ALTER id TYPE bigint; CREATE TABLE fresh AS SELECT * FROM items; DROP TABLE log;"
    made = migrator({"001_a.sql": script})
    record = made.apply("001", dry_run=True)
    assert record.forecast is not None
    assert record.forecast.differences == ()
    assert [(lock.relation, lock.mode, lock.work) for lock in record.forecast.locks] == [
        ("public.log", "AccessExclusiveLock", None),
        ("public.orders", "AccessExclusiveLock", "rewrite"),
    ]
    assert record.as_dict()["forecast"] == record.forecast.as_dict()
    assert made.apply("001").forecast is None


def test_what_runs_outside_a_transaction_is_foreseen_in_plan_and_dry_run(migrator: MakeMigrator, conn: Conn) -> None:
    """Each statement for itself: the next one does not hold its locks."""
    conn.execute(BEFORE)
    statements = "VACUUM FULL items", "REINDEX TABLE CONCURRENTLY items", "ALTER TABLE items ADD n int", "VACUUM"
    made = migrator({"001_a.sql": ";\n".join(statements)})
    expected = [
        "blocks reads and writes of public.items for as long as the statement of line 1 runs: it writes the table anew",
        "blocks reads and writes of public.items for a moment",
        "blocks VACUUM and changes of the schema of public.items, but no reads and writes for as long as the statement"
        " of line 2 runs: it builds an index",
        "line 4 may lock more than can be foreseen: VACUUM works on all tables of a database",
    ]
    assert foreseen(made) == {"001": expected}
    record = made.apply("001", dry_run=True)
    assert (record.outcome, record.forecast and record.forecast.lines()) == (Outcome.NOT_TRIED, expected)


def test_a_dry_run_tells_what_was_not_as_foreseen(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE)
    script = """
        DO $$ BEGIN
            LOCK TABLE items IN SHARE MODE;
            ALTER TABLE orders ALTER id TYPE bigint;
        END $$;
        DO $$ BEGIN LOCK TABLE log IN EXCLUSIVE MODE; END $$;
        COMMENT ON TABLE log IS 'x';
    """
    assert tried(migrator, script).differences == (
        "public.items was locked (ShareLock), which was not foreseen",
        "public.log was locked (ExclusiveLock), but ShareUpdateExclusiveLock was foreseen",
        "public.orders was locked (AccessExclusiveLock), which was not foreseen",
        "public.orders was written anew, which was not foreseen",
    )


def test_a_lock_that_is_not_taken_is_told(migrator: MakeMigrator, conn: Conn) -> None:
    """A rule of the table turns its UPDATE into one of another table."""
    conn.execute(BEFORE)
    conn.execute("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'UPDATE log SET id = 1'")
    script = "SELECT f();"
    found = tried(migrator, script)
    assert found.locks == ()
    assert found.differences == ("public.log was locked (RowExclusiveLock), which was not foreseen",)


def test_a_later_script_of_a_dry_run_is_compared_for_itself(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(BEFORE)
    heard: list[Any] = []
    made = migrator(
        {
            "001_a.sql": "CREATE TABLE made (id int); LOCK TABLE items IN SHARE MODE;",
            "002_b.sql": "ALTER TABLE made ADD COLUMN n int; ALTER TABLE items ADD COLUMN n int;",
            "003_c.sql": "UPDATE items SET n = 1; DO $$ BEGIN TRUNCATE orders; END $$;",
        },
        on_event=heard.append,
    )
    made.try_each(["001", "002", "003"])
    found = [event.record.forecast for event in heard if hasattr(event, "record")]
    assert [(each.version, each.lines(), each.differences) for each in found] == [
        ("001", ["blocks writes of public.items for a moment"], ()),
        ("002", ["blocks reads and writes of public.items for a moment"], ()),
        (
            "003",
            [
                "changes rows of public.items, and blocks only who changes the same rows",
                "line 1 may lock more than can be foreseen: a DO block runs",
            ],
            ("public.orders was locked (AccessExclusiveLock), which was not foreseen",),
        ),
    ]
