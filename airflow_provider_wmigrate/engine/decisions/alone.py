"""What a person's decision about the whole ledger needs: a reason, and nobody else at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.events import Listener, Waiting
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Identity, Migration
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session


class Decider(Struct, frozen=True):
    """A person who decides: about which target and folder, and why."""

    connect: Connect
    folder: Folder
    identity: Identity
    reason: str = ""
    """For the audit log; it holds no secret."""
    environment: str | None = None
    on_event: Listener = lambda event: None

    @property
    def settings(self) -> Settings:
        return self.folder.config.settings_for(self.environment)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger.schema_name)

    @property
    def migrations(self) -> dict[str, Migration]:
        return {m.version: m for m in self.folder.under(self.settings)}

    def stated(self, what: str) -> str:
        """The reason on one line.

        :raises WMigrateError: there is none.
        """
        reason = " ".join(self.reason.split())
        if not reason:
            raise WMigrateError(f"a {what} needs a reason", hint="it is kept in the audit log")
        return reason

    @contextmanager
    def alone(self, what: str, version: str) -> Iterator[Session]:
        """A session that holds the ledger's lock exclusively.

        :raises HistoryError: the target is a standby.
        :raises LockTimeout: a runner is at work.
        """
        settings = self.settings
        with open_session(self.connect, application_name=f"wmigrate {what} {version}") as session:
            refuse_standby(session.login.standby)
            session.locks.acquire(
                [ledger_lock(settings.ledger.schema_name)],
                wait_seconds=settings.execution.lock_wait_seconds,
                on_wait=lambda waited, holders: self.on_event(Waiting(version, "the ledger's lock", waited, holders)),
                what="the ledger's lock",
            )
            with reaching_the_ledger(self.ledger, session.conn):
                yield session

    @contextmanager
    def alone_with_a_ledger(self, what: str, version: str) -> Iterator[tuple[Session, int]]:
        """The same, where there is a ledger; with its version.

        :raises WMigrateError: there is none.
        """
        with self.alone(what, version) as session:
            found = self.ledger.version(session.conn)
            if found is None:
                raise WMigrateError(f"there is no ledger in schema {self.ledger.schema}", hint="run the migrations")
            yield session, found
