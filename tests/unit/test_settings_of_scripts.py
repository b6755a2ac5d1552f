"""Which settings, seen inside a transaction, are known to outlive it: else a death just after its commit needs a
person."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.script_session import ScriptSession, perhaps_local
from airflow_provider_wmigrate.engine.sql.analysis import analyse


@pytest.mark.parametrize(
    "script",
    [
        "SET search_path = b",
        "RESET search_path",
        "SELECT set_config('Search_Path', 'b', false)",
        "SELECT pg_catalog.set_config('work_mem', '8MB', true), pg_catalog.set_config('search_path', 'b', false) AS x",
        "WITH w AS (SELECT 1) SELECT set_config('search_path', 'b', false)",
    ],
)
def test_known_to_outlive_its_transaction(script: str) -> None:
    assert unsure(script) == ()


@pytest.mark.parametrize(
    "script",
    [
        "SELECT 1",
        "SET LOCAL search_path = b",
        "SET search_path = a; SET LOCAL search_path = b",
        "SELECT set_config('search_path', 'b', true)",
        "SET search_path = a; SELECT set_config('search_path', 'b', true)",
        "SELECT set_config('search_path', 'b', 'f')",
        "SELECT set_config('search_path', 'b', false) FROM t",
        "SELECT set_config('search_path', 'b', false) WHERE now() < 'today'",
        "SELECT set_config('search_path', 'b', false) HAVING false",
        "SELECT set_config('search_path', 'b', false) LIMIT 0",
        "SELECT set_config('search_path', 'b', false) OFFSET 1",
        "SELECT set_config('search_' || 'path', 'b', false)",
        "SELECT coalesce('x', set_config('search_path', 'b', false))",
        "SELECT mine('search_path', 'b', false)",
        "SELECT 1 UNION SELECT set_config('search_path', 'b', false)",
        "DO $$ BEGIN PERFORM set_config('search_path', 'b', false); END $$",
    ],
)
def test_only_the_end_of_the_transaction_tells(script: str) -> None:
    assert unsure(script) == ("search_path",)


def unsure(script: str) -> tuple[str, ...]:
    """Of a setting that is seen to have changed."""
    statements = analyse(Script.of("001_s.sql", script)).statements
    return perhaps_local(ScriptSession(), ScriptSession({"search_path": "b"}), statements)
