"""Databases that are not UTF-8: whatever stands in names, reasons, comments and errors, the ledger takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.repair import repair
from airflow_provider_wmigrate.engine.errors import RollbackFailed, StatementFailed
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.incidents import Incidents
from airflow_provider_wmigrate.engine.ledger import history
from airflow_provider_wmigrate.engine.ledger.history import EventFilter
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.storable import CODECS
from airflow_provider_wmigrate.engine.model import Identity, checksum
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

WHO = Identity("jürgen → 🙂 \udcff", dag_id="dägs", run_id="manual__→", task_id="t.001", try_number=1)
FILES = {
    "001_t.sql": "-- für alle\nCREATE TABLE t ();",
    "001_t.rollback.sql": "-- für alle, \\o/\nDROP TABLE t;",
    "migration_config.yaml": "migration_system: {description: 'Unsere → 🙂'}\n",
}
ARROW = {**FILES, "001_t.rollback.sql": "-- t\nDROP TABLE t -- zurück → \\o/\n;"}
_numbers = count(1)


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dsn(cluster: Cluster, encoding: str) -> Iterator[str]:
    name = f"encoded_{next(_numbers)}"
    cluster.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    yield cluster.dsn(name)
    cluster.drop_database(name)


@pytest.fixture
def look(dsn: str) -> Iterator[Conn]:
    with psycopg.connect(dsn, autocommit=True, client_encoding="UTF8") as conn:
        yield conn


def holds(encoding: str, text: str) -> bool:
    try:
        return encoding == "SQL_ASCII" or bool(text.encode(CODECS.get(encoding, "ascii")))
    except UnicodeEncodeError:
        return False


def test_a_whole_life_in_any_encoding(
    migrator: MakeMigrator, make_folder: MakeFolder, dsn: str, look: Conn, encoding: str
) -> None:
    files = FILES if holds(encoding, "ü") else {**FILES, "001_t.sql": "CREATE TABLE t ();"}
    runner = migrator(files, dsn=dsn, identity=WHO)
    runner.record("planned", details={"reason": "warum → 🙂 \0", "→": ["→"]})
    assert runner.apply("001").outcome is Outcome.APPLIED
    runner.record_success()
    kept = {"SQL_ASCII": "jürgen → 🙂 \\udcff", "EUC_JP": "j\\u00fcrgen \\u2192 \\U0001f642 \\udcff"}
    actor = kept.get(encoding, "jürgen \\u2192 \\U0001f642 \\udcff")
    (entry,) = runner.read().entries
    assert (entry.identity.actor, entry.checksum) == (actor, checksum(files["001_t.sql"]))
    assert entry.rollback_checksum == checksum(files["001_t.rollback.sql"])
    said = next(row for row in Ledger().log.rows(look) if row.event == "planned").details
    arrow = "→" if encoding == "SQL_ASCII" else "\\u2192"
    smile = "🙂" if encoding == "SQL_ASCII" else "\\U0001f642"
    assert (said["reason"], said[arrow]) == (f"warum {arrow} {smile} \\u0000", [arrow])
    assert Ledger().verify(look) == ()
    folder = read_folder(make_folder({**files, "001_t.sql": files["001_t.sql"] + " -- edited"}))
    repair(Decider(lambda: psycopg.connect(dsn), folder, WHO, "nur ein Kommentar → 🙂"), "001", "accept")
    assert Ledger().verify(look) == ()
    told = Incidents(lambda: psycopg.connect(dsn), "wmigrate", WHO)
    assert told.claim("failed", "aufgabe → 🙂", version=None, what="→") is True
    assert told.claim("failed", "aufgabe → 🙂", version=None, what="→") is False
    found = history.events(look, Ledger(), EventFilter(actor=WHO.actor, events=("repaired",)))
    assert [(row.event, row.actor) for row in found.rows] == [("repaired", actor)]


def test_a_stored_rollback_script_is_the_one_that_is_run(
    migrator: MakeMigrator, dsn: str, look: Conn, encoding: str
) -> None:
    """One with characters that the database does not have is stored all the same; sent it can be only where it fits."""
    files = {**ARROW, "001_t.sql": "CREATE TABLE t ();"}
    migrator(files, dsn=dsn).apply("001")
    assert Ledger().verify(look) == ()
    bare = migrator({name: text for name, text in files.items() if "rollback" not in name}, dsn=dsn)
    (entry,) = bare.read().entries
    script = bare.ledger.rollback_script(look, entry)
    assert (script.text, script.checksum) == (ARROW["001_t.rollback.sql"], checksum(ARROW["001_t.rollback.sql"]))
    if encoding in ("SQL_ASCII", "EUC_JP"):  # which has the arrow, although we do not rely upon it
        assert bare.roll_back("001").outcome is Outcome.ROLLED_BACK
        return
    named = "001_t.rollback.sql:2:24: character with byte sequence "
    with pytest.raises(RollbackFailed) as failed:
        bare.roll_back("001")
    assert str(failed.value.cause).startswith(named)
    look.execute("UPDATE wmigrate.schema_migrations SET rollback_sql = rollback_sql || ' '")
    assert [f.code for f in Ledger().verify(look)] == ["entry_forged"]


def test_a_script_that_fits_is_stored_as_it_is_and_runs(migrator: MakeMigrator, dsn: str, look: Conn) -> None:
    plain = {**FILES, "001_t.sql": "CREATE TABLE t ();", "001_t.rollback.sql": "DROP TABLE t; -- \\o/"}
    migrator(plain, dsn=dsn).apply("001")
    (stored,) = look.execute("SELECT rollback_sql FROM wmigrate.schema_migrations").fetchone() or ()
    assert stored == plain["001_t.rollback.sql"]
    bare = migrator({"001_t.sql": plain["001_t.sql"]}, dsn=dsn)
    assert bare.roll_back("001").outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("encoding", ["LATIN1"], indirect=True)
def test_a_character_that_cannot_be_sent_is_told_with_its_file_and_place(
    migrator: MakeMigrator, dsn: str, look: Conn
) -> None:
    runner = migrator({"001_t.sql": "CREATE TABLE t ();\n-- für\n\n  -- hin → her\nCREATE TABLE u ();"}, dsn=dsn)
    said = (
        '001_t.sql:4:10: character with byte sequence 0xe2 0x86 0x92 in encoding "UTF8" has no equivalent in encoding'
        ' "LATIN1" (SQLSTATE 22P05)'
    )
    for how in ({}, {"dry_run": True}):
        with pytest.raises(StatementFailed) as failed:
            runner.apply("001", **how)
        assert str(failed.value).startswith(said)
        assert failed.value.hint == (
            "the database's encoding has no such character, not even in a comment: write it in another way"
        )
    assert Ledger().verify(look) == ()


@pytest.mark.parametrize("encoding", ["SQL_ASCII"], indirect=True)
def test_a_connection_that_nobody_prepared_reads_text(migrator: MakeMigrator, dsn: str) -> None:
    """psycopg gives bytes in a SQL_ASCII database unless the client says what it wants."""
    migrator(FILES, dsn=dsn, identity=WHO).apply("001")
    with psycopg.connect(dsn) as bare:
        (entry,) = Ledger().state(bare).entries
        assert (entry.version, entry.identity.dag_id) == ("001", "dägs")
        assert Ledger().verify(bare) == ()


def test_python_and_the_server_agree_on_what_fits(conn: Conn) -> None:
    for name, codec in CODECS.items():
        for byte in range(1, 256):
            character = bytes([byte]).decode(codec, "ignore")
            if character:
                row = conn.execute("SELECT convert_to(%s, %s)", [character, name]).fetchone()
                assert row == (bytes([byte]),), (name, character)
