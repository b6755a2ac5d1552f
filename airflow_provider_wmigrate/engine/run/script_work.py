"""Work on one script, and on one statement of it outside a transaction: the session, and who tells and records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.session.session import Budget, Session
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .execution import Execution
from .job import Job


@dataclass(slots=True)
class ScriptWork:
    """On the script of a job."""

    execution: Execution
    job: Job

    @property
    def session(self) -> Session:
        return self.execution.session

    @property
    def analysis(self) -> Analysis:
        return self.job.analysis


@dataclass(slots=True)
class AtStatement(ScriptWork):
    """:param index: number of the statement, from 0."""

    index: int

    @property
    def statement(self) -> Statement:
        return self.analysis.statements[self.index]

    def note(self, said: str) -> None:
        """Tell what was done with the statement."""
        self.execution.stepped(self.job, self.index, self.index + 1, said)

    def in_transaction(self, act: Callable[[], None]) -> None:
        """Do what keeps everybody out of a table: so it waits for them as briefly as a script in a transaction."""

        def attempt(_: int, budget: Budget) -> None:
            self.session.begin(budget)
            act()
            self.session.commit()

        self.execution.retrying(self.job, attempt)
