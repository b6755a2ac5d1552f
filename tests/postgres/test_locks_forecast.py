"""The locks that are foreseen for a command are those that pg_locks shows for it, in each version of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog import relations_sql
from airflow_provider_wmigrate.engine.catalog.relations import relation_facts
from airflow_provider_wmigrate.engine.catalog.relations_wanted import wanted_of_all
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.lock_scope import Scope
from airflow_provider_wmigrate.engine.plan.locks_needed import locks_needed
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from dev.cluster import Cluster
from dev.lock_table import PAGE_OF, UNFORESEEN, Compared, compare, foreseen, lock_schema, locks_page, outside, sections
from dev.markdown import with_generated
from dev.references import DOCS, LOCKS


@pytest.fixture(scope="module")
def schema(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with lock_schema(cluster) as conn:
        yield conn


def compared(conn: psycopg.Connection[Any], heading: str) -> list[Compared]:
    return [compare(conn, command) for command in sections(conn.info.server_version // 10000)[heading]]


@pytest.mark.parametrize("heading", sections(99))
def test_the_forecast_of_a_command_is_what_the_server_takes(schema: psycopg.Connection[Any], heading: str) -> None:
    found = compared(schema, heading)
    assert {c.command: c.foreseen for c in found} == {c.command: c.seen for c in found}
    assert [c.command for c in found if c.forecast.unforeseen] == []
    altered = [c for c in found if c.command.startswith("ALTER TABLE") and "TRUNCATE" not in c.command]
    nothing = {c.command: frozenset[str]() for c in altered}
    assert {c.command: c.rewritten - c.foreseen_rewrites for c in altered} == nothing
    assert {c.command: c.scanned - c.foreseen_work for c in altered} == nothing


@pytest.fixture(scope="module")
def alone(schema: psycopg.Connection[Any]) -> list[Compared]:
    return [*outside(schema.info.dsn)]


def test_the_forecast_of_a_command_outside_a_transaction_is_what_the_server_takes(alone: list[Compared]) -> None:
    told = {c.command: {name.removeprefix("outside."): mode for name, mode in c.foreseen.items()} for c in alone}
    assert told == {c.command: c.seen for c in alone}
    assert [c.command for c in alone if c.forecast.unforeseen] == []


def test_what_cannot_be_foreseen_is_a_short_list(schema: psycopg.Connection[Any]) -> None:
    found = [compare(schema, command) for command in UNFORESEEN]
    assert [c.command for c in found if c.foreseen == c.seen and not c.forecast.unforeseen] == []


def test_the_page_of_locks_is_current(schema: psycopg.Connection[Any], alone: list[Compared]) -> None:
    if schema.info.server_version // 10000 != PAGE_OF:
        pytest.skip(f"the page is made with PostgreSQL {PAGE_OF}")
    written = (DOCS / LOCKS).read_text(encoding="utf-8")
    assert written == with_generated(written, locks_page(schema, alone)), "write it anew: python -m dev.references"


def test_new_keys_are_checked_only_where_a_new_column_has_a_default(schema: psycopg.Connection[Any]) -> None:
    """The server reads neither table for a column that is null everywhere."""
    add = "ALTER TABLE orders ADD COLUMN extra int"
    for more, reads in {
        "REFERENCES customers": False,
        "DEFAULT 1 REFERENCES customers": True,
        "GENERATED ALWAYS AS (1) STORED REFERENCES customers": True,
        "REFERENCES customers, ADD COLUMN other int DEFAULT 1": False,
        "REFERENCES customers, ADD FOREIGN KEY (code) REFERENCES customers NOT VALID": False,
    }.items():
        found = compare(schema, f"{add} {more}")
        assert ("customers" in found.scanned or "STORED" in more) == reads, more
        assert ("customers" in found.foreseen_work) == reads, more


def test_a_script_behind_the_one_that_tied_them_goes_over_too(schema: psycopg.Connection[Any]) -> None:
    """One question for both, from before the first one."""
    made = ["CREATE OR REPLACE VIEW order_names AS SELECT id, ''::text AS note, ''::text AS name FROM parcels",
            "ALTER TABLE parcels ADD FOREIGN KEY (weight) REFERENCES tickets"]  # fmt: skip
    scripts = [analyse(Script.of("001_a.sql", text)) for text in (";".join(made), "DROP TABLE parcels CASCADE")]
    answer = schema.execute(relations_sql.text(wanted_of_all(scripts), schema.info.server_version).encode()).fetchone()
    facts = relation_facts(answer[0] if answer else None)
    scope = Scope(facts)
    sets = []
    for script in scripts:
        scope.begin_script()
        sets.append(locks_needed(script, facts, scope))
    assert {(need.relation, need.mode.keyword) for need in sets[1].needs} == {
        (f"app.{name}", "ACCESS EXCLUSIVE")
        for name in ("parcels", "parcels_pkey", "order_names", "short_names", "tickets")
    }


def test_functions_of_row_security_are_told_to_whom_it_holds_for(schema: psycopg.Connection[Any]) -> None:
    command = "INSERT INTO secrets VALUES (1); COPY secrets TO STDOUT; TRUNCATE secrets"
    assert foreseen(schema, command).unforeseen == ()
    schema.execute("SET ROLE lock_reader")
    schema.commit()
    told = [(each.statement, each.why) for each in foreseen(schema, command).unforeseen]
    schema.execute("RESET ROLE")
    schema.commit()
    assert told == [(number, "a policy of app.secrets calls tenant()") for number in (0, 1)]
