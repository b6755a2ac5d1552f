"""What is shown of a script and of the server's words about it. Every outlet uses these two functions."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.masking import masked_error, masked_sql
from airflow_provider_wmigrate.engine.sql.secrecy import Found, read
from airflow_provider_wmigrate.engine.sql.tokens import Tokens, scanned

SHOWN = {
    # Passwords, options, connection strings
    "CREATE ROLE r LOGIN PASSWORD 'hunter2'": "CREATE ROLE r LOGIN PASSWORD '***'",
    "CREATE USER r PASSWORD NULL": "CREATE USER r PASSWORD NULL",
    r"ALTER USER r WITH ENCRYPTED PASSWORD E'hun\'ter2' VALID UNTIL '2030-01-01'": (
        "ALTER USER r WITH ENCRYPTED PASSWORD '***' VALID UNTIL '***'"
    ),
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', dbname 'd')": (
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host '***', dbname '***')"
    ),
    "ALTER SERVER s OPTIONS (SET a 'x')": "ALTER SERVER s OPTIONS (SET a '***')",
    "CREATE FOREIGN DATA WRAPPER w OPTIONS (a 'x')": "CREATE FOREIGN DATA WRAPPER w OPTIONS (a '***')",
    "CREATE USER MAPPING FOR r SERVER s OPTIONS (pin $$1\n2$$);\nSELECT 'x'": (
        "CREATE USER MAPPING FOR r SERVER s OPTIONS (pin '***\n');\nSELECT 'x'"
    ),
    "ALTER USER MAPPING FOR r SERVER s OPTIONS (SET pin U&'x')": (
        "ALTER USER MAPPING FOR r SERVER s OPTIONS (SET pin '***')"
    ),
    "CREATE FOREIGN TABLE t () SERVER s OPTIONS (program 'x')": (
        "CREATE FOREIGN TABLE t () SERVER s OPTIONS (program '***')"
    ),
    "ALTER FOREIGN TABLE t OPTIONS (SET program 'x')": "ALTER FOREIGN TABLE t OPTIONS (SET program '***')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h' PUBLICATION p": ("CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p"),
    "ALTER SUBSCRIPTION s CONNECTION 'host=h'": "ALTER SUBSCRIPTION s CONNECTION '***'",
    "SELECT dblink_connect('c', 'host=h')": "SELECT dblink_connect('***', '***')",
    "COPY t FROM PROGRAM 'curl -u a:b x'": "COPY t FROM PROGRAM '***'",
    "SELECT f('https://u:p@h/x'), 'kept'": "SELECT f('***'), '***'",
    "CREATE TABLE t (a text DEFAULT 'kept', b text DEFAULT 'postgresql://u:p@h/d')": (
        "CREATE TABLE t (a text DEFAULT 'kept', b text DEFAULT '***')"
    ),
    # Settings
    "ALTER SYSTEM SET archive_command = 'x'": "ALTER SYSTEM SET archive_command = '***'",
    "SET app.jwt = abc": "SET app.jwt = ***",
    "SET app.pin TO 1234, 'b'": "SET app.pin TO ***, '***'",
    "ALTER ROLE r SET app.jwt = abc": "ALTER ROLE r SET app.jwt = ***",
    "ALTER DATABASE d SET app.jwt TO 'abc'": "ALTER DATABASE d SET app.jwt TO '***'",
    "ALTER ROLE r SET search_path = 'a'": "ALTER ROLE r SET search_path = 'a'",
    "SET search_path = 'a', b; SET work_mem = '1GB'": "SET search_path = 'a', b; SET work_mem = '1GB'",
    "SELECT set_config('app.jwt', 'x', false)": "SELECT set_config('***', '***', false)",
    "SELECT set_config('search_path', '', false)": "SELECT set_config('search_path', '', false)",
    "SET archive_cleanup_command = 'x'": "SET archive_cleanup_command = '***'",
    # Words
    "SELECT 1, token = name, 'x'": "SELECT 1, token = name, '***'",
    "SELECT 'kept', 'key=abc'": "SELECT 'kept', '***'",
    "SELECT 'kept' -- no password": "SELECT 'kept' -- no password",
    "CREATE TABLE t (a text CHECK (a IN ('k', 'l')), b text CHECK (b IN ('x', token)), c text DEFAULT 'kept')": (
        "CREATE TABLE t (a text CHECK (a IN ('k', 'l')), b text CHECK (b IN ('***', token)), c text DEFAULT 'kept')"
    ),
    "INSERT INTO t (name, password) VALUES ('a', 'b')": "INSERT INTO t (name, password) VALUES ('***', '***')",
    "INSERT INTO t (name) VALUES ('kept', 1)": "INSERT INTO t (name) VALUES ('kept', 1)",
    "UPDATE t SET api_key = 1234 WHERE id = 5": "UPDATE t SET api_key = *** WHERE id = 5",
    "SELECT f(token => 12), f(secret := 13)": "SELECT f(token => ***), f(secret := ***)",
    "SELECT pgp_sym_encrypt('a', 'b')": "SELECT pgp_sym_encrypt('***', '***')",
    "CREATE TABLE t (a text DEFAULT 'kept', token text DEFAULT 'x', c text CHECK (c IN ('kept', 'too')))": (
        "CREATE TABLE t (a text DEFAULT 'kept', token text DEFAULT '***', c text CHECK (c IN ('kept', 'too')))"
    ),
    "ALTER TABLE t ALTER a SET DEFAULT 'kept', ALTER pass SET DEFAULT 'x'": (
        "ALTER TABLE t ALTER a SET DEFAULT 'kept', ALTER pass SET DEFAULT '***'"
    ),
    "SELECT 'passenger', 'compass', 'bypass'": "SELECT 'passenger', 'compass', 'bypass'",
    # Bodies
    "DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''x'''; PERFORM f('kept'); END $$": (
        "DO $$ BEGIN EXECUTE '***'; PERFORM f('kept'); END $$"
    ),
    "DO $$ BEGIN RAISE 'no password'; RAISE EXCEPTION 'no token %', 'x'; PERFORM 'kept' END $$": (
        "DO $$ BEGIN RAISE 'no password'; RAISE EXCEPTION 'no token %', 'x'; PERFORM 'kept' END $$"
    ),
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN\n x := $q$ALTER ROLE r PASSWORD 'x'$q$; END $f$": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN\n x := '***'; END $f$"
    ),
    "DO $a$ BEGIN EXECUTE $b$ SELECT 'kept'; SELECT f(secret => 'x') $b$; END $a$": (
        "DO $a$ BEGIN EXECUTE '***'; END $a$"
    ),
    "DO $$ BEGIN RAISE 'key: x'; RAISE password_wrong USING DETAIL = 'x'; END $$": (
        "DO $$ BEGIN RAISE '***'; RAISE password_wrong USING DETAIL = '***'; END $$"
    ),
    "DO $$ BEGIN PERFORM 'kept'; RAISE $$": "DO $$ BEGIN PERFORM 'kept'; RAISE $$",
    "DO $$ BEGIN PERFORM 'kept'; RAISE NOTICE $$": "DO $$ BEGIN PERFORM 'kept'; RAISE NOTICE $$",
    "DO $$ BEGIN RAISE WIBBLE 'no password'; END $$": "DO $$ BEGIN RAISE WIBBLE '***'; END $$",
    "SELECT $$a 'kept' part$$, $b$kept$b$": "SELECT $$a 'kept' part$$, $b$kept$b$",
    "DO $$ BEGIN a := 1; token := 12; END $$": "DO $$ BEGIN a := 1; token := ***; END $$",
    "CREATE ROLE r PASSWORD = hunter2, x": "CREATE ROLE r PASSWORD = ***, ***",
    "DO $$ it's $$": "DO $$ it'***'$$",
    # Comments
    "-- was 'kept'\nSELECT 1": "-- was 'kept'\nSELECT 1",
    "/* PASSWORD 'x' */ SELECT 1 -- pwd=x, https://u:p@h": "/* PASSWORD '***' */ SELECT 1 -- pwd=***, https://u:***@h",
    # COPY
    "COPY t (a) FROM stdin;\nkept\n\\.\nCOPY t (a, passwd) FROM stdin;\na\tb\nc\td\n\\.\n": (
        "COPY t (a) FROM stdin;\nkept\n\\.\nCOPY t (a, passwd) FROM stdin;\n***\n\n\\.\n"
    ),
    # What the grammar cannot read
    "SELECT 'kept';\nCREATE TABEL t (a text DEFAULT 'x');\nSELECT 'kept'": (
        "SELECT 'kept';\nCREATE TABEL t (a text DEFAULT '***');\nSELECT 'kept'"
    ),
    "CREATE ROLE r LOGIN PASSWORD hunter2 VALID UNTIL x": "CREATE ROLE r LOGIN PASSWORD *** *** *** ***",
    'CREATE ROLE r PASSWORD "hunter2"': "CREATE ROLE r PASSWORD ***",
    "CREATE ROLE r PASSWORD 'it's hunter2'": "CREATE ROLE r PASSWORD '***'*** ***'***'",
    "SELECT 'never\nclosed": "SELECT '***\n'",
    "WIBBLE 'password' kept": "WIBBLE '***' kept",
    "'x'\\d": "'***'\\d",
    "COPY t FROM stdin WIBBLE;\nx\n\\.\n": "COPY t FROM stdin WIBBLE;\n***\n\\.\n",
    "\\set pw 'x'\nSELECT 'y'": "\\set pw '***'\nSELECT '***'",
    "CREATE ROLE ü PASSWORD 'größe 🙂'; SELECT 'größe'": "CREATE ROLE ü PASSWORD '***'; SELECT 'größe'",
    "SELECT 1;\0 SELECT 'x'": "SELECT 1;'***'",
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_what_is_shown_of_a_script(text: str, shown: str) -> None:
    assert masked_sql(text) == shown
    assert shown.count("\n") == text.count("\n")
    assert read(text, masks_only=True).masks == read(text).masks, "the quick look has seen all"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE r VALID UNTIL 'x'",
        "ALTER ROLE r VALID UNTIL 'x'",
        "CREATE /* a */ SERVER s VERSION 'x' FOREIGN DATA WRAPPER w",
        "ALTER /* a */ SERVER s VERSION 'x'",
        "CREATE FOREIGN DATA WRAPPER w OPTIONS /* a */ (a 'x')",
        "ALTER FOREIGN DATA WRAPPER w OPTIONS /* a */ (SET a 'x')",
        "CREATE USER /* a */ MAPPING FOR r SERVER s OPTIONS /* a */ (pin 'x')",
        "ALTER USER /* a */ MAPPING FOR r SERVER s OPTIONS /* a */ (SET pin 'x')",
        "CREATE FOREIGN TABLE t () SERVER s OPTIONS /* a */ (program 'x')",
        "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b OPTIONS /* a */ (program 'x')",
        "CREATE /* a */ SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "ALTER /* a */ SUBSCRIPTION s CONNECTION 'x'",
        "ALTER /* a */ SYSTEM SET archive_command = 'x'",
    ],
)
def test_a_comment_hides_no_statement(text: str) -> None:
    assert masked_sql(text) == text.replace("'x'", "'***'")
    assert read(text, masks_only=True).masks == read(text).masks


@pytest.mark.parametrize("level", ["debug", "LOG", "INFO", "NOTICE", "WARNING", "EXCEPTION", ""])
def test_what_raise_says_is_no_secret(level: str) -> None:
    text = f"DO $$ BEGIN RAISE {level} 'no password'; END $$"
    assert masked_sql(text) == text


@pytest.mark.parametrize("text", [text for text in SHOWN if "'x" in text or "hunter2" in text])
def test_a_script_that_is_cut_off_shows_no_more(text: str) -> None:
    for end in range(len(text)):
        assert "hunter2" not in masked_sql(text[:end])


def script_errors() -> list[tuple[str, str, str]]:
    boom = "DO $$ BEGIN RAISE EXCEPTION 'wrong: 5 rows'; END $$"
    return [
        # What the grammar did not understand
        ("CREATE ROLE r PASSWORD hunter2", 'syntax error at or near "hunter2"', 'syntax error at or near "***"'),
        ("CREATE ROLE r PASSWORD admin", 'syntax error at or near "admin"', 'syntax error at or near "***"'),
        ("CREATE ROLE r PASSWORD 'a'hunter2", 'syntax error at or near "hunter2"', 'syntax error at or near "***"'),
        ("CREATE ROLE r PASSWORD U&'hunter2", 'x at or near "U&\'hunter2"', 'x at or near "***"'),
        ("SELECT 'hunter2 open", "got hunter2 open", "got ***"),
        ("WIBBLE 'x'", 'syntax error at or near "WIBBLE"', 'syntax error at or near "WIBBLE"'),
        (
            "SELECT 'a\"b",
            'unterminated quoted string at or near "\'a"b"',
            'unterminated quoted string at or near "***"',
        ),
        # Values that were refused
        ("SELECT 'a://u:p@h'::int", 'invalid input: "a://u:p@h"', 'invalid input: "***"'),
        ("SELECT 'sad'::mood", 'invalid input value for enum mood: "sad"', 'invalid input value for enum mood: "***"'),
        ("SELECT 'a\"b'::int", 'invalid input: "a"b"', 'invalid input: "***"'),
        ("SELECT '{bob, x}'::json", 'Token "bob" is invalid.', 'Token "***" is invalid.'),
        ("SELECT dblink('a hunter2')", 'missing "=" after "hunter2"', 'missing "=" after "***"'),
        ("SELECT 'abc'", 'wrong "a", "abc"', 'wrong "a", "***"'),
        ("SELECT crypt('hunter2', 'hunter2 more')", "got hunter2 more", "got ***"),
        ("SELECT crypt('abc', 'abcd')", "got abc, abcd, abcde", "got abc, ***, abcde"),
        ("SELECT f('password=hunter2')", "could not log in: hunter2", "could not log in: ***"),
        ("DO $$ BEGIN PERFORM 'sad'::mood; END $$", 'invalid: "sad"', 'invalid: "***"'),
        # Names stay, unless they are a secret too
        ("SELECT made('metrics')", 'relation "metrics" does not exist', 'relation "metrics" does not exist'),
        ("ALTER ROLE bob PASSWORD 'bob'", 'role "bob" does not exist', 'role "***" does not exist'),
        ("SELECT mood('mood')", 'type modifier "mood"', 'type modifier "mood"'),
        (boom, "wrong: 5 rows", "wrong: 5 rows"),
        ("SELECT dblink('host=bob x')", 'role "bob" does not exist', 'role "bob" does not exist'),
        # Rows
        ("COPY t FROM stdin;\nb\tx y\n\\.\n", 'invalid: "b" or "c"', 'invalid: "***" or "c"'),
        ("COPY t FROM stdin;\na\n\\.\nCOPY t FROM stdin;\nb\n\\.\n", 'invalid: "b", "a"', 'invalid: "***", "***"'),
        ("COPY t FROM stdin;\nb\tx why\n\\.\n", 'invalid "why" for "t"', 'invalid "***" for "t"'),
        ("INSERT INTO t VALUES (99)", "Key (p_id)=(99) is not there.", "Key (p_id)=(99) is not there."),
        ("INSERT INTO t VALUES (1, 'b')", "Key (a, b)=(1, b) already exists.", "Key (a, b)=(1, ***) already exists."),
    ]


@pytest.mark.parametrize(("script", "message", "shown"), script_errors())
def test_what_is_shown_of_an_error(script: str, message: str, shown: str) -> None:
    assert masked_error(message, script) == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Failing row contains (1, (hunter2), null).", "Failing row contains (***)."),
        ('COPY t, line 3, column a: "hunter2"', 'COPY t, line 3, column a: "***"'),
        ('COPY t, line 3: "1\thunter2"\nmore', 'COPY t, line 3: "***"\nmore'),
        ("JSON data, line 1: {hunter2\nmore", "JSON data, line 1: ***\nmore"),
        ("portal with parameters: $1 = 'it''s', $2 = 5", "portal with parameters: $1 = '***', $2 = '***'"),
        (
            'SQL statement "ALTER ROLE "r" PASSWORD \'hunter2\'"\nPL/pgSQL function f() line 3 at EXECUTE',
            'SQL statement "ALTER ROLE "r" PASSWORD \'***\'"\nPL/pgSQL function f() line 3 at EXECUTE',
        ),
        ("PL/pgSQL assignment \"x := 'hunter2'\"", "PL/pgSQL assignment \"x := '***'\""),
        ("remote SQL command: ALTER ROLE r PASSWORD 'x'", "remote SQL command: ALTER ROLE r PASSWORD '***'"),
        ("no route to postgresql://u:hunter2@h/d", "no route to postgresql://u:***@h/d"),
        ('unterminated quoted identifier at or near ""hunter2"', 'unterminated quoted identifier at or near "***"'),
        ('unterminated /* comment at or near "/* hunter2\nx"\nLINE 1', 'unterminated /* comment at or near "***"'),
        ("", ""),
    ],
)
def test_what_the_server_quotes_is_masked_without_the_script(message: str, shown: str) -> None:
    assert masked_error(message) == shown


def test_of_a_large_script_whatever_stands_in_it_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.masking._LARGE", 10)
    script = "INSERT INTO customers VALUES ('hunter2')"
    said = 'invalid "hunter2" for "other" in relation "customers"'
    assert masked_error(said, script) == 'invalid "***" for "other" in relation "customers"'


def test_how_large_a_script_is_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for more, shown in {0: '"customers"', 1: '"***"'}.items():
        script = "INSERT INTO customers VALUES ('small')" + " " * more
        monkeypatch.setattr("airflow_provider_wmigrate.engine.sql.masking._LARGE", len(script) - more)
        assert masked_error('invalid "customers"', script) == f"invalid {shown}"


def test_what_an_analysis_says_holds_no_secret() -> None:
    unread = analyse(Script.of("001_a.sql", "SELECT 1;\nCREATE ROLE r PASSWORD hunter2"))
    assert unread.unparsed == '001_a.sql:2:24: syntax error at or near "***"'
    read = analyse(Script.of("001_a.sql", "SET app.jwt = hunter2"))
    assert read.excerpt(read.statements[0]) == "SET app.jwt = ***"


def test_tokens_and_what_strings_stand_for() -> None:
    text = r"""SELECT 'it''s', E'a\'b\\', $ä$x'$ä$, 'a'
  'b', "n""m", 1.5 -- ü 'x'
