"""A dry run: what has to run before the wanted versions is found under the locks, and then all of it is tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

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


class Trial(Struct, frozen=True):
    """:param finished: told every record."""

    graph: Graph
    access: LedgerAccess
    finished: Callable[[Record], Record]

    def run(self, directed: Applying | RollingBack, versions: Sequence[str]) -> list[Record]:
        """See `Migrator.try_each`."""
        return (
            self._apply(directed, versions) if isinstance(directed, Applying) else self._roll_back(directed, versions)
        )

    def _apply(self, applying: Applying, versions: Sequence[str]) -> list[Record]:
        with self.access.open(f"apply {versions[-1]}") as session:
            self.access.ensure(session, create=False)
            chain = self._pending_chain(applying, versions, self.access.entries(session))
            running = [m.version for m in chain]
            locks = self.access.locks_of(running, {d for m in chain for d in m.dependencies})
            self.access.lock(session, locks, versions[-1])
            entries = self.access.entries(session)
            known = {e.version: e for e in entries}
            done, left = list[Record](), list[str]()
            for version in versions:
                mine = known.get(version)
                if mine is not None and status_of(applying.migrations[version], mine) is Status.APPLIED:
                    was = applying.nothing_done(version, Outcome.ALREADY_APPLIED, by=mine.identity)
                    done.append(self.finished(was))
                else:
                    left.append(version)
            if not left:
                return done
            chain = self._pending_chain(applying, left, entries)
            assumed = [m.version for m in chain]
            found = [planner.refusals(applying.migrations[v], known, assume=assumed) for v in left]
            refused = tuple(finding for each in found for finding in each)
            jobs = [] if refused else [applying.job(m) for m in chain]
            refused = refused or applying.lacking(session, *jobs)
            if refused:
                applying.refuse(session, left[-1], refused, dry_run=True)
            return [*done, *self._try(session, applying, jobs, left, entries)]

    def _roll_back(self, back: RollingBack, versions: Sequence[str]) -> list[Record]:
        with self.access.open(f"rollback {versions[-1]}") as session:
            self.access.ensure(session, create=False)
            known = {*back.migrations, *(e.version for e in self.access.entries(session))}
            versions = [normalise_version(v, known, where="this folder or the ledger") for v in versions]
            chain = rollback.applied_chain(versions, self.access.entries(session))
            if chain:
                self.access.lock(session, self.access.locks_of(chain), versions[-1])
            entries = {e.version: e for e in self.access.entries(session)}
            done = [self.finished(back.not_applied(version)) for version in versions if version not in entries]
            left = [version for version in versions if version in entries]
            if not left:
                return done
            chain = rollback.applied_chain(left, list(entries.values()))
            try:
                jobs = [back.job(entries[v], session) for v in chain]
            except HistoryError as error:
                back.refuse(session, left[-1], tuple(error.findings), dry_run=True)
            return [*done, *self._try(session, back, [job for job in jobs if job], left, list(entries.values()))]

    def _pending_chain(self, applying: Applying, versions: Sequence[str], entries: Sequence[Entry]) -> list[Migration]:
        there = {e.version for e in entries if (e.status, e.direction) != ("incomplete", "apply")}
        wanted = {*versions}
        needed = (self.graph.ancestors(wanted) | wanted) - (there - wanted)
        return [applying.migrations[v] for v in self.graph.order if v in needed]

    def _try(
        self,
        session: Session,
        directed: Directed,
        jobs: Sequence[Job],
        wanted: Collection[str],
        entries: Sequence[Entry],
    ) -> list[Record]:
        """Run the wanted jobs, and those that they need, in one transaction that is rolled back."""
        refuse_standby(session.login.standby)
        begun = {e.version for e in entries if e.status == "incomplete" and e.direction == directed.direction}
        execution = directed.execution(session)
        records = DryRun(execution, wanted, frozenset(begun), self.finished).run(jobs)
        self.finished(records[-1])
        return records
