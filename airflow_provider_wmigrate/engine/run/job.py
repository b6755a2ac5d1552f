"""A migration together with the script of it that is to run."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.model import Migration, Transactional
from airflow_provider_wmigrate.engine.plan.journal import runs_by_statement
from airflow_provider_wmigrate.engine.plan.lock_order import locks_first
from airflow_provider_wmigrate.engine.plan.lock_touching import touches_existing
from airflow_provider_wmigrate.engine.plan.rollback import RollbackSource
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.session.settings import Budget
from airflow_provider_wmigrate.engine.sql.script import Analysis


class Job(Struct, frozen=True):
    migration: Migration
    analysis: Analysis
    transactional: Transactional
    repeatable: bool = False
    """Whether a statement that may have run in part can simply be run again."""
    source: RollbackSource | None = None
    """Of a rollback script: where it was read."""
    kept: tuple[Kept, ...] = ()
    """Of a rollback: what it gives back."""

    @property
    def version(self) -> str:
        return self.migration.version

    @property
    def file(self) -> str:
        return self.analysis.script.file

    @property
    def by_statement(self) -> bool:
        return runs_by_statement(self.analysis, self.transactional)

    def locks_first(self, settings: Execution) -> bool:
        """Whether its transaction takes its locks before its first statement."""
        return locks_first(self.migration, self.analysis, settings)

    def foresees(self, settings: Execution) -> bool:
        """Whether it is worth to ask what its locks are."""
        return self.locks_first(settings) and (
            touches_existing(self.analysis) or bool(self.migration.locks or self.kept)
        )

    def total(self, settings: Execution) -> float:
        """Seconds that it may take."""
        return self.migration.timeout_seconds or settings.timeout_seconds

    def bystander_limit(self, settings: Execution) -> float | None:
        """Seconds that others may wait because of it; None: as long as it takes."""
        return self.migration.max_bystander_wait_seconds or settings.max_bystander_wait_seconds

    def budget(self, settings: Execution, *, lock: float | None = None, attempt: int = 1) -> Budget:
        """The limits of one try. A lock is waited for longer with each.

        :param lock: seconds, where they are not those of the settings.
        """
        first = self.migration.lock_timeout_seconds or settings.lock_timeout_seconds
        risen = min(first * 2 ** (attempt - 1), max(first, settings.lock_timeout_max_seconds))
        return Budget(self.total(settings), settings.statement_timeout_seconds, lock or risen)
