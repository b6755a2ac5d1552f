"""Where it happens: a server of its own, a database that the application uses, and a folder of migrations of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster
from dev.memory_room import memory_with_room

from .cases import SCHEMA, TABLE, Case

TABLES = ("a", "b", "c", "d", "e")
"""As the scripts take them; the application has them all."""


@dataclass(frozen=True, slots=True)
class World:
    dsn: str
    cluster: Cluster

    def migrator(
        self, place: Path, scripts: Mapping[str, Case], tables: tuple[str, ...], execution: Mapping[str, object]
    ) -> Migrator:
        """Of a folder with one migration for each script, which may be applied and rolled back alone, and with a ledger
        of its own.

        :param execution: keys of settings.execution.
        """
        place.mkdir(parents=True)
        own = {"ledger": {"schema": f"ledger_{place.name}"}, "execution": dict(execution)}
        migrations = []
        for number, (name, case) in enumerate(scripts.items(), 1):
            stem = f"{number:03d}_{re.sub('[^a-z0-9]+', '_', name)}"
            (place / f"{stem}.sql").write_text(case.script(tables))
            (place / f"{stem}.rollback.sql").write_text(case.rollback(tables))
            migrations.append({"version": f"{number:03d}", "dependencies": []})
        config = {"settings": own, "migrations": migrations}
        (place / "migration_config.yaml").write_text(yaml.safe_dump(config))
        return Migrator(lambda: psycopg.connect(self.dsn), read_folder(place), identity=Identity("bystanders"))

    def execute(self, text: str) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            cursor = conn.execute(text.encode())
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Gone with the block."""
    with Cluster.temporary(parent=memory_with_room()) as cluster:
        cluster.execute("CREATE DATABASE app")
        made = World(cluster.dsn("app"), cluster)
        with psycopg.connect(made.dsn, autocommit=True) as conn:
            for text in (*SCHEMA.split(";\n"), *(TABLE.replace("{t}", table) for table in TABLES)):
                conn.execute(text.encode())
        yield made
