"""Around one statement outside a transaction: what makes its way free, and what shows whether it has run."""

from __future__ import annotations

import psycopg

from airflow_provider_wmigrate.engine.catalog import probe
from airflow_provider_wmigrate.engine.catalog.aggregates import filled_in_steps
from airflow_provider_wmigrate.engine.catalog.timescale_calls import put_in_columnstore
from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.plan.journal import Effect
from airflow_provider_wmigrate.engine.sql.no_transaction import first_in_session

from .aggregate_work import AggregateWork
from .index_work import IndexWork
from .script_work import AtStatement


class StatementWork(AtStatement):
    @property
    def _index(self) -> IndexWork:
        return IndexWork(self.execution, self.job, self.index)

    @property
    def _aggregate(self) -> AggregateWork:
        return AggregateWork(self.execution, self.job, self.index)

    def has_run(self) -> bool | None:
        """Whether it has run, which was begun; None: only a person can tell."""
        if self.statement.kind == "index_stmt" and self.statement.outside:
            return self._index.prepare(begun=True)
        if filled_in_steps(self.statement):
            return self._aggregate.has_run()
        if chunk := probe.half_done(self.session.conn, self.statement):
            put_in_columnstore(self.session.conn, chunk)
            self.note("put its chunk into the columnstore again, which it had left outside")
        return probe.ran(self.session.conn, self.statement)

    def cleared(self) -> bool:
        """Take away or finish what an earlier try of it left half done; True: with that it has run."""
        if self._index.prepare():
            return True
        if filled_in_steps(self.statement):
            return self._aggregate.there()
        finished = probe.finish_detaching(self.session.conn, self.statement)
        if finished:
            self.note("finished the detaching, which had been left half done")
        return finished

    def built(self) -> bool:
        """See `IndexWork`."""
        return self._index.built()

    def effect(self, before: int | None, error: StatementFailed) -> Effect:
        """What it left when it failed outside a transaction: it may have committed on its way.

        :param before: the session's transaction number just before it.
        """
        if error.sqlstate and first_in_session(self.statement.kind, self.statement.node):
            return Effect.NOTHING  # it ran on another session, in one transaction
        try:
            if probe.at_most_one_between(before, probe.transaction_number(self.session.conn)):
                return Effect.NOTHING
            if filled_in_steps(self.statement):
                return self._aggregate.failed()
            if probe.half_done(self.session.conn, self.statement):
                return Effect.LOST  # the next run puts an end to it
            ran = probe.ran(self.session.conn, self.statement)
        except psycopg.Error:
            return Effect.LOST
        if ran is None:
            return Effect.REPEATABLE if self.job.repeatable else Effect.OPEN
        return Effect.RAN if ran else Effect.REPEATABLE

    def invalid(self) -> StatementFailed:
        """Its index cannot be used."""
        return StatementFailed(
            self.job.version,
            self.job.file,
            f"index {self.statement.node.idxname} exists but is invalid",
            outcome=journal.outcome(self.index, Effect.REPEATABLE),
            line=self.statement.line,
            statement=self.analysis.excerpt(self.statement),
            retryable=True,
        )
