"""Scripts as pg_dump and psql write them: COPY with its data below it, \\restrict, large files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import ScriptError, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from dev.server_binaries import client_program

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]


def rows(conn: Conn, query: str = "SELECT * FROM t ORDER BY 1") -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()


DATA = "CREATE TABLE t (id int, v text);\nCOPY t (id, v) FROM stdin;\n1\ta\n2\t\\N\n\\.\n"


def test_data_below_its_statement(migrator: MakeMigrator, conn: Conn) -> None:
    record = migrator({"001_a.sql": DATA + "\nINSERT INTO t SELECT 3, count(*)::text FROM t;\n"}).apply("001")
    assert (record.outcome, record.statements, record.rows) == (Outcome.APPLIED, 3, 3)
    assert rows(conn) == [(1, "a"), (2, None), (3, "2")]


WHAT_LOOKS_LIKE_SQL = """\
CREATE TABLE t (id serial, v text);
/* COPY t FROM stdin; */ -- COPY t FROM stdin;
SELECT 'COPY t FROM stdin;', $$ \\d $$, E'\\'; \\\\', "a\\b" FROM (SELECT 1) x ("a\\b");
copy t (v) From STDIN WITH (FORMAT text);  -- from elsewhere
it's ; $$ -- BEGIN; /* 100% (
\\\\connect \\t\\\\.
\\\\.

