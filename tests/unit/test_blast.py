"""Who uses what goes, as far as texts and the server tell it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.dag_sql.files import in_files
from airflow_provider_wmigrate.engine.catalog.relations import Thing
from airflow_provider_wmigrate.engine.catalog.users import Counted, DatabaseUsers, Dependent, Function
from airflow_provider_wmigrate.engine.plan.blast import (
    Known,
    Source,
    by_arguments,
    by_dependency,
    by_functions,
    by_statements,
    by_texts,
    by_texts_through,
    functions_among,
    functions_of,
    through_functions,
    unread_names,
    words_of,
)
from airflow_provider_wmigrate.engine.plan.going import Going
from airflow_provider_wmigrate.engine.usage import BlastRadius, Gone, Through, User, best, quoted

NOTE = Gone("001", 3, "drop", "column", "app", "items", "note")
ITEMS = Gone("001", 4, "drop", "table", "app", "items")
F = Gone("001", 5, "drop", "function", "app", "f")
ROWS = Gone("001", 6, "drop", "rows", "app", "items")
KNOWN = Known(("app",), frozenset({(("app", "items"), "note"), (("app", "other"), "note")}))
NAMES_IT = "it names it"


def grade(gone: Gone, text: str, known: Known = KNOWN, **source: Any) -> str:
    """`certain: it names it`; empty: no user."""
    found = by_texts([gone], [Source("task", "t", (text,) if text else (), **source)], known)
    assert all((user.gone, user.kind, user.name) == (gone.what, "task", "t") for user in found)
    return "; ".join(f"{user.grade}: {user.why}" for user in found)


FILLED = "variables are filled in"
NO_SQL = "perhaps: the words stand in a text that is no SQL"


@pytest.mark.parametrize(
    ("gone", "text", "said"),
    [
        (NOTE, "SELECT note FROM app.items", "certain: it names it"),
        (NOTE, "SELECT note FROM items", "certain: it names it"),
        (NOTE, "SELECT id FROM app.items", ""),
        (NOTE, "SELECT note FROM x.items", ""),
        (NOTE, "SELECT note FROM other", ""),
        (NOTE, "SELECT note FROM items, other", "likely: it names note, which may be of other too"),
        (NOTE, "SELECT note FROM items, app.other", "likely: it names note, which may be of other too"),
        (NOTE, "SELECT note FROM items, s.other", "certain: it names it"),
        (NOTE, "SELECT note FROM items, third", "certain: it names it"),
        (NOTE, "SELECT * FROM items WHERE note = 1", "certain: it names it"),
        (NOTE, "SELECT * FROM app.items", "perhaps: it reads all columns (*)"),
        (NOTE, "INSERT INTO items VALUES (1)", "likely: it relies on how many columns there are"),
        (NOTE, "INSERT INTO items (id) VALUES (1)", ""),
        (NOTE, "CREATE INDEX i ON items (note)", "likely: it names it"),
        (NOTE, "SELECT note FROM items WHERE x = %s", f"likely: it names it; {FILLED}"),
        (NOTE, "SELECT {{ column }} FROM items", "perhaps: a column in it is a variable"),
        (NOTE, "SELECT note FROM {{ table }}", "perhaps: it names it; a name in it is a variable"),
        (NOTE, "SELECT note FROM {{ schema }}.items", "likely: it names it; a name in it is a variable"),
        (NOTE, "SELECT note FROM app.it{{ x }}", "perhaps: it names it; a name in it is a variable"),
        (NOTE, "SELECT note FROM app.at{{ x }}", ""),
        (NOTE, "SELECT note FROM b{{ x }}.items", ""),
        (NOTE, "SELECT id FROM {{ table }}", ""),
        (NOTE, "SELECT * FROM {{ table }}", ""),
        (NOTE, "not SQL of items and note", NO_SQL),
        (NOTE, "not SQL of items", ""),
        (NOTE, "not SQL of note", ""),
        (NOTE, "not SQL of {{ x }} and note", NO_SQL),
        (NOTE, "not SQL of annotations and itemsets", ""),
        (NOTE, "SET search_path TO app; SELECT note FROM items", "certain: it names it"),
        (
            NOTE,
            "SET search_path TO s; SELECT note FROM items",
            "perhaps: it names it; only with app in its search path",
        ),
        (ITEMS, "SELECT 1 FROM app.items", "certain: it names it"),
        (ITEMS, "SELECT f('items')", "likely: it names it"),
        (ITEMS, "SELECT 1 FROM x.items", ""),
        (ITEMS, "SELECT 1 FROM others", ""),
        (ITEMS, "SELECT 1 FROM items {# x #}", f"likely: it names it; {FILLED}"),
        (ITEMS, "SELECT 1 FROM app.{{ x }}", ""),
        (ITEMS, "SELECT 1 FROM app.i{{ x }}", "perhaps: it names it; a name in it is a variable"),
        (ITEMS, "not SQL of items", "perhaps: the name stands in a text that is no SQL"),
        (ITEMS, "SELECT items()", ""),
        (F, "SELECT app.f(1)", "certain: it names it"),
        (F, "SELECT x.f(1)", ""),
        (F, "SELECT 1 FROM f", ""),
        (F, "SELECT f FROM t", ""),
        (ROWS, "SELECT 1 FROM items", ""),
        (ROWS, "DELETE FROM items", "certain: it names it"),
        (ROWS, "not SQL of items", ""),
        (ROWS, "not SQL to delete items", "perhaps: the name stands in a text that is no SQL"),
    ],
)
def test_what_a_text_says(gone: Gone, text: str, said: str) -> None:
    assert grade(gone, text) == said


@pytest.mark.parametrize(
    ("known", "source", "said"),
    [
        (Known(("app",), None), {}, "likely: it names note, which may be of third too"),
        (Known(("s",), KNOWN.columns), {}, "perhaps: it names it; only with app in its search path"),
        (Known(("s",), KNOWN.columns), {"path": ("app",)}, "certain: it names it"),
        (KNOWN, {"surest": "likely"}, "likely: it names it"),
        (KNOWN, {"surest": "perhaps"}, "perhaps: it names it"),
    ],
)
def test_how_sure_it_is_depends_on_what_is_known(known: Known, source: dict[str, Any], said: str) -> None:
    assert grade(NOTE, "SELECT note FROM items, third", known, **source) == said


def test_words_beside_sql() -> None:
    assert grade(NOTE, "", words=("items", "note")) == NO_SQL
    assert grade(ITEMS, "", words=("items",)) == "perhaps: the name stands in a text that is no SQL"
    assert grade(ROWS, "", words=("items",)) == "perhaps: the name stands in a text that is no SQL"
    assert grade(NOTE, "SELECT note FROM items", words=("note",)) == "certain: it names it"


def test_the_best_of_all_texts_counts_once() -> None:
    source = Source("task", "t", ("SELECT * FROM items", "SELECT note FROM items"))
    assert by_texts([NOTE], [source, source], KNOWN) == (User(NOTE.what, "task", "t", "certain", NAMES_IT),)


def test_by_which_names_it_is_found() -> None:
    assert words_of([NOTE, ITEMS, F]) == {"items", "note", "f"}


# What the server knows


def a_function(name: str, definition: str, language: str = "sql", *tables: str, oid: int = 72) -> Function:
    called = ("app", name.partition("(")[0].rpartition(".")[2])
    of = frozenset(("app", table) for table in tables)
    return Function(oid, name, called, "function", language, definition, of, ("app",))


def database(**found: Any) -> DatabaseUsers:
    return DatabaseUsers(**dict.fromkeys(DatabaseUsers._fields, ()) | {"since": "", "columns": frozenset()} | found)


VIEW = Dependent("view", "app.seen", Thing("pg_class", 20))
THING, TABLE = Thing("pg_class", 1, 2), Thing("pg_class", 1)


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        (NOTE, "it depends on it: the server refuses the drop, or CASCADE takes it along"),
        (Gone("001", 3, "rename", "column", "app", "items", "note", "n"), "it depends on it and follows the new name"),
        (
            Gone("001", 3, "retype", "column", "app", "items", "note", "text"),
            "it depends on it, and the server refuses a new type below a view or a rule",
        ),
    ],
)
def test_what_depends_on_it_uses_it_for_certain(gone: Gone, why: str) -> None:
    found = database(dependents=((THING, VIEW), (Thing("pg_class", 9), VIEW)))
    assert list(by_dependency(Going((gone,), (THING,)), found)) == [
        User("column app.items.note", "view", "app.seen", "certain", why)
    ]


def test_what_is_dropped_itself_is_no_user() -> None:
    seen = Gone("001", 3, "drop", "view", "app", "seen")
    found = database(dependents=((THING, VIEW),))
    assert list(by_dependency(Going((NOTE, seen), (THING, VIEW.thing)), found)) == []
    renamed = Gone("001", 3, "rename", "view", "app", "seen", to="x")
    column = Gone("001", 3, "drop", "column", "app", "seen", "c")
    for other in (renamed, column):
        assert len(list(by_dependency(Going((NOTE, other), (THING, VIEW.thing)), found))) == 1


def test_the_first_word_about_a_thing_counts() -> None:
    renamed = Gone("001", 4, "rename", "column", "app", "items", "note", "n")
    (user,) = by_dependency(Going((NOTE, renamed), (THING, THING)), database(dependents=((THING, VIEW),)))
    assert user.why == "it depends on it: the server refuses the drop, or CASCADE takes it along"


def test_functions_are_never_certain() -> None:
    read = a_function(
        "app.f(integer)", "CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT note FROM items'"
    )
    other = a_function("app.g()", "items note", "c")
    sources = list(functions_of(database(functions=(read, other))))
    assert by_texts([NOTE], sources, KNOWN) == (
        User(NOTE.what, "function", "app.f(integer)", "likely", NAMES_IT),
        User(NOTE.what, "function", "app.g()", "perhaps", "the words stand in a text that is no SQL"),
    )
    assert [(s.kind, s.surest, s.path) for s in sources] == [
        ("function", "likely", ("app",)),
        ("function", "perhaps", None),
    ]


def test_the_row_of_a_trigger_is_of_its_tables() -> None:
    text = """CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $x$BEGIN
        IF {row}.note IS NULL THEN RETURN NULL; END IF; RETURN new; END$x$"""
    for row, on, said in [("new", "items", ["likely"]), ("old", "items", ["likely"]), ("new", "other", [])]:
        sources = functions_of(database(functions=(a_function("app.f()", text.format(row=row), "plpgsql", on),)))
        assert [user.grade for user in by_texts([NOTE], sources, KNOWN)] == said


@pytest.mark.parametrize(
    ("since", "said"),
    [("", "2 statements, 1,001 calls"), ("2026-01-31 12:00:17", "2 statements, 1,001 calls since 2026-01-31 12:00")],
)
def test_statements_that_the_server_has_counted(since: str, said: str) -> None:
    counted = (
        Counted("SELECT note FROM app.items", "bob", 1000),
        Counted(" update app.items SET note = $1", "bob", 1),
        Counted("SELECT * FROM items", "bob", 1),
        Counted("SELECT note FROM app.items", "eve", 1),
        Counted("SELECT id FROM app.items", "eve", 1),
        Counted("ALTER TABLE app.items DROP COLUMN note", "me", 1),
    )
    when = f" since {since[:16]}" if since else ""
    assert list(by_statements([NOTE], database(statements=counted, since=since), KNOWN)) == [
        User(NOTE.what, "statements", "of role bob", "likely", said),
        User(NOTE.what, "statements", "of role bob", "perhaps", f"1 statement, 1 call{when}"),
        User(NOTE.what, "statements", "of role eve", "likely", f"1 statement, 1 call{when}"),
    ]


# From function to function


def test_a_trigger_that_is_told_the_columns_name() -> None:
    found = database(told_triggers=((("app", "items"), "tr", "note"), (("app", "items"), "x", "id"),
                                    (("app", "other"), "y", "note")))  # fmt: skip
    users, through = by_arguments([NOTE], found)
    assert users == [User(NOTE.what, "trigger", "tr on app.items", "perhaps", "its function is given this name")]
    assert through == [Through(Gone("", 0, "drop", "rows", "app", "items"), NOTE.what, "perhaps")]


BODY = "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $x$BEGIN {} RETURN new; END$x$"


def a_user(kind: str, name: str, why: str = "", grade: Any = "likely") -> User:
    return User(NOTE.what, kind, name, grade, why)


@pytest.mark.parametrize(
    ("user", "kind", "schema", "name"),
    [
        (a_user("function", "app.f(integer)"), "function", "app", "f"),
        (a_user("procedure", 'app."F"(integer)'), "function", "app", "F"),
        (a_user("view", "app.seen"), "view", "app", "seen"),
        (a_user("materialized view", "app.seen"), "view", "app", "seen"),
    ],
)
def test_what_uses_it_and_has_users_of_its_own(user: User, kind: str, schema: str, name: str) -> None:
    assert list(through_functions([user], database(), [NOTE])) == [
        Through(Gone("", 0, "drop", kind, schema, name), NOTE.what, "likely")
    ]


def test_who_has_no_users_of_its_own() -> None:
    depends = a_user("view", "app.seen", "it depends on it and follows the new name")
    assert list(through_functions([depends, a_user("policy", "p"), a_user("task", "t")], database(), [NOTE])) == []
    calls = a_user("function", "app.f()", "it depends on it and follows the new name")
    assert len(list(through_functions([calls], database(), [NOTE]))) == 1, "of a function it says nothing of that"


@pytest.mark.parametrize(
    ("body", "tables", "gone", "fires"),
    [
        ("IF new.note IS NULL THEN RETURN NULL; END IF;", ("items", "other"), NOTE, ["items"]),
        ("PERFORM note FROM app.items;", ("items", "other"), NOTE, ["items", "other"]),
        ("PERFORM 1 FROM app.items;", ("items", "other"), NOTE, ["items"]),
        ("EXECUTE 'SELECT FROM WHERE';", ("items", "other"), NOTE, ["items", "other"]),
        ("IF new.note IS NULL THEN RETURN NULL; END IF;", ("other", "third"), NOTE, ["other", "third"]),
        ("IF new.note IS NULL THEN RETURN NULL; END IF;", ("items", "other"), None, ["items", "other"]),
    ],
)
def test_the_tables_whose_trigger_fails(
    body: str, tables: tuple[str, ...], gone: Gone | None, fires: list[str]
) -> None:
    found = database(functions=(a_function("app.f()", BODY.format(body), "plpgsql", *tables),))
    made = list(through_functions([a_user("function", "app.f()")], found, [gone] if gone else []))
    assert [each.user.kind for each in made] == ["function", *["rows"] * len(fires)]
    assert [each.user.name for each in made[1:]] == fires
    assert {(each.of, each.grade) for each in made} == {(NOTE.what, "likely")}


def test_what_depends_on_functions() -> None:
    user, other = a_user("function", "app.f()"), a_user("function", "app.g()")
    of_f, of_g = Thing("pg_proc", 72), Thing("pg_proc", 80)
    policy, g = Dependent("policy", "p on app.x", Thing("pg_policy", 5)), Dependent("function", "app.g()", of_g)
    found = database(
        functions=(a_function("app.f()", ""),), dependents=((of_f, policy), (THING, g), (Thing("pg_class", 7), VIEW))
    )
    known = functions_among([user, other, a_user("task", "t"), user, a_user("view", "app.seen")], found)
    assert known == {of_f: (user, user), of_g: (other,)}
    assert list(by_functions({of_f: (user,)}, found)) == [
        User(NOTE.what, "policy", "p on app.x", "likely", "through function app.f(): it depends on it")
    ]


def test_users_of_what_uses_it_are_never_surer_than_that() -> None:
    f, rows = Gone("", 0, "drop", "function", "app", "f"), Gone("", 0, "drop", "rows", "app", "items")
    through = [Through(f, NOTE.what, "likely"), Through(f, ITEMS.what, "perhaps"), Through(rows, NOTE.what, "certain")]
    sources = [Source("task", "t", ("SELECT app.f()",)), Source("task", "u", ("DELETE FROM app.items WHERE x = %s",))]
    assert by_texts_through(through, sources, KNOWN) == (
        User(NOTE.what, "task", "t", "likely", "through function app.f: it names it"),
        User(NOTE.what, "task", "u", "likely", f"through a trigger on app.items: it names it; {FILLED}"),
        User(ITEMS.what, "task", "t", "perhaps", "through function app.f: it names it"),
    )


def test_how_many_have_names_that_only_a_run_knows() -> None:
    sources = [
        Source("task", "a", ("SELECT 1 FROM {{ x }}", "SELECT 1 FROM {{ y }}")),
        Source("task", "b", ("SELECT 1 FROM {{ x }}",)),
        Source("DAG file", "c", ("SELECT 1 FROM {{ x }}",)),
        Source("DAG file", "d", ("SELECT {{ x }} FROM items",)),
    ]
    assert unread_names(sources) == {"task": 2, "DAG file": 1}


# In words


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (NOTE, "drops column app.items.note (line 3)"),
        (Gone("1", 2, "rename", "table", "App", "a b", to="c"), 'renames table "App"."a b" to c (line 2)'),
        (
            Gone("1", 2, "retype", "column", "a", 'q"', "c", "text"),
            'changes the type of column a."q""".c to text (line 2)',
        ),
        (Gone("1", 2, "drop", "view", "", "v", through="CASCADE"), "drops view v (line 2), through CASCADE"),
        (Gone("1", 2, "drop", "table", "a", "t", again=True), "drops table a.t (line 2), and makes it again"),
        (
            Gone("1", 2, "drop", "table", "a", "t", through="CASCADE", again=True),
            "drops table a.t (line 2), through CASCADE",
        ),
    ],
)
def test_what_goes_in_words(gone: Gone, said: str) -> None:
    assert str(gone) == said


