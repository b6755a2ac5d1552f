"""One backup: written under another name, listed by pg_restore, and only then given its own name."""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict

from airflow_provider_wmigrate.engine.errors import BackupFailed
from airflow_provider_wmigrate.engine.events import BackingUp, Listener
from airflow_provider_wmigrate.engine.folder.config.settings import Backup as BackupSettings
from airflow_provider_wmigrate.engine.plan.backup_needs import Needs
from airflow_provider_wmigrate.engine.record import Backup

from .outside import Snapshot
from .programs import Login, Programs, login_of
from .stores import Store, files_of

_FIRST_TOLD, _LONGEST_SILENCE = 2.0, 60.0
"""Seconds between two words about a backup that lasts: twice as long each time."""

_TIMESCALEDB = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb')"


class Target(Struct, frozen=True):
    """What a backup is made of, and how a program gets there."""

    login: Login
    database: str
    relations: tuple[str, ...]
    """Quoted as in SQL; empty: all of it."""

    @classmethod
    def of(cls, conn: psycopg.Connection[Any], settings: BackupSettings, needs: Needs) -> Target:
        """As `settings.backup_scope` asks. Where nobody can see which relations they are, it is all of it; so it is
        with TimescaleDB, whose rows are in tables that no name leads to."""
        relations: set[str] = set()
        each = [need.relations for need in needs.values()]
        (timescaledb,) = conn.execute(_TIMESCALEDB).fetchone() or (True,)
        if settings.backup_scope == "relations" and all(each) and not timescaledb:
            relations = {name for names in each for name in names or ()}
        return cls(login_of(conn), conn.info.dbname, tuple(sorted(relations)))


@dataclass
class Making:
    """:param tell: hears how far it is.
    :param wait_seconds: how long pg_dump waits for a lock on a table.
    """

    settings: BackupSettings
    programs: Programs
    tell: Listener
    wait_seconds: float

    def by_pg_dump(self, target: Target, store: Store, needs: Needs) -> Backup:
        """:raises BackupFailed: it could not be made or listed, or not be put where it is kept.
        :raises WMigrateError: a program failed.
        """
        dump, listing = self.programs.find("pg_dump"), self.programs.find("pg_restore")
        began, kind = time.monotonic(), "directory" if self.settings.backup_jobs > 1 else "custom"
        name = new_name(target.database, "" if kind == "directory" else ".dump")
        with store.writing(name) as work:
            self._dump(dump, target, work, kind, name)
            listed = self.programs.run([listing, "--list", str(work)])
            if target.relations and not _entries(listed):
                raise BackupFailed(f"pg_restore lists nothing in {name}, so it is no backup")
            size, digest = sum(file.stat().st_size for file in files_of(work)), digest_of(work)
            place = store.keep(work, name)
        return Backup(
            name,
            "pg_dump",
            place,
            "relations" if target.relations else "database",
            _versions(needs),
            target.relations,
            "directory" if kind == "directory" else "custom",
            size,
            digest,
            round(time.monotonic() - began, 3),
        )

    def _dump(self, program: str, target: Target, work: Path, kind: str, name: str) -> None:
        what = [f"--table={relation}" for relation in target.relations]
        how = [f"--format={kind}", f"--file={work}", "--no-password"]
        how += [f"--lock-wait-timeout={round(self.wait_seconds * 1000)}"]
        how += [f"--jobs={self.settings.backup_jobs}"] if kind == "directory" else []
        tick = _Telling(self.tell, name, lambda: _size(work))
        tick.tell()
        more = {"PGAPPNAME": "wmigrate backup", **({"PGCLIENTENCODING": "UTF8"} if what else {})}  # that of their names
        self.programs.run([program, *how, *what], target.login, more=more, tick=tick)

    def by_command(self, target: Target, command: str, needs: Needs) -> Backup:
        """:raises BackupFailed: it says nothing of what it has made.
        :raises WMigrateError: it failed.
        """
        try:
            words, where = shlex.split(command), conninfo_to_dict(target.login.dsn)
        except ValueError as error:
            raise BackupFailed(f"snapshot_command cannot be read: {error}", hint="correct its quotes") from error
        names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
        more = {variable: str(where[key]) for variable, key in names.items() if key in where}

        def run(name: str, needs: Needs) -> str:
            tick = _Telling(self.tell, name, lambda: 0)
            tick.tell()
            printed = self.programs.run(
                [self.programs.find(words[0]), *words[1:]], more={**more, "WMIGRATE_BACKUP": name}, tick=tick
            )
            return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")

        return self.by_snapshot(target, run, needs)

    def by_snapshot(self, target: Target, snapshot: Snapshot, needs: Needs) -> Backup:
        """:raises BackupFailed: nobody says what it has made."""
        began, name = time.monotonic(), new_name(target.database, "")
        place = snapshot(name, needs)
        if not place or not isinstance(place, str):
            hint = "let it print, or return, the identifier of the snapshot"
            raise BackupFailed("the snapshot does not say what it has made", hint=hint)
        seconds = round(time.monotonic() - began, 3)
        return Backup(name, "snapshot", place, "database", _versions(needs), seconds=seconds)


def _versions(needs: Needs) -> dict[str, str]:
    return {version: need.checksum for version, need in needs.items()}


def new_name(database: str, ending: str) -> str:
    """No two are the same, whoever makes them at the same time."""
    plain = re.sub("[^A-Za-z0-9_-]+", "-", database)
    return f"wmigrate-{plain}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}{ending}"


def _entries(listed: str) -> list[str]:
    return [line for line in listed.splitlines() if line and not line.startswith(";")]


def digest_of(path: Path) -> str:
    """As `Backup.sha256`."""
    if path.is_dir():
        lines = (f"{digest_of(file)}  {file.relative_to(path)}\n" for file in files_of(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _size(work: Path) -> int:
    if not work.exists():
        return 0
    return sum(file.stat().st_size for file in files_of(work))


class _Telling:
    """Says now and then how far a backup is."""

    def __init__(self, tell: Listener, name: str, written: Callable[[], int]) -> None:
        self._tell, self._name, self._written = tell, name, written
        self._began, self._pause = time.monotonic(), _FIRST_TOLD
        self._next = self._began + self._pause

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self._pause = min(2 * self._pause, _LONGEST_SILENCE)
            self._next = time.monotonic() + self._pause
            self.tell()

    def tell(self) -> None:
        self._tell(BackingUp(self._name, time.monotonic() - self._began, self._written()))
