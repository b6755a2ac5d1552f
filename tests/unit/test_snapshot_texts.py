"""Texts of facts: one form of a definition for every major version, and canonical JSON."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.catalog.snapshot.definitions import dotted, unquoted, without_qualifiers
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import canonical


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (" SELECT t.a,\n    t.b\n   FROM s.t;", " SELECT a,\n    b\n   FROM s.t;"),
        (" SELECT o.a\n   FROM s.t o\n  WHERE (o.a > 1);", " SELECT a\n   FROM s.t o\n  WHERE (a > 1);"),
        (" SELECT g.x\n   FROM generate_series(1, 3) g(x);", " SELECT x\n   FROM generate_series(1, 3) g(x);"),
        (" SELECT EXTRACT(year FROM t.d) AS y\n   FROM s.t;", " SELECT EXTRACT(year FROM d) AS y\n   FROM s.t;"),
        (' SELECT "T"."A"\n   FROM s."T";', ' SELECT "A"\n   FROM s."T";'),
        (" SELECT 't.a'::text AS x\n   FROM s.t;", " SELECT 't.a'::text AS x\n   FROM s.t;"),
        (" SELECT t.*::s.t AS r\n   FROM s.t;", " SELECT t.*::s.t AS r\n   FROM s.t;"),
        (
            " SELECT t.a,\n    ( SELECT count(*) AS count\n   FROM s.u\n  WHERE (u.a = t.a)) AS n\n   FROM s.t;",
            " SELECT a,\n    ( SELECT count(*) AS count\n   FROM s.u\n  WHERE (u.a = t.a)) AS n\n   FROM s.t;",
        ),
    ],
)
def test_a_view_of_one_table_is_told_as_newer_servers_tell_it(older: str, newer: str) -> None:
    assert without_qualifiers(older) == newer
    assert without_qualifiers(newer) == newer


@pytest.mark.parametrize(
    "definition",
    [
        " SELECT a.x,\n    b.x AS y\n   FROM s.a,\n    s.b;",
        " SELECT a.x\n   FROM (s.a\n     JOIN s.b ON ((a.x = b.x)));",
        " SELECT a.x\n   FROM s.a\nUNION\n SELECT b.x\n   FROM s.b;",
        " SELECT 1 AS one;",
    ],
)
def test_what_names_several_tables_stays(definition: str) -> None:
    assert without_qualifiers(definition) == definition


def test_only_quotes_that_letters_make_necessary_stay() -> None:
    assert unquoted("""CHECK (("order" > 1) AND ("User" <> 'a "b" c''"d"'))""") == (
        """CHECK ((order > 1) AND ("User" <> 'a "b" c''"d"'))"""
    )
    assert dotted(["app", "order", 'Odd "one"', "1st"]) == 'app.order."Odd ""one"""."1st"'
    assert dotted(["a.b", "c"]) == '"a.b".c'


def test_canonical_json_is_that_of_a_jsonb() -> None:
    assert canonical({"type": "text", "é": [1, None], "ab": {"b": 1, "aa": True}}) == (
        '{"ab": {"b": 1, "aa": true}, "é": [1, null], "type": "text"}'
    )
