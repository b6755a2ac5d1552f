"""Snapshots of a database's schema, and what differs between two of them."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import StartCluster

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff, remarks
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
from airflow_provider_wmigrate.engine.catalog.snapshot.kinds import KINDS
from airflow_provider_wmigrate.engine.catalog.snapshot.object_types import CATALOGS
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.errors import WMigrateError
from dev.cluster import Cluster
from dev.lock_table import SCHEMA
from dev.server_binaries import find_bindir, major_version, server_programs

EVERYTHING = SCHEMA.read_text() + (Path(__file__).parent / "one_of_everything.sql").read_text()
OLDEST, NEWEST = 13, 18
CATALOG_NAMES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' ORDER BY relname"
)


def taken(dsn: str) -> Snapshot:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return take(conn)


def sentences(before: Snapshot, after: Snapshot) -> list[str]:
    return [difference.sentence for difference in diff(before, after)]


def psql(cluster: Cluster, text: str, dbname: str = "postgres", *, programs: Path | None = None) -> None:
    command = [str((programs or cluster.bindir) / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.dsn(dbname)]
    answer = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.fixture(scope="module")
def server(start_cluster: StartCluster) -> Iterator[Cluster]:
    """With one of everything in the database `original`; its roles are the server's, so it is no other test's."""
    with start_cluster({"wal_level": "logical"}) as cluster:
        cluster.create_database("original")
        psql(cluster, EVERYTHING, "original")
        yield cluster


@pytest.fixture(scope="module")
def original(server: Cluster) -> Snapshot:
    return taken(server.dsn("original"))


def dumped(programs: Cluster, dsn: str, *, database: str, changes: Callable[[str], str] = lambda text: text) -> str:
    """The statements that make the database again under another name."""
    answer = programs.run("pg_dump", "--create", "-d", dsn)
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout.replace("DATABASE original", f"DATABASE {database}").replace(
        "\\connect original", f"\\connect {database}"
    )
    # Some minor releases of 15 have an option of columns that no statement sets; a newer pg_dump does not know it.
    return changes(re.sub(r"pg_attver=\d+(, )?|^ALTER [^;]*\(pg_attver=\d+\);", "", text, flags=re.MULTILINE))


def test_a_restored_dump_is_the_same_also_in_a_database_that_sorts_in_another_way(
    server: Cluster, original: Snapshot
) -> None:
    has_icu = server.execute("SELECT count(*) > 0 FROM pg_collation WHERE collname = 'de-x-icu'") == [(True,)]
    icu = "LOCALE_PROVIDER = icu ICU_LOCALE = 'de' LOCALE = 'C'"

    def elsewhere(text: str) -> str:
        return re.sub(r"LOCALE_PROVIDER = \w+ LOCALE = 'C'", icu, text) if has_icu else text

    psql(server, dumped(server, server.dsn("original"), database="restored", changes=elsewhere))
    restored = taken(server.dsn("restored"))

    assert sentences(original, restored) == []
    assert restored.fingerprint == original.fingerprint
    assert remarks(original, restored) == ()
    assert restored.not_compared == {"large objects": 1}


def test_a_move_to_a_newer_major_makes_no_difference(
    server: Cluster, original: Snapshot, start_cluster: StartCluster
) -> None:
    programs = server_programs(NEWEST)
    if programs is None or major_version(find_bindir()) >= NEWEST:
        pytest.skip("no newer PostgreSQL than the one that the tests use can be had")
    with start_cluster({"wal_level": "logical"}, bindir=programs) as newer:
        newer.execute("CREATE ROLE snap_reader; CREATE ROLE snap_owner; CREATE ROLE lock_reader")
        psql(newer, dumped(newer, server.dsn("original"), database="moved"))
        moved = taken(newer.dsn("moved"))
        unknown = {name for (name,) in newer.execute(CATALOG_NAMES)} - set(CATALOGS)

    assert sentences(original, moved) == []
    assert moved.fingerprint == original.fingerprint
    assert unknown == set()


def test_a_move_from_the_oldest_major_makes_no_difference(server: Cluster, start_cluster: StartCluster) -> None:
    programs = server_programs(OLDEST)
    if programs is None or major_version(find_bindir()) <= OLDEST:
        pytest.skip("no older PostgreSQL than the one that the tests use can be had")
    with start_cluster({"wal_level": "logical"}, bindir=programs) as older:
        older.create_database("original")
        psql(older, EVERYTHING, "original", programs=server.bindir)
        before = taken(older.dsn("original"))
        text = dumped(server, older.dsn("original"), database="from_oldest")
        here = re.sub(r" LOCALE_PROVIDER = \w+", "", text.replace("DATABASE from_oldest", "DATABASE again"))
        psql(older, here.replace("\\connect from_oldest", "\\connect again"), programs=server.bindir)
        again = taken(older.dsn("again"))
    psql(server, text)
    moved = taken(server.dsn("from_oldest"))

    assert sentences(before, again) == []
    assert sentences(before, moved) == []
    assert again.fingerprint == moved.fingerprint == before.fingerprint


def test_every_catalog_of_the_server_is_in_the_list_of_object_types(server: Cluster) -> None:
    assert {name for (name,) in server.execute(CATALOG_NAMES)} - set(CATALOGS) == set()


def test_the_page_has_a_row_for_every_catalog() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "snapshots.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `(pg_\w+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE) == [
        (name, catalog.told or "no", catalog.why) for name, catalog in CATALOGS.items()
    ]


def test_no_secret_is_in_a_fact(original: Snapshot) -> None:
    text = json.dumps(original.as_dict())

    assert "hidden-secret" not in text
    assert [f.identity for f in original.facts if f.kind in ("user mapping", "subscription")] == [
        "sub",
        "snap_reader for server far",
    ]


def test_a_snapshot_read_back_from_a_file_is_the_same(original: Snapshot) -> None:
    document = json.loads(json.dumps(original.as_dict()))

    again = Snapshot.from_dict(document)

    assert again.facts == original.facts
    assert again.fingerprint == original.fingerprint
    document["facts"][7]["attributes"]["owner"] = "mallory"
    with pytest.raises(WMigrateError, match="not those of its fingerprint"):
        Snapshot.from_dict(document)


CHANGES = [
    ("ALTER TABLE items ALTER name TYPE text", ["column app.items.name: varchar(100) -> text"]),
    ("ALTER TABLE items ALTER name SET DEFAULT 'x'", ["column app.items.name: default none -> 'x'::varchar"]),
    ("ALTER TABLE items ALTER name DROP NOT NULL", ["column app.items.name: not null yes -> none"]),
    ("ALTER TABLE items ALTER name SET STATISTICS 7", ["column app.items.name: statistics none -> 7"]),
    ("ALTER TABLE items ADD more int", ["column app.items.more is new"]),
    ("ALTER TABLE items DROP name", ["column app.items.name is gone"]),
    (
        "ALTER TABLE items DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (id > 1)",
        ["constraint positive on app.items: definition CHECK ((id > 0)) -> CHECK ((id > 1))"],
    ),
    ("ALTER TABLE items SET (fillfactor = 50)", ["table app.items: options none -> fillfactor=50"]),
    ("ALTER TABLE notes SET UNLOGGED", ["table app.notes: persistence none -> unlogged"]),
    (
        "DROP TABLE items CASCADE",
        [
            "constraint parts_item_fkey on app.parts is gone",
            "table app.items is gone, with 2 x column, 1 x comment, 2 x constraint, 1 x index, 1 x trigger",
        ],
    ),
    (
        "CREATE INDEX sought ON items (name)",
        ["index app.sought is new"],
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_pkey'::regclass",
        ["index app.items_pkey: valid none -> no"],
    ),
    ("ALTER TABLE items DISABLE TRIGGER stamp", ["trigger stamp on app.items: enabled none -> disabled"]),
    (
        "ALTER TABLE items DISABLE TRIGGER ALL",
        [
            "constraint parts_item_fkey on app.parts: triggers none -> disabled",
            "trigger stamp on app.items: enabled none -> disabled",
        ],
    ),
    (
        "ALTER TABLE parts DISABLE TRIGGER ALL",
        ["constraint parts_item_fkey on app.parts: triggers none -> disabled"],
    ),
    ("ALTER TABLE items ENABLE ROW LEVEL SECURITY", ["table app.items: row security none -> on"]),
    ("GRANT SELECT ON items TO change_reader", ["grant on table app.items to change_reader is new"]),
    ("GRANT SELECT (id) ON items TO PUBLIC", ["grant on column app.items.id to public is new"]),
    ("REVOKE EXECUTE ON FUNCTION stamped() FROM PUBLIC", ["grant on function app.stamped() to public is new"]),
    (
        "REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC",
        ["grant on function pg_catalog.pg_sleep(double precision) to public is new"],
    ),
    ("ALTER TABLE items OWNER TO change_reader", ["table app.items: owner postgres -> change_reader"]),
    ("COMMENT ON COLUMN items.name IS 'what'", ["comment on table column app.items.name is new"]),
    ("COMMENT ON TABLE items IS 'other'", ["comment on table app.items: things -> other"]),
    ("ALTER TYPE state ADD VALUE 'lost'", ["enum app.state: labels new, old -> new, old, lost"]),
    (
        "CREATE OR REPLACE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        ["function app.stamped(): body BEGIN RETURN NEW; END -> BEGIN RETURN OLD; END"],
    ),
    ("ALTER FUNCTION stamped() SECURITY DEFINER", ["function app.stamped(): security definer none -> yes"]),
    ("ALTER SEQUENCE parts_id_seq INCREMENT 5", ["sequence app.parts_id_seq: increment 1 -> 5"]),
    ("ALTER TABLE parts ALTER id DROP IDENTITY", [
        "column app.parts.id: identity always -> none",
        "sequence app.parts_id_seq is gone",
    ]),
    ("ALTER DATABASE CURRENT SET work_mem = '7MB'", ["settings of the database is new"]),
    ("CREATE SCHEMA more", ["schema more is new"]),
    (
        "CREATE VIEW seen AS SELECT 1 AS one",
        ["view app.seen is new, with 1 x column"],
    ),
]  # fmt: skip

BEFORE = """
CREATE SCHEMA app;
SET search_path = app;
CREATE TYPE state AS ENUM ('new', 'old');
CREATE TABLE items (id int PRIMARY KEY, name varchar(100) NOT NULL, CONSTRAINT positive CHECK (id > 0));
COMMENT ON TABLE items IS 'things';
CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY, item int REFERENCES items);
CREATE TABLE notes (note text);
CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamp BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION stamped();
"""


@pytest.fixture(scope="module")
def small(server: Cluster) -> str:
    server.execute("CREATE ROLE change_reader")
    server.create_database("small")
    psql(server, BEFORE, "small")
    return "small"


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_every_change_is_told_and_nothing_else(server: Cluster, small: str, change: str, told: list[str]) -> None:
    with psycopg.connect(server.create_database("changed", template=small), autocommit=True) as conn:
        before = take(conn)
        conn.execute("SET search_path = app; SET allow_system_table_mods = on")
        conn.execute(change.replace("DATABASE CURRENT", "DATABASE changed"))  # type: ignore[arg-type]
        after = take(conn)
    server.drop_database("changed")

    assert sentences(before, after) == told
    assert after.fingerprint != before.fingerprint


def test_the_order_of_columns_is_shown_and_is_no_difference(database: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("CREATE TABLE t (a int, b int, c int)")
    before = take(conn)
    conn.execute("ALTER TABLE t DROP a, ADD a int")
    after = take(conn)

    assert sentences(before, after) == []
    assert after.fingerprint == before.fingerprint
    assert remarks(before, after) == ("columns of public.t: a, b, c -> b, c, a",)


def test_a_long_definition_is_told_by_its_lines(conn: psycopg.Connection[Any]) -> None:
    conn.execute("CREATE TABLE t (a int, b int); CREATE VIEW v AS SELECT a, b FROM t WHERE a > 1")
    before = take(conn)
    conn.execute("CREATE OR REPLACE VIEW v AS SELECT a, b FROM t WHERE a > 2")
    (difference,) = diff(before, take(conn))

    assert difference.sentence == "view public.v: definition differs"
    assert difference.lines == ("@@ -3,2 +3,2 @@", "    FROM public.t", "-  WHERE (a > 1);", "+  WHERE (a > 2);")


def test_what_a_role_may_not_see_is_said_and_never_equal(database: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("DROP ROLE IF EXISTS snap_blind; CREATE ROLE snap_blind LOGIN")
    conn.execute("CREATE TABLE t (a int); CREATE POLICY p ON t; REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC")
    whole = take(conn)
    conn.execute("SET ROLE snap_blind")
    part = take(conn)
    conn.execute("RESET ROLE; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM snap_blind; DROP ROLE snap_blind")

    reason = "the role snap_blind may not use pg_policy"
    assert part.unseen == {"policy": reason}
    assert sentences(whole, part) == [f"facts of the kind policy cannot be compared: {reason}"]
    assert part.fingerprint != whole.fingerprint


def test_the_ledger_is_left_out_and_what_a_migration_makes_is_not(
    migrator: Callable[..., Any], conn: psycopg.Connection[Any]
) -> None:
    before = take(conn)
    migrator({"001_a.sql": "CREATE TABLE a (id int)"}).apply("001")

    assert sentences(before, take(conn)) == ["table public.a is new, with 1 x column"]


def test_what_an_extension_owns_is_left_out_and_what_was_granted_on_it_is_not(conn: psycopg.Connection[Any]) -> None:
    before = take(conn)
    conn.execute("CREATE EXTENSION citext")
    with_extension = take(conn)
    conn.execute("REVOKE EXECUTE ON FUNCTION citext_eq(citext, citext) FROM PUBLIC")

    assert sentences(before, with_extension) == ["extension citext is new"]
    assert sentences(with_extension, take(conn)) == [
        "grant on function public.citext_eq(public.citext, public.citext) to public is new"
    ]


def test_large_objects_are_counted_and_never_passed_over(conn: psycopg.Connection[Any]) -> None:
    conn.execute("SELECT lo_create(0), lo_create(0)")

    assert take(conn).not_compared == {"large objects": 2}


def test_it_is_taken_while_others_make_and_drop_tables(database: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("CREATE TABLE stays (id int PRIMARY KEY)")
    ended = threading.Event()

    def changing() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            while not ended.is_set():
                other.execute("CREATE TABLE comes (id int PRIMARY KEY CHECK (id > 0)); CREATE VIEW v AS TABLE comes")
                other.execute("DROP TABLE comes CASCADE")
                ended.wait(0.3)  # without a pause a slow machine finds no moment in between

    thread = threading.Thread(target=changing)
    thread.start()
    try:
        pictures = [take(conn) for _ in range(10)]
    finally:
        ended.set()
        thread.join()

    assert all(any(fact.identity == "public.stays" for fact in picture.facts) for picture in pictures)
    assert conn.info.transaction_status.name == "IDLE"


def test_one_query_for_each_kind_and_none_for_each_object(conn: psycopg.Connection[Any]) -> None:
    conn.execute("; ".join(f"CREATE TABLE t{i} (id int PRIMARY KEY)" for i in range(30)).encode())
    conn.execute("CREATE VIEW v AS SELECT id FROM t1")
    sent: list[object] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *more: Any, **options: Any) -> Any:
            sent.append(query)
            return super().execute(query, *more, **options)

    conn.cursor_factory = Counting
    take(conn)

    plain = [kind for kind in KINDS if not kind.timescaledb]
    assert len(sent) == len(plain) + len(("the isolation", "the settings", "the server", "what is not modelled"))