größer 日本語 🙂 %s {}
\\.
COPY t (v) FROM STDIN (FORMAT csv, HEADER);
v
"two
lines; ''"
\\.
COPY t (v) FROM stdin;
\\.
INSERT INTO t (v) VALUES ('\\.'), (E'it\\'s'
  'con\\'tinued;');
COPY t (v) FROM stdin;
last
\\."""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_looks_like_something_else(migrator: MakeMigrator, conn: Conn, ends: str) -> None:
    migrator({"001_a.sql": b"\xef\xbb\xbf" + WHAT_LOOKS_LIKE_SQL.replace("\n", ends).encode()}).apply("001")
    assert [v for _, v in rows(conn)] == [
        "it's ; $$ -- BEGIN; /* 100% (",
        "\\connect \t\\.",
        "\\.",
        "",
        "größer 日本語 🙂 %s {}",
        "two\nlines; ''",
        "\\.",
        "it'scon'tinued;",
        "last",
    ]


def test_psql_reads_it_the_same_way(cluster: Cluster, database: str, conn: Conn, migrator: MakeMigrator) -> None:
    # psql alone forgets at the end of a line that a string which goes on there began with E, and wants a last line end.
    script = WHAT_LOOKS_LIKE_SQL.replace("'\n  'con", "con") + "\n"
    command = [str(client_program("psql", cluster.bindir)), "-qXd", database, "-v", "ON_ERROR_STOP=1", "-f", "-"]
    answer = subprocess.run(command, input=script.encode(), capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    theirs = rows(conn)
    conn.execute("DROP TABLE t")
    migrator({"001_a.sql": script}).apply("001")
    assert rows(conn) == theirs


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            DATA.replace("2\t", "x\t"),
            '001_a.sql:4: invalid input syntax for type integer: "***" (SQLSTATE 22P02) in COPY t (id, v) FROM stdin;',
        ),
        (
            DATA.replace("\\N", "b\tc"),
            "001_a.sql:4: extra data after last expected column (SQLSTATE 22P04) in COPY t (id, v) FROM stdin;",
        ),
        (
            DATA.replace("COPY t", "COPY\n u"),
            '001_a.sql:2: relation "u" does not exist (SQLSTATE 42P01) in COPY u (id, v) FROM stdin;',
        ),
        (
            DATA + "SELECT 1;\n  SELECT nothing;",
            '001_a.sql:7:10: column "nothing" does not exist (SQLSTATE 42703) in SELECT nothing;',
        ),
        (
            "SELECT nothing;\n" + DATA,
            '001_a.sql:1:8: column "nothing" does not exist (SQLSTATE 42703) in SELECT nothing;',
        ),
        (DATA + "\n\nSELEC 1;\n" + "COPY t FROM stdin;\n\\.\n", '001_a.sql:8:1: syntax error at or near "SELEC"'),
    ],
)
def test_errors_keep_their_place_and_leave_nothing(
    migrator: MakeMigrator, conn: Conn, script: str, message: str
) -> None:
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script}).apply("001")
    assert str(failed.value).startswith(message)
    assert "rolled back, nothing of it was kept" in str(failed.value)
    assert rows(conn, "SELECT to_regclass('t')") == [(None,)]


def test_outside_a_transaction(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    script = DATA + "CREATE INDEX CONCURRENTLY t_id ON t (id);\nCOPY t FROM stdin;\n3\tc\n\\.\nSELECT nothing;\n"
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script}).apply("001")
    assert str(failed.value) == (
        '001_a.sql:10:8: column "nothing" does not exist (SQLSTATE 42703) in SELECT nothing;'
        " statements 1 to 3 were kept; the next run goes on at statement 4"
    )
    assert rows(conn) == [(1, "a"), (2, None)]
    events.clear()
    record = migrator({"001_a.sql": script.replace("SELECT nothing", "SELECT 1")}).apply("001")
    assert (record.statements, record.rows) == (2, 1)
    assert [e.note for e in events if isinstance(e, Stepped)] == ["run in one transaction"]
    assert rows(conn) == [(1, "a"), (2, None), (3, "c")]


def test_data_that_has_run_must_not_be_edited(migrator: MakeMigrator) -> None:
    script = DATA + "CREATE INDEX CONCURRENTLY t_id ON t (id);\nSELECT nothing;"
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": script}).apply("001")
    with pytest.raises(Exception, match=r"001_a\.sql:2: statement 2 of migration 001 has run and was edited since"):
        migrator({"001_a.sql": script.replace("1\ta", "1\tb")}).apply("001")


def test_a_script_newer_than_the_grammar_has_data_too(migrator: MakeMigrator, conn: Conn) -> None:
    """The server decides: here it knows what the grammar does not, since an extension of the test's own is at work."""
    newer = "CREATE TABLE t (id int, v text);\nSELECT 1 AS wibble WOBBLE;\n"
    with pytest.raises(StatementFailed, match=r"^001_a\.sql:2:20: syntax error at or near"):
        migrator({"001_a.sql": newer + DATA}).apply("001")
    assert rows(conn, "SELECT to_regclass('t')") == [(None,)]


@pytest.mark.needs_postgresql(14, "BEGIN ATOMIC")
def test_a_dump_is_a_migration(cluster: Cluster, migrator: MakeMigrator, database: str, conn: Conn) -> None:
    """Dumped, applied elsewhere and dumped again, a database is the same."""
    conn.execute(
        dedent(r"""
        CREATE SCHEMA shop;
        CREATE TYPE shop.mood AS ENUM ('sad', 'it''s fine;');
        CREATE TABLE shop.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, m shop.mood, b bytea, a text[]);
        INSERT INTO shop.t (v, m, b, a)
        SELECT E'line\n\\.\n' || i || E'\t%s', 'it''s fine;', decode('00ff5c2e', 'hex'), ARRAY['{"x"}', NULL, E'\\']
        FROM generate_series(1, 300) i;
        CREATE FUNCTION shop.f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;
        CREATE FUNCTION shop.g() RETURNS trigger LANGUAGE plpgsql AS $x$ BEGIN RETURN NEW; END; $x$;
        CREATE TRIGGER g BEFORE INSERT ON shop.t FOR EACH ROW EXECUTE FUNCTION shop.g();
        CREATE VIEW shop.v AS SELECT id, v FROM shop.t;
        CREATE RULE r AS ON DELETE TO shop.v DO INSTEAD (DELETE FROM shop.t WHERE id = old.id; NOTIFY c);
        """).encode()
    )

    def dump(dsn: str) -> str:
        command = [str(client_program("pg_dump", cluster.bindir)), "--no-owner", "--exclude-schema=wmigrate", dsn]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    original = dump(database)
    assert "COPY shop.t" in original
    other = cluster.create_database("restored", template="template0")
    script = original if "\\restrict" in original else f"\\restrict kEy\n\n{original}\n\\unrestrict kEy\n"
    record = migrator({"001_dump.sql": script}, dsn=other).apply("001")
    assert record.rows == 300
    without_keys = [[x for x in dumped.splitlines() if "restrict" not in x] for dumped in (dump(other), original)]
    assert without_keys[0] == without_keys[1]
    cluster.drop_database("restored")


@pytest.mark.parametrize("script", ["SELECT 1;\n\\restrict x\nSELECT 'a\n\\connect b';\n\\unrestrict x"])
def test_lines_for_psql_are_left_out(migrator: MakeMigrator, script: str) -> None:
    assert migrator({"001_a.sql": script}).apply("001").statements == 2


def test_a_psql_command_is_refused_before_anything_runs(migrator: MakeMigrator, conn: Conn) -> None:
    with pytest.raises(ScriptError, match=r"^001_a\.sql:6: \\i is a command of psql, not SQL; put the other file's"):
        migrator({"001_a.sql": DATA + "\\i other.sql\n"}).apply("001")
    assert rows(conn, "SELECT to_regclass('t')") == [(None,)]


# Large files

APPLY = """
import sys, time
from pathlib import Path
import psycopg
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import (Identity, Script)
from airflow_provider_wmigrate.engine.sql.analysis import analyse

def peak():  # ru_maxrss would count what the parent had at the fork
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

psycopg.connect(sys.argv[1]).close()
analyse(Script.of("", "SELECT 1"))
before, start = peak(), time.monotonic()
migrator = Migrator(lambda: psycopg.connect(sys.argv[1]), read_folder(Path(sys.argv[2])), identity=Identity("tester"))
record = migrator.apply("001")
print(peak() - before, record.rows, record.statements, time.monotonic() - start)
"""


def dumped_rows(count: int) -> str:
    return "".join(f"{i}\tsome text that fills the row, as rows do, number {i}\n" for i in range(count))


LARGE = {
    "copy": lambda: f"CREATE TABLE t (id int, v text);\nCOPY t FROM stdin;\n{dumped_rows(800_000)}\\.\nSELECT 1;\n",
    "windows line ends": lambda: (
        f"CREATE TABLE t (id int, v text);\nCOPY t FROM stdin;\n{dumped_rows(400_000)}\\.\n".replace("\n", "\r\n")
    ),
    "inserts": lambda: "CREATE TABLE t (id int, v text);\n" + "".join(
        f"INSERT INTO t VALUES ({i}, 'some text that fills the row, as rows do; it''s number {i}');\n"
        for i in range(280_000)
    ),
    "one insert": lambda: "CREATE TABLE t (id int, v text);\nINSERT INTO t VALUES\n" + ",\n".join(
        f"({i}, 'some text that fills the row, as rows do; it''s number {i}')" for i in range(200_000)
    ) + ";\nSELECT 1;\n",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by Linux's /proc")
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_file_needs_little_more_than_twice_its_room(
    database: str, conn: Conn, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "001_large.sql"
    file.write_bytes(LARGE[kind]().encode())
    size = file.stat().st_size / 2**20
    answer = subprocess.run(
        [sys.executable, "-c", APPLY, database, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    grown, copied, statements, seconds = answer.stdout.split()
    print(f"{kind}: {size:.0f} MB, {grown} MB more memory, {statements} statements, {seconds} s")
    assert rows(conn, "SELECT count(*) FROM t") == [(int(copied),)]
    # libpq sends one statement as one message, of which there is a copy here and one in its buffer. What the allocator
    # keeps differs from machine to machine, so there is room for one copy more; two more would be seen.
    times = 4.2 if kind == "one insert" else 3.2
    assert float(grown) < times * size + 30