, U&'\0041' 'open"""
    read = scanned(text)
    assert [(t.kind, t.text, t.content if t.kind == "string" else "") for t in read.tokens if t.kind != "sign"] == [
        ("keyword", "SELECT", ""),
        ("string", "'it''s'", "it's"),
        ("string", r"E'a\'b\\'", "a'b\\"),
        ("string", "$ä$x'$ä$", "x'"),
        ("string", "'a'\n  'b'", "ab"),
        ("name", '"n""m"', ""),
        ("number", "1.5", ""),
        ("comment", "-- ü 'x'", ""),
        ("string", r"U&'\0041'", r"\0041"),
    ]
    assert text[read.end :] == "'open"
    assert all(text[t.start : t.end] == t.text for t in read.tokens)


def test_every_kind_of_token() -> None:
    read = scanned("SELECT U&\"x\", b'01', X'ff', n'x', $1, .5e3, 7 /* c */ <> \"q\"")
    assert [(t.kind, t.text) for t in read.tokens if t.text != ","] == [
        ("keyword", "SELECT"),
        ("name", 'U&"x"'),
        ("string", "b'01'"),
        ("string", "X'ff'"),
        ("keyword", "n"),
        ("string", "'x'"),
        ("sign", "$1"),
        ("number", ".5e3"),
        ("number", "7"),
        ("comment", "/* c */"),
        ("sign", "<>"),
        ("name", '"q"'),
    ]


