"""The session of a script that runs statement by statement: it holds between its statements, and across runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

DECLARED = {"migration_config.yaml": "migrations: [{version: 1, transactional: false}]"}
TWO = "CREATE TABLE a.t (id int); CREATE TABLE b.t (id int); INSERT INTO b.t VALUES (1), (1);"
SETTERS = {
    "SET": "SET search_path = b;",
    "SET quoted": "SET SESSION search_path TO 'b';",
    "set_config": "SELECT set_config('search_path', 'b', false) AS path;",
    "two at once": "SELECT set_config('search_path', 'b', false), set_config('work_mem', '8MB', false);",
    "nested": "SELECT set_config(lower('SEARCH_PATH'), substr('xb', 2), false);",
    "DO": "DO $$ BEGIN PERFORM set_config('search_path', 'b', false); END $$;",
    "a function": "SELECT go_to_b();",
}


@pytest.fixture
def schemas(conn: Conn) -> Conn:
    """Tables of one name in two schemas; without the script's setting it is a's."""
    conn.execute("CREATE SCHEMA a; CREATE SCHEMA b;" + TWO)
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET search_path = a".encode())
    conn.execute(
        "CREATE FUNCTION a.go_to_b() RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM set_config('search_path', 'b', false); END $$"
    )
    return conn


def valid_indexes(conn: Conn) -> dict[str, bool]:
    rows = conn.execute(
        "SELECT n.nspname || '.' || c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'wmigrate'"
    )
    return dict(rows.fetchall())


@pytest.mark.parametrize("declared", [True, False], ids=["each alone", "together"])
@pytest.mark.parametrize("setter", SETTERS)
def test_a_build_that_failed_is_built_again_where_it_was_begun(
    migrator: MakeMigrator, schemas: Conn, setter: str, declared: bool
) -> None:
    script = SETTERS[setter] + "\nCREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);"
    files = {"001_i.sql": script} | (DECLARED if declared else {})
    with pytest.raises(StatementFailed, match="could not create unique index"):
        migrator(files).apply("001")
    assert valid_indexes(schemas) == {"b.t_id": False}
    schemas.execute("DELETE FROM b.t")
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert valid_indexes(schemas) == {"b.t_id": True}


def test_an_index_of_that_name_in_another_schema_stays(migrator: MakeMigrator, schemas: Conn) -> None:
    """Even one that is invalid, on a table of the same name."""
    schemas.execute("CREATE INDEX t_id ON a.t (id)")
    schemas.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a.t_id'::regclass")
    schemas.execute("DELETE FROM b.t")
    files = {"001_i.sql": "SET search_path = b;\nCREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);"}
    migrator(files).apply("001")
    assert valid_indexes(schemas) == {"a.t_id": False, "b.t_id": True}


def test_what_the_script_set_holds_between_its_statements(migrator: MakeMigrator, schemas: Conn) -> None:
    seen = "INSERT INTO public.seen SELECT current_setting('%s');"
    schemas.execute("CREATE TABLE public.seen (value text)")
    names = ("search_path", "work_mem", "app.tenant", "lock_timeout", "DateStyle", "TimeZone", "role")
    script = (
        "SET search_path = b;\nSET work_mem = '9MB';\nSET app.tenant = 'x';\nSET lock_timeout = '7s';\n"
        "SET DateStyle = 'German';\nSET TIME ZONE 'JST-9';\nVACUUM t;\n" + "".join(seen % name for name in names)
    )
    migrator({"001_i.sql": script}).apply("001")
    values = [value for (value,) in schemas.execute("SELECT value FROM public.seen")]
    assert values == ["b", "9MB", "x", "7s", "German, DMY", "JST-9", "none"]


def test_what_was_local_ends_with_its_transaction(migrator: MakeMigrator, schemas: Conn) -> None:
    schemas.execute("CREATE TABLE public.seen (value text)")
    script = (
        "SET LOCAL search_path = b;\nSELECT set_config('work_mem', '9MB', true);\nVACUUM;\n"
        "INSERT INTO public.seen SELECT current_setting('search_path');\n"
        "INSERT INTO public.seen SELECT current_setting('work_mem');\nVACUUM;\nSELECT 1/0;"
    )
    with pytest.raises(StatementFailed, match="division by zero"):
        migrator({"001_i.sql": script}).apply("001")
    assert [value for (value,) in schemas.execute("SELECT value FROM public.seen")] == ["a", "4MB"]
    assert kept(schemas) is None


def kept(conn: Conn) -> Any:
    return conn.execute("SELECT script_session FROM wmigrate.schema_migrations").fetchall()[0][0]


def test_what_is_kept_is_gone_when_the_script_is_done(migrator: MakeMigrator, schemas: Conn) -> None:
    files = {"001_i.sql": "SET search_path = b;\nSET app.tenant = 'x';\nVACUUM;\nSELECT 1/0;"}
    with pytest.raises(StatementFailed):
        migrator(files).apply("001")
    assert kept(schemas) == {"settings": {"app.tenant": "x", "search_path": "b"}, "possessions": [], "unsure": []}
    migrator({"001_i.sql": files["001_i.sql"].replace("1/0", "1")}).apply("001")
    assert kept(schemas) is None


# Roles


@pytest.fixture
def owner(cluster: Cluster, conn: Conn) -> Iterator[str]:
    """A role that owns a schema; the DSN is that of a login that has to become it first."""
    conn.execute("CREATE ROLE owner_role; CREATE ROLE login LOGIN NOINHERIT IN ROLE owner_role")
    conn.execute("CREATE SCHEMA app AUTHORIZATION owner_role; SET ROLE owner_role; CREATE TABLE app.t (id int);")
    conn.execute("RESET ROLE")
    conn.execute(f"GRANT CREATE ON DATABASE {conn.info.dbname} TO login".encode())
    yield psycopg.conninfo.make_conninfo(cluster.dsn(conn.info.dbname), user="login")
    conn.execute("DROP OWNED BY owner_role, login CASCADE; DROP ROLE owner_role, login")


@pytest.mark.parametrize("role", ["SET ROLE owner_role;", "DO $$ BEGIN SET ROLE owner_role; END $$;"])
def test_an_index_on_what_only_the_scripts_role_may_see(
    migrator: MakeMigrator, conn: Conn, owner: str, role: str
) -> None:
    script = role + "\nCREATE UNIQUE INDEX CONCURRENTLY t_id ON app.t (id);\nCREATE TABLE app.u ();"
    conn.execute("INSERT INTO app.t VALUES (1), (1)")
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_i.sql": script}, dsn=owner).apply("001")
    assert failed.value.sqlstate == "23505"
    events = conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position").fetchall()
    assert events[-1] == ("failed",)  # also written as the login, not as the script's role
    conn.execute("DELETE FROM app.t")
    assert migrator({"001_i.sql": script}, dsn=owner).apply("001").outcome is Outcome.APPLIED
    assert valid_indexes(conn) == {"app.t_id": True}
    owners = conn.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'app'").fetchall()
    assert owners == [("owner_role",), ("owner_role",)]


def test_a_role_that_cannot_be_had_again(migrator: MakeMigrator, conn: Conn, owner: str) -> None:
    script = "SET ROLE owner_role;\nVACUUM app.t;\nSELECT 1/0;"
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": script}, dsn=owner).apply("001")
    conn.execute("REVOKE owner_role FROM login")
    with pytest.raises(HistoryError) as refused:
        migrator({"001_i.sql": script.replace("1/0", "1")}, dsn=owner).apply("001")
    assert str(refused.value) == (
        "001_i.sql:3: the session of migration 001 cannot be restored: role was set by its script, and now: permission"
        ' denied to set role "owner_role"; make that possible again, or settle the migration with repair'
    )
    conn.execute("GRANT owner_role TO login")
    migrator({"001_i.sql": script.replace("1/0", "1")}, dsn=owner).apply("001")


def test_another_session_authorization_holds_too(migrator: MakeMigrator, conn: Conn, owner: str) -> None:
    script = (
        "SET SESSION AUTHORIZATION login;\nSET ROLE owner_role;\nVACUUM app.t;\nCREATE TABLE app.u ();\n"
        "VACUUM app.u;\nCREATE TABLE app.v AS SELECT session_user::text AS s, current_user::text AS c;\n"
    )
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": script + "SELECT 1/0;"}).apply("001")
    more = "VACUUM;\nINSERT INTO app.v SELECT session_user, current_user;"
    migrator({"001_i.sql": script + more}).apply("001")
    assert conn.execute("SELECT * FROM app.v").fetchall() == [("login", "owner_role")] * 2


# What cannot be had again

GONE = {
    "temporary table": ("CREATE TEMP TABLE work AS SELECT 1 AS id;", "INSERT INTO t SELECT id FROM work;", "work"),
    "prepared statement": ("PREPARE work AS INSERT INTO t VALUES (1);", "EXECUTE work;", "work"),
    "cursor": ("DECLARE work CURSOR WITH HOLD FOR SELECT 1;", "FETCH work;", "work"),
}


@pytest.mark.parametrize("kind", GONE)
def test_what_ended_with_the_session_is_told(migrator: MakeMigrator, conn: Conn, kind: str) -> None:
    makes, needs, name = GONE[kind]
    conn.execute("CREATE TABLE t (id int)")
    begin, end = makes + "\nVACUUM;\n", "\n" + needs
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": begin + "CREATE TABLE u ();\nVACUUM nowhere;" + end}).apply("001")
    begin += "CREATE TABLE u ();\nVACUUM;"
    with pytest.raises(HistoryError) as refused:
        migrator({"001_i.sql": begin + end}).apply("001")
    assert str(refused.value) == (
        f"001_i.sql:5: statement 5 of migration 001 names {kind} {name}, which is gone with the session that made it;"
        " make it again in a statement before that one"
    )
    assert migrator({"001_i.sql": begin + "\n" + makes + end}).apply("001").outcome is Outcome.APPLIED


def test_what_ended_with_the_session_and_is_not_needed(migrator: MakeMigrator) -> None:
    script = "CREATE TEMP TABLE work (id int);\nVACUUM;\n"
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": script + "VACUUM nowhere;"}).apply("001")
    migrator({"001_i.sql": script + "SELECT 'rework' -- no work\n;"}).apply("001")


def test_locks_and_channels_are_had_again(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    script = (
        "SELECT pg_advisory_lock(-5), pg_advisory_lock(1, -2), pg_advisory_lock_shared(7);\nLISTEN news;\nVACUUM;\n"
        "CREATE TABLE seen AS SELECT classid::bigint, objid::bigint, objsubid, mode FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid();\nCREATE TABLE heard AS SELECT"
        " pg_listening_channels();\n"
    )
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": script.replace("CREATE TABLE seen", "VACUUM nowhere;\nCREATE TABLE seen")}).apply("001")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(-5)")
        with pytest.raises(
            HistoryError, match="an advisory lock was set by its script, and now: another session has it"
        ):
            migrator({"001_i.sql": script}).apply("001")
    migrator({"001_i.sql": script}).apply("001")
    assert conn.execute("SELECT * FROM heard").fetchall() == [("news",)]
    rows = set(conn.execute("SELECT * FROM seen").fetchall())
    high = 2**32 - 1
    assert {(high, high - 4, 1, "ExclusiveLock"), (1, high - 1, 2, "ExclusiveLock"), (0, 7, 1, "ShareLock")} <= rows


def test_a_setting_that_may_have_been_local(migrator: MakeMigrator, schemas: Conn) -> None:
    """As if the runner had died between the commit of the first statement and its look at what outlived it."""
    script = "SELECT set_config('search_path', 'b', false);\nVACUUM;\nSELECT 1/0;"
    with pytest.raises(StatementFailed):
        migrator({"001_i.sql": script}).apply("001")
    unsure = '{"settings": {"search_path": "b"}, "possessions": [], "unsure": ["search_path"]}'
    schemas.execute("UPDATE wmigrate.schema_migrations SET script_session = %s", [unsure])
    with pytest.raises(HistoryError) as refused:
        migrator({"001_i.sql": script.replace("1/0", "1")}).apply("001")
    assert str(refused.value) == (
        "001_i.sql:3: statement 2 of migration 001 was the last to run, and it is not known whether search_path was"
        " set for its transaction alone; write SET search_path ... before the next statement"
    )
    said = script.replace("SELECT 1/0;", "SET search_path = a;\nCREATE TABLE u ();")
    migrator({"001_i.sql": said}).apply("001")
    assert schemas.execute("SELECT to_regclass('a.u') IS NOT NULL").fetchone() == (True,)


def test_what_belongs_to_a_transaction_is_no_setting_of_the_session(migrator: MakeMigrator, conn: Conn) -> None:
    """A runner may die between a commit and its look at what outlived it: the journal of that moment must do."""
    migrator({"001_t.sql": "CREATE TABLE t (id int);"}).apply("001")
    conn.execute(
        "CREATE TABLE journal (kept jsonb);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.journal VALUES (new.script_session); RETURN new; END $$;"
        "CREATE TRIGGER note AFTER UPDATE ON wmigrate.schema_migrations FOR EACH ROW EXECUTE FUNCTION note();"
    )
    script = (
        "INSERT INTO t VALUES (1);\nCREATE INDEX CONCURRENTLY t_id ON t (id);\n"
        "BEGIN;\nINSERT INTO t VALUES (2);\nCOMMIT;"
    )
    migrator({"001_t.sql": "CREATE TABLE t (id int);", "002_i.sql": script}).apply("002")
    kept = conn.execute("SELECT DISTINCT kept FROM journal").fetchall()
    assert kept == [(None,)]
