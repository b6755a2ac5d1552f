"""Rollbacks are proven: on scratch databases each migration is applied, rolled back, compared, and applied again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore
from typing import Any

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, sql

from .catalog.row_sums import table_files, take_sums
from .catalog.sample_rows import Known, empty_again, fill
from .catalog.snapshot.taking import take
from .errors import ConnectionFailed, WMigrateError
from .folder.folder import Folder
from .folder.verdict_file import Grade
from .migrator import Migrator
from .model import Identity, Migration
from .plan.verdict import Seen, SeenApplied, Verdict, judge
from .session.connection import Connect
from .session.scratch import Scratch, beyond, not_here, scratch_server


def _beyond(migration: Migration) -> str:
    return beyond(script for script in (migration.script, migration.rollback) if script)


class Verification(Struct, frozen=True):
    """How a folder is verified.

    :param apart: the server on which it happens is there for nothing else, so that scripts may change what belongs to
        the whole server, such as roles; else those that may do so are not tried.
    :param on_verdict: told each verdict in the order of the folder, from the thread that called.
    :param on_left_behind: told the name of each database that a killed run had left, and that was dropped.
    :param samples: rows that were let in, for the next copy.
    """

    folder: Folder
    identity: Identity
    environment: str | None = None
    apart: bool = False
    on_verdict: Callable[[Verdict], None] = lambda verdict: None
    on_left_behind: Callable[[str], None] = lambda name: None
    samples: Known = {}

    def migrator(self, connect: Connect) -> Migrator:
        migrator = Migrator(connect, self.folder, identity=self.identity, environment=self.environment)
        migrator.on_scratch = True
        return migrator


class Verified(Struct, frozen=True):
    """What came of it, in the order of the folder."""

    verdicts: list[Verdict]
    postgresql: int
    """Major version of the server on which it was seen."""

    def unproven(self, accepted: Collection[str]) -> list[Verdict]:
        """:param accepted: the versions whose verdict a person has accepted."""
        return [each for each in self.verdicts if not each.grade.passes and each.version not in accepted]

    def document(self, accepted: Collection[str]) -> dict[str, Any]:
        """As programs get it."""
        verdicts = [{**each.as_dict(), "accepted": each.version in accepted} for each in self.verdicts]
        return {"proven": not self.unproven(accepted), "postgresql": self.postgresql, "verdicts": verdicts}


def verify(verification: Verification, server: Connect, *, only: Collection[str] = (), jobs: int = 1) -> Verified:
    """Prove the rollbacks of a folder's migrations, each on a copy of a database that has what comes before it.

    :param server: connects to any database of the server on which scratch databases are made. That one is not touched.
    :param only: versions in canonical form; empty: all.
    :param jobs: how many are proven at the same time.
    :raises WMigrateError: no scratch database can be made, or a connection is lost.
    """
    with scratch_server(server) as scratch:
        for name in scratch.left_behind:
            verification.on_left_behind(name)
        wanted = set(only) or {m.version for m in verification.folder.migrations}
        return Verified(_Stage(verification, scratch, wanted).run(jobs), scratch.postgresql)


def prove(verification: Verification, connect: Connect, migration: Migration) -> Verdict:
    """The verdict on one migration, in a database in which all that it needs is applied. It is applied in the end,
    unless something failed.

    :raises ConnectionFailed: the connection is lost.
    """
    given = partial(Verdict, migration.version, migration.name)
    migrator = verification.migrator(connect)
    with closing(connect()) as eye:
        eye.autocommit = True
        ledger = migrator.ledger.schema
        _stop_jobs(eye)
        unproven, filled = fill(eye, ledger, verification.samples)
        before = _look(eye, ledger)
        try:
            migrator.apply(migration.version)
        except ConnectionFailed:
            raise
        except WMigrateError as error:
            if not filled:
                return given(Grade.FAILS, reason=f"it cannot be applied: {error}")
            unproven |= dict.fromkeys(filled, "stays empty: the migration does not run over generated rows")
            if any(entry.version == migration.version for entry in migrator.read().entries):
                reason = f"it has run in part over generated rows: {error}"
                return given(Grade.NOT_TRIED, reason=reason)
            empty_again(eye, filled)
            before = _look(eye, ledger)
            with _failing("it cannot be applied") as failed:
                migrator.apply(migration.version)
            if failed:
                return given(Grade.FAILS, reason=failed[0])
        applied = SeenApplied(take(eye), table_files(eye, ledger))
        with _failing("it cannot be rolled back") as failed:
            migrator.roll_back(migration.version)
            back = _look(eye, ledger)
        if failed:
            return given(Grade.FAILS, reason=failed[0], unproven=unproven)
        with _failing("rolled back, it cannot be applied again") as failed:
            migrator.apply(migration.version)
        again = applied.schema if failed else take(eye)
        found = judge(migration, before, applied, back, again, unproven)
        if failed:
            return replace(found, grade=Grade.FAILS if found.grade is Grade.EXACT else found.grade, reason=failed[0])
        return found


@contextmanager
def _failing(what: str) -> Iterator[list[str]]:
    """Gives a list, which has the sentence afterwards if it failed."""
    failed: list[str] = []
    try:
        yield failed
    except ConnectionFailed:
        raise
    except WMigrateError as error:
        failed.append(f"{what}: {error}")


def _stop_jobs(conn: Connection[Any]) -> None:
    """TimescaleDB's would change rows between two looks. A role that is no superuser may not stop them."""
    for (schema,) in conn.execute(
        "SELECT n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        " WHERE p.proname = 'stop_background_workers' AND n.nspname LIKE '\\_timescaledb\\_%' ORDER BY 1 LIMIT 1"
    ).fetchall():
        with suppress(psycopg.Error):
            conn.execute(sql.SQL("SELECT {}.stop_background_workers()").format(sql.Identifier(schema)))


