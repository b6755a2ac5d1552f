"""Around the ledger's own statements: what breaks there is the connection, a missing right, or somebody's trigger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.session.connection import in_words

from .ledger import Ledger


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
        for found in ledger.lacking_rights(conn, _version(ledger, conn)):
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
