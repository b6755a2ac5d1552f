"""The watch: DDL of others is recorded in their transaction, never breaks it, and goes into the audit log's chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.watch import switch_watch
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.watching import Watched, changes_of_others, watched
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock

Conn = psycopg.Connection[Any]
MakeMigrator = Callable[..., Any]

FILES = {
    "001_shop.sql": "CREATE TABLE shop (id serial PRIMARY KEY, name text);",
    "001_shop.rollback.sql": "DROP TABLE shop;",
    "002_index.sql": "CREATE INDEX CONCURRENTLY shop_name ON shop (name);",
    "002_index.rollback.sql": "DROP INDEX CONCURRENTLY shop_name;",
    "migration_config.yaml": "settings: {drift: warn}\n",
}
_numbers = count(1)


def switch(database: str, folder: Path, on: bool) -> bool:
    return switch_watch(Decider(lambda: psycopg.connect(database), read_folder(folder), Identity("ann")), on)


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder(FILES)


@pytest.fixture
def runner(migrator: MakeMigrator, database: str, folder: Path, role: Conn) -> Any:
    """A target with the first migration and the watch, switched on when the role was there."""
    run = migrator(FILES)
    run.apply("001")
    assert switch(database, folder, True)
    return run


@pytest.fixture
def role(conn: Conn, database: str) -> Iterator[Conn]:
    """A connection of somebody who has no right on the ledger."""
    name = f"bob {next(_numbers)}"
    quoted = sql.Identifier(name)
    conn.execute(sql.SQL("CREATE ROLE {} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {}").format(quoted, quoted))
    dsn = make_conninfo("", **{**conninfo_to_dict(database), "user": name, "application_name": "psql"})
    with psycopg.connect(dsn, autocommit=True) as theirs:
        yield theirs
    conn.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(quoted, quoted))


def recorded(conn: Conn) -> list[tuple[str, str, list[str]]]:
    rows = conn.execute("SELECT login, command, objects FROM wmigrate_watch.changes ORDER BY number").fetchall()
    conn.execute("DELETE FROM wmigrate_watch.changes")
    return [(login.partition(" ")[0], command, objects) for login, command, objects in rows]


def test_who_did_what_from_where_is_recorded_in_the_same_transaction(runner: Any, role: Conn, conn: Conn) -> None:
    with role.transaction(force_rollback=True):
        role.execute("CREATE TABLE never (id int)")
    role.execute("CREATE TABLE notes (id int, note text)")
    role.execute("ALTER TABLE notes DROP note")
    role.execute("GRANT SELECT ON notes TO PUBLIC")
    role.execute("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a'")
    role.execute("DROP TABLE notes")
    (first,) = conn.execute("SELECT login, role, address, application_name, pid FROM wmigrate_watch.changes LIMIT 1")
    assert first == (role.info.user, None, "127.0.0.1", "psql", role.info.backend_pid)
    assert recorded(conn) == [
        ("bob", "CREATE TABLE", ["table public.notes"]),
        ("bob", "ALTER TABLE", ["table column public.notes.note"]),
        ("bob", "ALTER TABLE", ["table public.notes"]),
        ("bob", "GRANT", ["table"]),
        ("bob", "CREATE FUNCTION", ["function public.f(integer)"]),
        ("bob", "DROP TABLE", ["table public.notes"]),
    ]


def test_what_is_nobodys_change_is_not_recorded(runner: Any, role: Conn, conn: Conn, database: str) -> None:
    role.execute("CREATE TEMP TABLE t (id serial PRIMARY KEY, n int)")
    role.execute("CREATE INDEX ON t (n); ALTER TABLE t ADD m int; COMMENT ON COLUMN t.m IS 'm'; ALTER TABLE t DROP m")
    role.execute("CREATE TEMP VIEW v AS SELECT * FROM t; DROP VIEW v; DROP TABLE t")
    conn.execute("CREATE EXTENSION hstore; DROP EXTENSION hstore")
    assert recorded(conn) == [
        (conn.info.user, "CREATE EXTENSION", ["extension hstore"]),
        (conn.info.user, "DROP EXTENSION", ["extension hstore"]),
    ]
    conn.execute("CREATE MATERIALIZED VIEW m AS SELECT 1")
    recorded(conn)
    conn.execute("REFRESH MATERIALIZED VIEW m; REINDEX TABLE shop")
    runner.apply("002")
    runner.roll_back("002")
    assert recorded(conn) == []
    assert switch(database, runner._folder.path, True) is False


def test_a_name_and_a_lock_alone_are_not_believed(runner: Any, role: Conn, conn: Conn) -> None:
    role.execute("SELECT set_config('application_name', 'wmigrate apply 002', false)")
    role.execute("SELECT pg_advisory_lock_shared(%s)", [ledger_lock("wmigrate").number])
    role.execute("CREATE TABLE claims ()")
    conn.execute("SET session_replication_role = replica")
    conn.execute("DROP TABLE claims")
    assert recorded(conn) == [
        ("bob", "CREATE TABLE", ["table public.claims"]),
        (conn.info.user, "DROP TABLE", ["table public.claims"]),
    ]


def test_a_secret_in_a_command_is_not_recorded(runner: Any, conn: Conn) -> None:
    conn.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw")
    conn.execute("CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'u', password 'hidden-secret')")
    rows = conn.execute("SELECT c::text FROM wmigrate_watch.changes c ORDER BY number").fetchall()
    assert "user mapping public on server far" in str(rows)
    assert "hidden-secret" not in str(rows)


def test_it_never_breaks_the_command_of_others(runner: Any, role: Conn, conn: Conn) -> None:
    conn.execute("ALTER TABLE wmigrate_watch.changes ADD CHECK (false) NOT VALID")
    heard: list[str] = []
    role.add_notice_handler(lambda notice: heard.append(f"{notice.severity}: {notice.message_primary}"))
    role.execute("CREATE TABLE notes ()")
    assert heard == [
        'WARNING: wmigrate could not record this change: new row for relation "changes" violates check constraint'
        ' "changes_check"'
    ]
    conn.execute("DROP TABLE wmigrate_watch.changes")
    role.execute("DROP TABLE notes")
    conn.execute("DROP SCHEMA wmigrate_watch CASCADE")
    role.execute("CREATE TABLE notes ()")
    assert watched(conn, "wmigrate").state == "off"


def test_the_next_run_seals_it_into_the_chain(runner: Any, role: Conn, conn: Conn) -> None:
    for number in range(150):
        role.execute(f"CREATE TABLE t{number} ()".encode())
    with role.transaction():
        role.execute("CREATE TABLE not_committed ()")
        runner.record("planned")  # does not wait for whoever has DDL open
    rows = [row for row in runner.ledger.log.rows(conn) if row.event == "changed_by_others"]
    assert [(row.actor, len(row.details["changes"])) for row in rows] == [(role.info.user, 100), (role.info.user, 50)]
    assert rows[0].details["by"] == {
        "login": role.info.user,
        "address": "127.0.0.1",
        "application_name": "psql",
        "pid": role.info.backend_pid,
    }
    assert {k: v for k, v in rows[0].details["changes"][0].items() if k != "at"} == {
        "command": "CREATE TABLE",
        "role": None,
        "objects": ["table public.t0"],
        "count": 1,
    }
    assert recorded(conn) == [("bob", "CREATE TABLE", ["table public.not_committed"])]
    assert Ledger().verify(conn) == ()
    assert len(changes_of_others(conn, "wmigrate")) == 150


def test_drift_names_who_did_it(runner: Any, role: Conn, conn: Conn) -> None:
    role.execute("CREATE TABLE notes (id int)")
    runner.record("planned")
    (found,) = [f for f in runner.plan().findings if f.code == "drift"]
    who = f"(CREATE TABLE by {role.info.user} from 127.0.0.1 with psql, "
    assert who in found.message
    assert "event trigger" not in found.message, "its own are left out"


def test_off_seals_and_removes_all_of_it(runner: Any, role: Conn, conn: Conn, database: str) -> None:
    folder = runner._folder.path
    with role.transaction():
        role.execute("CREATE TABLE open ()")
        with pytest.raises(WMigrateError) as busy:
            switch(database, folder, False)
    assert str(busy.value) == (
        "the ledger did not answer in time: canceling statement due to lock timeout; look in pg_stat_activity who keeps"
        " a lock on the tables in schema wmigrate; then try again"
    )
    assert switch(database, folder, False)
    assert [row.event for row in runner.ledger.log.rows(conn)][-3:] == ["watch_on", "changed_by_others", "watch_off"]
    assert conn.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)
    assert conn.execute("SELECT to_regnamespace('wmigrate_watch')").fetchone() == (None,)
    assert switch(database, folder, False) is False
    assert Ledger().verify(conn) == ()


def test_a_disabled_trigger_is_told_and_made_again(runner: Any, conn: Conn, database: str) -> None:
    conn.execute("ALTER EVENT TRIGGER wmigrate_watch_drop DISABLE")
    assert watched(conn, "wmigrate").state == "broken"
    assert switch(database, runner._folder.path, True)
    assert watched(conn, "wmigrate").state == "on"


def test_a_part_that_was_removed_is_told_and_made_again(runner: Any, conn: Conn, database: str) -> None:
    for part in ("TABLE wmigrate_watch.changes", "FUNCTION wmigrate_watch.record_change() CASCADE"):
        conn.execute(f"DROP {part}")
        assert watched(conn, "wmigrate").state == "broken"
        assert not [fact for fact in take(conn).facts if "wmigrate_watch" in fact.identity + fact.text]
        runner.record("planned", details={})
        assert switch(database, runner._folder.path, True)
        assert watched(conn, "wmigrate") == Watched("on", 0)


def test_a_schema_of_others_that_has_its_name_is_left_alone(
    migrator: MakeMigrator, conn: Conn, database: str, folder: Path
) -> None:
    conn.execute("CREATE SCHEMA wmigrate_watch; CREATE TABLE wmigrate_watch.changes (mine int)")
    conn.execute("INSERT INTO wmigrate_watch.changes VALUES (1)")
    run = migrator(FILES)
    run.apply("001")
    run.record("planned", details={})
    assert changes_of_others(conn, "wmigrate") == ()
    assert watched(conn, "wmigrate").state == "off"
    with pytest.raises(WMigrateError) as refused:
        switch(database, folder, True)
    assert str(refused.value) == (
        "schema wmigrate_watch is there, and is not the watch's; rename it: the watch needs that name"
    )
    assert switch(database, folder, False) is False
    conn.execute("ALTER SCHEMA wmigrate_watch RENAME TO mine")
    assert switch(database, folder, True)
    conn.execute("CREATE TABLE wmigrate_watch.more (mine int)")
    with pytest.raises(WMigrateError) as refused:
        switch(database, folder, False)
    assert str(refused.value) == (
        "schema wmigrate_watch has something that is not the watch's: table wmigrate_watch.more depends on schema"
        " wmigrate_watch; drop it, or move it elsewhere"
    )
    assert watched(conn, "wmigrate").state == "on"
    assert conn.execute("TABLE mine.changes").fetchall() == [(1,)]


def test_what_is_let_go_of_is_nobodys_change(migrator: MakeMigrator, conn: Conn, database: str, folder: Path) -> None:
    config = "migrations: [{version: '002', keep: true}]"
    files = {"001_shop.sql": FILES["001_shop.sql"], "002_gone.sql": "DROP TABLE shop;", "migration_config.yaml": config}
    run = migrator(files)
    run.apply("001")
    assert switch(database, folder, True)
    run.apply("002")
    assert [thing.version for thing in run.empty_kept(0)] == ["002"]
    assert recorded(conn) == []


def test_without_the_right_it_is_refused_and_nothing_is_left(
    migrator: MakeMigrator, role: Conn, conn: Conn, folder: Path, database: str
) -> None:
    migrator(FILES).apply("001")
    name, owner = conn.info.dbname, role.info.user
    for statement in (
        "ALTER DATABASE {} OWNER TO {}",
        "GRANT USAGE, CREATE ON SCHEMA wmigrate TO {1}",
        "GRANT ALL ON ALL TABLES IN SCHEMA wmigrate TO {1}",
    ):
        conn.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(owner)))
    with pytest.raises(WMigrateError) as refused:
        switch(make_conninfo("", **{**conninfo_to_dict(database), "user": owner}), folder, True)
    assert str(refused.value) == (
        f'the role {owner} may not switch the watch: permission denied to create event trigger "wmigrate_watch_start";'
        " event triggers are a superuser's (on a managed server: the administrator's that it gives you); give the"
        " command as such a role with --dsn"
    )
    assert watched(conn, "wmigrate").state == "off"
    conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))


def test_a_runner_without_much_right_seals(
    migrator: MakeMigrator, role: Conn, conn: Conn, folder: Path, database: str
) -> None:
    migrator(FILES).apply("001")
    for statement in (
        "GRANT USAGE ON SCHEMA wmigrate TO {}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wmigrate TO {}",
    ):
        conn.execute(sql.SQL(statement).format(sql.Identifier(role.info.user)))
    switch(database, folder, True)
    conn.execute("CREATE TABLE others ()")
    theirs = migrator(FILES, dsn=make_conninfo("", **{**conninfo_to_dict(database), "user": role.info.user}))
    theirs.record("planned")
    assert recorded(conn) == []
    assert [c.objects for c in changes_of_others(conn, "wmigrate")] == [("table public.others",)]
    conn.execute("DROP TABLE others")
    conn.execute(sql.SQL("REVOKE ALL ON wmigrate_watch.changes FROM {}").format(sql.Identifier(role.info.user)))
    theirs.record("planned")
    assert recorded(conn) == [
        (conn.info.user, "DROP TABLE", ["table public.others"]),
        (conn.info.user, "REVOKE", ["table"]),
    ], "it waits for a runner that may"
