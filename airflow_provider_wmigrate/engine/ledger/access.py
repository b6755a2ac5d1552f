"""Sessions on a target in which its ledger is reached, made, locked and read: the same for whoever plans and acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Entry, Identity
from airflow_provider_wmigrate.engine.session.advisory import (
    AdvisoryLock,
    ledger_lock,
    report_lock,
    snapshot_lock,
    version_lock,
)
from airflow_provider_wmigrate.engine.session.connection import in_words
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session

from .ledger import Ledger

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.events import Event, Listener
    from airflow_provider_wmigrate.engine.folder.config.settings import Guard


@contextmanager
def open_ledger(connect: Connect, ledger: Ledger, *, application_name: str) -> Iterator[Session]:
    """A session in which nothing but the ledger is asked.

    :raises ConnectionFailed: the target is out of reach.
    """
    with open_session(connect, application_name=application_name) as session, reaching_the_ledger(ledger, session.conn):
        yield session


def _in_turn(listener: Listener) -> Listener:
    """Told one event at a time, from whatever thread."""
    lock = RLock()

    def tell(event: Event) -> None:
        with lock:
            listener(event)

    return tell


class LedgerAccess:
    """One runner's way to a target and its ledger.

    :param wait_seconds: how long a lock of another runner is waited for.
    """

    def __init__(
        self, connect: Connect, ledger: Ledger, identity: Identity, tell: Listener, *, wait_seconds: float
    ) -> None:
        self.ledger = ledger
        self.connect, self.identity, self.tell = connect, identity, _in_turn(tell)
        self._wait_seconds = wait_seconds
        self._sessions: list[Session] = []

    def name(self, what: str) -> str:
        """As others see a session in which something is done."""
        run = self.identity.run_id
        return f"wmigrate {what}" + (f" {run}" if run else "")

    @contextmanager
    def open(self, what: str) -> Iterator[Session]:
        """A session of its own, which others see under the name of what is done in it."""
        with open_session(self.connect, application_name=self.name(what)) as session:
            self._sessions.append(session)
            try:
                yield session
            finally:
                self._sessions.remove(session)

    def cancel(self) -> None:
        """Cancel on the server whatever the open sessions are doing. Safe in a signal handler."""
        for session in tuple(self._sessions):
            session.interruption.cancel()

    def reaching(self, session: Session) -> AbstractContextManager[None]:
        """Around the ledger's own statements; see `reaching_the_ledger`."""
        return reaching_the_ledger(self.ledger, session.conn)

    def ensure(self, session: Session, *, create: bool = True) -> bool:
        """Make the ledger where there is none, and bring an older one to the current version.

        :return: whether there is one now.
        """
        with self.reaching(session):
            version = self.ledger.version(session.conn)
            if version == self.ledger.newest_version or (version is None and not create):
                return version is not None
            from .creation import make_current  # a ledger is made once

            refuse_standby(session.login.standby)
            lock = ledger_lock(self.ledger.schema)
            self._acquire(session, [lock], None, "the ledger's lock")
            version = self.ledger.version(session.conn)
            with session.transaction(confirmed=False):
                make_current(self.ledger, session.conn, self.identity, version)
            session.locks.release(lock)
            return True

    def entries(self, session: Session) -> tuple[Entry, ...]:
        """What the ledger holds; nothing where there is none."""
        with self.reaching(session):
            if self.ledger.version(session.conn) is None:
                return ()
            return self.ledger.entries(session.conn)

    def append(self, session: Session, event: str, details: dict[str, Any], version: str | None = None) -> str:
        """One row of this runner in the audit log, in the open transaction; returns the new head."""
        return self.ledger.log.append(session.conn, event, self.identity, version=version, details=details)

    def locks_of(self, mine: Sequence[str], needed: Iterable[str] = ()) -> list[AdvisoryLock]:
        """Exclusive on what is run, shared on what it needs: so nothing it needs is rolled back meanwhile."""
        schema = self.ledger.schema
        locks = [ledger_lock(schema, shared=True)]
        locks += [version_lock(schema, v) for v in mine]
        return locks + [version_lock(schema, v, shared=True) for v in sorted(set(needed) - set(mine))]

    def lock(self, session: Session, locks: Sequence[AdvisoryLock], version: str) -> None:
        """Take them, outside any transaction, as soon as other runners let them."""
        self._acquire(session, locks, version, "the advisory lock of this migration")

    def wait_for_loads(self, session: Session, guard: Guard, version: str) -> None:
        """Keep other loads from beginning, and wait until those that are at work have ended."""
        from airflow_provider_wmigrate.engine.events import Waiting
        from airflow_provider_wmigrate.engine.session.loads import wait_for_loads  # few folders have a guard

        def told(waited: float, loads: Sequence[object]) -> None:
            self.tell(Waiting(version, f"{'; '.join(map(str, loads)) or 'loads'} to end", waited))

        with self.reaching(session):
            wait_for_loads(session, guard, told)

    def lock_reports(self, session: Session) -> None:
        """As soon as no other report is between its look and Airflow's answer; for as long as the session lives."""
        self._acquire(session, [report_lock(self.ledger.schema)], None, "the lock of the reports on this ledger")

    def lock_snapshots(self, session: Session) -> None:
        """As soon as nobody else keeps the schema as known, or decides on the ledger; as long as the session lives."""
        locks = [ledger_lock(self.ledger.schema, shared=True), snapshot_lock(self.ledger.schema)]
        self._acquire(session, locks, None, "the lock of the known schema")

    def _acquire(self, session: Session, locks: Sequence[AdvisoryLock], version: str | None, what: str) -> None:
        from airflow_provider_wmigrate.engine.events import Waiting  # a look at a ledger does not pay for it

        def told(waited: float, holders: tuple[int, ...]) -> None:
            self.tell(Waiting(version, what, waited, holders))

        with self.reaching(session):
            session.locks.acquire(locks, wait_seconds=self._wait_seconds, on_wait=told, what=what)


