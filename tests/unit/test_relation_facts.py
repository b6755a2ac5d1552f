"""What the catalogs answered about relations, as values: every field of the answer has its place."""

from __future__ import annotations

import json

import pytest

from airflow_provider_wmigrate.engine.catalog.relations import (
    Column,
    Constraint,
    Function,
    Relation,
    RelationFacts,
    Sequence,
    Thing,
    Trigger,
    relation_facts,
)

TABLE, PART = (
    [1, "app", "t", "app.t", "p", 8, 3, None, 0, 21, False],
    [2, "app", "u", "app.u", "r", 8, 1, 1, 0, 22, True],
)
KEY, CHECK = (
    [31, 1, "k", "f", 2, True, False, "c", "a", [1, 2], [3, 4]],
    [32, 2, "c", "c", 0, True, True, "a", "a", None, None],
)
ANSWER = {
    "version": 150000,
    "user": "me",
    "path": ["app", "public"],
    "schemas": ["app"],
    "relations": [TABLE, PART],
    "inherits": [[2, 1]],
    "defaults": [[1, 2]],
    "constraints": [KEY, CHECK],
    "bases": [[5, 1], [5, 2]],
    "sequences": [[1, 4, 41, "identity"]],
    "columns": [[1, 1, "id", "int4", True]],
    "triggers": [[1, "fire", 5, "O"]],
    "rules": [[1, "_RETURN", "1"]],
    "published": [["pub", 1]],
    "functions": [["app", "f", True, False]],
    "domains": ["email"],
    "objects": [["pg_type", 51, "mood", "app"]],
    "parts": [["pg_trigger", 61, 1]],
    "depends": [["pg_trigger", 61, 0, "pg_class", 1, 2, "i"], ["pg_class", 5, 0, "pg_class", 1, 0, "n"]],
}


def test_every_field_has_its_place() -> None:
    table, part = Relation(*TABLE), Relation(*PART)
    key = Constraint(31, 1, "k", "f", 2, True, False, "c", "a", (1, 2), (3, 4))
    check = Constraint(32, 2, "c", "c", 0, True, True, "a", "a", (), ())
    trigger, view = Thing("pg_trigger", 61, 0), Thing("pg_class", 5, 0)
    expected = RelationFacts(
        version=150000,
        user="me",
        path=("app", "public"),
        schemas=frozenset({"app"}),
        relations={1: table, 2: part},
        by_name={("app", "t"): table, ("app", "u"): part},
        children={1: (2,)},
        parents={2: (1,)},
        defaults={1: 2},
        constraints={1: (key,), 2: (check,)},
        incoming={2: (key,)},
        bases={5: (1, 2)},
        sequences={1: (Sequence(4, 41, "identity"),)},
        columns={1: (Column(1, "id", "int4", True),)},
        triggers={1: (Trigger("fire", 5, "O"),)},
        rules={1: (("_RETURN", "1"),)},
        published={"pub": (1,)},
        functions={"f": (Function("app", "f", True, False),)},
        domains=frozenset({"email"}),
        objects={("pg_type", "mood"): ((51, "app"),)},
        parts={("pg_trigger", 61): 1},
        dependents={("pg_class", 1): ((2, trigger, "i"), (0, view, "n"))},
        belongs={trigger: (Thing("pg_class", 1, 2),)},
    )
    assert relation_facts(ANSWER) == expected
    assert relation_facts(json.dumps(ANSWER)) == expected
    assert (table.size_bytes, part.size_bytes) == (24_576, 8_192)


@pytest.mark.parametrize("nothing", [None, "null", {}])
def test_no_answer_is_no_facts(nothing: None) -> None:
    assert relation_facts(nothing) == RelationFacts()


@pytest.mark.parametrize(
    ("kind", "enabled", "each_row", "fires"),
    [(5, "O", True, True), (4, "A", False, True), (5, "R", True, False), (5, "D", True, False)],
)
def test_a_trigger(kind: int, enabled: str, each_row: bool, fires: bool) -> None:
    trigger = Trigger("t", kind, enabled)
    assert (trigger.for_each_row, trigger.fires) == (each_row, fires)


def test_children_in_a_circle_or_by_two_ways_are_told_once() -> None:
    facts = RelationFacts(children={1: (2, 3), 2: (4,), 3: (4,), 4: (2,)})
    assert sorted(facts.descendants(1)) == [2, 3, 4]


def test_what_falls_with_an_object() -> None:
    """A dependency of one column falls with that column or the whole; another object only with CASCADE."""
    facts = relation_facts(ANSWER)
    table, trigger, view = Thing("pg_class", 1), Thing("pg_trigger", 61), Thing("pg_class", 5)
    second, third = Thing("pg_class", 1, 2), Thing("pg_class", 1, 3)
    assert facts.falls([table], cascade=True) == {table, trigger, view, second}
    assert facts.falls([table], cascade=False) == {table, trigger, second}
    assert facts.falls([second], cascade=False) == {second, trigger}
    assert facts.falls([third], cascade=True) == {third}
