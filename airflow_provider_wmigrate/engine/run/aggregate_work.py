"""Around a statement that creates a continuous aggregate and then fills it: what a run that failed or died has left
without its data is dropped, so that the statement runs from its beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from airflow_provider_wmigrate.engine.catalog import aggregates
from airflow_provider_wmigrate.engine.errors import HistoryError, WMigrateError
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.journal import Effect
from airflow_provider_wmigrate.engine.session.session import Budget, Session
from airflow_provider_wmigrate.engine.sql.statements import Statement


@dataclass(frozen=True, slots=True)
class AggregateWork:
    """For one statement.

    :param retrying: runs a transaction, again if need be, and gives it its limits.
    :param note: tells what was done with the statement.
    """

    session: Session
    statement: Statement
    version: str
    file: str
    retrying: Callable[[Callable[[Budget], int]], int]
    note: Callable[[str], None]

    def there(self) -> bool:
        """Whether the statement, not begun yet, has nothing to do: behind IF NOT EXISTS somebody else's is there. It is
        not even sent, so that one that is found after a death is known to be the script's own."""
        found = aggregates.named(self.session.conn, self.statement)
        if found is None or not self.statement.node.if_not_exists:
            return False
        self.note(f"aggregate {found} was there before, {found.content}, and is left as it is")
        return True

    def has_run(self) -> bool:
        """After a death, whether it has run; what is there without its data is dropped.

        :raises HistoryError: something depends on it by now.
        """
        found = aggregates.named(self.session.conn, self.statement)
        if found is None or found.filled:
            return found is not None
        try:
            self._drop(found)
        except psycopg.errors.DependentObjectsStillExist as error:
            raise HistoryError([self._in_use(found, error)]) from error
        return False

    def failed(self) -> Effect:
        """What the statement left that has committed and then failed."""
        found = aggregates.named(self.session.conn, self.statement)
        if found is None:
            return Effect.NOTHING
        if found.filled:
            return Effect.RAN
        try:
            self._drop(found)
        except (psycopg.Error, WMigrateError):
            return Effect.UNFILLED
        return Effect.NOTHING

    def _drop(self, found: aggregates.Aggregate) -> None:
        """It keeps everybody out of the hypertable, so it waits for them as briefly as a transaction."""

        def attempt(budget: Budget) -> int:
            self.session.begin(budget)
            aggregates.drop(self.session.conn, found)
            self.session.commit()
            return 0

        self.retrying(attempt)
        self.note(f"dropped aggregate {found}, which was left {found.content}")

    def _in_use(self, found: aggregates.Aggregate, error: psycopg.Error) -> Finding:
        detail = (error.diag.message_detail or "").strip().replace("\n", ", ")
        return Finding(
            "aggregate_unfilled",
            f"aggregate {found} was left {found.content} by a run that died, and cannot be dropped: {detail}",
            f"fill it: CALL refresh_continuous_aggregate('{found}', NULL, NULL), then `wmigrate repair {self.version}"
            f" --ran`; or drop it with what depends on it, then `wmigrate repair {self.version} --again`",
            version=self.version,
            file=self.file,
            line=self.statement.line,
        )
