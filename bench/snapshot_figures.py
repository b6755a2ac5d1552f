"""What a snapshot of a large schema costs, beside the bare catalog queries that it is made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.snapshot import taking
from airflow_provider_wmigrate.engine.catalog.snapshot.kinds import KINDS
from airflow_provider_wmigrate.engine.catalog.snapshot.object_types import not_modelled
from airflow_provider_wmigrate.engine.catalog.snapshot.scope import Scope
from bench.results import Reading
from bench.servers import Server

TABLES = 2000
BARE = "its queries alone"
_SCHEMA = """
DO $$ BEGIN
    FOR i IN 1..{tables} LOOP
        EXECUTE format('CREATE TABLE t%s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent bigint'
            ' REFERENCES t%s (id), name text NOT NULL DEFAULT ''x'', amount numeric(12,2), CHECK (amount >= 0))',
            i, greatest(i - 1, 1));
        EXECUTE format('CREATE INDEX ON t%s (name)', i);
        IF i % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$
"""


def snapshots(server: Server, rounds: int, tables: int = TABLES) -> Iterator[Reading]:
    """In turns, on one connection each: the queries, whose answers are only received, and a snapshot of them."""
    with server.database() as database, psycopg.connect(server.dsn(database), autocommit=True) as conn:
        conn.execute(_SCHEMA.format(tables=tables).encode())
        conn.execute("ANALYZE")
        for round_ in range(-1, rounds):  # the first one fills caches
            for name, beside, work in ((BARE, "", _queries), ("wmigrate", BARE, taking.take)):
                values: dict[str, float] = {}
                with _measured(server, values):
                    work(conn)
                if round_ >= 0:
                    yield Reading("snapshot", "a snapshot", name, tables, round_, values, beside)


def _queries(conn: psycopg.Connection[Any]) -> None:
    scope = Scope(conn.info.server_version, timescaledb=False, ledgers="")
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.execute(taking.SETTINGS)
        for query in [kind.query(scope) for kind in KINDS if not kind.timescaledb]:
            conn.execute(query.encode())
        conn.execute(not_modelled())


@contextmanager
def _measured(server: Server, values: dict[str, float]) -> Iterator[None]:
    cpu, wall, before = time.process_time(), time.perf_counter(), server.cpu_seconds()
    yield
    values |= {"wall": time.perf_counter() - wall, "client": time.process_time() - cpu}
    values |= {"server": server.cpu_seconds() - before}
    values |= {"cpu": values["client"] + values["server"]}
