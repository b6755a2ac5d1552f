"""Runners that are shot, statements that somebody cancels: what several parts of the tests need of it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from tests.waiting import eventually

Conn = psycopg.Connection[Any]

WORKING = "datname = current_database() AND application_name LIKE 'wmigrate%'"
WAITS = f"SELECT pid FROM pg_stat_activity WHERE {WORKING} AND wait_event_type = 'Lock'"


def apply_one(dsn: str, folder: Path, version: str = "001") -> None:
    Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("killed")).apply(version)


def killed_while(dsn: str, folder: Path, conn: Conn, true: str, version: str = "001") -> None:
    """Apply one migration in a process that is shot as soon as a query about it gives rows; return when the server
    noticed."""
    process = multiprocessing.get_context("spawn").Process(target=apply_one, args=[dsn, folder, version])
    process.start()
    assert process.pid is not None
    eventually(conn, true)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    eventually(conn, f"SELECT pid FROM pg_stat_activity WHERE {WORKING}", lambda rows: not rows)


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Do it in a thread meanwhile; what is given returns its result, or raises what it raised."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work).result


def apply_until(dsn: str, folder: Path, version: str, event: int) -> None:
    """Apply one migration, and die of SIGKILL at the event of that number, from 0."""
    told = itertools.count()

    def die(_: object) -> None:
        if next(told) == event:
            os.kill(os.getpid(), signal.SIGKILL)

    folder_read = read_folder(folder)
    Migrator(lambda: psycopg.connect(dsn), folder_read, identity=Identity("killed"), on_event=die).apply(version)


def killed_at_event(dsn: str, folder: Path, version: str, event: int) -> bool:
    """Apply one migration in a process that is shot at that event; whether it was, else it has applied it."""
    process = multiprocessing.get_context("spawn").Process(target=apply_until, args=[dsn, folder, version, event])
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0