# Around the ledger's own statements: what breaks there is the connection, a missing right, or somebody's trigger


@contextmanager
def reaching_the_ledger(ledger: Ledger, conn: psycopg.Connection[Any]) -> Iterator[None]:
    """A psycopg error in the engine's words, with the way forward that fits its cause.

    :raises ConnectionFailed: the connection broke.
    :raises WMigrateError: somebody holds a lock on its tables, or the call was cancelled.
    :raises WMigrateError: the role lacks a right, a function that others made refused it, or the server could not.
    """
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        message = f"the ledger did not answer in time: {error.diag.message_primary}"
        hint = f"look in pg_stat_activity who keeps a lock on the tables in schema {ledger.schema}; then try again"
        raise WMigrateError(message, hint=hint, retryable=True) from error
    except psycopg.Error as error:
        function = _function(error.diag.context or "")
        where = hint = ""
        if function:
            where, hint = f", in {function}", _in_function(ledger.schema)
        elif error.sqlstate == "42501":
            hint = _granting(ledger, conn)
        elif not isinstance(error, psycopg.OperationalError | psycopg.InternalError):
            raise
        raise in_words(error, "the ledger cannot be used", where=where, hint=hint) from error


def _in_function(schema: str) -> str:
    return f"that is not wmigrate's own (an event trigger?): fix it, or make it ignore schema {schema}"


def _granting(ledger: Ledger, conn: psycopg.Connection[Any]) -> str:
    """What to grant; looked up after the refusal, so that it names what is missing and nothing else."""
    with suppress(psycopg.Error, WMigrateError):
        if conn.info.transaction_status == TransactionStatus.INERROR:
            conn.execute("ROLLBACK")
        version = _version(ledger, conn)
        for found in ledger.lacking_rights(conn, version) or ledger.lacking_rights(conn, version, keeps=True):
            return found.next_step
    return "nothing that the ledger needs is missing by the catalogs; look at the server's log"


def _version(ledger: Ledger, conn: psycopg.Connection[Any]) -> int | None:
    """The ledger's version, or the newest one where there is a ledger that cannot be read."""
    try:
        return ledger.version(conn)
    except (psycopg.Error, WMigrateError):
        return ledger.newest_version


def _function(context: str) -> str:
    """The innermost function of the server's context, and the line in it. Statements, which may hold values, are not
    taken."""
    return next((line for line in context.splitlines() if line.startswith(_LANGUAGES) and "(" in line), "")


_LANGUAGES = ("PL/", "SQL function", "Python", "Perl")
