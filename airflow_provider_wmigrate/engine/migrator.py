"""The one place that acts: lock, read, decide, run, record.

A transactional script, its ledger entry and its audit row commit together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .catalog.server import refuse_standby
from .errors import RollbackFailed, StatementFailed
from .folder.folder import normalise_version
from .ledger.kept import kept_places
from .model import Plan, Step
from .record import Record
from .recording_runs import RecordingRuns, WholeRun
from .run.directions import Applying, Directed
from .run.series import Series
from .session.session import Session

if TYPE_CHECKING:
    from .backup.backups import Backups
    from .backup.outside import Outside
    from .plan.backup_needs import Needs
    from .plan.proposal import Proposal
    from .record import Backup


class Migrator(RecordingRuns):
    """Applies and rolls back the migrations of one folder in one database; see `Planning` for what it is made of."""

    proposal: Proposal | None = None
    """What a person has approved: nothing else is applied. None: nobody is asked."""

    @cached_property
    def outside(self) -> Outside:
        """With what backups are made."""
        from .backup.outside import Outside

        return Outside()

    attempt: str | None = None
    """Head of the audit log with the row `planned` of this attempt; None: there is none, and so no backup of it."""
    needs_backups = True
    """Where `settings.backup` says so; False: a failure is undone."""

    @cached_property
    def _backups(self) -> Backups:
        from .backup.backups import Backups

        return Backups(self._access, self.settings, self._folder.path)

    def back_up(self, needs: Needs) -> Backup:
        """Make the backup of this attempt.

        :param needs: the migrations before which it is made; see `backup_needs`.
        :raises BackupFailed: there is none, or it cannot be shown to be whole. Nothing was touched.
        """
        return self._backups.make(needs, self.outside)

    def begin_attempt(self, plan: Plan, needs: Needs, details: dict[str, Any]) -> Backup | None:
        """Where backups are made: write the row `planned`, which says what needs one, and then make it.

        :param details: of the row.
        :raises BackupFailed: as `back_up`.
        """
        if not self.settings.backup.before(plan.direction):
            return None
        from .plan.backup_needs import as_planned

        details["backup"] = as_planned(needs, plan)
        self.attempt = self.record("planned", details=details)
        return self.back_up(needs) if needs else None

    def _refuse_without_backup(self, session: Session, direct: Directed, versions: Sequence[str]) -> None:
        """:raises HistoryError: one of them needs a backup that this attempt has not made; nothing was touched."""
        direction = direct.direction
        if self.on_scratch or not self.needs_backups or not self.settings.backup.before(direction):
            return
        from .plan.backup_needs import missing

        def fresh(unknown: Collection[str]) -> Needs:
            entries = {entry.version: entry for entry in self._access.entries(session)}
            done = {v for v, e in entries.items() if e.status == "applied"}
            left = [v for v in unknown if (v not in done if direction == "apply" else v in entries)]
            steps = tuple(Step(direction, v, "", "") for v in left)
            return self.backup_needs(Plan(direction, None, steps, {}), self.analyses.of)

        scripts = {v: self.migrations[v].script.checksum for v in versions} if direction == "apply" else {}
        lacking = self._backups.lacking(session, versions, scripts, self.attempt, fresh)
        if lacking:
            direct.refuse(session, lacking[0].version, tuple(map(missing, lacking)))

    def _keeping(self, session: Session) -> AbstractContextManager[None]:
        """Around what changes the schema, where drift is looked for."""
        if self.settings.drift == "ignore" or self.on_scratch:
            return nullcontext()
        from .run.schema_keeping import keeping

        return keeping(session, self._access)

    def apply(self, version: str, *, dry_run: bool = False) -> Record:
        """Apply one migration, or find under its lock that it is applied already.

        :param dry_run: see `try_each`.
        :raises HistoryError: the ledger contradicts the folder; nothing was touched.
        :raises OutsideWindow: the environment may not be changed now.
        :raises StatementFailed: the server refused a statement; the database is as before.
        :raises LockTimeout: another runner held the migration for too long.
        """
        version = normalise_version(version, self.migrations)
        return (self.try_each([version]) if dry_run else self.apply_each([version]))[-1]

    def apply_each(
        self,
        versions: Sequence[str],
        *,
        jobs: int = 1,
        whole: WholeRun | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[Record]:
        """Apply migrations one after another on one session. Each one is told as `Finished` when it cannot be lost any
        more, which may be a moment after the next one has begun.

        :param versions: in an order in which they can be applied.
        :param jobs: how many that do not need one another may run at the same time, each on a session of its own.
        :param whole: these are all that is left of a run.
        :param go_on: asked before each; False: the rest is left.
        :raises WMigrateError: as for `apply`; those before the one that failed are applied.
        """
        self._allow(dry_run=False, direction="apply")
        versions = [normalise_version(version, self.migrations) for version in versions]
        with self._access.open(f"apply {versions[0]}" if versions else "apply") as session:
            refuse_standby(session.login.standby)
            self._access.ensure(session)
            self._refuse_without_backup(session, self._directed(Applying), versions)
            with self._keeping(session), self._whole(session, whole, versions) as records:
                if jobs == 1:
                    records += Series(session, self._applying(), versions, go_on).run()
                else:
                    records += self._side_by_side(versions, jobs, go_on)
            return records

    def _side_by_side(self, versions: Sequence[str], jobs: int, go_on: Callable[[], bool]) -> list[Record]:
        from .run.parallel import Parallel

        parents = {version: self.migrations[version].dependencies for version in versions}
        return Parallel(versions, parents, jobs, lambda: self._access.open("apply"), self._apply_alone, go_on).run()

    def _apply_alone(self, session: Session, version: str) -> list[Record]:
        """On a session that has run others, beside other sessions."""
        records = Series(session, self._applying(), [version]).run()
        with self._access.reaching(session):
            session.locks.release_all()  # or whoever needs this version would wait
        return records

    def roll_back(self, version: str, *, dry_run: bool = False) -> Record:
        """Roll back one applied migration with its rollback script.

        :raises HistoryError: an applied migration depends on it, or there is no rollback script.
        :raises RollbackFailed: the script failed; the database is as before.
        """
        return (self.try_each([version], "rollback") if dry_run else self.roll_back_each([version]))[-1]

    def roll_back_each(
        self,
        versions: Sequence[str],
        *,
        only_incomplete: bool = False,
        whole: WholeRun | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[Record]:
        """Roll back migrations one after another on one session; see `apply_each`.

        :param only_incomplete: leave one that somebody has finished meanwhile; its record says `already_applied`.
        :param whole: as for `apply_each`.
        :raises RollbackFailed: as for `roll_back`; those before the one that failed are rolled back.
        """
        self._allow(dry_run=False, direction="rollback")
        with self._access.open(f"rollback {versions[0]}" if versions else "rollback") as session:
            there = self._access.ensure(session, create=False)
            known: Collection[str] = self.migrations
            if there and not self.migrations.keys() >= set(versions):  # somebody typed it, or its file is gone
                known = {*known, *(e.version for e in self._access.entries(session))}
            versions = [normalise_version(v, known, where="this folder or the ledger") for v in versions]
            if not there:
                return [self._finished(self._back().not_applied(version)) for version in versions]
            refuse_standby(session.login.standby)
            self._refuse_without_backup(session, self._back(), versions)
            try:
                keeping = frozenset(place.rpartition("_")[0] + "_" for place in kept_places(session.conn))
                back = replace(self._back(), only_incomplete=only_incomplete, keeping=keeping)
                with self._keeping(session), self._whole(session, whole, versions) as records:
                    records += Series(session, back, versions, go_on).run()
                return records
            except StatementFailed as error:
                raise RollbackFailed(error.version, error) from error

    def cancel(self) -> None:
        super().cancel()
        if "_backups" in vars(self):
            self._backups.cancel()

    def _applying(self) -> Applying:
        return replace(self._directed(Applying), proposal=self.proposal)
