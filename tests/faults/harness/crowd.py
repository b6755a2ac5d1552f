"""Several runners at once on the same small folder, in a database that has not even a ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger

from .arena import LIMIT, Arena
from .picture import Picture, differences, left_behind, take

VERSIONS = ("001", "002", "003")
FILES = {
    "001_base.sql": "CREATE TABLE t (id int, v int);\nINSERT INTO t SELECT n, n FROM generate_series(1, 100) n;\n",
    "002_index.sql": "UPDATE t SET v = v + 1;\nCREATE INDEX CONCURRENTLY t_v ON t (v);\nUPDATE t SET v = v + 1;\n",
    "003_more.sql": "ALTER TABLE t ADD COLUMN w int DEFAULT 1;\nUPDATE t SET v = v + 1;\n",
    "migration_config.yaml": "migrations:\n  - {version: '003', dependencies: ['001']}\n",
}


def crowd(arena: Arena, folder: Path, runners: int) -> list[str]:
    """One run of so many runners. Returns what is wrong."""
    wrong: list[str] = []
    with arena.database("template0") as database:
        runs = [
            arena.zygote.start(
                dsn=arena.direct(database), folder=str(folder), verb="apply", version=" ".join(VERSIONS), name=f"r{i}",
                wait_at=["ready"], sabotage=arena.sabotage,
            )
            for i in range(runners)
        ]  # fmt: skip
        try:
            for run in runs:
                run.until("ready", LIMIT)
            for run in runs:
                run.go()
            ends = [run.end(LIMIT) for run in runs]
        except TimeoutError:
            return ["hang"]
        finally:
            for run in runs:
                run.close()
        counted = Counter(end.get("outcome") or f"{end['error']}: {end['message']}" if end else "died" for end in ends)
        outcomes = Counter(word for end in ends if end for word in (end.get("outcome") or "failed").split())
        expected = {"applied": 3, "already_applied": 3 * (runners - 1)}
        if outcomes != {k: v for k, v in expected.items() if v}:
            return [f"outcomes {dict(counted)}"]
        with arena.conn(database) as conn:
            found = take(conn)
            wrong += map(str, Ledger().verify(conn))
            events = dict(conn.execute("SELECT event, count(*) FROM wmigrate.audit_log GROUP BY 1").fetchall())
            if events != {"ledger_created": 1, "started": 1, "applied": 3}:
                wrong.append(f"audit {events}")
            rows = conn.execute("SELECT sum(v - id), count(*), sum(w) FROM t").fetchone()
            if rows != (300, 100, 100):
                wrong.append(f"data {rows}")
            wrong += left_behind(conn)
            if not wrong:
                wrong += differences(_wanted.setdefault("picture", found), found)
    return wrong


_wanted: dict[str, Picture] = {}
"""What the first run left that had the right outcomes, audit log and data."""


def write_folder(place: Path) -> Path:
    folder = place / "crowd"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder
