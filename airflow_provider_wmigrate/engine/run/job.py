"""A migration together with the script of it that is to run."""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_wmigrate.engine.model import Migration, Transactional
from airflow_provider_wmigrate.engine.plan.journal import runs_by_statement
from airflow_provider_wmigrate.engine.sql.script import Analysis


class Job(NamedTuple):
    """A migration and the script of it that is to run."""

    migration: Migration
    analysis: Analysis
    transactional: Transactional
    repeatable: bool = False
    """Whether a statement that may have run in part can simply be run again."""

    @property
    def by_statement(self) -> bool:
        return runs_by_statement(self.analysis, self.transactional)
