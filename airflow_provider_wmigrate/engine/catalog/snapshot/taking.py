"""Takes a snapshot: one transaction that changes nothing, one query per kind of object and none per object."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from psycopg import Connection, errors, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .definitions import dotted, unquoted, without_qualifiers
from .facts import Fact, Snapshot, canonical, fact, ordered
from .kinds import KINDS
from .object_types import not_modelled
from .scope import Scope

ATTEMPTS = 5
"""How often a look is taken, if each time something was dropped while it was looked at."""

# What a definition's text depends on, as pg_dump has it: with an empty path every name has its schema. GMT is the one
# zone that a server knows without a list of time zones.
SETTINGS = """
SELECT pg_catalog.set_config(name, value, true) FROM (VALUES ('search_path', ''), ('datestyle', 'ISO'),
    ('intervalstyle', 'postgres'), ('timezone', 'GMT'), ('extra_float_digits', '3'), ('bytea_output', 'hex'),
    ('quote_all_identifiers', 'off'), ('lc_monetary', 'C'), ('xmlbinary', 'base64'), ('jit', 'off'),
    ('statement_timeout', '0'), ('lock_timeout', (600 * greatest(0.002, least(1, pg_catalog.date_part('epoch',
    pg_catalog.current_setting('deadlock_timeout')::pg_catalog.interval))))::int::text)) AS s (name, value)
"""
"""A view's text is read under locks on what it reads, which are kept: so a wait ends before the server would look for a
deadlock, and might end somebody else."""
_PATIENCE = 30.0
"""Seconds in which somebody may let go of a table that is read for its views."""
_ABOUT = """
SELECT pg_catalog.current_setting('server_version_num')::int,
       EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'),
       ARRAY(SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relname IN ('schema_migrations', 'application_metadata', 'audit_log') AND c.relkind = 'r'
              GROUP BY n.nspname HAVING pg_catalog.count(*) = 3 AND pg_catalog.bool_or(
                pg_catalog.obj_description(c.oid, 'pg_class') LIKE 'wmigrate:%%')
             UNION ALL
             SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relname = 'changes' AND pg_catalog.obj_description(c.oid, 'pg_class') LIKE 'wmigrate:%%'
             UNION
             SELECT n.nspname::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
              WHERE p.proname = 'record_change' AND pg_catalog.obj_description(p.oid, 'pg_proc') LIKE 'wmigrate:%%'),
       ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname IN ('pg_catalog', 'timescaledb_information', '_timescaledb_catalog')
                AND c.relkind IN ('r', 'v') AND NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
             UNION ALL
             SELECT p.proname::text FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
                AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE')),
       current_user::text
"""
_NAMES = re.compile(r"\b(?:pg_catalog|timescaledb_information|_timescaledb_catalog)\.(\w+)")


def take(conn: Connection[Any]) -> Snapshot:
    """The schema of a database, but for ledgers and what extensions own.

    The server reads definitions as they are at that moment, not as of the transaction's beginning. If somebody drops
    something meanwhile, the whole is read again.

    :param conn: outside a transaction.
    :raises WMigrateError: the schema changes all the time, or somebody holds a table that a view reads.
    """
    end, attempt = time.monotonic() + _PATIENCE, 1
    while True:
        try:
            with _looking(conn):
                return _take(conn)
        except errors.LockNotAvailable as error:
            if time.monotonic() > end:
                raise _not_read(error, "holds locks on what views read") from error
            time.sleep(random.uniform(0.05, 0.15))
        except (
            errors.InternalError_,
            errors.UndefinedTable,
            errors.UndefinedObject,
            errors.UndefinedFunction,
        ) as error:
            if attempt == ATTEMPTS or error.sqlstate not in _GONE:
                raise _not_read(error, "changes it at the same time") from error
            attempt += 1


def _not_read(error: Exception, why: str) -> WMigrateError:
    said = str(error).splitlines()[0]
    return WMigrateError(f"the schema could not be read: {said}", hint=f"somebody {why}; try again when that is over")


_GONE = ("XX000", "42P01", "42704", "42883")
"""Cache lookup failed, and the like: it was there a moment ago."""


@contextmanager
def _looking(conn: Connection[Any]) -> Iterator[None]:
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.execute(SETTINGS)
        yield


def _take(conn: Connection[Any]) -> Snapshot:
    cursor = conn.cursor(row_factory=tuple_row)
    version, timescaledb, ledgers, refused, role = cursor.execute(_ABOUT).fetchone()  # type: ignore[misc]
    scope = Scope(version, timescaledb, ", ".join(sql.Literal(name).as_string(conn) for name in ledgers))
    unseen: dict[str, str] = {}
    answers = []
    with conn.pipeline():
        for kind in KINDS:
            if kind.timescaledb and not timescaledb:
                continue
            query = kind.query(scope)
            lacking = sorted({*refused} & {*_NAMES.findall(query)})
            if lacking:
                unseen |= dict.fromkeys(kind.tells, f"the role {role} may not use {', '.join(lacking)}")
                continue
            answers.append(conn.cursor(row_factory=tuple_row).execute(query.encode()))
        others = conn.cursor(row_factory=tuple_row).execute(not_modelled())
        # In the pipeline: while one answer is made into facts, the server works on the next.
        facts = ordered(_fact(row) for answer in answers for row in answer.fetchall())
        return Snapshot(facts, unseen, dict(others.fetchall()), version)


def _fact(row: tuple[Any, ...]) -> Fact:
    kind, schema, name, suffix, of, text, shown = row
    relation = _relation(*of) if of else ""
    if of and len(name) == 1:
        identity = f"{dotted(name)}{unquoted(suffix)} on {relation}"
    else:
        identity = dotted(name) + unquoted(suffix)
    if kind in _VIEWS or '\\"' in text:
        text = canonical({key: _plain(kind, key, value) for key, value in json.loads(text).items()})
    return fact(kind, identity.strip(), schema, relation, text, shown or "")


@lru_cache(maxsize=64)
def _relation(schema: str, name: str) -> str:
    """One is asked for many times in a row."""
    return dotted([schema, name])


_VIEWS = ("view", "materialized view", "continuous aggregate")
_FREE = frozenset({"body", "text", "label", "labels", "options", "settings", "initial", "moving_initial"})
"""Attributes that are a person's text and no definition of the server's."""


def _plain(kind: str, key: str, value: Any) -> Any:
    if key in _FREE:
        return value
    if isinstance(value, list):
        return [_plain(kind, key, each) for each in value]
    if not isinstance(value, str):
        return value
    return unquoted(without_qualifiers(value) if key == "definition" and kind in _VIEWS else value)