def test_a_string_with_an_escape_that_is_wrong_cannot_be_read_up_to_it() -> None:
    assert scanned("SELECT E'\\u00zz'") == Tokens((), 0)
    assert masked_sql("SELECT 'a', E'\\u00zz'") == "'***'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT \"Xa\", 1, 'b', ''", Found(literals={"b"}, names={"select", "xa"})),
        ("SELECT f(token => '')", Found([(18, 20, "'***'")], names={"select", "f", "token"})),
        ("SET app.jwt = x1", Found([(14, 16, "***")], {"x1"}, names={"set", "app", "jwt"})),
        ('CREATE ROLE r PASSWORD "Xa"', Found([(23, 27, "***")], {"Xa"}, names={"create", "role", "r", "password"})),
        ("SELECT 'Xopen; ", Found([(7, 15, "'***'")], {"Xopen"}, names={"select"})),
        ("COPY t FROM stdin;\nb\n\\.\n", Found(names={"copy", "t", "from", "stdin"}, data=["b\n"])),
    ],
)
def test_all_that_is_found(text: str, expected: Found) -> None:
    assert read(text) == expected


def test_what_stands_in_a_dollar_quote_is_read_too() -> None:
    found = read("SELECT $$a 'kept' part$$")
    assert (found.masks, found.secrets, found.literals, found.names) == ([], set(), {"kept"}, {"select", "a", "part"})
