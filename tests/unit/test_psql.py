"""Where psql's own lines and COPY data stand in a script. What the server does then: tests/postgres/test_copy.py."""

from __future__ import annotations

import re

import pytest

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql import pieces, psql
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


def sent(text: str) -> list[tuple[str, str | None]]:
    """What is sent in one message, and the data after it."""
    analysis = analysed(text)
    data = [text[slice(*part.data)] if part.data else None for part in analysis.parts()]
    return list(zip([part.sql.decode() for part in analysis.parts()], data, strict=True))


COPY = "COPY t FROM stdin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2;", [("SELECT 1; SELECT 2", None)]),
        (f"{COPY};\n1\n\\.\n", [(COPY, "1\n")]),
        (f"{COPY};\n1\n\\.", [(COPY, "1\n")]),
        (f"{COPY};\n\\.\n", [(COPY, "")]),
        (f"{COPY}; -- x\n1\n2\n\\.\n\n", [(COPY, "1\n2\n")]),
        (f"SELECT 1;\n{COPY};\n1\n\\.\nSELECT 2;", [("SELECT 1", None), (COPY, "1\n"), ("SELECT 2", None)]),
        (f"{COPY};\n1\n\\.\n{COPY};\n2\n\\.\n", [(COPY, "1\n"), (COPY, "2\n")]),
        ("copy t (a) from\n STDIN (format csv);\n;\n\\.\n", [("copy t (a) from\n STDIN (format csv)", ";\n")]),
        ("COPY t FROM stdin;\n\\\\.\n\\.x\n x\\.\n\\.\n", [(COPY, "\\\\.\n\\.x\n x\\.\n")]),
        (f"BEGIN;\n{COPY};\n1\n\\.\nCOMMIT;", [(COPY, "1\n")]),
        (f"/* a */ {COPY};\n1\n\\.\n", [(COPY, "1\n")]),
        ("COPY t /* a */ FROM stdin;\n1\n\\.\n", [("COPY t /* a */ FROM stdin", "1\n")]),
        ("COPY t FROM '/stdin'; SELECT 1", [("COPY t FROM '/stdin'; SELECT 1", None)]),
        ("COPY t FROM PROGRAM 'stdin'", [("COPY t FROM PROGRAM 'stdin'", None)]),
        ("COPY stdin TO '/x'", [("COPY stdin TO '/x'", None)]),
        (f"SELECT $${COPY};\n\\.\n$$", [(f"SELECT $${COPY};\n\\.\n$$", None)]),
        ("\\restrict k\nSELECT 1;\n  \\unrestrict k", [("SELECT 1", None)]),
        ("SELECT 1\n\\restrict k\n;", [("SELECT 1\n" + " " * 11, None)]),
        # Read as anything else, the rows below would be sent as SQL
        (f"SELECT name'a\\';\n{COPY};\n1\n\\.\n", [("SELECT name'a\\'", None), (COPY, "1\n")]),
        (f"SELECT E'a\\';\n{COPY};\n1\n\\.\n'", [(f"SELECT E'a\\';\n{COPY};\n1\n\\.\n'", None)]),
        (f"PREPARE p AS SELECT $1;\n{COPY};\n1\n\\.\nEXECUTE p($$a$$)", [
            ("PREPARE p AS SELECT $1", None), (COPY, "1\n"), ("EXECUTE p($$a$$)", None),
        ]),
        (f"SELECT a\x80$b$ FROM t;\n{COPY};\n1$b$\n\\.\n", [("SELECT a\x80$b$ FROM t", None), (COPY, "1$b$\n")]),
        (f"SELECT a$b$ FROM t;\n{COPY};\n1$b$\n\\.\n", [("SELECT a$b$ FROM t", None), (COPY, "1$b$\n")]),
    ],
)  # fmt: skip
def test_what_is_sent(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert [(sql.rstrip("\n") if sql.endswith("\n") else sql, data) for sql, data in sent(text)] == expected


def test_everything_keeps_its_place() -> None:
    text = f"\\restrict é\n\nBEGIN;\nSELECT 'é';\n{COPY};\né\n\\.\n  SELECT 2;\nCOMMIT;\n\\unrestrict é\n"
    analysis = analysed(text)
    assert [(s.line, text[s.start : s.end]) for s in analysis.statements] == [
        (4, "SELECT 'é'"),
        (5, COPY),
        (8, "SELECT 2"),
    ]
    for part in analysis.parts():
        assert text[part.start :].startswith(part.sql.decode())
    assert analysis.text_of(analysis.statements[1]) == COPY + "é\n", "an edit of the data is an edit of the statement"


@pytest.mark.parametrize(
    "text",
    [
        r"SELECT '\d', E'\'\\', U&'\0041', B'1', N'\', 'a''\', $$\d$$, $a$\d $$ $$ \$a$, $ä$\$ä$",
        r"""SELECT '', '\d', E'', '\d', "", '\d' """,
        r"SELECT E'\''  -- '" + "\n" + r" '\'\i'",
        r"SELECT e'a''\'\i', name'\' FROM t",
        r'SELECT "\d", "a""\d" /* \d /* \d */ \d */ -- \d',
        r"DO $x$ BEGIN RAISE '\d'; END $x$",
        "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT '\\d'; SELECT 2; END",
        r"SELECT a$b$'\d' FROM (SELECT 1 AS a$b$) x",
        r"SELECT a_e'\' FROM t",
        r"SELECT a$e'\' FROM t",
        r"E'\'\d'",
        r"SELECT '' ||e'\'\d'",
        r"SELECT E'open \d",
        r"SELECT 1;'\d'",
    ],
)
def test_a_backslash_inside_quotes_and_comments_is_text(text: str) -> None:
    assert psql.cut(Script.of("001_a.sql", text)).blanks == ()


def test_blanks_in_a_part_of_the_text() -> None:
    blanks = ((1, 2), (4, 6))
    spans = [(0, 8), (0, 1), (2, 4), (2, 5), (5, 8), (6, 8)]
    assert [pieces.without("ab\nde\nfg", blanks, *span) for span in spans] == [
        "a \nd \nfg",
        "a",
        "\nd",
        "\nd ",
        "\nfg",
        "fg",
    ]


def test_pieces_are_joined_around_data_and_no_further() -> None:
    copy = pieces.Piece(4, 6, (6, 8))
    plain = [pieces.Piece(start, end) for start, end in [(0, 2), (2, 3), (3, 4), (9, 11), (11, 12)]]
    assert pieces.joined((*plain[:3], copy, copy, *plain[3:])) == (pieces.Piece(0, 4), copy, copy, pieces.Piece(9, 12))
    assert pieces.joined(()) == ()


@pytest.mark.parametrize(
    ("text", "size", "ends"),
    [
        ("SELECT 1;SELECT 2;SELECT 3", 1, [9, 18, 26]),
        ("SELECT 1;SELECT 2;SELECT 3", 9, [9, 18, 26]),
        ("SELECT 1;SELECT 2;SELECT 3", 10, [18, 26]),
        ("SELECT 1;SELECT 2;SELECT 3", 26, [26]),
        ("SELECT 1;SELECT 2; \n", 9, [9, 18]),
        # What the grammar cannot read ends where it seems to
        ("CREATE FUNCTION f() WIBBLE;SELECT 1", 1, [27, 35]),
        ("SELECT BEGIN ATOMIC;SELECT 1", 1, [20, 28]),
        ("WIBBLE x FROM stdin;SELECT 1", 1, [20, 28]),
        ("COPY t WIBBLE;SELECT 1", 1, [14, 22]),
    ],
)
def test_a_piece_ends_with_the_statement_that_fills_it(text: str, size: int, ends: list[int]) -> None:
    found = psql.cut(Script.of("001_a.sql", text), size)
    assert found == pieces.Cut(tuple(map(pieces.Piece, [0, *ends], ends)))


@pytest.mark.parametrize("text", ["SELECT 1;SELECT 222;", "SELECT 1;SELECT 2222"])
def test_a_large_statement_is_a_piece_of_its_own(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(psql, "LARGE", 10)
    assert psql.cut(Script.of("001_a.sql", text), 10).pieces == (psql.Piece(0, 9), psql.Piece(9, 20))
    monkeypatch.setattr(psql, "LARGE", 11)
    assert psql.cut(Script.of("001_a.sql", text), 10).pieces == (psql.Piece(0, 20),)


def test_the_pieces_of_copy_and_what_stands_around_it() -> None:
    text = f'SELECT "";{COPY};\n1\n\\.\nCOPY t FROM stdin WIBBLE; -- x\n2\n\\.\nCOPY t (stdin) FRM x;SELECT 3'
    found = psql.cut(Script.of("001_a.sql", text), 1).pieces
    assert [(text[p.start : p.end], text[slice(*p.data)] if p.data else None) for p in found] == [
        ('SELECT "";', None),
        (f"{COPY};", "1\n"),
        ("COPY t FROM stdin WIBBLE;", "2\n"),
        ("COPY t (stdin) FRM x;", None),
        ("SELECT 3", None),
    ]


NOT_SQL = " is a command of psql, not SQL; "
REMOVE = NOT_SQL + "remove it, or write what it does in SQL"
SEMICOLON = NOT_SQL + "end the statement with a semicolon"
BELOW = "; write it on the lines below, and after it a line that holds only \\."
FOLLOWS = "something follows COPY FROM stdin on its line; its data begins on the next line; put the rest below the data"
COMMANDS = {
    "\\connect other\nSELECT 1": f"1: \\connect{NOT_SQL}a migration has one database; make a folder for the other one",
    "SELECT 1;\n  \\i x.sql": f"2: \\i{NOT_SQL}put the other file's SQL here",
    "SELECT 1 \\gexec": "1: \\gexec" + SEMICOLON,
    "SELECT 1\\; SELECT 2;": "1: \\;" + SEMICOLON,
    "SELECT 'a\n\\d';\n\\copy t FROM x": f"3: \\copy{NOT_SQL}write COPY ... FROM stdin with the data below it",
    "\\set x 1": "1: \\set" + REMOVE,
    "\\!ls": "1: \\!ls" + REMOVE,
    "SELECT 1; \\restrict x": "1: \\restrict" + REMOVE,
    "SELECT\n1\\restrict x": "2: \\restrict" + REMOVE,
    f"{COPY};\n1\n\\.\n\\.\n": "4: \\. ends the data of COPY FROM stdin, and there is none here; remove it",
    f"\n{COPY};": "2: COPY FROM stdin waits for data that is not there" + BELOW,
    f"\n{COPY};\n1\n2\n": "2: the data of COPY FROM stdin does not end" + BELOW,
    f"{COPY}; SELECT 1;\n1\n\\.\n": f"1: {FOLLOWS}",
    f"{COPY};x\n1\n\\.\n": f"1: {FOLLOWS}",
}


@pytest.mark.parametrize(("text", "says"), COMMANDS.items())
def test_commands_of_psql_are_refused(text: str, says: str) -> None:
    with pytest.raises(ScriptError) as refused:
        analysed(text)
    assert str(refused.value) == f"001_a.sql:{says}"


ATOMIC = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
ROUTINE = "CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN ATOMIC; END $$"
RULE = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v;)"
MANY = ["SELECT 'größer; 🙂'", ATOMIC, "/* ; */ SELECT 1 -- ;\n", RULE, ROUTINE, "SELECT E'\\';'", 'SELECT ";"']


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ";\n".join(MANY * 3)
    whole = analysed(text)
    monkeypatch.setattr(psql, "PIECE", 1)
    cut = analysed(text)
    assert len(cut.pieces) == len(MANY) * 3
    assert [*cut.statements] == [*whole.statements]
    assert b";".join(part.sql for part in cut.parts(3, 9)) == b";".join(
        whole.text_of(s).encode() for s in whole.statements[3:9]
    )


@pytest.mark.parametrize(("before", "behind"), [("-- x\n", " ;"), ("\n", ";")])
def test_a_large_insert_is_not_parsed(monkeypatch: pytest.MonkeyPatch, before: str, behind: str) -> None:
    monkeypatch.setattr(psql, "PIECE", 1)
    monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.psql.LARGE", 20)
    monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.analysis.LARGE", 20)
    insert = "INSERT INTO t WIBBLE (1), (2), (3)"
    analysis = analysed(f"SELECT 1;\n\n{before}{insert}{behind}\nSELECT 2;")
    assert [(s.line, s.kind, analysis.text_of(s)) for s in analysis.statements] == [
        (1, "select_stmt", "SELECT 1"),
        (4, "insert_stmt", insert),
        (5, "select_stmt", "SELECT 2"),
    ]
    assert analysis.statement_at(analysis.script.text.index("WIBBLE")) == analysis.statements[1]


def test_an_insert_is_large_beyond_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    insert = "INSERT INTO t WIBBLE (1)"
    monkeypatch.setattr(psql, "PIECE", 1)
    for limit, kinds in {len(insert): [], len(insert) - 1: ["insert_stmt"]}.items():
        monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.psql.LARGE", limit)
        monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.analysis.LARGE", limit)
        assert [s.kind for s in analysed(insert).statements] == kinds


def test_of_a_script_in_pieces_no_tree_of_plain_rows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psql, "PIECE", 1)
    rows = f"INSERT INTO t VALUES (1);SELECT 1;{COPY};\n1\n\\.\n"
    text = f"{rows}SELECT 1 INTO u;WITH a AS (SELECT) SELECT;UPDATE t SET a = 1"
    assert [(s.kind, s.node is None) for s in analysed(text).statements] == [
        ("insert_stmt", True),
        ("select_stmt", True),
        ("copy_stmt", True),
        ("select_stmt", False),
        ("select_stmt", False),
        ("update_stmt", False),
    ]


