"""Loads and migrations started at random moments from several processes: `make loads`. See docs/how-to/guard-loads.md.

Each process counts itself in, in memory that all share, when it has the guard, and out before it gives that back. So
whoever counts himself in sees whether the other side is at work.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.errors import ConnectionFailed
from airflow_provider_wmigrate.engine.events import Event, Failed, Finished, Started
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.loads import load_guard
from dev.cluster import Cluster

LOADERS, RUNNERS = 4, 2
WAIT, HOLD_BACK = 60, 1
FILES = {
    "migration_config.yaml": f"settings: {{guard: {{enabled: true, wait_seconds: {WAIT}, hold_back_seconds:"
    f" {HOLD_BACK}}}}}\nmigrations: [{{version: '002', dependencies: []}}]\n",
    "001_a.sql": "ALTER TABLE stock ADD note text; SELECT pg_sleep(random() * 0.1);",
    "001_a.rollback.sql": "ALTER TABLE stock DROP note;",
    "002_b.sql": "CREATE INDEX CONCURRENTLY orders_id ON orders (id);",
    "002_b.rollback.sql": "DROP INDEX CONCURRENTLY orders_id;",
}


class Seen:
    """What all processes share."""

    def __init__(self, context: Any) -> None:
        self.lock = context.Lock()
        self.inside = context.Array("i", 2, lock=False)
        """Loads and migrations that are at work."""
        self.answers = context.Queue()

    def enter(self, side: int) -> None:
        """Count one in; both at once is what must never be."""
        with self.lock:
            self.inside[side] += 1
            if self.inside[1 - side]:
                self.answers.put(("together", 0.0))

    def leave(self, side: int) -> None:
        with self.lock:
            self.inside[side] -= 1


def loads(dsn: str, seen: Seen, seed: int, count: int) -> None:
    """One process that loads again and again; one of ten loses its connection, and the process may die in the last."""
    chance = random.Random(seed)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for number in range(count):
            time.sleep(chance.random() * 0.3)
            asked = time.monotonic()
            with load_guard(
                lambda: psycopg.connect(dsn), f"{seed}.{number}", wait_seconds=WAIT, told=lambda *_: None
            ) as ended:
                seen.answers.put(("load", time.monotonic() - asked))
                seen.enter(0)
                conn.execute("INSERT INTO stock SELECT generate_series(1, 100); INSERT INTO orders SELECT 1")
                time.sleep(chance.random() * 0.1)
                conn.execute("UPDATE stock SET id = id + 1 WHERE id < 3")
                seen.leave(0)
                if chance.random() < 0.1:
                    name = f"wmigrate load {seed}.{number}"
                    conn.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
                    )
                    with suppress(ConnectionFailed):
                        ended()
                        seen.answers.put(("lost and not told", 0.0))
                elif number == count - 1 and seed % 2:
                    seen.answers.close()
                    seen.answers.join_thread()
                    os._exit(0)
                else:
                    ended()


def migrations(dsn: str, folder: Path, seen: Seen, seed: int, count: int) -> None:
    """One process that applies a migration and rolls it back, again and again."""
    chance, version = random.Random(seed), f"{seed % RUNNERS + 1:03}"
    asked = 0.0

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            seen.answers.put(("migration", time.monotonic() - asked))
            seen.enter(1)
        elif isinstance(event, Finished | Failed):
            seen.leave(1)

    migrator = Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("random"), on_event=listen)
    for number in range(count):
        time.sleep(chance.random() * 0.5)
        asked = time.monotonic()
        (migrator.roll_back if number % 2 else migrator.apply)(version)


def run(dsn: str, folder: Path, *, count: int, seed: int) -> dict[str, Any]:
    """Start so many loads and migrations, a third of them migrations.

    :return: how many of each began, the longest wait of each side in seconds, what went wrong, and deadlocks.
    """
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE stock (id int); CREATE TABLE orders (id int)")
        Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("random")).record("planned")
        context = multiprocessing.get_context("spawn")
        seen, each = Seen(context), count // 3 // RUNNERS
        shared = [
            context.Process(target=migrations, args=(dsn, folder, seen, seed * 100 + n, each)) for n in range(RUNNERS)
        ]
        rest = (count - each * RUNNERS) // LOADERS
        shared += [context.Process(target=loads, args=(dsn, seen, seed * 100 + n, rest)) for n in range(LOADERS)]
        for process in shared:
            process.start()
        told = Counter[str]()
        longest = {"load": 0.0, "migration": 0.0}
        while any(process.is_alive() for process in shared) or not seen.answers.empty():
            with suppress(Exception):
                what, waited = seen.answers.get(timeout=0.2)
                told[what] += 1
                longest[what] = max(longest.get(what, 0.0), waited)
        row = conn.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
        died = sum(process.exitcode != 0 for process in shared)
    return {"began": dict(told), "longest": longest, "failed": died, "deadlocks": row[0] if row else None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    begun = time.monotonic()
    with Cluster.temporary(settings={"max_connections": 100}) as cluster, tempfile.TemporaryDirectory() as folder:
        dsn = cluster.create_database("loads")
        found = run(dsn, Path(folder), count=given.count, seed=given.seed)
    print(
        f"{found['began'].get('load', 0)} loads and {found['began'].get('migration', 0)} migrations began, in", end=" "
    )
    print(f"{time.monotonic() - begun:.0f} s, seed {given.seed}")
    print(f"together: {found['began'].get('together', 0)}, deadlocks: {found['deadlocks']}, failed: {found['failed']}")
    print(
        f"longest wait of a load {found['longest']['load']:.1f} s, of a migration {found['longest']['migration']:.1f} s"
    )
    return int(bool(found["failed"] or found["deadlocks"] or found["began"].keys() - {"load", "migration"}))


if __name__ == "__main__":
    sys.exit(main())
