"""From psycopg's errors to ours: the class, the words, the place in the file. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.pq import DiagnosticField

from airflow_provider_wmigrate.engine.errors import NOT_KNOWN, ROLLED_BACK, StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.session.failures import Circumstances, failure, place_of
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis, Part

CALM = Circumstances(lost=False, timed_out=False, cancelled=False, over_limit=False)
LOST = replace(CALM, lost=True)
INSIDE = replace(CALM, in_transaction=True)


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


def server_error(sqlstate: str, message: str = "no", **said: str) -> psycopg.Error:
    """As the server sends it: detail, hint, context, statement_position, constraint_name."""
    info: dict[int, bytes | None] = {int(field): None for field in DiagnosticField}
    info[DiagnosticField.MESSAGE_PRIMARY] = message.encode()
    info[DiagnosticField.SQLSTATE] = sqlstate.encode()
    for name, text in said.items():
        info[DiagnosticField[name.upper()]] = text.encode()
    return psycopg.errors.lookup(sqlstate)(message, info=info)  # type: ignore[arg-type]


def failed(error: psycopg.Error, known: Circumstances = CALM, file: str = "001_a.sql", **where: Any) -> StatementFailed:
    return failure(error, "001", file, where, known, outcome=ROLLED_BACK)


# The class and the words


@pytest.mark.parametrize(
    ("sqlstate", "known", "kind", "says", "retryable"),
    [
        ("42P01", CALM, StatementFailed, "no", False),
        ("40001", CALM, StatementFailed, "no", True),
        ("57014", CALM, StatementFailed, "no", False),
        ("57014", replace(CALM, cancelled=True), StatementFailed, "cancelled on request", True),
        ("57014", replace(CALM, cancelled=True, timed_out=True), StatementFailed, "cancelled on request", True),
        (
            "57014",
            replace(CALM, timed_out=True),
            TimedOut,
            "the total budget (timeout_seconds) was used up, the statement was cancelled",
            True,
        ),
        ("57014", replace(CALM, over_limit=True), TimedOut, "no", True),
        ("42P01", replace(CALM, cancelled=True, timed_out=True, over_limit=True), StatementFailed, "no", False),
        ("57P01", LOST, StatementFailed, "the connection was lost: no", True),
        ("57014", replace(LOST, cancelled=True), StatementFailed, "the connection was lost: no", True),
        (
            "57P01",
            replace(LOST, timed_out=True),
            TimedOut,
            "the total budget (timeout_seconds) was used up and the server did not answer any more",
            True,
        ),
    ],
)
def test_which_error_it_is(
    sqlstate: str, known: Circumstances, kind: type[StatementFailed], says: str, retryable: bool
) -> None:
    error = failed(server_error(sqlstate), known)
    assert type(error) is kind
    assert (error.server_message, error.sqlstate, error.retryable) == (says, sqlstate, retryable)
    assert (error.version, error.file, error.outcome) == ("001", "001_a.sql", ROLLED_BACK)


def test_what_was_kept_is_said_as_it_is_known() -> None:
    error = failure(server_error("42P01"), "001", "001_a.sql", {}, CALM, outcome=NOT_KNOWN)
    assert str(error) == "001_a.sql: no (SQLSTATE 42P01); what of it was kept is not known"


def test_an_error_without_a_server_behind_it() -> None:
    error = failed(psycopg.OperationalError("server closed the connection\n"), LOST)
    assert (error.server_message, error.sqlstate) == ("the connection was lost: server closed the connection", None)


def test_what_the_server_says_beside_it_and_where() -> None:
    context = "PL/pgSQL function f() line 3 at RAISE\nSQL function g() statement 1"
    sent = server_error("P0001", "no", message_detail="d", message_hint="h", context=context, constraint_name="c")
    error = failed(sent, line=2, column=3, statement="SELECT f()")
    said = (error.said.detail, error.said.hint, error.said.context, error.said.constraint, error.said.function)
    assert said == ("d", "h", context, "c", "PL/pgSQL function f() line 3 at RAISE")
    assert (error.line, error.column, error.statement, error.server_hint) == (2, 3, "SELECT f()", "h")


def test_secrets_of_the_script_are_masked() -> None:
    script = "CREATE ROLE r PASSWORD 'hunter2'"
    sent = server_error("42601", 'at or near "hunter2"', message_detail='d "hunter2"', context="c 'hunter2'")
    error = failure(sent, "001", "f", {}, CALM, outcome=ROLLED_BACK, script=script)
    assert "hunter2" not in f"{error} {error.said}"


def test_behind_the_last_statement_the_row_is_told() -> None:
    error = failed(server_error("23503", "violates", message_detail="Key (a)=(1)"), line=2, at_end=True)
    assert error.server_message == "violates (Key (a)=(1))"
    assert failed(server_error("23503", "violates"), at_end=True).server_message == "violates"
    assert failed(server_error("23503", "violates", message_detail="Key (a)=(1)"), line=2).server_message == "violates"


DECLARE = "declare transactional: false for this migration"


@pytest.mark.parametrize(
    ("sqlstate", "known", "where", "context", "hint"),
    [
        (
            "2D000",
            INSIDE,
            {},
            "",
            f"the script ends transactions itself: {DECLARE}, so that none is around it",
        ),
        ("2D000", CALM, {}, "", ""),
        (
            "2D000",
            CALM,
            {"statement": "CREATE MATERIALIZED VIEW daily WITH ..."},
            "",
            "TimescaleDB answers so when the filling of an aggregate is cancelled, by pg_cancel_backend or a limit that"
            " is not wmigrate's: run it again",
        ),
        ("25001", INSIDE, {"statement": "VACUUM"}, "", f"{DECLARE}, so that no transaction is around it"),
        ("25001", CALM, {"statement": "VACUUM"}, "", ""),
        ("25001", INSIDE, {}, "", f"{DECLARE}, so that no transaction is around it"),
        (
            "25001",
            INSIDE,
            {"statement": "set transaction isolation level serializable"},
            "",
            "wmigrate opens the transaction, at READ COMMITTED, and sets its limits: take this statement out",
        ),
        (
            "25001",
            INSIDE,
            {"statement": "SELECT f()"},
            "SQL function f statement 1",
            f"write it as a statement of its own, outside any function, and {DECLARE}",
        ),
        *[
            (
                "25001",
                INSIDE,
                {"statement": statement},
                "",
                "wmigrate opens the transaction, at READ COMMITTED, and sets its limits: take this statement out",
            )
            for statement in ("START TRANSACTION READ ONLY", "BEGIN")
        ],
        (
            "22P05",
            CALM,
            {},
            "",
            "the database's encoding has no such character, not even in a comment: write it in another way",
        ),
        (
            "55P04",
            CALM,
            {},
            "",
            "use it in a later migration: a new value of an enum type can be used only after the commit that adds it",
        ),
    ],
)
def test_what_to_do(sqlstate: str, known: Circumstances, where: dict[str, Any], context: str, hint: str) -> None:
    assert (failed(server_error(sqlstate, context=context), known, **where).server_hint or "") == hint


def test_what_to_do_in_a_rollback() -> None:
    error = failed(server_error("2D000"), INSIDE, file="001_a.rollback.sql")
    assert error.server_hint == (
        "the script ends transactions itself: declare transactional: {rollback: false} for this migration, so that none"
        " is around it"
    )


def test_what_the_server_lacks_is_not_healed_by_a_new_connection() -> None:
    """An error of which the remedy is known ends the connection, and is not tried again."""
    sent = server_error("58P01", 'could not access file "$libdir/timescaledb": No such file or directory')
    lost = failed(sent, LOST)
    assert lost.retryable is (lost.server_hint is None)


def test_the_remedy_that_an_extension_explains_counts_more_than_the_servers_hint() -> None:
    message = "hypertables do not support concurrent index creation"
    error = failed(server_error("0A000", message, message_hint="no"), line=2, column=1, statement="CREATE INDEX ...")
    assert str(error) == (
        f"001_a.sql:2:1: {message} (SQLSTATE 0A000) in CREATE INDEX ...; rolled back, nothing of it was kept;"
        " create it WITH (timescaledb.transaction_per_chunk), which locks one chunk at a time"
    )
    assert error.said.hint == "no"


# The place


def placed(error: psycopg.Error, analysis: Analysis, part: Part | None, index: int | None) -> tuple[Any, ...]:
    where = place_of(error, analysis, part, index)
    return where["line"], where.get("column"), where["statement"]


def test_the_servers_position_counts_first() -> None:
    analysis = analysed("SELECT 1;\nSELECT\n  nope;\nSELECT 3")
    part = next(analysis.parts())
    at = str(analysis.script.text.index("nope") - part.start + 1)
    assert placed(server_error("42703", statement_position=at), analysis, part, 0) == (3, 3, "SELECT nope")
    later = Part(9, b"", None, 1)
    assert placed(server_error("42703", statement_position="3"), analysis, later, 1) == (2, 2, "SELECT nope")


def test_else_what_was_next() -> None:
    analysis = analysed("SELECT 1;\n\nSELECT 2")
    part = next(analysis.parts())
    assert placed(server_error("22012"), analysis, part, 0) == (1, None, "SELECT 1")
    assert placed(server_error("22012"), analysis, part, 1) == (3, None, "SELECT 2")
    assert placed(server_error("22012", statement_position="1"), analysis, None, 1) == (3, None, "SELECT 2")
    assert placed(server_error("22012"), analysis, part, 2) == (None, None, None)
    assert place_of(server_error("22012"), analysis, part, None) == {}


def test_a_row_of_copy() -> None:
    analysis = analysed("SELECT 1;\nCOPY t FROM stdin;\n1\nx\n\\.\nSELECT 2;")
    part = next(p for p in analysis.parts() if p.data)
    sent = server_error("22P02", context='COPY t, line 2, column a: "x"')
    assert placed(sent, analysis, part, 1) == (4, None, "COPY t FROM stdin")
    assert placed(sent, analysis, dataclasses.replace(part, data=None), 1) == (2, None, "COPY t FROM stdin")
    assert placed(server_error("22P02"), analysis, part, 1) == (2, None, "COPY t FROM stdin")


def test_a_line_of_a_block() -> None:
    analysis = analysed("SELECT 1;\nDO $x$\nBEGIN\n  PERFORM 1/0;\nEND $x$;\nSELECT 2")
    part = next(analysis.parts())
    inside = server_error("22012", context="PL/pgSQL function inline_code_block line 3 at PERFORM")
    assert place_of(inside, analysis, part, 1) == {"line": 4, "statement": "DO ...", "in_block": True}
    deeper = server_error(
        "22012", context="PL/pgSQL function f() line 9 at RETURN\nPL/pgSQL function inline_code_block line 3 at PERFORM"
    )
    assert placed(deeper, analysis, part, 1) == (2, None, "DO ...")
    assert placed(inside, analysis, part, 0) == (1, None, "SELECT 1")
    quoted = analysed("DO 'BEGIN PERFORM 1/0; END'")
    assert placed(inside, quoted, next(quoted.parts()), 0) == (1, None, "DO ...")
    called = analysed("SELECT f($$DO$$)")
    assert placed(inside, called, next(called.parts()), 0) == (1, None, "SELECT ...")


def test_of_an_error_in_a_block_the_scripts_line_is_told_and_no_functions() -> None:
    inside = server_error("22012", context="PL/pgSQL function inline_code_block line 3 at PERFORM")
    error = failed(inside, line=4, statement="DO ...", in_block=True)
    assert str(error) == "001_a.sql:4: no (SQLSTATE 22012) in DO ...; rolled back, nothing of it was kept"
    assert (error.said.function, error.said.context) == (None, inside.diag.context)
    assert failed(inside, line=4).said.function == inside.diag.context


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT f();\nINSERT INTO t VALUES (1)", None),
        ("CREATE TABLE t ();\nINSERT INTO t VALUES (1)", 2),
        ("INSERT INTO t VALUES (1);\nUPDATE t SET a = 1", None),
        ("CREATE TABLE t ();\nSELECT f()", None),
        ("CREATE TABLE t ()", None),
        *[
            (f"CREATE TABLE t ();\n{change}", 2)
            for change in (
                "UPDATE t SET a = 1",
                "DELETE FROM t",
                "COPY t FROM '/x'",
                "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
            )
        ],
        *[
            (f"{perhaps};\nDELETE FROM t", None)
            for perhaps in ("DO ''", "CALL p()", "EXECUTE e", "CREATE TABLE u AS SELECT f()")
        ],
    ],
)
def test_the_one_statement_that_can_have_made_it(text: str, line: int | None) -> None:
    assert place_of(server_error("23503"), analysed(text), None, None) == {"line": line, "at_end": True}


def test_a_character_that_cannot_be_sent() -> None:
    analysis = analysed("SELECT 1;\nSELECT 'a€b';")
    part = next(analysis.parts())
    message = 'character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in encoding "LATIN1"'
    assert placed(server_error("22P05", message), analysis, part, 0) == (2, 10, "SELECT ...")
    assert placed(server_error("22P04", message), analysis, part, 0) == (1, None, "SELECT 1")
    broken = message.replace(" 0xac", "")
    assert placed(server_error("22P05", broken), analysis, part, 0) == (1, None, "SELECT 1")
    first = analysed("€ x")
    assert placed(server_error("22P05", message), first, next(first.parts()), 0) == (1, 1, None)
    elsewhere = message.replace("0xac", "0xad")
    assert placed(server_error("22P05", elsewhere), analysis, part, 0) == (1, None, "SELECT 1")
    assert placed(server_error("22P05", "none"), analysis, part, 0) == (1, None, "SELECT 1")
