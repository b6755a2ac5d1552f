"""The beginning of a migration in one message: the session as a new one is, the transaction, the migration's advisory
locks, its limits, and a look at the ledger's head, which shows whether anybody has changed the ledger since.

It goes to the server alone, or behind the commit of the migration before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.catalog.locks import names_query, relation_names
from airflow_provider_wmigrate.engine.ledger.trail import HEAD
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.engine.session.connection import set_config
from airflow_provider_wmigrate.engine.session.message import literal, table, values
from airflow_provider_wmigrate.engine.session.session import TRANSACTION, Budget, Session
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statements

BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open transaction in which nothing of the script was sent yet."""

    locked: bool
    """The advisory locks are held; else others have some of them."""
    head: str | None
    """Of the audit log, read when the locks were held."""
    names: dict[int, str] = field(default_factory=dict)
    """Of relations, by identifier, as others know them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """:param schema: of the ledger.
    :param locks: to be taken in place of all that are held; None: those are kept.
    :param flushed: the commit waits until the disk has it.
    """

    schema: str
    analysis: Analysis
    budget: Budget
    locks: Sequence[AdvisoryLock] | None
    flushed: bool = True

    def message(self, session: Session) -> bytes:
        """The statements."""
        conn = session.conn
        limits = {**session.limits(self.budget), **({} if self.flushed else {"synchronous_commit": "off"})}
        head = b"(SELECT value FROM %s WHERE key = %s)" % (
            table(self.schema, "application_metadata"),
            literal(conn, HEAD),
        )
        return b"; ".join(
            [
                BEGIN,
                *([session.as_new()] if session.used else []),
                *([_taking(self.locks)] if self.locks is not None else []),
                b"SELECT %s, %s, %s" % (TRANSACTION, head, set_config(conn, limits, local=True)),
                *([names_query(self.schema).encode()] if _drops(self.analysis) else []),
            ]
        )

    def read(self, session: Session, answers: Sequence[Any]) -> Opened:
        """What the server has answered. From here on the transaction is open.

        :raises ConnectionFailed: another server process has answered.
        """
        names: dict[int, str] = {}
        last = len(answers) - 1
        if _drops(self.analysis):
            names, last = relation_names(values(answers[last])[0]), last - 1
        start, pid, head, *_ = values(answers[last])
        session.check_process(pid)
        session.began, session.used = int(start or 0), True
        locked = True
        if self.locks is not None:
            locked = all(taken != "f" for taken in values(answers[last - 1]))
            session.locks.hold(self.locks if locked else ())
        return Opened(locked, head, names)


def _taking(locks: Sequence[AdvisoryLock]) -> bytes:
    calls = (b"pg_catalog.pg_try_advisory_lock%s(%d)" % (b"_shared" if k.shared else b"", k.number) for k in locks)
    return b"SELECT " + b", ".join([b"pg_catalog.pg_advisory_unlock_all()", *calls])


def _drops(analysis: Analysis) -> bool:
    """Whether a relation may have another name afterwards, or none: only then the names before are asked for."""
    known = analysis.statements
    return not isinstance(known, Statements) or not _CHANGES_NAMES.isdisjoint(known.kinds())


_CHANGES_NAMES = {
    "drop_stmt", "drop_owned_stmt", "rename_stmt", "alter_object_schema_stmt", "do_stmt", "call_stmt", "select_stmt",
    "execute_stmt",
}  # fmt: skip


def look(conn: Connection[Any], schema: str, columns: bytes) -> bytes:
    """A SELECT of the row of the log's head, which is locked by it."""
    where = table(schema, "application_metadata"), literal(conn, HEAD)
    return b"SELECT %s FROM %s WHERE key = %s FOR UPDATE" % (columns, *where)
