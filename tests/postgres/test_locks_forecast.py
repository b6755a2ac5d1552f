"""The locks that are foreseen for a command are those that pg_locks shows for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.relations import relation_facts, relations_query
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockSet
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.locks_needed import locks_needed
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from dev.cluster import Cluster
from tests.postgres.lock_commands import COMMANDS, SCHEMA

Locks = dict[str, LockMode]


def commands() -> list[str]:
    return [line for line in COMMANDS.strip().splitlines() if not line.startswith("#")]


_HELD = """
SELECT k.name, l.mode FROM pg_lock_status() l JOIN known k ON k.oid = l.relation
WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.granted
"""
_KNOWN = """
CREATE TABLE public.known AS SELECT c.oid, format('%I.%I', n.nspname, relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname IN ('app', 'other') AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""


@pytest.fixture(scope="module")
def schema(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """The schema of all commands, in a transaction that nobody commits."""
    dsn = cluster.create_database("lock_commands", template="template0")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA.encode())
        conn.execute(_KNOWN.encode())
    with psycopg.connect(dsn, options="-c search_path=app,public") as conn:
        yield conn
    cluster.drop_database("lock_commands")


def foreseen(conn: psycopg.Connection[Any], command: str) -> LockSet:
    analysis = analyse(Script.of("001_a.sql", command))
    row = conn.execute(relations_query(analysis, conn.info.server_version).encode()).fetchone()
    conn.rollback()
    return locks_needed(analysis, relation_facts(row[0] if row else None))


def seen(conn: psycopg.Connection[Any], command: str) -> Locks:
    """As `locks_needed` does it: row locks count only beside a lock that keeps writers out."""
    found: Locks = {}
    conn.execute(command.encode())
    for name, shown in conn.execute(_HELD.encode()):
        mode = LockMode.of(shown)
        if name != "public.known" and mode > LockMode.ACCESS_SHARE:
            found[name] = max(mode, found.get(name, mode))
    conn.rollback()
    if all(mode < LockMode.SHARE for mode in found.values()):
        return {name: mode for name, mode in found.items() if mode > LockMode.ROW_SHARE}
    return found


@pytest.mark.parametrize("command", commands())
def test_the_forecast_is_what_the_server_takes(schema: psycopg.Connection[Any], command: str) -> None:
    forecast = foreseen(schema, command)
    strong = {n.relation: n.mode for n in forecast.needs if n.kind in "rpvmSf" and n.mode > LockMode.ACCESS_SHARE}
    assert strong == seen(schema, command)
