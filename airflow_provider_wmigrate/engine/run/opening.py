"""The beginning of a migration in one message: the session as a new one is, the transaction, the migration's advisory
locks, its limits, and a look at the ledger's head, which shows whether anybody has changed the ledger since.

It goes to the server alone, or behind the commit of the migration before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from psycopg import Connection

from airflow_provider_wmigrate.engine.catalog import relations_sql
from airflow_provider_wmigrate.engine.catalog.locks import names_query, relation_names
from airflow_provider_wmigrate.engine.catalog.relations import relation_facts, relations_message, relations_query
from airflow_provider_wmigrate.engine.catalog.relations_wanted import Wanted
from airflow_provider_wmigrate.engine.ledger.last_dry_run import learnt_from_dry_runs
from airflow_provider_wmigrate.engine.ledger.trail import HEAD, damaged
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, LockSet
from airflow_provider_wmigrate.engine.plan.lock_order import names_of, with_known
from airflow_provider_wmigrate.engine.plan.locks_needed import locks_needed
from airflow_provider_wmigrate.engine.session.advisory import LOADS, MIGRATIONS, AdvisoryLock, is_held
from airflow_provider_wmigrate.engine.session.connection import set_config
from airflow_provider_wmigrate.engine.session.message import ask, literal, table, values
from airflow_provider_wmigrate.engine.session.session import TRANSACTION, Budget, Session
from airflow_provider_wmigrate.engine.sql.script import Analysis

from .job import Job

BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


class Opened(Struct, frozen=True):
    """An open transaction in which nothing of the script was sent yet."""

    locked: bool
    """The advisory locks are held; else others have some of them, or a load is at work."""
    head: str | None
    """Of the audit log, read when the locks were held."""
    names: Mapping[int, str] = MappingProxyType({})
    """Of relations, by identifier, as others know them."""
    locks: LockSet = LockSet()
    """What the script will lock."""


class Opening(Struct, frozen=True):
    """:param schema: of the ledger.
    :param locks: to be taken in place of all that are held; None: those are kept.
    :param foresees: what the script will lock is to be foreseen.
    :param flushed: the commit waits until the disk has it.
    """

    schema: str
    job: Job
    budget: Budget
    locks: Sequence[AdvisoryLock] | None
    foresees: bool
    flushed: bool = True

    @property
    def _guarded(self) -> bool:
        """Whether it has to be asked, once the lock of migrations is held, if a load is at work."""
        return self.locks is not None and MIGRATIONS in self.locks

    def message(self, session: Session) -> bytes:
        """The statements."""
        conn = session.conn
        limits = {**session.limits(self.budget), **({} if self.flushed else {"synchronous_commit": "off"})}
        taking = [_taking(self.locks)] if self.locks is not None else []
        new = [session.as_new(*taking)] if session.used else [b"SELECT " + columns for columns in taking]
        # After the locks, in a statement of its own: what others have committed before is seen.
        loads = [is_held(LOADS)] if self._guarded else []
        look = b"SELECT %s, value, %s FROM %s WHERE key OPERATOR(pg_catalog.=) %s" % (
            TRANSACTION,
            b", ".join([set_config(conn, limits, local=True), *loads]),
            table(self.schema, "application_metadata"),
            literal(conn, HEAD),
        )
        names = [names_query(self.schema).encode()] if _drops(self.job.analysis) else []
        facts = [facts_query(conn, self.job)] if self.foresees else []
        return b"; ".join([BEGIN, *new, look, *names, *facts])

    def read(self, session: Session, answers: Sequence[Any]) -> Opened:
        """What the server has answered. From here on the transaction is open.

        :raises ConnectionFailed: another server process has answered.
        :raises LedgerDamaged: its log has no head.
        """
        names, found = dict[int, str](), LockSet()
        session.used = True
        if self.foresees:
            *answers, _, last, _ = answers
            found = foreseen(self.job, last)
        if _drops(self.job.analysis):
            *answers, last = answers
            names = relation_names(values(last)[0])
        if not answers[-1].ntuples:
            raise damaged(f"{self.schema}.application_metadata has no {HEAD}")
        start, pid, head, *_, loads = values(answers[-1])
        session.check_process(pid)
        session.began = int(start or 0)
        locked = True
        if self.locks is not None:
            locked = "f" not in values(answers[-2])[-len(self.locks) :] and not (self._guarded and loads == "t")
            session.locks.hold(self.locks if locked else ())
        return Opened(locked, head, names, found)


def facts_query(conn: Connection[Any], job: Job) -> bytes:
    """Asks what has to be known before a script, to foresee its locks; the answer is the second of three."""
    return relations_message(relations_query(job.analysis, conn.info.server_version, names_of(_declared(job))))


def _declared(job: Job) -> list[KnownLock]:
    declared = [KnownLock(*each) for each in job.migration.locks]
    if job.kept:
        from airflow_provider_wmigrate.engine.plan.giving_back import locks_of_kept

        declared += locks_of_kept(job.kept)
    return declared


def foreseen(job: Job, answer: Any, part: range | None = None) -> LockSet:
    """What the answer to it means.

    :param part: numbers of the statements that commit together; None: all of them do.
    """
    facts = relation_facts(values(answer)[0])
    found = locks_needed(job.analysis, facts, part=part)
    declared = _declared(job) if part is None or found.unforeseen else ()
    return with_known(found, facts, declared)


def with_last_dry_run(conn: Connection[Any], schema: str, job: Job, found: LockSet) -> LockSet:
    """The set with what the last dry run of the same script has locked: asked for only where the script hides some of
    what it does, and for no rollback.

    :param schema: of the ledger.
    """
    hides = found.unforeseen or not _HIDING.isdisjoint(job.analysis.statements.kinds())
    if not hides or job.analysis.script.checksum != job.migration.script.checksum:
        return found
    version = job.migration.version
    learnt = learnt_from_dry_runs(conn, schema, {version: job.analysis.script.checksum}).get(version)
    if learnt is None or not learnt.locks:
        return found
    question = relations_sql.text(Wanted(frozenset(names_of(learnt.locks))), conn.info.server_version)
    return with_known(found, relation_facts(values(ask(conn, relations_message(question))[1])[0]), learnt.locks)


_HIDING = {"do_stmt", "call_stmt"}
"""Of a script of these alone nothing is asked, so that nothing is known to be unforeseen."""


def _taking(locks: Sequence[AdvisoryLock]) -> bytes:
    """Columns of a SELECT, the last ones say which are held."""
    calls = (b"pg_catalog.pg_try_advisory_lock%s(%d)" % (b"_shared" if k.shared else b"", k.number) for k in locks)
    return b", ".join([b"pg_catalog.pg_advisory_unlock_all()", *calls])


def _drops(analysis: Analysis) -> bool:
    """Whether a relation may have another name afterwards, or none: only then the names before are asked for."""
    return analysis.unparsed is not None or not _CHANGES_NAMES.isdisjoint(analysis.statements.kinds())


_CHANGES_NAMES = {
    "drop_stmt", "drop_owned_stmt", "rename_stmt", "alter_object_schema_stmt", "do_stmt", "call_stmt", "select_stmt",
    "execute_stmt",
}  # fmt: skip
