"""A dry run of one version: what would have to run before it is found under the locks, and then all of it is tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.model import Entry, Migration, Status
from airflow_provider_wmigrate.engine.plan import planner, rollback
from airflow_provider_wmigrate.engine.plan.statuses import status_of
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.engine.session.session import Session

from .directions import Applying, Directed, RollingBack
from .dry_run import DryRun
from .job import Job


@dataclass(frozen=True, slots=True)
class Trial:
    """:param finished: told every record."""

    graph: Graph
    access: LedgerAccess
    finished: Callable[[Record], Record]

    def apply(self, applying: Applying, version: str, behind: Collection[str]) -> Record:
        """See `Migrator.apply`."""
        migration = applying.migrations[version]
        with self.access.open(f"apply {version}") as session:
            self.access.ensure(session, create=False)
            chain = self._pending_chain(applying, migration, behind, self.access.entries(session))
            running = [m.version for m in chain]
            locks = self.access.locks_of(running, {d for m in chain for d in m.dependencies})
            self.access.lock(session, locks, version)
            entries = self.access.entries(session)
            known = {e.version: e for e in entries}
            mine = known.get(version)
            if mine is not None and status_of(migration, mine) is Status.APPLIED:
                return self.finished(applying.nothing_done(version, Outcome.ALREADY_APPLIED, by=mine.identity))
            chain = self._pending_chain(applying, migration, behind, entries)
            refused = planner.refusals(migration, known, assume=[m.version for m in chain])
            jobs = [] if refused else [applying.job(m) for m in chain]
            refused = refused or applying.lacking(session, *jobs)
            if refused:
                applying.refuse(session, version, refused, dry_run=True)
            return self._try(session, applying, jobs, entries)

    def roll_back(self, back: RollingBack, version: str, behind: Collection[str]) -> Record:
        """See `Migrator.roll_back`."""
        with self.access.open(f"rollback {version}") as session:
            self.access.ensure(session, create=False)
            known = {*back.migrations, *(e.version for e in self.access.entries(session))}
            version = normalise_version(version, known, where="this folder or the ledger")
            chain = self._applied_chain(session, version, behind)
            if chain:
                self.access.lock(session, self.access.locks_of(chain), version)
                chain = self._applied_chain(session, version, behind)
            if not chain:
                return self.finished(back.not_applied(version))
            entries = {e.version: e for e in self.access.entries(session)}
            found = rollback.dependents(version, list(entries.values()), leaving=chain)
            try:
                jobs = [] if found else [back.job(entries[v], session) for v in chain]
            except HistoryError as error:
                found = error.findings
            if found:
                back.refuse(session, version, found, dry_run=True)
            return self._try(session, back, [job for job in jobs if job], list(entries.values()))

    def _pending_chain(
        self, applying: Applying, migration: Migration, behind: Collection[str], entries: Sequence[Entry]
    ) -> list[Migration]:
        there = {e.version for e in entries if (e.status, e.direction) != ("incomplete", "apply")}
        wanted = {migration.version, *(v for v in behind if v in applying.migrations)}
        needed = (self.graph.ancestors(wanted) | wanted) - (there - {migration.version})
        return [applying.migrations[v] for v in self.graph.order if v in needed]

    def _applied_chain(self, session: Session, version: str, behind: Collection[str]) -> tuple[str, ...]:
        entries = self.access.entries(session)
        known = {e.version for e in entries}
        return rollback.applied_chain([version, *behind], entries) if version in known else ()

    def _try(self, session: Session, directed: Directed, jobs: Sequence[Job], entries: Sequence[Entry]) -> Record:
        """Run the last job in a transaction that is rolled back, and before it the others."""
        refuse_standby(session.login.standby)
        begun = {e.version for e in entries if e.status == "incomplete" and e.direction == directed.direction}
        return self.finished(DryRun(directed.execution(session), frozenset(begun), self.finished).run(jobs))
