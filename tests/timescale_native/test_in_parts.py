"""Statements that run in parts, or may: cancelled by somebody, or their runner killed, while they wait in the middle.

What is left is found out, cleared away, and the statement ends as if nothing had been. Needs the full edition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome
from tests.struck import WAITS, in_background, killed_while
from tests.waiting import ENDLESS, eventually

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

pytestmark = pytest.mark.usefixtures("full_edition", "hypertable")

ROWS = "SELECT count(*), count(DISTINCT (at, device)) FROM m"


class Kind(NamedTuple):
    """:param script: with `{0}` ... `{5}` for chunks, `{job}` for a number.
    :param check: a query, and its answer when the statement has run.
    :param before: prepares it; may give the job's number.
    :param alone: it runs outside a transaction: nobody else's is around it.
    :param busy: the table that somebody has written into: the last chunk, so that whoever goes through all has done the
        others.
    """

    script: str
    check: tuple[str, Any]
    before: tuple[str, ...] = ()
    alone: bool = True
    since: tuple[int, int] = (2, 0)
    busy: str = "{5}"


CHUNKS = "SELECT count(*) FROM show_chunks('m')"
STORED = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'm' AND is_compressed"
COLUMNSTORE = "ALTER TABLE m SET (timescaledb.compress)"
COMPRESSED = (COLUMNSTORE, "SELECT compress_chunk(c) FROM show_chunks('m') c")
INDEX = "CREATE INDEX m_value ON m (value, at)"
FIRST = "SELECT count(*) FROM pg_index WHERE indisclustered AND indexrelid::regclass::text LIKE '%m_value'"
KINDS = {
    "merge_chunks": Kind("CALL merge_chunks('{4}', '{5}');", (CHUNKS, 5), alone=False, since=(2, 18)),
    "merge_chunks_concurrently": Kind(
        "CALL merge_chunks_concurrently(ARRAY['{4}', '{5}']::regclass[]);", (CHUNKS, 5), since=(2, 25)
    ),
    "split_chunk": Kind("CALL split_chunk('{5}');", (CHUNKS, 7), alone=False, since=(2, 20)),
    "detach_chunk": Kind("CALL detach_chunk('{5}');", (CHUNKS, 5), alone=False, since=(2, 21)),
    "attach_chunk": Kind(
        "CALL attach_chunk('m', 'late', '{{\"at\": [1767744000000000, 1767830400000000]}}');",
        (CHUNKS, 7),
        ("CREATE TABLE late (LIKE m INCLUDING ALL)", "INSERT INTO late VALUES ('2026-01-07 12:00Z', 1, 1)"),
        alone=False,
        since=(2, 21),
        busy="late",
    ),
    "convert_to_columnstore": Kind(
        "CALL convert_to_columnstore('{5}');", (STORED, 1), (COLUMNSTORE,), alone=False, since=(2, 18)
    ),
    "convert_to_rowstore": Kind(
        "CALL convert_to_rowstore('{5}');", (STORED, 5), COMPRESSED, alone=False, since=(2, 18)
    ),
    "compress_chunk": Kind("SELECT compress_chunk('{5}');", (STORED, 1), (COLUMNSTORE,)),
    "compress_chunk of each": Kind(
        "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('m') c;", (STORED, 6), (COLUMNSTORE,)
    ),
    "recompress_chunk": Kind(
        "CALL recompress_chunk('{5}', true);",
        ("SELECT _timescaledb_functions.chunk_status('{5}')", 1),
        (*COMPRESSED, "INSERT INTO m VALUES ('2026-01-06 00:30Z', 9, 1)"),
    ),
    "run_job of a policy": Kind(
        "CALL run_job({job});",
        (STORED, 6),
        (COLUMNSTORE, "SELECT add_compression_policy('m', INTERVAL '1 day')"),
    ),
    "reorder_chunk": Kind("SELECT reorder_chunk('{5}', 'm_value');", (FIRST, 1), (INDEX,)),
    "cluster": Kind("CLUSTER m USING m_value;", (FIRST, 7), (INDEX,)),
    "drop_chunks": Kind("SELECT drop_chunks('m', '2027-01-01'::timestamptz);", (CHUNKS, 0)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, conn: Conn) -> Kind:
    found = KINDS[request.param]
    ((version,),) = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchall()
    if tuple(map(int, version.split(".")[:2])) < found.since:
        pytest.skip(f"TimescaleDB {version} does not have it")
    return found


@pytest.fixture
def folder(conn: Conn, kind: Kind, make_folder: MakeFolder) -> Any:
    job = 0
    for statement in kind.before:
        row = conn.execute(statement.encode())
        if "_policy" in statement:
            ((job,),) = row.fetchall()
    script = kind.script.format(*chunks(conn), job=job)
    return make_folder({
        "001_a.sql": script,
        "migration_config.yaml": f"migrations: [{{version: 1, transactional: false, lock_timeout_seconds: {ENDLESS}}}]",
    })  # fmt: skip


def chunks(conn: Conn) -> list[str]:
    return [str(row[0]) for row in conn.execute("SELECT show_chunks('m')::text")]


@contextmanager
def somebody_in(database: str, chunk: str) -> Iterator[None]:
    """A session that has written into the chunk, and not through `m`, which stays free."""
    with psycopg.connect(database) as somebody:
        somebody.execute(f"UPDATE {chunk} SET value = value WHERE device = 1".encode())
        yield
        somebody.rollback()


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


def check(conn: Conn, kind: Kind, names: list[str], rows: list[Any]) -> None:
    query, answer = kind.check
    assert conn.execute(query.format(*names).encode()).fetchone() == (answer,)
    if not any(word in kind.script for word in ("drop_chunks", "detach", "attach")):
        assert conn.execute(ROWS).fetchall() == rows


def test_a_runner_that_is_killed(
    database: str, migrator: MakeMigrator, folder: Any, conn: Conn, kind: Kind, events: list[Event]
) -> None:
    names, rows = chunks(conn), conn.execute(ROWS).fetchall()
    with somebody_in(database, kind.busy.format(*names)):
        killed_while(database, folder, conn, WAITS)
    (left,) = conn.execute("SELECT status, cardinality(statement_hashes) FROM wmigrate.schema_migrations").fetchall()
    assert left == ("incomplete", int(kind.alone))
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    again = ["was in flight; it runs again", "runs outside a transaction"]
    assert notes(events) == (again if kind.alone else ["runs"])
    check(conn, kind, names, rows)


def test_somebody_cancels_it(
    database: str, migrator: MakeMigrator, folder: Any, conn: Conn, kind: Kind, events: list[Event]
) -> None:
    names, rows = chunks(conn), conn.execute(ROWS).fetchall()
    with (
        somebody_in(database, kind.busy.format(*names)),
        in_background(lambda: migrator(folder).apply("001")) as result,
    ):
        ((pid,),) = eventually(conn, WAITS)
        conn.execute("SELECT pg_cancel_backend(%s)", [pid])
    with pytest.raises(StatementFailed) as cancelled:
        result()
    assert "canceling statement due to user request" in str(cancelled.value)
    assert cancelled.value.outcome.startswith("nothing ran before it")
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    check(conn, kind, names, rows)


def test_a_job_of_ones_own_asks_a_person(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn, events: list[Event]
) -> None:
    conn.execute("CREATE TABLE seen (n int)")
    conn.execute(
        "CREATE PROCEDURE tidy(job_id int, config jsonb) LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO seen VALUES (1); COMMIT; UPDATE m SET value = 2; END $$"
    )
    ((job,),) = conn.execute("SELECT add_job('tidy', '1 day')").fetchall()
    folder = make_folder({"001_a.sql": f"CALL run_job({job});\nCREATE TABLE after ();"})
    with psycopg.connect(database) as somebody:
        somebody.execute("LOCK TABLE m")
        killed_while(database, folder, conn, WAITS)
    with pytest.raises(HistoryError) as asked:
        migrator(folder).apply("001")
    (finding,) = asked.value.findings
    query = (
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace,"
        f" timescaledb_information.jobs WHERE (nspname, proname, job_id) = (proc_schema, proc_name, {job})"
    )
    assert finding.next_step == (
        f"look at the database (`{query}` shows what it does; nothing shows how far it came), then say that it ran:"
        " `wmigrate repair 001 --ran`, or that it is to run: `wmigrate repair 001 --again`"
    )
    ((body,),) = conn.execute(query.encode()).fetchall()
    assert "INSERT INTO seen" in body
    assert conn.execute("SELECT count(*) FROM seen").fetchone() == (1,), "its first part is there"
    (folder / "migration_config.yaml").write_text("migrations: [{version: 1, repeatable: {apply: true}}]")
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert conn.execute("SELECT count(*) FROM seen").fetchone() == (2,), (
        "whoever declares it says that it may run twice"
    )


def test_what_a_recompression_has_left_half_done_is_finished(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn, events: list[Event]
) -> None:
    """Before 2.18 it took the chunk out of the columnstore and put it in again, in two transactions."""
    ((old,),) = conn.execute(
        "SELECT string_to_array(extversion, '.')::int[] < '{2,18}' FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchall()
    if not old:
        pytest.skip("recompress_chunk is one transaction from TimescaleDB 2.18 on")
    for statement in (*COMPRESSED, "INSERT INTO m VALUES ('2026-01-06 00:30Z', 9, 1)"):
        conn.execute(statement.encode())
    chunk = chunks(conn)[5]
    broken = f"CALL recompress_chunk('{chunk}');\nSELECT 1 / 0;"
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": broken}).apply("001")
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 0")
    conn.execute("SELECT decompress_chunk(%s::regclass)", [chunk])  # as if it had died between the two
    events.clear()
    assert migrator({"001_a.sql": f"CALL recompress_chunk('{chunk}');"}).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == [
        "put its chunk into the columnstore again, which it had left outside",
        "was in flight; it has run",
    ]
    assert conn.execute(STORED).fetchone() == (6,)
