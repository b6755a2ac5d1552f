"""Around one statement outside a transaction: what makes its way free, and what shows whether it has run."""

from __future__ import annotations

import psycopg
from msgspec import Struct

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


class StatementWork(Struct, frozen=True):
    at: AtStatement

    def has_run(self) -> bool | None:
        """Whether it has run, which was begun; None: only a person can tell."""
        if self.at.statement.kind == "index_stmt" and self.at.statement.outside:
            return IndexWork(self.at).prepare(begun=True)
        if filled_in_steps(self.at.statement):
            return AggregateWork(self.at).has_run()
        if chunk := probe.half_done(self.at.session.conn, self.at.statement):
            put_in_columnstore(self.at.session.conn, chunk)
            self.at.note("put its chunk into the columnstore again, which it had left outside")
        return probe.ran(self.at.session.conn, self.at.statement)

    def cleared(self) -> bool:
        """Take away or finish what an earlier try of it left half done; True: with that it has run."""
        if IndexWork(self.at).prepare():
            return True
        if filled_in_steps(self.at.statement):
            return AggregateWork(self.at).there()
        finished = probe.finish_detaching(self.at.session.conn, self.at.statement)
        if finished:
            self.at.note("finished the detaching, which had been left half done")
        return finished

    def built(self) -> bool:
        """See `IndexWork`."""
        return IndexWork(self.at).built()

    def effect(self, before: int | None, error: StatementFailed) -> Effect:
        """What it left when it failed outside a transaction: it may have committed on its way.

        :param before: the session's transaction number just before it.
        """
        if error.sqlstate and first_in_session(self.at.statement.kind, self.at.statement.node):
            return Effect.NOTHING  # it ran on another session, in one transaction
        try:
            if probe.at_most_one_between(before, probe.transaction_number(self.at.session.conn)):
                return Effect.NOTHING
            if filled_in_steps(self.at.statement):
                return AggregateWork(self.at).failed()
            if probe.half_done(self.at.session.conn, self.at.statement):
                return Effect.LOST  # the next run puts an end to it
            ran = probe.ran(self.at.session.conn, self.at.statement)
        except psycopg.Error:
            return Effect.LOST
        if ran is None:
            return Effect.REPEATABLE if self.at.job.repeatable else Effect.OPEN
        return Effect.RAN if ran else Effect.REPEATABLE

    def invalid(self) -> StatementFailed:
        """Its index cannot be used."""
        return StatementFailed(
            self.at.job.version,
            self.at.job.file,
            f"index {self.at.statement.node.idxname} exists but is invalid",
            outcome=journal.outcome(self.at.index, Effect.REPEATABLE),
            line=self.at.statement.line,
            statement=self.at.analysis.excerpt(self.at.statement),
            retryable=True,
        )
