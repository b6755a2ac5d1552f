"""The two directions: what is to be done with one version, decided by the ledger's entries under its lock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import psycopg
from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.extensions import preflight
from airflow_provider_wmigrate.engine.errors import HistoryError, UnknownVersion, WMigrateError
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.kept import kept_of, kept_places, place_of
from airflow_provider_wmigrate.engine.model import (
    CHECKSUM_ALGORITHM,
    Direction,
    Entry,
    Finding,
    Identity,
    Migration,
    Script,
    Status,
)
from airflow_provider_wmigrate.engine.plan import planner, rollback
from airflow_provider_wmigrate.engine.plan.statuses import status_of
from airflow_provider_wmigrate.engine.record import Kept, Outcome, Record
from airflow_provider_wmigrate.engine.session.advisory import MIGRATIONS, AdvisoryLock
from airflow_provider_wmigrate.engine.session.session import Session
from airflow_provider_wmigrate.engine.sql.analysis import Analyses
from airflow_provider_wmigrate.engine.sql.script import Analysis

from .execution import Execution
from .gate import Gate
from .job import Job

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.plan.proposal import Proposal

LARGE = 1_000_000
"""Bytes of a script."""


class Decided(Struct, frozen=True):
    """A script to run; or nothing, since it is done; or why it may not be done. None of them: the ledger has to be
    asked for its script."""

    job: Job | None = None
    done: Record | None = None
    refused: tuple[Finding, ...] = ()
    entry: Entry | None = None
    """The version's entry as it is."""
    unfinished: bool = False
    """The entry is of an earlier try in the same direction."""

    @property
    def in_one_transaction(self) -> bool:
        return self.job is not None and not (self.refused or self.unfinished or self.job.by_statement)


@dataclass
class Directed(ABC):
    """What both directions share.

    :param migrations: of the folder, by version.
    :param gate: what has to be passed before one begins.
    """

    migrations: Mapping[str, Migration]
    access: LedgerAccess
    settings: Settings
    analyses: Analyses
    gate: Gate

    direction: ClassVar[Direction]

    def seen(self, versions: Iterable[str]) -> set[str] | None:
        """The versions whose entries count for these; None: all of them, since any may depend on them."""
        return None

    @abstractmethod
    def decide(self, version: str, entries: Mapping[str, Entry], session: Session | None) -> Decided:
        """What is to be done with one version.

        :param session: may be asked for a stored script; None: not now.
        """

    def locks(self, version: str) -> list[AdvisoryLock]:
        """The advisory locks under which it is done."""
        return [*self.access.locks_of([version], self.needs(version)), *([MIGRATIONS] if self.gate.guard else [])]

    def needs(self, version: str) -> Sequence[str]:
        """The versions that have to stay as they are meanwhile."""
        return ()

    def takes(self, version: str) -> float | None:
        """Seconds that it should take, if anybody said so."""
        return None

    def check(self, version: str) -> dict[str, Any] | None:
        """See `Gate.check`."""
        return self.gate.check(version, self.takes(version))

    def entry_after(self, job: Job, record: Record) -> Entry | None:
        """The entry that the version has when this is done; None: none is left."""
        return None

    def execution(self, session: Session) -> Execution:
        """What runs a script."""
        return Execution(
            session,
            self.access.ledger,
            self.settings.execution,
            self.access.identity,
            self.direction,
            self.access.tell,
            self.access.connect,
            self.settings.logging.include_sql,
        )

    def analysed(self, script: Script) -> Analysis:
        """A script as the grammar sees it, kept until it has run."""
        return self.analyses.of(script, soon=True)

    def prepare(self, version: str) -> None:
        """Parse a script before its turn, as long as nobody waits for a lock meanwhile. Not a large one, which would
        have to be kept."""
        script = self.script(version)
        if script is not None and script.size <= LARGE:
            with suppress(WMigrateError):  # told in its turn
                self.analysed(script)

    def is_prepared(self, version: str) -> bool:
        """Whether a decision about it costs no parsing."""
        script = self.script(version)
        return script is not None and self.analyses.has(script)

    @abstractmethod
    def script(self, version: str) -> Script | None:
        """The folder's, that would be run; None: it has none."""

    def lacking(self, session: Session, *jobs: Job) -> tuple[Finding, ...]:
        """Why they may not be run, found under their locks. The extensions once more: the plan may be old, or there was
        none."""
        with self.access.reaching(session):
            return preflight(session.conn, [(job.migration, job.analysis) for job in jobs])

    def refuse(self, session: Session, version: str, found: tuple[Finding, ...], *, dry_run: bool = False) -> NoReturn:
        """Write it into the audit log, where that is possible, and raise it.

        :raises HistoryError: always.
        """
        error = HistoryError(found)
        with suppress(WMigrateError, psycopg.Error):
            details = {"findings": [f.code for f in found], "error": str(error), "dry_run": dry_run}
            with session.transaction(confirmed=False):
                error.audit_head = self.access.append(session, "refused", details, version)
        raise error

    def nothing_done(self, version: str, outcome: Outcome, *, by: Identity | None = None) -> Record:
        """:param by: who had done it before."""
        return Record.of(self.migrations[version], outcome, by or self.access.identity)


