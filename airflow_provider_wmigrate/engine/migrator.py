"""The one place that acts: lock, read, decide, run, record.

A transactional script, its ledger entry and its audit row commit together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
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
from .events import Finished, Listener, Waiting
from .folder.folder import Folder, normalise_version, version_that_stays
from .folder.graph import Graph
from .ledger.ledger import Ledger
from .ledger.metadata import system_values
from .ledger.reach import reaching_the_ledger
from .model import Direction, Entry, Finding, Identity, Migration, Plan, Script, State, Status
from .plan import planner, rollback
from .plan.overview import Overview, overview
from .plan.statuses import statuses
from .record import Outcome, Record
from .run.dry_run import DryRun
from .run.execution import Execution
from .run.job import Job
from .session.advisory import AdvisoryLock, ledger_lock, version_lock
from .session.session import Connect, Session, open_session
from .sql.script import analyse


def _ignore(_: object) -> None:
    return None


class Migrator:
    """Applies and rolls back the migrations of one folder in one database.

    :param connect: opens a new psycopg connection to the target; called once per call and migration.
    :param folder: the folder, already read.
    :param identity: who acts, for the ledger.
    :param environment: name of an environment of the config, or None.
    :param on_event: told every event, in the thread that called.
    """

    def __init__(
        self,
        connect: Connect,
        folder: Folder,
        *,
        identity: Identity,
        environment: str | None = None,
        on_event: Listener = _ignore,
    ) -> None:
        self.settings = folder.config.settings_for(environment)
        self.ledger = Ledger(self.settings.ledger.schema_name)
        self.graph: Graph = folder.graph
        self.migrations = {m.version: m for m in folder.under(self.settings)}
        self._folder = folder
        self._connect, self._identity, self._tell = connect, identity, on_event
        self._session: Session | None = None

    # Reading and planning

    def read(self) -> State:
        """What the database remembers. Changes nothing, creates nothing."""
        with self._open("read") as session, self._reaching(session):
            return self.ledger.state(session.conn)

    def head(self) -> str | None:
        """`count:hash` of the audit log's last row, read from the database; None: it has no ledger."""
        with self._open("read") as session, self._reaching(session):
            return self.ledger.head(session.conn)

    def plan(self, *, to: str | None = None, known_head: str | None = None) -> Plan:
        """What `apply` would have to do.

        :param known_head: head of the audit log as it was last seen, kept outside the database; a log that is not
            that one continued is a finding.
        """
        return self.overview(to=to, known_head=known_head).plan

    def overview(self, *, to: str | None = None, known_head: str | None = None) -> Overview:
        """Where every migration stands, with the plan of what `apply` would have to do.

        :param known_head: as for `plan`.
        """
        target = normalise_version(to, self.migrations) if to else None
        late = self.settings.execution.late_migrations
        state, found = self._read_and_compare(known_head)
        made = overview(list(self.migrations.values()), self.graph, state, to=target, late=late)
        return replace(made, plan=_with(found, made.plan))

    def plan_rollback(self, *, to: str | None, known_head: str | None = None) -> Plan:
        """What must be rolled back to leave nothing above version `to`; None or `nothing` means everything.

        :param known_head: as for `plan`.
        """
        state, found = self._read_and_compare(known_head)
        target = version_that_stays(to, self._known(state))
        return _with(found, rollback.plan_rollback(list(self.migrations.values()), state, to=target))

    def plan_rollback_of(self, version: str, *, known_head: str | None = None) -> Plan:
        """What rolling back this one migration alone means, and what stands in its way.

        :param known_head: as for `plan`.
        """
        state, found = self._read_and_compare(known_head)
        version = normalise_version(version, self._known(state), where="this folder or the ledger")
        return _with(found, rollback.plan_rollback_of(list(self.migrations.values()), state, version))

    def _known(self, state: State) -> set[str]:
        return {*self.migrations, *(e.version for e in state.entries)}

    def _read_and_compare(self, known_head: str | None) -> tuple[State, tuple[Finding, ...]]:
        with self._open("read") as session, self._reaching(session):
            found = self.ledger.continues(session.conn, known_head) if known_head else None
            state = self.ledger.state(session.conn)
            lacking = self.ledger.lacking_rights(session.conn, state.ledger_version)
            return state, (*((found,) if found else ()), *lacking)

    def record(self, event: str, *, version: str | None = None, details: dict[str, Any] | None = None) -> str:
        """Append one row to the audit log, creating the ledger if there is none. Returns the new head."""
        with self._open(event) as session, self._reaching(session):
            refuse_standby(session.conn)
            self._ensure_ledger(session)
            with session.transaction(confirmed=False):
                return self.ledger.append(session.conn, event, self._identity, version=version, details=details)

    def record_success(self, *, reported: dict[str, Any] | None = None) -> str | None:
        """Write what application_metadata keeps of a run in which nothing failed.

        :param reported: what the run's report says of it, for a row of the audit log; None: no row.
        :return: the new head of the audit log; None: no row was written.
        """
        with self._open("report") as session, self._reaching(session):
            refuse_standby(session.conn)
            self._ensure_ledger(session)
            with session.transaction(confirmed=False):
                row = session.conn.execute("SELECT pg_catalog.now()").fetchone()
                last = {"last_successful_run": row[0].isoformat() if row else ""}
                self.ledger.set_metadata(session.conn, {**system_values(self._folder), **last})
                if reported is None:
                    return None
                return self.ledger.append(session.conn, "reported", self._identity, details=reported)

    # Acting

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
        with self._open(f"apply {version}") as session:
            self._ensure_ledger(session, create=not dry_run)
            chain = self._pending_chain(migration, behind, self._entries(session)) if dry_run else [migration]
            self._lock(session, chain, migration.version)
            entries = self._entries(session)
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
        with self._open(f"rollback {version}") as session:
            self._ensure_ledger(session, create=False)
            known = {*self.migrations, *(e.version for e in self._entries(session))}
            version = normalise_version(version, known, where="this folder or the ledger")
            chain = self._applied_chain(session, version, behind, dry_run)
            if not chain:
                return self._not_applied(version)
            self._lock_versions(session, chain, (), version)
            chain = self._applied_chain(session, version, behind, dry_run)
            if not chain:
                return self._not_applied(version)
            entries = {e.version: e for e in self._entries(session)}
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
        if self._session is not None:
            self._session.interruption.cancel()

    # Deciding under the lock

    def _pending_chain(
        self, migration: Migration, behind: Collection[str], entries: Sequence[Entry]
    ) -> list[Migration]:
        there = {e.version for e in entries if (e.status, e.direction) != ("incomplete", "apply")}
        wanted = {migration.version, *(v for v in behind if v in self.migrations)}
        needed = (self.graph.ancestors(wanted) | wanted) - (there - {migration.version})
        return [self.migrations[v] for v in self.graph.order if v in needed]

    def _applied_chain(self, session: Session, version: str, behind: Collection[str], dry_run: bool) -> tuple[str, ...]:
        entries = self._entries(session)
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
        with self._reaching(session):
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

    # Connections, locks, settings

    @contextmanager
    def _open(self, what: str) -> Iterator[Session]:
        with open_session(self._connect, application_name=self._name(what)) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None

    def _reaching(self, session: Session) -> AbstractContextManager[None]:
        return reaching_the_ledger(self.ledger, session.conn)

    def _name(self, what: str) -> str:
        run = self._identity.run_id
        return f"wmigrate {what}" + (f" {run}" if run else "")

    def _ensure_ledger(self, session: Session, *, create: bool = True) -> None:
        """Make the ledger where there is none, and bring an older one to the current version."""
        with self._reaching(session):
            version = self.ledger.version(session.conn)
            if version == self.ledger.newest_version or (version is None and not create):
                return
            refuse_standby(session.conn)
            lock = ledger_lock(self.ledger.schema)
            self._acquire(session, [lock], None, "the ledger's lock")
            version = self.ledger.version(session.conn)
            with session.transaction(confirmed=False):
                self.ledger.make_current(session.conn, self._identity, version)
            session.locks.release(lock)

    def _lock(self, session: Session, chain: Sequence[Migration], version: str) -> None:
        running = [m.version for m in chain] or [version]
        needed = {d for m in chain for d in m.dependencies} - set(running)
        self._lock_versions(session, running, sorted(needed), version)

    def _lock_versions(self, session: Session, mine: Sequence[str], needed: Sequence[str], version: str) -> None:
        """Exclusive on what is run, shared on what it needs: so nothing it needs is rolled back meanwhile."""
        schema = self.ledger.schema
        locks = [ledger_lock(schema, shared=True)]
        locks += [version_lock(schema, v) for v in mine]
        locks += [version_lock(schema, v, shared=True) for v in needed]
        self._acquire(session, locks, version, "the lock of this migration")

    def _acquire(self, session: Session, locks: Sequence[AdvisoryLock], version: str | None, what: str) -> None:
        with self._reaching(session):
            session.locks.acquire(
                locks,
                wait_seconds=self.settings.execution.lock_wait_seconds,
                on_wait=lambda waited, holders: self._tell(Waiting(version, what, waited, holders)),
            )

    def _entries(self, session: Session) -> tuple[Entry, ...]:
        with self._reaching(session):
            if self.ledger.version(session.conn) is None:
                return ()
            return self.ledger.entries(session.conn)

    def _allow(self, *, dry_run: bool, direction: Direction) -> None:
        self._folder.refuse_if_wrong()
        execution = self.settings.execution
        if dry_run and not execution.dry_run_enabled:
            raise WMigrateError("dry runs are switched off", hint="settings.execution.dry_run_enabled is false")
        if direction == "rollback" and not execution.rollback_enabled:
            raise WMigrateError("rollbacks are switched off", hint="settings.execution.rollback_enabled is false")


def _with(found: Sequence[Finding], plan: Plan) -> Plan:
    """The plan with what was found before it; rights that are missing matter only where there is something to do."""
    findings = [f for f in found if plan.steps or f.code != "ledger_rights"]
    return replace(plan, findings=(*findings, *plan.findings))


def _only(version: str, entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e.version == version]
