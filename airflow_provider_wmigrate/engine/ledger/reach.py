"""Around the ledger's own statements: what breaks there is the connection, or a right that the role has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, WMigrateError


@contextmanager
def reaching_the_ledger() -> Iterator[None]:
    """A psycopg error in the engine's words.

    :raises ConnectionFailed: the connection broke.
    :raises WMigrateError: the role lacks a right.
    """
    try:
        yield
    except psycopg.OperationalError as error:
        raise ConnectionFailed(str(error)) from error
    except psycopg.errors.InsufficientPrivilege as error:
        hint = "grant the role CREATE on the database once, or all rights on the ledger's schema"
        raise WMigrateError(f"the ledger is out of reach: {error.diag.message_primary}", hint=hint) from error
    except psycopg.Error as error:
        if error.diag.severity_nonlocalized != "FATAL":
            raise
        # It ended this session: so does TimescaleDB after an update with each that has loaded the version before.
        raise ConnectionFailed(error.diag.message_primary or str(error)) from error
