"""The one place that acts: lock, read, decide, run, record.

A transactional script, its ledger entry and its audit row commit together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from .catalog.extensions import preflight
from .catalog.server import refuse_standby
from .errors import (
    HistoryError,
    RollbackFailed,
    StatementFailed,
    UnknownVersion,
    WMigrateError,
)
from .events import Finished
from .folder.folder import normalise_version
from .ledger.metadata import system_values
from .model import Direction, Entry, Finding, Identity, Migration, Script, Status
from .plan import planner, rollback
from .plan.statuses import statuses
from .planning import Planning
from .record import Outcome, Record
from .run.dry_run import DryRun
from .run.execution import Execution
from .run.job import Job
from .session.session import Session
from .sql.analysis import analyse


class Migrator(Planning):
    """Applies and rolls back the migrations of one folder in one database; see `Planning` for what it is made of."""

    def record(self, event: str, *, version: str | None = None, details: dict[str, Any] | None = None) -> str:
        """Append one row to the audit log, creating the ledger if there is none. Returns the new head."""
        with self._access.open(event) as session, self._access.reaching(session):
            refuse_standby(session.conn)
            self._access.ensure(session)
            with session.transaction(confirmed=False):
                return self.ledger.append(session.conn, event, self._identity, version=version, details=details)

    def record_success(self, *, reported: dict[str, Any] | None = None) -> str | None:
        """Write what application_metadata keeps of a run in which nothing failed.

        :param reported: what the run's report says of it, for a row of the audit log; None: no row.
        :return: the new head of the audit log; None: no row was written.
        """
        with self._access.open("report") as session, self._access.reaching(session):
            refuse_standby(session.conn)
            self._access.ensure(session)
            with session.transaction(confirmed=False):
                row = session.conn.execute("SELECT pg_catalog.now()").fetchone()
                last = {"last_successful_run": row[0].isoformat() if row else ""}
                self.ledger.set_metadata(session.conn, {**system_values(self._folder), **last})
                if reported is None:
                    return None
                return self.ledger.append(session.conn, "reported", self._identity, details=reported)

    def apply(self, version: str, *, dry_run: bool = False, behind: Collection[str] = ()) -> Record:
        """Apply one migration, or find under its lock that it is applied already.

        A dry run executes the pending migrations it needs and then this one, all in one transaction, and rolls back.

        :param behind: versions in canonical form that a dry run executes before it too, as the plan would.
        :raises HistoryError: the ledger contradicts the folder; nothing was touched.
        :raises StatementFailed: the server refused a statement; the database is as before.
        :raises LockTimeout: another runner held the migration for too long.
        """
        version = normalise_version(version, self.migrations)
        migration = self.migrations[version]
        self._allow(dry_run=dry_run, direction="apply")
        with self._access.open(f"apply {version}") as session:
            self._access.ensure(session, create=not dry_run)
            chain = self._pending_chain(migration, behind, self._access.entries(session)) if dry_run else [migration]
            self._access.lock(session, chain, migration.version)
            entries = self._access.entries(session)
            mine = _only(version, entries)
            if statuses([migration], mine)[version] is Status.APPLIED:
                return self._nothing_done(migration, Outcome.ALREADY_APPLIED, by=mine[0].identity)
            chain = self._pending_chain(migration, behind, entries) if dry_run else [migration]
            refused = planner.refusals(migration, entries, assume=[m.version for m in chain])
            self._refuse(session, migration, refused, dry_run=dry_run)
            jobs = [Job(m, analyse(m.script), m.transactional, m.repeatable) for m in chain]
            self._refuse(session, migration, self._lacking(session, jobs), dry_run=dry_run)
            return self._act(session, "apply", jobs, entries, dry_run=dry_run)

    def roll_back(self, version: str, *, dry_run: bool = False, behind: Collection[str] = ()) -> Record:
        """Roll back one applied migration with its rollback script.

        A dry run first rolls back, in the same transaction, whatever applied migration depends on it.

        :param behind: as for `apply`.
        :raises HistoryError: an applied migration depends on it, or there is no rollback script.
        :raises RollbackFailed: the script failed; the database is as before.
        """
        self._allow(dry_run=dry_run, direction="rollback")
        with self._access.open(f"rollback {version}") as session:
            self._access.ensure(session, create=False)
            known = {*self.migrations, *(e.version for e in self._access.entries(session))}
            version = normalise_version(version, known, where="this folder or the ledger")
            chain = self._applied_chain(session, version, behind, dry_run)
            if not chain:
                return self._not_applied(version)
            self._access.lock_versions(session, chain, (), version)
            chain = self._applied_chain(session, version, behind, dry_run)
            if not chain:
                return self._not_applied(version)
            entries = {e.version: e for e in self._access.entries(session)}
            found = rollback.dependents(version, list(entries.values()), leaving=chain)
            self._refuse(session, self._stand_in(entries[version]), found, dry_run=dry_run)
            jobs = [self._rollback_job(session, entries[v]) for v in chain]
            try:
                return self._act(session, "rollback", jobs, list(entries.values()), dry_run=dry_run)
            except StatementFailed as error:
                if dry_run:  # no rollback was to be
                    raise
                raise RollbackFailed(version, error) from error

    def cancel(self) -> None:
        """Cancel on the server whatever this migrator is doing. Safe in a signal handler."""
        self._access.cancel()

    # Deciding under the lock

    def _pending_chain(
        self, migration: Migration, behind: Collection[str], entries: Sequence[Entry]
    ) -> list[Migration]:
        there = {e.version for e in entries if (e.status, e.direction) != ("incomplete", "apply")}
        wanted = {migration.version, *(v for v in behind if v in self.migrations)}
        needed = (self.graph.ancestors(wanted) | wanted) - (there - {migration.version})
        return [self.migrations[v] for v in self.graph.order if v in needed]

    def _applied_chain(self, session: Session, version: str, behind: Collection[str], dry_run: bool) -> tuple[str, ...]:
        entries = self._access.entries(session)
        if not _only(version, entries):
            return ()
        return rollback.applied_chain([version, *behind], entries) if dry_run else (version,)

    def _rollback_job(self, session: Session, entry: Entry) -> Job:
        migration = self.migrations.get(entry.version)
        source = rollback.rollback_of(migration, entry)
        script = migration.rollback if source == "folder" and migration else None
        if source == "ledger":
            try:
                script = self.ledger.rollback_script(session.conn, entry)
            except HistoryError as error:
                self._refuse(session, self._stand_in(entry), error.findings)
        if script is None:
            raise HistoryError([rollback.no_rollback(migration, entry)])
        stand_in = self._stand_in(entry)
        return Job(stand_in, analyse(script), stand_in.rollback_transactional, stand_in.rollback_repeatable)

    def _stand_in(self, entry: Entry) -> Migration:
        """The folder's migration, or for one whose file is gone what the ledger still knows of it."""
        known = self.migrations.get(entry.version)
        return known or Migration(
            entry.version,
            entry.name,
            Script(f"{entry.version}_{entry.name}.sql", "", entry.checksum),
            dependencies=entry.dependencies,
        )

    # Acting and refusing

    def _act(
        self, session: Session, direction: Direction, jobs: Sequence[Job], entries: Sequence[Entry], *, dry_run: bool
    ) -> Record:
        """Run the last job; the ones before it are what a dry run has to do first."""
        refuse_standby(session.conn)
        execution = Execution(
            session,
            self.ledger,
            self.settings.execution,
            self._identity,
            direction,
            self._tell,
            self._connect,
            self.settings.logging.include_sql,
        )
        unfinished = {e.version: e for e in entries if e.status == "incomplete" and e.direction == direction}
        if dry_run:
            return self._finished(DryRun(execution, frozenset(unfinished), self._finished).run(jobs))
        job = jobs[-1]
        version = job.migration.version
        if version in unfinished or job.by_statement:
            entry = next((e for e in entries if e.version == version), None)
            return self._finished(execution.by_statement(job, unfinished.get(version), entry))
        return self._finished(execution.in_one_transaction(job))

    def _lacking(self, session: Session, jobs: Sequence[Job]) -> tuple[Finding, ...]:
        """The extensions once more: the plan may be old, or there was none."""
        with self._access.reaching(session):
            return preflight(session.conn, [(job.migration, job.analysis) for job in jobs])

    def _refuse(
        self, session: Session, migration: Migration, found: Sequence[Finding], *, dry_run: bool = False
    ) -> None:
        if not found:
            return
        error = HistoryError(found)
        with suppress(WMigrateError, psycopg.Error):
            details = {"findings": [f.code for f in found], "error": str(error), "dry_run": dry_run}
            with session.transaction(confirmed=False):
                head = self.ledger.append(
                    session.conn, "refused", self._identity, version=migration.version, details=details
                )
            error.audit_head = head
        raise error

    def _finished(self, record: Record) -> Record:
        self._tell(Finished(record))
        return record

    def _not_applied(self, version: str) -> Record:
        if version not in self.migrations:
            raise UnknownVersion(version, self.migrations, where="this folder or the ledger")
        return self._nothing_done(self.migrations[version], Outcome.NOT_APPLIED)

    def _nothing_done(self, migration: Migration, outcome: Outcome, *, by: Identity | None = None) -> Record:
        """`by`: who had done it before."""
        checksum = migration.script.checksum
        return self._finished(Record(migration.version, migration.name, outcome, checksum, by or self._identity))

    def _allow(self, *, dry_run: bool, direction: Direction) -> None:
        self._folder.refuse_if_wrong()
        execution = self.settings.execution
        if dry_run and not execution.dry_run_enabled:
            raise WMigrateError("dry runs are switched off", hint="settings.execution.dry_run_enabled is false")
        if direction == "rollback" and not execution.rollback_enabled:
            raise WMigrateError("rollbacks are switched off", hint="settings.execution.rollback_enabled is false")


def _only(version: str, entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e.version == version]
