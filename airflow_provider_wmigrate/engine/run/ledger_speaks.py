"""Around the ledger's own statements: when they fail, the script's are not blamed, and what was kept is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from airflow_provider_wmigrate.engine.catalog.extensions import remedy
from airflow_provider_wmigrate.engine.errors import LedgerNotWritten
from airflow_provider_wmigrate.engine.session.session import Session


@contextmanager
def ledger_speaks(session: Session, version: str, file: str, *, outcome: str) -> Iterator[None]:
    """:param outcome: what of the script is kept if the ledger cannot be written.
    :raises LedgerNotWritten: the server refused.
    :raises StatementFailed: the connection was lost.
    """
    try:
        yield
    except psycopg.Error as error:
        if session.conn.closed:
            raise session.sender.failure(error, version, file, outcome=outcome) from error
        message = (error.diag.message_primary or str(error)).strip()
        fix = remedy(error.sqlstate, message)
        raise LedgerNotWritten(file, message, outcome=outcome, sqlstate=error.sqlstate, hint=fix) from error
