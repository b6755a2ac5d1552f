"""What commands lock that run outside a transaction: looked at while they run, since nothing is held behind them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from dev.lock_table import Compared, Locks, foreseen

_SLOW = "vacuum_cost_delay = 20; SET vacuum_cost_limit = 1"
_SCHEMA = """
CREATE SCHEMA outside; SET search_path = outside;
CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN $1; END';
CREATE TABLE sold (id int PRIMARY KEY, n int);
CREATE INDEX sold_slow ON sold (slow(n)); CREATE INDEX sold_n ON sold (n);
INSERT INTO sold VALUES (1, 1);
CREATE TABLE days (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (1) TO (10);
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20);
CREATE TABLE days_3 PARTITION OF days FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (n);
CREATE TABLE days_3a PARTITION OF days_3 FOR VALUES FROM (1) TO (10);
CREATE INDEX days_slow ON days (slow(n)); CREATE INDEX days_id ON days (id);
INSERT INTO days VALUES (1, 1), (11, 1), (21, 1);
"""
"""Whatever builds or reads the indexes takes a moment."""

_DAYS = "ONLY days IN ROW EXCLUSIVE MODE; ONLY days_3 IN ROW EXCLUSIVE MODE"
_COMMANDS: tuple[tuple[int, str, str], ...] = (
    (13, "VACUUM sold", ""),
    (13, "VACUUM (ANALYZE) sold", ""),
    (13, "VACUUM FULL sold", ""),
    (14, "VACUUM FULL days", _DAYS),
    (15, "CLUSTER days USING days_id", _DAYS),
    (14, "REINDEX TABLE days", _DAYS),
    (14, "REINDEX INDEX days_slow", "ONLY days IN ROW EXCLUSIVE MODE"),
    (13, "REINDEX TABLE CONCURRENTLY sold", ""),
    (13, "REINDEX INDEX CONCURRENTLY sold_slow", ""),
    (13, "CREATE INDEX CONCURRENTLY again ON sold (slow(n))", ""),
    (13, "DROP INDEX CONCURRENTLY sold_n", "sold IN ACCESS SHARE MODE"),
    (14, "ALTER TABLE days DETACH PARTITION days_2 CONCURRENTLY", "ONLY days_2 IN ACCESS SHARE MODE"),
    (14, "ALTER TABLE days DETACH PARTITION days_3 CONCURRENTLY", "ONLY days_3a IN ACCESS SHARE MODE"),
)
"""The first version that has it, the command, and what other sessions lock meanwhile, one after the other, so that
it is seen to wait."""

_SEEN = """
SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = %s AND l.locktype = 'relation' AND c.relnamespace = 'outside'::regnamespace AND c.relkind IN ('r', 'p')
"""


def outside(dsn: str) -> Iterator[Compared]:
    """Foresee the locks of each command, run it, and look at what it has or waits for. All is dropped in the end."""
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=outside") as look:
        look.execute(_SCHEMA.encode())
        try:
            for since, command, held in _COMMANDS:
                if look.info.server_version // 10000 >= since:
                    forecast = foreseen(look, command)
                    yield Compared(command, forecast, _seen(look, dsn, command, held), frozenset())
        finally:
            look.execute("DROP SCHEMA outside CASCADE")


def _seen(look: psycopg.Connection[Any], dsn: str, command: str, held: str) -> Locks:
    found: Locks = {}
    with contextlib.ExitStack() as stack:
        conn, *others = [
            stack.enter_context(psycopg.connect(dsn, autocommit=not number, options="-c search_path=outside"))
            for number, _ in enumerate(["", *held.split(";")])
        ]
        for other, lock in zip(others, held.split(";"), strict=True):
            other.execute(f"LOCK TABLE {lock}".encode() if lock else b"")
        conn.execute(f"SET {_SLOW}".encode())
        thread = threading.Thread(target=conn.execute, args=(command.encode(),))
        thread.start()
        changed = time.monotonic()
        while thread.is_alive():
            for name, shown in look.execute(_SEEN, [conn.info.backend_pid]):
                mode = LockMode.of(shown)
                if mode > LockMode.ACCESS_SHARE:
                    found[name] = max(mode, found.get(name, mode))
            if others and time.monotonic() - changed > 0.2:
                others.pop(0).rollback()
                changed = time.monotonic()
            time.sleep(0.005)
    return found
