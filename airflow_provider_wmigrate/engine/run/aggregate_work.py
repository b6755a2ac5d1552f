"""Around a statement that creates a continuous aggregate and then fills it: what a run that failed or died has left
without its data is dropped, so that the statement runs from its beginning."""

from __future__ import annotations

import psycopg
from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog import aggregates
from airflow_provider_wmigrate.engine.errors import HistoryError, WMigrateError
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.journal import Effect

from .script_work import AtStatement


class AggregateWork(Struct, frozen=True):
    at: AtStatement

    def there(self) -> bool:
        """Whether the statement, not begun yet, has nothing to do: behind IF NOT EXISTS somebody else's is there. It is
        not even sent, so that one that is found after a death is known to be the script's own."""
        found = aggregates.named(self.at.session.conn, self.at.statement)
        if found is None or not self.at.statement.node.if_not_exists:
            return False
        self.at.note(f"aggregate {found} was there before, {found.content}, and is left as it is")
        return True

    def has_run(self) -> bool:
        """After a death, whether it has run; what is there without its data is dropped.

        :raises HistoryError: something depends on it by now.
        """
        found = aggregates.named(self.at.session.conn, self.at.statement)
        if found is None or found.filled:
            return found is not None
        try:
            self._drop(found)
        except psycopg.errors.DependentObjectsStillExist as error:
            raise HistoryError([self._in_use(found, error)]) from error
        return False

    def failed(self) -> Effect:
        """What the statement left that has committed and then failed."""
        found = aggregates.named(self.at.session.conn, self.at.statement)
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
        self.at.in_transaction(lambda: aggregates.drop(self.at.session.conn, found))
        self.at.note(f"dropped aggregate {found}, which was left {found.content}")

    def _in_use(self, found: aggregates.Aggregate, error: psycopg.Error) -> Finding:
        detail, version = (error.diag.message_detail or "").strip().replace("\n", ", "), self.at.job.version
        return Finding(
            "aggregate_unfilled",
            f"aggregate {found} was left {found.content} by a run that died, and cannot be dropped: {detail}",
            f"fill it: CALL refresh_continuous_aggregate('{found}', NULL, NULL), then `wmigrate repair {version}"
            f" --ran`; or drop it with what depends on it, then `wmigrate repair {version} --again`",
            version=version,
            file=self.at.job.file,
            line=self.at.statement.line,
        )
