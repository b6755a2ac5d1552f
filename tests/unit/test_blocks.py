"""Which transactions a script opens itself. How they run: tests/postgres/test_own_transactions.py."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script, Transactional
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.blocks import Block
from airflow_provider_wmigrate.engine.sql.script import Analysis


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


@pytest.mark.parametrize(
    ("text", "lines", "blocks"),
    [
        ("SELECT 1;", [1], ()),
        ("BEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 2", [2, 4], (Block(0, 1, 1),)),
        ("SELECT 1;\nBEGIN;\nSELECT 2;\nSELECT 3;\nEND", [1, 3, 4], (Block(1, 3, 2),)),
        (
            "BEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 2;\nSTART TRANSACTION;\nEND;\nBEGIN;\nSAVEPOINT a;\nSELECT 3;\nEND;",
            [2, 4, 8, 9],
            (Block(0, 1, 1), Block(2, 4, 7)),
        ),
    ],
)
def test_blocks(text: str, lines: list[int], blocks: tuple[Block, ...]) -> None:
    analysis = analysed(text)
    assert ([s.line for s in analysis.statements], analysis.blocks) == (lines, blocks)
    assert len(analysis.body) == len(text)
    for word in ("BEGIN", "COMMIT", "TRANSACTION", "WORK", "END"):
        assert word not in analysis.body
    for statement in analysis.statements:
        assert text[statement.start : statement.end] == analysis.text_of(statement)
    inside = [any(b.first <= i < b.end for b in blocks) for i in range(len(lines))]
    assert [analysis.block_of(i) is not None for i in range(len(lines))] == inside


@pytest.mark.parametrize("text", ["BEGIN;\nSELECT 1;\nEND;", "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nEND;"])
def test_a_single_block_around_everything_counts_where_statements_are_declared_to_stand_alone(text: str) -> None:
    analysis = analysed(text)
    assert ([s.line for s in analysis.statements], analysis.blocks) == ([2], ())
    assert analysis.block_of(0) == Block(0, 1, 1)
    assert [journal.runs_by_statement(analysis, declared) for declared in (True, "auto", False)] == [False, False, True]


def test_in_a_single_block_around_everything_what_needs_to_run_outside_still_does() -> None:
    analysis = analysed("BEGIN;\nSELECT 1;\nVACUUM;\nCOMMIT;")
    assert [(s.line, s.outside) for s in analysis.statements] == [(2, None), (3, "VACUUM")]
    assert (analysis.blocks, analysis.block_of(0)) == ((), None)


SEVERAL = "SELECT 1; SELECT 2; BEGIN; SELECT 3; CALL p(); COMMIT; VACUUM; BEGIN; SELECT 4; COMMIT; SELECT 5; SELECT 6"


@pytest.mark.parametrize(
    ("transactional", "first", "expected"),
    [
        ("auto", 0, [(0, 2, True), (2, 4, True), (4, 5, False), (5, 6, True), (6, 8, True)]),
        ("auto", 3, [(3, 4, True), (4, 5, False), (5, 6, True), (6, 8, True)]),
        (
            False,
            0,
            [(0, 1, False), (1, 2, False), (2, 4, True), (4, 5, False), (5, 6, True), (6, 7, False), (7, 8, False)],
        ),
    ],
)
def test_a_block_is_a_segment(transactional: Transactional, first: int, expected: list[tuple[int, int, bool]]) -> None:
    segments = journal.segments(analysed(SEVERAL), transactional, first)
    assert [(s.first, s.end, s.transactional) for s in segments] == expected


def test_a_script_with_blocks_is_run_segment_by_segment() -> None:
    analysis = analysed("BEGIN; SELECT 1; COMMIT; SELECT 2")
    assert [journal.runs_by_statement(analysis, declared) for declared in ("auto", True, False)] == [True, False, True]


def test_an_enum_value_needs_no_transaction_of_its_own_in_a_block() -> None:
    add = "ALTER TYPE m ADD VALUE 'x'"
    assert analysed(f"BEGIN; {add}; COMMIT; SELECT 'x'").outside == ()
    assert [s.outside for s in analysed(f"BEGIN; SELECT 1; COMMIT; {add}; SELECT 'x'").statements] == [
        None,
        "ALTER TYPE ... ADD VALUE, whose value the script uses,",
        None,
    ]
