"""What a call may cost on the wire, however far away the server is: the counts of bench/budget.yaml, in a few seconds.

What it loads is held by test_start.py, CPU and time by `make bench ARGS=--check`.
"""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from bench.engine_figures import trips
from bench.measuring import Meter
from bench.results import beyond_budget, summed_up
from bench.servers import Server
from bench.tools.loop import Loop
from bench.tools.wmigrate import WMigrate
from bench.wire import Wire
from dev.cluster import Cluster


def test_no_call_takes_more_round_trips_than_its_budget(cluster: Cluster, tmp_path: Path) -> None:
    with Meter() as meter:
        tools = [Loop(tmp_path), WMigrate(tmp_path)]
        calls = ("apply", "nothing pending", "status", "plan")
        rows = summed_up([*trips(meter, Server(cluster, "memory"), tools, calls, few=1, more=3, delay=0.004)])
    each = {(row.tool, row.figure): row.values["trips"] for row in rows}
    assert each["loop", "a migration more"] == 4, "the proxy does not count as it did"
    sentences, looked_at = beyond_budget(rows)
    assert sentences == []
    assert looked_at >= 7


def test_the_proxy_counts_waiting_and_not_messages(cluster: Cluster, database: str) -> None:
    with Wire(cluster.port, delay=0.02) as wire:
        dsn = Server(cluster, "memory").dsn(database.rpartition("/")[2], port=wire.port)
        with psycopg.connect(dsn, autocommit=True) as conn:
            logged_in = wire.taken()
            conn.execute("SELECT 1; SELECT 2")
            conn.execute("SELECT %s::int", (1,))
            one_by_one = wire.taken()
            with conn.pipeline():
                for number in range(5):
                    conn.execute("SELECT %s::int", (number,))
            one_sync = wire.taken()
            _five_syncs_in_one_flush(conn.pgconn)
            five_syncs = wire.taken()
            with conn.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
                assert copy.read() is not None
                assert not copy.read()
            copied = wire.taken()
    assert (logged_in.connections, logged_in.trips) == (1, 1)
    assert one_by_one.trips == 2
    assert (one_sync.trips, one_sync.requests) == (1, 1)
    assert (five_syncs.trips, five_syncs.requests) == (1, 5)
    assert copied.trips == 1


def _five_syncs_in_one_flush(pgconn: PGconn) -> None:
    """Never blocking in libpq: the proxy is a thread of this process."""
    pgconn.enter_pipeline_mode()
    for _ in range(5):
        pgconn.send_query_params(b"SELECT 1", None)
        pgconn.pipeline_sync()
    while pgconn.flush():
        pass
    syncs = 0
    while syncs < 5:
        while pgconn.is_busy():
            time.sleep(0.001)
            pgconn.consume_input()
        result = pgconn.get_result()
        syncs += result is not None and result.status == ExecStatus.PIPELINE_SYNC
    pgconn.exit_pipeline_mode()