def test_what_the_grammar_does_not_know_is_sent_with_its_data() -> None:
    text = f"\\restrict k\nSELECT 1;\nWIBBLE;\n{COPY};\n1\n\\.\nSELECT 2;"
    assert analysed(text).unparsed == '001_a.sql:3:1: syntax error at or near "WIBBLE"'
    assert [(re.sub(r"\s+", " ", sql).strip(), data) for sql, data in sent(text)] == [
        ("SELECT 1; WIBBLE;", None),
        (f"{COPY};", "1\n"),
        ("SELECT 2;", None),
    ]


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("SELECT  1,\n\t2 -- why", "SELECT 1, 2"),
        ("SELECT /* it's */ 1", "SELECT 1"),
        ("ALTER ROLE x PASSWORD 'hunter2' SUPERUSER", "ALTER ROLE x PASSWORD ..."),
        ("ALTER ROLE x PASSWORD E'hunter2'", "ALTER ROLE x PASSWORD ..."),
        ("ALTER ROLE x PASSWORD $$hunter2$$", "ALTER ROLE x PASSWORD ..."),
        ("INSERT INTO t VALUES('hunter2')", "INSERT INTO t ..."),
        ("SELECT " + "x" * 60, "SELECT ..."),
        ("SELECT 'never ends\n-- ' || 1", "SELECT ..."),
    ],
)
def test_an_excerpt_is_short_and_holds_no_string(text: str, excerpt: str) -> None:
    analysis = analysed(text)
    assert analysis.excerpt(analysis.statements[0]) == excerpt
