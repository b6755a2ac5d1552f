"""What a dry run did not try, run for good on a scratch database that has what the applied migrations make of it.

It shows that the script works on the schema that the folder makes. Nothing of it says how long it takes over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import RollbackFailed, StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import Listener, Noticed
from airflow_provider_wmigrate.engine.locks_taken import OnScratch
from airflow_provider_wmigrate.engine.model import Direction, Entry, Migration, Script, State, Status
from airflow_provider_wmigrate.engine.plan.statuses import status_of
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.engine.session.connection import Connect
from airflow_provider_wmigrate.engine.session.scratch import ScratchServer, scratch_database


class Runner(Protocol):
    """Runs migrations for good."""

    def apply_each(self, versions: Sequence[str], *, go_on: Callable[[], bool]) -> list[Record]: ...

    def roll_back_each(self, versions: Sequence[str]) -> list[Record]: ...


class ScratchTrial(Struct, frozen=True):
    """:param runner: makes one for a database.
    :param migrations: of the folder, by version.
    :param go_on: asked before each version; False: the rest is left.
    """

    server: ScratchServer
    runner: Callable[[Connect], Runner]
    migrations: Mapping[str, Migration]
    direction: Direction
    tell: Listener
    go_on: Callable[[], bool]

    def completed(self, records: Sequence[Record], read: Callable[[], State], order: Iterable[str]) -> list[Record]:
        """The records of a dry run, with what became here of the migrations that it did not try.

        :param read: reads the target's ledger. :param order: in which everything can be applied.
        """
        wanted = [record.version for record in records if record.outcome is Outcome.NOT_TRIED]
        steps = [record.version for record in records if record.outcome in (Outcome.NOT_TRIED, Outcome.DRY_RUN)]
        found = self._run(read().entries, order, steps, wanted) if wanted else {}
        for version, there in found.items():
            self.tell(Noticed(version, "NOTICE", str(there)))
        return [replace(record, on_scratch=found.get(record.version)) for record in records]

    def _run(
        self, entries: Iterable[Entry], order: Iterable[str], steps: Sequence[str], wanted: Collection[str]
    ) -> dict[str, OnScratch]:
        there = {entry.version: entry for entry in entries}
        before = [v for v in order if v in there and (self.direction == "rollback" or v not in steps)]
        reason = self._not_the_same(before, steps, there) or self.server.refusal(self._scripts(before, steps))
        if reason:
            return _untried(wanted, reason)
        try:
            with scratch_database(self.server.connect) as connect:
                runner = self.runner(connect)
                self._prepare(runner, before)
                last = max(at for at, version in enumerate(steps) if version in wanted)
                return self._each(runner, steps[: last + 1], wanted)
        except WMigrateError as error:
            return _untried(wanted, str(error))

    def _prepare(self, runner: Runner, before: Sequence[str]) -> None:
        try:
            if before:
                runner.apply_each(before, go_on=self.go_on)
        except WMigrateError as error:
            raise WMigrateError(f"the applied migrations cannot be applied to an empty database: {error}") from error

    def _not_the_same(self, before: Sequence[str], steps: Sequence[str], there: Mapping[str, Entry]) -> str | None:
        """Why the folder cannot make what the target has, or would run something else; None: it can."""
        for version in (*before, *steps):
            migration, entry = self.migrations.get(version), there.get(version)
            if migration is None:
                return f"there is no file of {version}"
            if entry is None or (self.direction == "apply" and entry.status == "incomplete"):
                continue
            status = status_of(migration, entry)
            if status is not Status.APPLIED:
                return f"{version} is {status.words}, so the folder does not make what the target has"
            undo = migration.rollback.checksum if migration.rollback else None
            if self.direction == "rollback" and version in steps and undo != entry.rollback_checksum:
                return f"the rollback script of {version} in the folder is not the one in the ledger"
        return None

    def _scripts(self, before: Iterable[str], steps: Iterable[str]) -> list[Script]:
        undone = [self.migrations[version].rollback for version in steps if self.direction == "rollback"]
        every = [*(self.migrations[version].script for version in (*before, *steps)), *undone]
        return [script for script in every if script]

    def _each(self, runner: Runner, steps: Sequence[str], wanted: Collection[str]) -> dict[str, OnScratch]:
        found: dict[str, OnScratch] = {}
        for version in steps:
            if not self.go_on():
                break
            try:
                if self.direction == "apply":
                    (record,) = runner.apply_each([version], go_on=self.go_on)
                else:
                    (record,) = runner.roll_back_each([version])
            except WMigrateError as error:
                left = [v for v in wanted if v not in found]
                found |= _untried(left, f"{version}, which comes before it, does not work there: {error}")
                if version in wanted:
                    failed = isinstance(error, (StatementFailed, RollbackFailed))
                    found[version] = OnScratch("failed" if failed else "not_tried", reason=str(error))
                break
            if version in wanted:
                found[version] = OnScratch("ran", record.duration_ms, record.rows, record.locks)
        return found


def _untried(versions: Iterable[str], reason: str) -> dict[str, OnScratch]:
    return {version: OnScratch("not_tried", reason=reason) for version in versions}
