"""A person has the DDL of others recorded in the target, or no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.ledger import watching
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.structure import in_schema
from airflow_provider_wmigrate.engine.ledger.watching import seal, trigger_names, watch_schema, watched
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock

from .alone import Decider

LONGEST_NAME = 63
"""In bytes."""
PATIENCE = "3s"
"""How long switching off waits for an open transaction with DDL, while other DDL waits behind it."""


def switch_watch(who: Decider, on: bool) -> bool:
    """Install what records, or move its last rows into the audit log and remove it.

    :return: whether anything was changed.
    :raises WMigrateError: there is no ledger, the role may not, or somebody's DDL is not committed yet; nothing was
        changed.
    :raises LockTimeout: a runner is at work.
    """
    ledger, schema = who.ledger, who.ledger.schema
    with who.alone_with_a_ledger("watch", "drift") as (session, version):
        conn = session.conn
        state = watched(conn, schema)
        if state.state == ("on" if on else "off"):
            return False
        with session.transaction(), _allowed(session.login.user):
            if state.state != "off":
                _remove(conn, schema, state.waiting is not None)
            make_current(ledger, conn, who.identity, version)
            if on:
                _install(conn, schema)
                ledger.log.append(conn, "watch_on", who.identity)
            else:
                ledger.log.append(conn, "watch_off", who.identity)
    return True


def _install(conn: Connection[Any], schema: str) -> None:
    place = watch_schema(schema)
    longest = max(trigger_names(schema), key=len)
    if len(longest) > LONGEST_NAME:
        raise WMigrateError(f"{longest} is too long for a name in PostgreSQL", hint="shorten settings.ledger.schema")
    try:
        conn.execute(in_schema(place, "CREATE SCHEMA {schema}"))
    except psycopg.errors.DuplicateSchema:
        hint = "rename it: the watch needs that name"
        raise WMigrateError(f"schema {place} is there, and is not the watch's", hint=hint) from None
    script = sql.SQL(files(watching.__package__).joinpath("watch.sql").read_text(encoding="utf-8"))
    at_start, at_end, at_drop = map(sql.Identifier, trigger_names(schema))
    conn.execute(
        script.format(
            watch=sql.Identifier(place),
            schema=sql.Identifier(schema),
            name=sql.Literal(schema),
            lock=sql.Literal(ledger_lock(schema).number),
            at_start=at_start,
            at_end=at_end,
            at_drop=at_drop,
        )
    )


def _remove(conn: Connection[Any], schema: str, may_have_rows: bool) -> None:
    """Nobody's DDL fails meanwhile: who has recorded something and not committed is waited for, and others wait."""
    place = watch_schema(schema)
    if may_have_rows:
        conn.execute(in_schema(place, f"SET LOCAL lock_timeout = '{PATIENCE}'; LOCK TABLE {{schema}}.changes"))
        seal(conn, schema)
    conn.execute(in_schema(place, "DROP FUNCTION IF EXISTS {schema}.record_change() CASCADE"))  # the triggers too
    try:
        conn.execute(in_schema(place, "DROP TABLE IF EXISTS {schema}.changes; DROP SCHEMA {schema}"))
    except psycopg.errors.DependentObjectsStillExist as error:
        message = f"schema {place} has something that is not the watch's: {error.diag.message_detail}"
        raise WMigrateError(message, hint="drop it, or move it elsewhere") from None


@contextmanager
def _allowed(role: str) -> Iterator[None]:
    """:raises WMigrateError: the server says that the role may not."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise WMigrateError(
            f"the role {role} may not switch the watch: {error.diag.message_primary}",
            hint="event triggers are a superuser's (on a managed server: the administrator's that it gives you); give"
            " the command as such a role with --dsn",
        ) from error
