"""Writes tests/postgres/ledgers/v<N>.sql: the ledger of the current version, with rows, as this program leaves it.

Run once for each ledger version, before the first release that has it: `python -m dev.freeze_ledger`. What is there
stays: an older file is how an older program really left its ledger. Needs a PostgreSQL with pg_dump.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster

LEDGERS = Path(__file__).resolve().parents[1] / "tests" / "postgres" / "ledgers"
FILES = {
    "001_shop.sql": "CREATE TABLE shop (id int PRIMARY KEY, name text);",
    "001_shop.rollback.sql": "DROP TABLE shop;",
    "002_price.sql": "ALTER TABLE shop ADD price int;",
    "002_price.rollback.sql": "ALTER TABLE shop DROP price;",
    "003_index.sql": "CREATE INDEX CONCURRENTLY shop_price ON shop (price);\n"
    "CREATE INDEX CONCURRENTLY shop_nope ON shop (nope);",
    "003_index.rollback.sql": "DROP INDEX CONCURRENTLY IF EXISTS shop_price;",
    "004_view.sql": "CREATE VIEW dear AS SELECT * FROM shop WHERE price > 2;",
    "004_view.rollback.sql": "DROP VIEW dear;",
    "migration_config.yaml": "settings: {drift: warn}\n"
    "migrations:\n"
    "  - {version: '002', dependencies: ['001']}\n"
    "  - {version: '003', dependencies: ['002'], on_failure: none}\n"
    "  - {version: '004', dependencies: ['002']}\n",
}
"""001, 002 and 004 are applied, 004 for the second time, and 003 is incomplete: its second statement is wrong.
What they made is kept as the known schema."""
WHO = Identity("ann", dag_id="warehouse", run_id="manual__1", task_id="migrate.002_price", try_number=2)


def fill(dsn: str, folder: Path) -> None:
    """Make a ledger that has a row of every sort."""
    migrator = Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=WHO)
    migrator.record("planned", details={"direction": "apply", "steps": sorted(migrator.migrations)})
    for version in ("001", "002", "004"):
        migrator.apply(version)
    migrator.roll_back("004", dry_run=True)
    migrator.roll_back("004")
    migrator.apply("004")
    with suppress(WMigrateError):
        migrator.apply("003")
    migrator.record_success()


def main() -> int:
    target = LEDGERS / f"v{LEDGER_VERSION}.sql"
    if target.exists() and "--again" not in sys.argv:
        print(f"{target.name} is there; a released version is never frozen again (--again, before its release)")
        return 1
    with Cluster.temporary() as cluster, tempfile.TemporaryDirectory() as scratch:
        for name, text in FILES.items():
            Path(scratch, name).write_text(text)
        fill(cluster.dsn(), Path(scratch))
        dump = cluster.run("pg_dump", "--inserts", "--no-owner", "--no-privileges", "--dbname", cluster.dsn())
    dump.check_returncode()
    target.write_text(_plain(dump.stdout))
    print(f"wrote {target.name}")
    return 0


def _plain(dump: str) -> str:
    """Without comments, psql's own commands, and settings that only newer servers know."""
    unwanted = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
    lines = [line.rstrip() for line in dump.splitlines() if not line.startswith(unwanted)]
    return "\n".join(line for i, line in enumerate(lines) if line or (i and lines[i - 1])).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
