"""Which segments a script runs in, where it goes on, and what is said of what was kept. Pure."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, Script, Transactional, checksum
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.plan.journal import Effect, Resume, Segment, judge
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis

INDEX = "CREATE INDEX CONCURRENTLY i ON t (a)"


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


def entry(done: int, hashes: tuple[str, ...], **more: Any) -> Entry:
    return Entry(
        version="001",
        name="a",
        status="incomplete",
        checksum="",
        checksum_algorithm="sha256",
        dependencies=(),
        rollback_checksum=None,
        applied_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
        duration_ms=0,
        statements_done=done,
        statements_total=3,
        statement_hashes=hashes,
        identity=Identity("ann"),
        **more,
    )


@pytest.mark.parametrize(
    ("text", "transactional", "alone"),
    [
        ("SELECT 1", "auto", False),
        ("SELECT 1", True, False),
        ("SELECT 1", False, True),
        (INDEX, "auto", True),
        (INDEX, True, False),
        (INDEX, False, True),
    ],
)
def test_what_runs_by_statement(text: str, transactional: Transactional, alone: bool) -> None:
    assert journal.runs_by_statement(analysed(text), transactional) is alone


def test_a_hash_is_over_the_statement_alone() -> None:
    analysis = analysed("-- why\nSELECT  1 ;\n/* then */ SELECT 2;\nSELECT 3")
    assert journal.hashes(analysis, 2) == (checksum("SELECT  1 "), checksum("SELECT 2"))
    assert journal.hashes(analysis, 0) == ()


ONE = "CREATE TABLE t (a int); INSERT INTO t VALUES (1); {}; SELECT 1; SELECT 2; VACUUM; CALL p(); DO ''; EXECUTE e"


BLOCKS = "BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; COMMIT; SELECT 3; SELECT 4; BEGIN; SELECT 5; COMMIT"


@pytest.mark.parametrize(
    ("text", "transactional", "first", "expected"),
    [
        ("SELECT 1; SELECT 2", "auto", 0, [(0, 2, True)]),
        ("SELECT 1; SELECT 2", "auto", 1, [(1, 2, True)]),
        ("SELECT 1; SELECT 2", "auto", 2, []),
        (ONE.format(INDEX), "auto", 0, [(0, 2, True), (2, 3, False), (3, 5, True), (5, 6, False), (6, 9, True)]),
        (BLOCKS, "auto", 0, [(0, 1, True), (1, 2, True), (2, 4, True), (4, 5, True)]),
        (BLOCKS, "auto", 3, [(3, 4, True), (4, 5, True)]),
        (BLOCKS, "auto", 4, [(4, 5, True)]),
        (BLOCKS, False, 0, [(0, 1, True), (1, 2, True), (2, 3, False), (3, 4, False), (4, 5, True)]),
        (ONE.format(INDEX), "auto", 4, [(4, 5, True), (5, 6, False), (6, 9, True)]),
        (
            ONE.format(INDEX),
            False,
            0,
            [(i, i + 1, i in (0, 1)) for i in range(9)],
        ),
    ],
)
def test_segments(text: str, transactional: Transactional, first: int, expected: list[tuple[int, int, bool]]) -> None:
    found = list(journal.segments(analysed(text), transactional, first))
    assert found == [Segment(*segment) for segment in expected]


def test_where_it_goes_on() -> None:
    analysis = analysed("SELECT 1; SELECT 2; SELECT 3")
    begun = journal.hashes(analysis, 2)
    assert journal.resume(analysis, entry(0, ())) == Resume(0, in_flight=False)
    assert journal.resume(analysis, entry(2, begun)) == Resume(2, in_flight=False)
    assert journal.resume(analysis, entry(1, begun)) == Resume(1, in_flight=True)
    assert Resume() == Resume(0, False)


EDITED = Finding(
    "executed_statement_edited",
    "statement 2 of migration 001 has run and was edited since",
    "restore it; what comes after the last statement that has run may be edited",
    severity="error",
    version="001",
    file="001_a.sql",
    line=2,
)


def test_what_was_edited_is_told_with_its_place() -> None:
    analysis = analysed("SELECT 1;\nSELECT 2")
    was = journal.hashes(analysed("SELECT 1; SELECT 2; SELECT 3"), 3)
    edited = (was[0], "x")
    assert journal.resume(analysis, entry(2, edited)) == EDITED
    begun = replace(EDITED, message="statement 2 of migration 001 was begun and was edited since")
    assert journal.resume(analysis, entry(1, edited)) == begun
    first = replace(EDITED, message="statement 1 of migration 001 has run and was edited since", line=1)
    assert journal.resume(analysis, entry(2, ("x", "x"))) == first
    gone = replace(EDITED, message="statement 3 of migration 001 has run and is gone", line=None)
    assert journal.resume(analysis, entry(3, was)) == gone
    begun_and_gone = replace(EDITED, message="statement 3 of migration 001 was begun and is gone", line=None)
    assert journal.resume(analysis, entry(2, was)) == begun_and_gone


BODY = "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
CHUNKS = (
    "SELECT hypertable_name, chunk_name, range_start, range_end, is_compressed FROM timescaledb_information.chunks"
    " ORDER BY 1, 3"
)


@pytest.mark.parametrize(
    ("statement", "look"),
    [
        ("CALL p()", f" (`{BODY} WHERE proname = 'p'` shows what it does; nothing shows how far it came)"),
        (
            'CALL app."p\'s"(1)',
            f" (`{BODY} WHERE proname = 'p''s' AND nspname = 'app'` shows what it does; nothing shows how far it came)",
        ),
        ("SELECT f(1), 2", f" (`{BODY} WHERE proname = 'f'` shows what it does; nothing shows how far it came)"),
        (
            "CALL run_job(1007)",
            f" (`{BODY}, timescaledb_information.jobs"
            " WHERE (nspname, proname, job_id) = (proc_schema, proc_name, 1007)`"
            " shows what it does; nothing shows how far it came)",
        ),
        (
            "CALL run_job((SELECT 1))",
            f" (`{BODY} WHERE proname = 'run_job'` shows what it does; nothing shows how far it came)",
        ),
        ("CALL split_chunk(f())", f" (`{CHUNKS}` shows which chunks there are)"),
        ("SELECT decompress_chunk(c) FROM show_chunks('m') c", f" (`{CHUNKS}` shows which chunks there are)"),
        ("DO $$ BEGIN COMMIT; END $$", ""),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", ""),
    ],
)
def test_what_a_person_is_asked(statement: str, look: str) -> None:
    assert judge(analysed(f"SELECT 1;\n\n{statement}"), entry(1, ()), 1) == Finding(
        "in_flight",
        "statement 2 of migration 001 was started, but it is not known whether it ran to its end",
        f"look at the database{look}, then say that it ran: `wmigrate repair 001 --ran`, or that it is to run:"
        " `wmigrate repair 001 --again`",
        severity="error",
        version="001",
        file="001_a.sql",
        line=3,
    )


@pytest.mark.parametrize(
    ("done", "words"),
    [(0, "nothing ran before it"), (1, "statement 1 was kept"), (2, "statements 1 to 2 were kept")],
)
def test_what_was_kept_in_words(done: int, words: str) -> None:
    assert journal.kept(done) == words


ASK = "; look at the database, then say with repair that it ran, or that it is to run again"


@pytest.mark.parametrize(
    ("index", "effect", "words"),
    [
        (0, Effect.NOTHING, "nothing ran before it, and nothing of it was kept"),
        (1, Effect.NOTHING, "statement 1 was kept; the next run goes on at statement 2"),
        (0, Effect.REPEATABLE, "nothing ran before it; the next run goes on at statement 1"),
        (2, Effect.REPEATABLE, "statements 1 to 2 were kept; the next run goes on at statement 3"),
        (0, Effect.RAN, "statement 1 was kept; the next run goes on behind it"),
        (1, Effect.RAN, "statements 1 to 2 were kept; the next run goes on behind it"),
        (1, Effect.OPEN, "statement 1 was kept, and what statement 2 committed before it failed is kept" + ASK),
        (1, Effect.LOST, "statement 1 was kept; whether statement 2 ran is not known, the next run looks"),
    ],
)
def test_the_outcome_of_a_failure(index: int, effect: Effect, words: str) -> None:
    assert journal.outcome(index, effect) == words


def test_an_index_without_a_name() -> None:
    text = "CREATE INDEX CONCURRENTLY ON t (a); CREATE INDEX ON t (a); CREATE INDEX CONCURRENTLY i ON t (a); VACUUM"
    analysis = analysed(text)
    assert journal.unnamed_indexes(analysis) == (analysis.statements[0],)


ON_CHUNKS = ("merge_chunks", "merge_chunks_concurrently", "split_chunk", "attach_chunk", "detach_chunk",
             "recompress_chunk", "compress_chunk", "decompress_chunk", "convert_to_columnstore",
             "convert_to_rowstore", "drop_chunks")  # fmt: skip


@pytest.mark.parametrize("name", ON_CHUNKS)
def test_of_work_on_chunks_the_chunks_are_looked_at(name: str) -> None:
    found = judge(analysed(f"SELECT 1;\n\nCALL {name}('c')"), entry(1, ()), 1)
    assert isinstance(found, Finding)
    assert found.next_step.startswith(f"look at the database (`{CHUNKS}` shows which chunks there are), then say")


@pytest.mark.parametrize(
    ("statement", "with_its_journal"),
    [
        *((statement, False) for statement in (
            "CALL p()", "DO ''", "SELECT 1", "EXECUTE e", "CLUSTER", "CLUSTER t USING i", "REINDEX TABLE t",
            "CALL recompress_chunk('c')", "CALL merge_chunks_concurrently('c')",
        )),
        *((f"CALL {name}('c')", True) for name in (
            "convert_to_columnstore", "convert_to_rowstore", "merge_chunks", "split_chunk", "attach_chunk",
            "detach_chunk", "add_columnstore_policy", "remove_columnstore_policy",
            "add_process_hypertable_invalidations_policy",
        )),
        ("INSERT INTO t VALUES (1)", True),
    ],
)  # fmt: skip
def test_what_shares_a_transaction_with_its_journal_alone(statement: str, with_its_journal: bool) -> None:
    assert list(journal.segments(analysed(statement), False)) == [Segment(0, 1, with_its_journal)]