@dataclass
class Applying(Directed):
    """From the folder to the database.

    :param proposal: what a person has approved: nothing else is applied. None: nobody is asked.
    """

    proposal: Proposal | None = None
    direction: ClassVar[Direction] = "apply"

    def seen(self, versions: Iterable[str]) -> set[str] | None:
        """Themselves, what they need, and what they stand for."""
        wanted = set(versions)
        mine = [self.migrations[version] for version in wanted]
        squashed = {version for migration in mine for version, _ in migration.squashes}
        return wanted | squashed | {needed for migration in mine for needed in migration.dependencies}

    def decide(self, version: str, entries: Mapping[str, Entry], session: Session | None) -> Decided:
        migration, entry = self.migrations[version], entries.get(version)
        if entry is not None and status_of(migration, entry) is Status.APPLIED:
            return Decided(done=self.nothing_done(version, Outcome.ALREADY_APPLIED, by=entry.identity), entry=entry)
        refused = planner.refusals(migration, entries)
        return Decided(self.job(migration), refused=refused, entry=entry, unfinished=entry is not None)

    def job(self, migration: Migration) -> Job:
        """Its script."""
        return Job(migration, self.analysed(migration.script), migration.transactional, migration.repeatable)

    def script(self, version: str) -> Script | None:
        return self.migrations[version].script

    def takes(self, version: str) -> float | None:
        return self.migrations[version].estimated_duration_seconds

    def needs(self, version: str) -> Sequence[str]:
        return self.migrations[version].dependencies

    def lacking(self, session: Session, *jobs: Job) -> tuple[Finding, ...]:
        """And what cannot be kept, as the script shows it; and what is not as a person has approved it."""
        unkept: list[Finding] = []
        for job in jobs:
            if job.migration.keep:
                from airflow_provider_wmigrate.engine.plan.keep_rules import keep_findings  # few keep anything

                unkept += keep_findings(job.migration, job.analysis)
        found = (*unkept, *super().lacking(session, *jobs))
        if found or self.proposal is None:
            return found
        from .approved import not_as_approved  # most runs need no approval

        edited = self.proposal.of_folder(self.migrations, self.settings, jobs[-1].version)
        return not_as_approved(session, self.access, self.proposal, edited)

    def entry_after(self, job: Job, record: Record) -> Entry | None:
        """As the ledger has it now, but for the time."""
        migration, total = job.migration, len(job.analysis.statements)
        rollback_script = migration.rollback
        return Entry(
            migration.version,
            migration.name,
            "applied",
            migration.script.checksum,
            CHECKSUM_ALGORITHM,
            migration.dependencies,
            rollback_script.checksum if rollback_script else None,
            datetime.now(timezone.utc),
            record.duration_ms,
            total,
            total,
            (),
            self.access.identity,
        )


@dataclass
class RollingBack(Directed):
    """From the ledger back.

    :param only_incomplete: one that is applied by now is left as it is.
    :param choice: as for `rollback_of`.
    """

    only_incomplete: bool = False
    choice: rollback.RollbackSource | None = None
    keeping: frozenset[str] = frozenset()
    """Of versions of which something is kept, how the names of its places begin."""
    direction: ClassVar[Direction] = "rollback"

    def decide(self, version: str, entries: Mapping[str, Entry], session: Session | None) -> Decided:
        entry = entries.get(version)
        if entry is None:
            return Decided(done=self.not_applied(version))
        if self.only_incomplete and entry.status == "applied":
            return Decided(done=self.nothing_done(version, Outcome.ALREADY_APPLIED, by=entry.identity), entry=entry)
        found = rollback.dependents(version, list(entries.values()))
        try:
            job = self.job(entry, session)
        except HistoryError as error:
            return Decided(refused=error.findings, entry=entry)
        unfinished = (entry.status, entry.direction) == ("incomplete", "rollback")
        return Decided(job, refused=found, entry=entry, unfinished=unfinished)

    def job(self, entry: Entry, session: Session | None) -> Job | None:
        """Its rollback script; None: the ledger has it, and it is not to be asked now.

        :raises HistoryError: there is none that may be run, or it is not the one that was stored.
        """
        migration = self.migrations.get(entry.version)
        refused = rollback.refusal(migration, entry, self.choice)
        if refused is not None:
            raise HistoryError([refused])
        source = rollback.rollback_of(migration, entry, self.choice)
        script = migration.rollback if source == "folder" and migration else None
        if source == "ledger":
            if session is None:
                return None
            script = self.access.ledger.rollback_script(session.conn, entry)
        if script is None:
            raise HistoryError([rollback.no_rollback(migration, entry)])
        known, kept = migration or rollback.stand_in(entry), tuple[Kept, ...]()
        if session is not None:
            kept = self._kept(session, known, script)
        elif known.keep or place_of(entry.version) in self.keeping:
            return None
        return Job(known, self.analysed(script), known.rollback_transactional, known.rollback_repeatable, source, kept)

    def _kept(self, session: Session, migration: Migration, script: Script) -> tuple[Kept, ...]:
        """What the rollback gives back.

        :raises HistoryError: it is not there any more, or the script does not run in one transaction.
        """
        there, begin = kept_places(session.conn), place_of(migration.version)
        if not (migration.keep or any(place.startswith(begin) for place in there)):
            return ()
        from airflow_provider_wmigrate.engine.plan.giving_back import kept_gone
        from airflow_provider_wmigrate.engine.plan.keep_rules import keep_findings_of_rollback

        all_kept = kept_of(session.conn, self.access.ledger.schema, migration.version)
        kept = tuple(each for each in all_kept if each.place in there)
        found = [*kept_gone(migration, all_kept, there)]
        found += keep_findings_of_rollback(migration, self.analysed(script)) if kept else ()
        if found:
            raise HistoryError(found)
        return kept

    def not_applied(self, version: str) -> Record:
        """What is told of one that is not applied.

        :raises UnknownVersion: nobody knows it.
        """
        if version not in self.migrations:
            raise UnknownVersion(version, self.migrations, where="this folder or the ledger")
        return self.nothing_done(version, Outcome.NOT_APPLIED)

    def script(self, version: str) -> Script | None:
        return self.migrations[version].rollback if version in self.migrations else None
