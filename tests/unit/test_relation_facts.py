"""What the answer of the catalogs becomes, and what goes along in it from one object to the next."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.catalog import relations_sql
from airflow_provider_wmigrate.engine.catalog.relations import (
    RelationFacts,
    Thing,
    relation_facts,
    relations_message,
    relations_query,
)
from airflow_provider_wmigrate.engine.catalog.relations_wanted import Wanted
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse

TABLE, COLUMN, VIEW, RULE, TRIGGER = (
    Thing("pg_class", 1),
    Thing("pg_class", 1, 2),
    Thing("pg_class", 2),
    Thing("pg_rewrite", 3),
    Thing("pg_trigger", 4),
)


def test_descendants_are_told_once() -> None:
    """Of a table with two parents, and of one that is its own ancestor."""
    facts = RelationFacts(children={1: (2, 3), 2: (4,), 3: (4,), 4: (5, 1)})
    assert sorted(facts.descendants(1)) == [2, 3, 4, 5]
    assert [*facts.descendants(5)] == []


def test_what_falls_together() -> None:
    """A rule on a column is an inner part of its view, with which it falls; which depends on it."""
    edges = [[*RULE, *COLUMN, "n"], [*RULE, *VIEW, "i"], [*TRIGGER, *TABLE, "a"]]
    facts = relation_facts({"version": 1, "user": "", "path": [], "depends": edges})
    assert facts.belongs == {RULE: (VIEW,)}
    assert facts.falls([TABLE], cascade=False) == {TABLE, TRIGGER}
    assert facts.falls([TABLE], cascade=True) == {TABLE, TRIGGER, RULE, VIEW}
    assert facts.falls([COLUMN], cascade=True) == {COLUMN, RULE, VIEW}
    assert facts.falls([Thing("pg_class", 1, 3)], cascade=True) == {Thing("pg_class", 1, 3)}


def test_an_object_without_a_column_is_the_whole_of_it() -> None:
    assert Thing("pg_class", 1) == ("pg_class", 1, 0)


def test_no_answer_says_nothing() -> None:
    assert relation_facts(None) == relation_facts("null") == RelationFacts()
    assert (RelationFacts().version, RelationFacts().event_triggers) == (0, ())


def test_the_question_is_for_what_a_script_names_and_more() -> None:
    analysis = analyse(Script.of("001_a.sql", "LOCK TABLE orders"))
    wanted = Wanted(frozenset({"orders", "more"}), sections=frozenset({"bases"}))
    assert relations_query(analysis, 170000, ["more"]) == relations_sql.text(wanted, 170000)
    assert relations_query(analysis) == relations_sql.text(wanted._replace(names=frozenset({"orders"})), 0)
    assert "MAINTAIN" in relations_query(analysis, 170000)


def test_the_message_is_not_compiled_and_leaves_the_setting_as_it_was() -> None:
    asked = b"SELECT pg_catalog.set_config('jit', 'off', true); SELECT 1; SET LOCAL jit TO DEFAULT"
    assert relations_message("SELECT 1") == asked


def test_what_is_said_of_schemas_domains_publications_and_event_triggers() -> None:
    events = [["all", "sql_drop", None], ["some", "ddl_command_end", ["COMMENT"]]]
    plain = {"version": 1, "user": "me", "path": ["app"], "events": events, "published": [["news", 1], ["news", 2]]}
    assert relation_facts({**plain, "schemas": ["app"], "domains": ["amount"]}) == RelationFacts(
        1,
        "me",
        ("app",),
        frozenset({"app"}),
        published={"news": (1, 2)},
        event_triggers=(("all", "sql_drop", []), ("some", "ddl_command_end", ["COMMENT"])),
        domains=frozenset({"amount"}),
    )
