"""Airflow's own API beside many readers of ours: its pool of database connections and its threads stay free."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Place

READERS = 40


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The app in a server of its own, as `airflow api-server` runs it."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def connections_used() -> Iterator[list[int]]:
    """How many connections of Airflow's pool are out, each time that one is taken."""
    from airflow.settings import engine
    from sqlalchemy import event

    seen: list[int] = []

    def note(*more: Any) -> None:
        seen.append(engine.pool.checkedout())

    event.listen(engine, "checkout", note)
    try:
        yield seen
    finally:
        event.remove(engine, "checkout", note)


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_forty_readers_leave_airflow_alone(
    app: Any, warehouse: Place, token: Callable[..., str], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """The target takes its time for whoever may read it; Airflow's list of DAGs does not."""
    import httpx

    from airflow_provider_wmigrate.web import target_reads

    connect = target_reads.connect

    def slowly(conn_id: str) -> Any:
        time.sleep(0.5)
        return connect(conn_id)

    monkeypatch.setattr(target_reads, "connect", slowly)
    headers = {"authorization": f"Bearer {token(role)}"}
    with served(app) as root, httpx.Client(base_url=root, headers=headers, timeout=60) as client:
        assert client.get(f"{warehouse.group}/status").status_code == 200
        with connections_used() as used, ThreadPoolExecutor(READERS) as pool:
            reads = [pool.submit(client.get, f"{warehouse.group}/status") for _ in range(2 * READERS)]
            took = []
            while not all(read.done() for read in reads):
                began = time.monotonic()
                assert httpx.get(f"{root}/api/v2/dags", headers=headers, timeout=60).status_code == 200
                took.append(time.monotonic() - began)
        assert {read.result().status_code for read in reads} == {200}
    assert max(took) < 10, "Airflow waits 30 seconds for a connection of its pool"
    assert max(used) < 15, "the pool has 5 + 10"


def test_no_connection_is_held_while_a_target_is_read(
    admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.settings import engine

    from airflow_provider_wmigrate.web import target_reads

    connect, held = target_reads.connect, []

    def watched(conn_id: str) -> Any:
        held.append(engine.pool.checkedout())
        return connect(conn_id)

    monkeypatch.setattr(target_reads, "connect", watched)
    before = engine.pool.checkedout()
    for route in ("status", "history", "plan", "health", "audit?verify=true", "metrics", "migrations/001"):
        assert admin.get(f"{warehouse.group}/{route}").status_code == 200
    assert len(held) == 8
    assert set(held) == {before}


@pytest.mark.parametrize("route", ["status", "history", "plan", "health", "audit", "metrics", "migrations/001"])
def test_a_request_takes_one_connection_at_a_time(viewer: Any, warehouse: Place, route: str) -> None:
    from airflow.settings import engine

    before = engine.pool.checkedout()
    with connections_used() as used:
        assert viewer.get(f"{warehouse.group}/{route}").status_code == 200
    assert max(used) <= before + 1
