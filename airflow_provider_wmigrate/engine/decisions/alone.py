"""What a person's decision about the whole ledger needs: a reason, and nobody else at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.events import Listener, Waiting
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session


def stated(reason: str, what: str) -> str:
    """The reason on one line.

    :raises WMigrateError: there is none.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise WMigrateError(f"a {what} needs a reason", hint="it is kept in the audit log")
    return reason


@contextmanager
def alone_with_the_ledger(
    connect: Connect, settings: Settings, what: str, version: str, on_event: Listener
) -> Iterator[Session]:
    """A session that holds the ledger's lock exclusively.

    :raises HistoryError: the target is a standby.
    :raises LockTimeout: a runner is at work.
    """
    with open_session(connect, application_name=f"wmigrate {what} {version}") as session:
        refuse_standby(session.login.standby)
        session.locks.acquire(
            [ledger_lock(settings.ledger.schema_name)],
            wait_seconds=settings.execution.lock_wait_seconds,
            on_wait=lambda waited, holders: on_event(Waiting(version, "the ledger's lock", waited, holders)),
            what="the ledger's lock",
        )
        with reaching_the_ledger(Ledger(settings.ledger.schema_name), session.conn):
            yield session
