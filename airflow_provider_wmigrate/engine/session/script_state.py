"""Looks at the session of a script that runs statement by statement, and makes it again where it was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.plan.script_session import (
    AUTHORIZATION,
    ROLE,
    Observed,
    Possession,
    ScriptSession,
    custom_settings,
    lacking,
    of_script,
    perhaps_local,
    refused,
)

from .session import Session
from .settings import Budget

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.script import Analysis


class ScriptState:
    """The script's session, between its statements and across runs.

    :param session: as it was given to the script: nothing of the script has run on it.
    """

    def __init__(self, session: Session, analysis: Analysis, version: str) -> None:
        self._session, self._analysis, self._version = session, analysis, version
        self._custom = custom_settings(analysis)
        self._start = observe(session.conn, self._custom)
        self._ours: dict[str, set[str]] = {}
        self.kept = ScriptSession()

    def restore(self, kept: ScriptSession, first: int) -> None:
        """Make the session what it was before the statement `first`.

        :raises HistoryError: it cannot be had again; nothing was touched.
        """
        found = lacking(self._analysis, self._version, kept, first)
        if found is not None:
            raise HistoryError([found])
        conn = self._session.conn
        for name, value in kept.in_order():
            try:
                set_value(conn, name, value)
            except psycopg.Error as error:
                if conn.closed:
                    raise
                why = (error.diag.message_primary or str(error)).strip()
                raise HistoryError([refused(self._analysis, self._version, name, why, first)]) from error
        for possession in kept.possessions:
            if not take(conn, possession):
                why = "another session has it"
                raise HistoryError([refused(self._analysis, self._version, "an advisory lock", why, first)])
        self.kept = ScriptSession(kept.settings, kept.possessions)

    def renewed(self, first: int) -> None:
        """The session goes on with another connection."""
        self.restore(self.kept, first)

    def be_the_script(self) -> None:
        """From here on the script speaks: the ledger's own writing gave its role back."""
        for name, value in self.kept.in_order():
            if name in (AUTHORIZATION, ROLE):
                set_value(self._session.conn, name, value)

    def limit(self, budget: Budget) -> None:
        """Limits for a statement outside a transaction, where the script has none of its own."""
        self._note_limits(budget)
        self._session.limit(budget, keep=self.kept.settings)

    def begin(self, budget: Budget, *, read_only: bool = False) -> None:
        """Open a transaction with limits, where the script has none of its own."""
        self._note_limits(budget)
        self._session.begin(budget, keep=self.kept.settings, read_only=read_only)

    def _note_limits(self, budget: Budget) -> None:
        for name, value in self._session.limits(budget).items():
            self._ours.setdefault(name, set()).add(value.removesuffix("ms"))

    def look(self) -> None:
        """Look at the session as a statement outside a transaction left it."""
        self.kept = self._of_script()

    def committed(self, inside: ScriptSession) -> bool:
        """Look at the session after a transaction; False: it is as `inside` saw it.

        The ledger's own writing may have taken the role away, so of what is sure only the rest is looked at.
        """
        sure = {AUTHORIZATION, ROLE} - set(inside.unsure)
        now = self._of_script()
        settings = {name: value for name, value in now.settings.items() if name not in sure}
        settings |= {name: value for name, value in inside.settings.items() if name in sure}
        self.kept = ScriptSession(settings, now.possessions)
        return self.kept != inside

    def inside(self, first: int, end: int) -> ScriptSession:
        """The session as it will be when the open transaction, which ran the statements from `first` on, has committed:
        as far as that can be seen now."""
        now = self._of_script()
        unsure = perhaps_local(self.kept, now, self._analysis.statements[first:end])
        return ScriptSession(now.settings, now.possessions, unsure)

    def _of_script(self) -> ScriptSession:
        now = observe(self._session.conn, self._custom, self._session.locks.numbers)
        return of_script(self._start, now, self._ours)


def observe(conn: Connection[Any], custom: Sequence[str] = (), own_locks: Sequence[int] = ()) -> Observed:
    """A session as it is now.

    :param custom: settings with a dot in their name, which pg_settings does not list.
    :param own_locks: advisory locks that are none of the script's.
    """
    settings: dict[str, str] = {}
    possessions = set()
    rows = conn.execute(_SESSION.encode(), {"custom": list(custom)}).fetchall()
    if ("may read", "pg_locks", "true") in rows:  # refused, it would end the transaction
        rows += conn.execute(_ADVISORY_LOCKS).fetchall()
    for kind, name, value in rows:
        if kind == "setting":
            settings[name] = value
        elif kind != "may read" and (kind != "advisory lock" or _number(name) not in own_locks):
            possessions.add(Possession(kind, name))
    return Observed(settings, frozenset(possessions))


# Operators are qualified, since a script's search path may have others. What BEGIN says of its transaction counts as
# made in the session too, and never outlives it.
_SESSION = """
SELECT 'setting', name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'
    AND name OPERATOR(pg_catalog.<>) ALL
        ('{transaction_isolation,transaction_read_only,transaction_deferrable}'::pg_catalog.text[])
UNION ALL SELECT 'setting', n, pg_catalog.current_setting(n) FROM pg_catalog.unnest(
    '{session_authorization,role}'::pg_catalog.text[]) n
UNION ALL SELECT 'setting', n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(
    %(custom)s::pg_catalog.text[]) n WHERE pg_catalog.current_setting(n, true) IS NOT NULL
UNION ALL SELECT 'temporary table', c.relname::pg_catalog.text, '' FROM pg_catalog.pg_class c
    WHERE pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
      AND c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
      AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,S}'::pg_catalog."char"[])
UNION ALL SELECT 'prepared statement', name, '' FROM pg_catalog.pg_prepared_statements WHERE from_sql
UNION ALL SELECT 'cursor', name, '' FROM pg_catalog.pg_cursors WHERE is_holdable
UNION ALL SELECT 'channel', n, '' FROM pg_catalog.pg_listening_channels() n
UNION ALL SELECT 'may read', 'pg_locks', pg_catalog.has_table_privilege('pg_catalog.pg_locks', 'SELECT')::text
"""
_ADVISORY_LOCKS = """
SELECT 'advisory lock', pg_catalog.concat_ws(' ', classid, objid, objsubid, mode), ''
    FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted
     AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
"""


def _number(lock: str) -> int | None:
    """The number of an advisory lock that has one; None: it has two."""
    high, low, how, _ = lock.split(" ")
    number = (int(high) << 32) | int(low)
    return None if how != "1" else number - (1 << 64) * (number >= 1 << 63)


def set_value(conn: Connection[Any], name: str, value: str) -> None:
    """Give a setting a value for the session."""
    conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def take(conn: Connection[Any], possession: Possession) -> bool:
    """Have what can be had again; False: somebody else has it. What cannot is told where a statement needs it."""
    if possession.kind == "channel":
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(possession.name)))
    if possession.kind != "advisory lock":
        return True
    row = conn.execute(b"SELECT " + _trying(possession.name)).fetchone()
    return bool(row and row[0])


def _trying(lock: str) -> bytes:
    """The call that takes an advisory lock once more, if it is free."""
    high, low, _, mode = lock.split(" ")
    number = _number(lock)
    keys = f"{_signed(int(high))}, {_signed(int(low))}" if number is None else f"{number}::pg_catalog.int8"
    return f"pg_catalog.pg_try_advisory_lock{'_shared' if mode == 'ShareLock' else ''}({keys})".encode()


def _signed(half: int) -> int:
    return half - (1 << 32) * (half >= 1 << 31)
