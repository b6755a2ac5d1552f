"""Sessions on a target in which its ledger is reached, made, locked and read: the same for whoever plans and acts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.events import Listener, Waiting
from airflow_provider_wmigrate.engine.model import Entry, Identity, Migration
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock, ledger_lock, version_lock
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session

from .ledger import Ledger
from .reach import reaching_the_ledger


@contextmanager
def open_ledger(connect: Connect, ledger: Ledger, *, application_name: str) -> Iterator[Session]:
    """A session in which nothing but the ledger is asked.

    :raises ConnectionFailed: the target is out of reach.
    """
    with open_session(connect, application_name=application_name) as session, reaching_the_ledger(ledger, session.conn):
        yield session


class LedgerAccess:
    """One runner's way to a target and its ledger.

    :param wait_seconds: how long a lock of another runner is waited for.
    """

    def __init__(
        self, connect: Connect, ledger: Ledger, identity: Identity, tell: Listener, *, wait_seconds: float
    ) -> None:
        self.ledger = ledger
        self._connect, self._identity, self._tell = connect, identity, tell
        self._wait_seconds = wait_seconds
        self._session: Session | None = None

    @contextmanager
    def open(self, what: str) -> Iterator[Session]:
        """A session of its own, which others see under the name of what is done in it."""
        run = self._identity.run_id
        name = f"wmigrate {what}" + (f" {run}" if run else "")
        with open_session(self._connect, application_name=name) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None

    def cancel(self) -> None:
        """Cancel on the server whatever the open session is doing. Safe in a signal handler."""
        if self._session is not None:
            self._session.interruption.cancel()

    def reaching(self, session: Session) -> AbstractContextManager[None]:
        """Around the ledger's own statements; see `reach`."""
        return reaching_the_ledger(self.ledger, session.conn)

    def ensure(self, session: Session, *, create: bool = True) -> None:
        """Make the ledger where there is none, and bring an older one to the current version."""
        with self.reaching(session):
            version = self.ledger.version(session.conn)
            if version == self.ledger.newest_version or (version is None and not create):
                return
            refuse_standby(session.conn)
            lock = ledger_lock(self.ledger.schema)
            self._acquire(session, [lock], None, "the ledger's lock")
            version = self.ledger.version(session.conn)
            with session.transaction(confirmed=False):
                self.ledger.make_current(session.conn, self._identity, version)
            session.locks.release(lock)

    def entries(self, session: Session) -> tuple[Entry, ...]:
        """What the ledger holds; nothing where there is none."""
        with self.reaching(session):
            if self.ledger.version(session.conn) is None:
                return ()
            return self.ledger.entries(session.conn)

    def lock(self, session: Session, chain: Sequence[Migration], version: str) -> None:
        """The locks to apply a chain, or, when it is empty, one migration alone."""
        running = [m.version for m in chain] or [version]
        needed = {d for m in chain for d in m.dependencies} - set(running)
        self.lock_versions(session, running, sorted(needed), version)

    def lock_versions(self, session: Session, mine: Sequence[str], needed: Sequence[str], version: str) -> None:
        """Exclusive on what is run, shared on what it needs: so nothing it needs is rolled back meanwhile."""
        schema = self.ledger.schema
        locks = [ledger_lock(schema, shared=True)]
        locks += [version_lock(schema, v) for v in mine]
        locks += [version_lock(schema, v, shared=True) for v in needed]
        self._acquire(session, locks, version, "the lock of this migration")

    def _acquire(self, session: Session, locks: Sequence[AdvisoryLock], version: str | None, what: str) -> None:
        with self.reaching(session):
            session.locks.acquire(
                locks,
                wait_seconds=self._wait_seconds,
                on_wait=lambda waited, holders: self._tell(Waiting(version, what, waited, holders)),
            )