@pytest.mark.parametrize(("name", "written"), [("a_1$", "a_1$"), ("A", '"A"'), ("1a", '"1a"'), ('a"', '"a"""')])
def test_a_name_as_sql_needs_it(name: str, written: str) -> None:
    assert quoted(name) == written


def test_the_surest_word_about_each_user_counts() -> None:
    users = [a_user("task", "t", grade="perhaps"), a_user("task", "u"), a_user("task", "t", "why", grade="certain"),
             a_user("file", "t")]  # fmt: skip
    assert best(users) == (users[2], users[1], users[3])


def test_a_blast_radius_in_words_and_as_plain_values() -> None:
    through = Through(F, NOTE.what, "likely")
    radius = BlastRadius((NOTE, ITEMS), (a_user("task", "t", "why"),), ("a", "b"), (through,), ("app",))
    assert list(radius.lines()) == [
        "drops column app.items.note (line 3)",
        "used by, likely: task t (why)",
        "drops table app.items (line 4)",
        "no user of table app.items was found where it was looked",
        "not looked at: a; b",
    ]
    assert list(BlastRadius((), (), ("a",)).lines()) == []
    assert list(BlastRadius((ITEMS,)).lines())[2:] == []
    plain = radius.as_dict()
    assert set(plain) == {"gone", "users", "through", "unseen", "path"}
    assert (list(plain["unseen"]), list(plain["path"]), list(plain["users"])) == (
        ["a", "b"],
        ["app"],
        [{"gone": NOTE.what, "kind": "task", "name": "t", "grade": "likely", "why": "why"}],
    )
    assert Gone(**plain["gone"][0]) == NOTE
    assert plain["through"][0]["of"] == NOTE.what
    more = radius.with_more([a_user("task", "t", "more", "certain")], ["b", "c"])
    assert (more.users, more.unseen) == ((a_user("task", "t", "more", "certain"),), ("a", "b", "c"))


def test_a_pipe_among_the_dag_files_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.sql")
    (tmp_path / "a.sql").write_text("SELECT note FROM items")
    found = in_files(tmp_path, migrations=None, sure=lambda _: "certain")(frozenset({"note"}))
    assert [source.name for source in found[0]] == ["a.sql"]
    assert found[1][0] == "pipe.sql: it cannot be read as text, or is too large"
