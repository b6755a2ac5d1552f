"""The yardstick: the least that applying SQL files with a ledger row each costs. No lock, no check, no audit.

python yardstick.py up|down|status DSN FOLDER [HOW_MANY]
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg

LEDGER = "CREATE TABLE IF NOT EXISTS ledger (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"


def main(verb: str, dsn: str, folder: str, how_many: str = "0") -> None:
    files = {f.name.split("_")[0]: f for f in sorted(Path(folder).glob("*.sql")) if ".rollback." not in f.name}
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(LEDGER)
        applied = {version for (version,) in conn.execute("SELECT version FROM ledger")}
        if verb == "up":
            for version, file in files.items():
                if version not in applied:
                    with conn.transaction():
                        conn.execute(file.read_bytes())
                        conn.execute("INSERT INTO ledger (version) VALUES (%s)", (version,))
        elif verb == "down":
            for version in sorted(applied, reverse=True)[: int(how_many)]:
                with conn.transaction():
                    conn.execute(files[version].with_suffix(".rollback.sql").read_bytes())
                    conn.execute("DELETE FROM ledger WHERE version = %s", (version,))
        else:
            for version in files:
                print(version, "applied" if version in applied else "pending")


main(*sys.argv[1:])
