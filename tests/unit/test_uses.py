"""Which relations and columns SQL uses: statements, texts with variables, bodies of functions."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.sql.query_scope import Use
from airflow_provider_wmigrate.engine.sql.read_sql import ReadSql, is_template, read_function, read_sql
from airflow_provider_wmigrate.engine.sql.uses import uses


def in_words(found: tuple[Use, ...]) -> list[str]:
    """`column s.a.id?` with `?` where it is not sure, `or b` for others that it may be of."""

    def one(use: Use) -> str:
        place = ".".join(part for part in (use.schema, use.name, use.column) if part)
        among = "".join(f" or {'.'.join(filter(None, table))}" for table in use.among)
        return f"{use.how} {place}{'' if use.sure else '?'}{among}"

    return sorted(map(one, found))


def of_statement(text: str) -> list[str]:
    from postgast import parse

    return in_words(uses(item.stmt for item in parse(text).stmts))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1", ""),
        ("SELECT id FROM a", "column a.id; relation a"),
        ("SELECT id FROM s.a", "column s.a.id; relation s.a"),
        ("SELECT x.id FROM s.a x", "column s.a.id; relation s.a"),
        ("SELECT s.a.id FROM s.a", "column s.a.id; relation s.a"),
        ("SELECT d.s.a.id FROM d.s.a", "column s.a.id; relation s.a"),
        ("SELECT * FROM a", "relation a; star a"),
        ("SELECT b.* FROM a, b", "relation a; relation b; star b"),
        ("SELECT unknown.* FROM a", "relation a"),
        ("SELECT * FROM a, b", "relation a; relation b; star a; star b"),
        ("SELECT a FROM a", "column a.a; relation a; star a"),
        ("SELECT count(a.*) FROM a", "function count; relation a; star a"),
        ("SELECT id FROM a, b", "column a.id or b; column b.id or a; relation a; relation b"),
        ("SELECT id FROM a JOIN b USING (k)", (
            "column a.id or b; column a.k; column b.id or a; column b.k; relation a; relation b"
        )),
        ("SELECT 1 FROM a JOIN b ON a.x = b.y", "column a.x; column b.y; relation a; relation b"),
        ("SELECT 1 FROM a NATURAL JOIN b", "relation a; relation b; rows a; rows b"),
        ("SELECT j.id FROM (a JOIN b ON true) AS j", "column a.id or b; column b.id or a; relation a; relation b"),
        ("SELECT 1 FROM c, a NATURAL JOIN b", "relation a; relation b; relation c; rows a; rows b"),
        ("SELECT n FROM a AS x (n, m)", "relation a; rows a"),
        ("SELECT k FROM a AS x (n)", "column a.k; relation a; rows a"),
        ("SELECT a.id FROM a AS x", "relation a"),
        ("SELECT id FROM a TABLESAMPLE system (1)", "column a.id; relation a"),
        ("SELECT n FROM generate_series(1, 2) AS g (n), a", "function generate_series; relation a"),
        ("SELECT g.n FROM generate_series(1, 2) AS g (n)", "function generate_series"),
        ("SELECT id FROM (SELECT id FROM a) q", "column a.id; relation a"),
        ("SELECT other FROM (SELECT id FROM a) q", "column a.id; relation a"),
        ("SELECT x FROM (SELECT * FROM a) q", "column a.x; relation a; star a"),
        ("SELECT q.x FROM (SELECT a.*, 1 AS x FROM a) q", "relation a; star a"),
        ("SELECT n FROM (SELECT * FROM a) q (n)", "relation a; rows a"),
        ("SELECT (SELECT id FROM b WHERE b.k = k) FROM a", (
            "column a.id or b; column a.k or b; column b.id or a; column b.k; column b.k or a; relation a; relation b"
        )),
        ("SELECT (SELECT n FROM g() AS g (n)) FROM a", "function g; relation a"),
        ("SELECT 1 FROM a WHERE EXISTS (SELECT FROM b WHERE b.k = a.k)", (
            "column a.k; column b.k; relation a; relation b"
        )),
        ("SELECT id AS n FROM a ORDER BY n", "column a.id; relation a"),
        ("SELECT id AS n FROM a GROUP BY n", "column a.id; relation a"),
        ("SELECT id AS n FROM a ORDER BY m", "column a.id; column a.m; relation a"),
        ("SELECT id AS n FROM a ORDER BY a.n", "column a.id; column a.n; relation a"),
        ("SELECT count(*) FROM a GROUP BY k HAVING max(h) > 1", (
            "column a.h; column a.k; function count; function max; relation a"
        )),
        ("SELECT 1 FROM a WHERE w = 1", "column a.w; relation a"),
        ("SELECT 1 FROM a FOR UPDATE OF a", "relation a"),
        ("SELECT * FROM a UNION SELECT * FROM b", "relation a; relation b; rows a; rows b"),
        ("SELECT x FROM (SELECT * FROM a UNION SELECT 1) q", "column a.x; relation a; rows a"),
        ("WITH q AS (SELECT id FROM a) SELECT id FROM q", "column a.id; relation a"),
        ("WITH q AS (SELECT * FROM a) SELECT x FROM q", "column a.x; relation a; star a"),
        ("WITH q AS (SELECT * FROM a) SELECT y.x FROM q AS y", "column a.x; relation a; star a"),
        ("WITH q (n) AS (SELECT * FROM a) SELECT n FROM q", "relation a; rows a"),
        ("WITH q AS (SELECT 1) SELECT 1 FROM s.q", "relation s.q"),
        ("WITH RECURSIVE q AS (SELECT 1 AS n UNION SELECT n FROM q) SELECT n FROM q", ""),
        ("WITH q AS (SELECT * FROM a) SELECT (SELECT x FROM q)", "column a.x; relation a; star a"),
        ("WITH q AS (DELETE FROM a RETURNING id) SELECT id FROM q", "column a.id; relation a; written a"),
        ("SELECT f(id) FROM a", "column a.id; function f; relation a"),
        ("SELECT s.f('b')", "function s.f; relation b?"),
        ("SELECT nextval('s.b')", "function nextval; relation s.b?"),
        ("SELECT f('no name')", "function f"),
        ("SELECT 'b'::regclass", "relation b?; relation regclass"),
        ("SELECT 'b'::text", "relation text"),
        ("SELECT (r).id, (q()).k FROM a", "column a.r; function q; relation a"),
        ("SELECT (r).id FROM (SELECT * FROM a) q", "column a.id?; column a.r; relation a; star a"),
        ("SELECT loose.id FROM b, (SELECT * FROM a) q", "column a.id?; relation a; relation b; star a"),
        # Changes of rows
        ("INSERT INTO a (x, y) VALUES (1, 2)", "column a.x; column a.y; relation a; written a"),
        ("INSERT INTO a VALUES (1)", "relation a; rows a; written a"),
        ("INSERT INTO a DEFAULT VALUES", "relation a; written a"),
        ("INSERT INTO s.a SELECT * FROM b", "relation b; relation s.a; rows b; rows s.a; written s.a"),
        ("INSERT INTO a (x) SELECT z FROM b", "column a.x; column b.z; relation a; relation b; written a"),
        ("WITH q AS (SELECT * FROM b) INSERT INTO a (x) SELECT z FROM q", (
            "column a.x; column a.z or b; column b.z or a; relation a; relation b; star b; written a"
        )),
        ("INSERT INTO a AS t (x) VALUES (1) ON CONFLICT (k) DO UPDATE SET y = excluded.z WHERE t.w = 1 RETURNING r", (
            "column a.k; column a.r; column a.w; column a.x; column a.y; column a.z; relation a; written a"
        )),
        ("INSERT INTO a (x) VALUES (1) ON CONFLICT (lower(k)) WHERE p = 1 DO NOTHING", (
            "column a.k; column a.p; column a.x; function lower; relation a; written a"
        )),
        ("INSERT INTO a (x) VALUES (1) RETURNING *", "column a.x; relation a; star a; written a"),
        ("UPDATE a SET x = y WHERE z = 1 RETURNING r", (
            "column a.r; column a.x; column a.y; column a.z; relation a; written a"
        )),
        ("UPDATE s.a AS t SET x = b.y FROM b WHERE t.k = b.k", (
            "column b.k; column b.y; column s.a.k; column s.a.x; relation b; relation s.a; written s.a"
        )),
        ("WITH q AS (SELECT * FROM b) UPDATE a SET x = q.v FROM q", (
            "column a.x; column b.v; relation a; relation b; star b; written a"
        )),
        ("UPDATE a SET x = (SELECT max(y) FROM b)", (
            "column a.x; column a.y or b; column b.y or a; function max; relation a; relation b; written a"
        )),
        ("DELETE FROM a WHERE x = 1 RETURNING *", "column a.x; relation a; star a; written a"),
        ("DELETE FROM a USING b WHERE a.k = b.k", "column a.k; column b.k; relation a; relation b; written a"),
        ("WITH q AS (SELECT * FROM b) DELETE FROM a USING q WHERE q.v = 1", (
            "column b.v; relation a; relation b; star b; written a"
        )),
        ("MERGE INTO a USING b ON a.k = b.k WHEN MATCHED AND a.c = 1 THEN UPDATE SET x = b.y", (
            "column a.c; column a.k; column a.x; column b.k; column b.y; relation a; relation b; written a"
        )),
        ("MERGE INTO a USING b ON true WHEN NOT MATCHED THEN INSERT (x) VALUES (b.y)", (
            "column a.x; column b.y; relation a; relation b; written a"
        )),
        ("MERGE INTO a USING b ON true WHEN NOT MATCHED THEN INSERT VALUES (b.y)", (
            "column b.y; relation a; relation b; rows a; written a"
        )),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", "relation a; relation b; written a"),
        ("WITH q AS (SELECT * FROM b) MERGE INTO a USING q ON q.v = a.w WHEN MATCHED THEN DELETE", (
            "column a.w; column b.v; relation a; relation b; star b; written a"
        )),
        ("COPY a TO STDOUT", "relation a; star a"),
        ("COPY s.a (x, y) TO STDOUT", "column s.a.x; column s.a.y; relation s.a"),
        ("COPY a FROM STDIN", "relation a; rows a; written a"),
        ("COPY a (x) FROM STDIN WHERE y = 1", "column a.x; column a.y; relation a; written a"),
        ("COPY a (x) FROM STDIN WHERE a.y = 1", "column a.x; column a.y; relation a; written a"),
        ("COPY (SELECT id FROM a) TO STDOUT", "column a.id; relation a"),
        # Statements around others, and those that are no query
        ("EXPLAIN SELECT id FROM a", "column a.id; relation a"),
        ("CREATE VIEW v AS SELECT id FROM a", "column a.id; relation a"),
        ("CREATE TABLE n AS SELECT id FROM a", "column a.id; relation a"),
        ("PREPARE p AS SELECT id FROM a", "column a.id; relation a"),
        ("DECLARE c CURSOR FOR SELECT id FROM a", "column a.id; relation a"),
        ("DROP TABLE s.a", "column s.a?; relation a?"),
        ("DROP TABLE a", "relation a?"),
        ("TRUNCATE a", "column a.a?; relation a"),
    ],
)  # fmt: skip
def test_what_a_statement_uses(text: str, found: str) -> None:
    assert of_statement(text) == [each for each in found.split("; ") if each]


def test_what_is_no_query_may_mean_a_column_by_every_name() -> None:
    found = "column s.a.a?; column s.a.btree?; column s.a.i?; column s.a.s?; column s.a.x?; relation s.a"
    assert of_statement("CREATE INDEX i ON s.a (x)") == found.split("; ")


ROWS = {"new": frozenset({("s", "a")}), "pair": frozenset({("", "b"), ("", "c")})}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT new.id", "column s.a.id"),
        ("SELECT new.*", ""),
        ("SELECT f(new.*)", "function f; star s.a"),
        ("SELECT new", "star s.a"),
        ("SELECT pair.id", "column b.id or c; column c.id or b"),
        ("SELECT new.id FROM x AS new", "column x.id; relation x"),
        ("SELECT old.id", ""),
    ],
)
def test_variables_that_hold_rows(text: str, found: str) -> None:
    assert in_words(read_sql(text, ROWS).uses) == [each for each in found.split("; ") if each]


A_ID = (Use("column", "", "a", "id"), Use("relation", "", "a"))


def read(text: str) -> tuple[list[str], ReadSql]:
    found = read_sql(text)
    return in_words(found.uses), replace(found, uses=())


@pytest.mark.parametrize(
    ("text", "words", "rest"),
    [
        ("SELECT id FROM a", "column a.id; relation a", ReadSql(())),
        ("SELECT 1; SELECT id FROM a;", "column a.id; relation a", ReadSql(())),
        ("no SQL; SELECT id FROM a", "column a.id; relation a", ReadSql((), unread=("no SQL",))),
        ("SELECT 'open", "", ReadSql((), unread=("SELECT 'open",))),
        ("SET search_path TO s, \"T\"; SELECT 1", "", ReadSql((), ("s", "T"))),
        ("SET search_path TO s; SET search_path TO t", "", ReadSql((), ("t",))),
        ("RESET search_path; SET work_mem TO '1MB'", "", ReadSql(())),
        ("SELECT id FROM {{ table }}", "column wmigrate_unknown.id; relation wmigrate_unknown", ReadSql(
            (), filled=True, unread=("{{ table }}",)
        )),
        ("SELECT id {# note #} FROM a", "column a.id; relation a", ReadSql((), filled=True, unread=("{# note #}",))),
        ("{% if x %} SELECT id FROM a {% endif %}", "column a.id; relation a", ReadSql(
            (), filled=True, unread=("{% if x %}", "{% endif %}")
        )),
        ("SELECT id FROM a WHERE x = %s", "column a.id; column a.wmigrate_unknown; column a.x; relation a", ReadSql(
            (), filled=True
        )),
        ("SELECT id FROM a WHERE x = %(x)s", "column a.id; column a.wmigrate_unknown; column a.x; relation a", ReadSql(
            (), filled=True
        )),
        ("SELECT id FROM a WHERE x = :'x'", "column a.id; column a.x; relation a", ReadSql((), filled=True)),
        ("SELECT id FROM {schema}.a", "column wmigrate_unknown.a.id; relation wmigrate_unknown.a", ReadSql(
            (), filled=True
        )),
        ("SELECT id FROM ${SCHEMA}.a", "column wmigrate_unknown.a.id; relation wmigrate_unknown.a", ReadSql(
            (), filled=True
        )),
        ("SELECT x::text FROM a", "column a.x; relation a; relation text", ReadSql(())),
        ("SELECT %s FROM", "", ReadSql((), unread=("SELECT %s FROM",))),
    ],
)  # fmt: skip
def test_texts_that_somebody_else_runs(text: str, words: str, rest: ReadSql) -> None:
    assert read(text) == ([each for each in words.split("; ") if each], rest)


@pytest.mark.parametrize(
    ("text", "is_one"), [("{{ x }}", True), ("{% x %}", True), ("{# x\n #}", True), ("{x}", False)]
)
def test_what_jinja_would_change(text: str, is_one: bool) -> None:
    assert is_template(text) is is_one


def function(body: str, language: str = "plpgsql", arguments: str = "", returns: str = "void") -> ReadSql:
    text = f"CREATE FUNCTION f({arguments}) RETURNS {returns} LANGUAGE {language} AS $x${body}$x$"
    return read_function(text, language, {"new": frozenset({("s", "a")})})


def block(body: str, declared: str = "") -> str:
    return f"DECLARE {declared} BEGIN {body} END" if declared else f"BEGIN {body} END"


@pytest.mark.parametrize(
    ("body", "declared", "found"),
    [
        ("PERFORM id FROM a;", "", "column a.id; relation a"),
        ("IF EXISTS (SELECT FROM a) THEN DELETE FROM b; END IF;", "", "relation a; relation b; written b"),
        ("n := (SELECT max(id) FROM a);", "n int", "column a.id; function max; relation a; star int4"),
        ("NULL;", "n s.b.x%TYPE", "column s.b.x"),
        ("EXECUTE 'SELECT id FROM a';", "", "column a.id?; relation a?"),
        (
            "EXECUTE format('SELECT %I FROM %2$I', x, y);",
            "",
            (
                "column wmigrate_unknown.wmigrate_unknown?; function format; relation wmigrate_unknown?;"
                " star wmigrate_unknown?"
            ),
        ),
        ("RAISE NOTICE 'nothing of a';", "", ""),
        ("EXECUTE 'no ' || 'statement';", "", ""),
    ],
)
def test_bodies_of_functions(body: str, declared: str, found: str) -> None:
    made = function(block(body, declared and f"{declared};"))
    assert in_words(made.uses) == [each for each in found.split("; ") if each]
    assert (made.path, made.unread) == (None, ())


def test_a_body_in_sql_knows_its_parameters() -> None:
    made = function("SELECT r.id, k FROM b", "sql", "r s.a, int", "int")
    assert made == read_sql("SELECT r.id, k FROM b", {"r": frozenset({("s", "a")})})
    assert in_words(made.uses) == ["column b.k", "column s.a.id", "relation b"]


def test_the_row_of_a_trigger() -> None:
    made = function(block("PERFORM new.id; RETURN new;"), returns="trigger")
    assert "column s.a.id" in in_words(made.uses)


def test_a_body_that_nobody_can_read_is_said_to_be_unread() -> None:
    broken = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS"
    assert read_function(broken, "sql", {}) == ReadSql((), unread=(broken,))
    assert read_function("", "sql", {}) == ReadSql((), unread=("",))
    assert function(block("EXECUTE 'SELECT FROM WHERE';")).unread == ("SELECT FROM WHERE",)