def _look(conn: Connection[Any], ledger: str) -> Seen:
    return Seen(take(conn), take_sums(conn, ledger))


class _Trials:
    """Those that run at the same time, each on its copy; in its end all have ended."""

    def __init__(self, verification: Verification, scratch: Scratch, jobs: int) -> None:
        self._verification, self._scratch = verification, scratch
        self._pool = ThreadPoolExecutor(jobs)
        self._room = BoundedSemaphore(jobs + 1)  # for one more copy than is worked on
        self._running: deque[Future[Verdict]] = deque()
        self.verdicts: list[Verdict] = []
        """In the order in which they were added."""

    def __enter__(self) -> _Trials:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self._scratch.end()  # after an error somebody still works there
            self._pool.shutdown(cancel_futures=True)

    def add(self, migration: Migration, known: Verdict | None, *, template: str) -> None:
        """:param known: the verdict, where it needs no trial."""
        trial: Future[Verdict] = Future()
        if known is not None:
            trial.set_result(known)
        else:
            self._room.acquire()
            copy = self._scratch.make(template=template)
            trial = self._pool.submit(self._try, copy, migration)
        self._running.append(trial)
        self._tell(wait=False)

    def _try(self, copy: str, migration: Migration) -> Verdict:
        try:
            connect = self._scratch.connect_to(copy)
            found = prove(self._verification, connect, migration)
            if _beyond(migration):  # what it has made would stay on the server
                with suppress(WMigrateError):
                    self._verification.migrator(connect).roll_back(migration.version)
            self._scratch.drop(copy)
            return found
        finally:
            self._room.release()

    def settle(self) -> None:
        """Wait until none runs."""
        self._tell(wait=True)

    def _tell(self, *, wait: bool) -> None:
        while self._running and (wait or self._running[0].done()):
            verdict = self._running.popleft().result()
            self.verdicts.append(verdict)
            self._verification.on_verdict(verdict)


@dataclass
class _Stage:
    """A database to which the migrations are applied one after another, and of which copies are made."""

    verification: Verification
    scratch: Scratch
    wanted: set[str]
    unusable: dict[str, str] = field(default_factory=dict)
    """Versions that are not applied in it, with the reason."""
    applied: list[str] = field(default_factory=list)

    def run(self, jobs: int) -> list[Verdict]:
        name = self.scratch.make()
        stage = self.verification.migrator(self.scratch.connect_to(name))
        planned = stage.plan()
        self.unusable = dict(planned.left_out)
        self.unusable |= {f.version: str(f) for f in planned.errors if f.version}
        graph = stage.graph
        last = max((graph.order.index(version) for version in self.wanted), default=-1)
        trials = _Trials(self.verification, self.scratch, jobs)
        with trials:
            for version in graph.order[: last + 1]:
                migration = stage.migrations[version]
                known, alone = self._known(migration), _beyond(migration)
                if alone:
                    trials.settle()
                if version in self.wanted:
                    trials.add(migration, known, template=name)
                if alone:
                    trials.settle()
                if version not in self.unusable and version != graph.order[last]:
                    self._apply(stage, migration)
            trials.settle()
            self._unwind(stage)
        return trials.verdicts

    def _unwind(self, stage: Migrator) -> None:
        """Take back what belongs to the whole server, and so would not go with the database."""
        first = next((n for n, v in enumerate(self.applied) if _beyond(stage.migrations[v])), len(self.applied))
        for version in reversed(self.applied[first:]):
            with suppress(WMigrateError):
                stage.roll_back(version)

    def _known(self, migration: Migration) -> Verdict | None:
        """What needs no trial."""
        given = partial(Verdict, migration.version, migration.name)
        lacking = next((parent for parent in migration.dependencies if parent in self.unusable), None)
        if lacking:
            self.unusable.setdefault(migration.version, f"it needs {lacking}, which is not applied here")
        if not self.verification.apart and (words := _beyond(migration)):
            self.unusable.setdefault(migration.version, not_here(words))
        if migration.version in self.unusable:
            return given(Grade.NOT_TRIED, reason=self.unusable[migration.version])
        if migration.rollback_supported is False:
            return given(Grade.IRREVERSIBLE)
        return None if migration.rollback else given(Grade.NO_ROLLBACK)

    def _apply(self, stage: Migrator, migration: Migration) -> None:
        with _failing("it cannot be applied") as failed:
            stage.apply(migration.version)
        if failed:
            self.unusable[migration.version] = failed[0]
        else:
            self.applied.append(migration.version)
