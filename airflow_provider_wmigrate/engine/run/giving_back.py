"""Runs a rollback script, and gives back in the same transaction what the migration has kept.

A table that the script does not make comes back before the script, so that the script can use it. Everything else comes
back behind it: what the script has made by then is what rows and values go into.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from airflow_provider_wmigrate.engine.catalog.keepable import Keepable, keepable
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, StatementFailed
from airflow_provider_wmigrate.engine.events import Noticed
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.session.message import ask
from airflow_provider_wmigrate.engine.session.sending import Sent, Tail
from airflow_provider_wmigrate.engine.session.settings import leaving
from airflow_provider_wmigrate.engine.sql.destroying import made_names
from airflow_provider_wmigrate.engine.sql.script import Analysis

from .keeping import all_rows_seen, columns_of, move_table
from .script_work import ScriptWork


@dataclass(slots=True)
class GivingBack(ScriptWork):
    """The sending of one rollback script, through all its attempts."""

    kept: list[Kept] = field(default_factory=list, init=False)
    """What was given back."""
    _moved: list[Kept] = field(default_factory=list, init=False)

    def send(
        self, version: str, analysis: Analysis, first: int = 0, end: int | None = None, tail: Tail | None = None
    ) -> Sent:
        """As `Sender.send`."""
        if first == 0:
            self.kept, self._moved = [], []
            self._tables_first()
        sent = self.session.send(version, analysis, first, end)
        if end is None:
            ask(self._conn, leaving(self._conn.info.user))  # whatever role the script has chosen
            with all_rows_seen(self._conn):
                self._rest()
        return sent

    @property
    def _conn(self) -> psycopg.Connection[Any]:
        return self.session.conn

    def _execute(self, text: str, *names: Any) -> int:
        return self._conn.execute(sql.SQL(text).format(*names)).rowcount

    @contextmanager
    def _speaking(self, kept: Kept) -> Iterator[None]:
        """:raises StatementFailed: it cannot be given back."""
        try:
            yield
        except psycopg.Error as error:
            failure = self.session.failure(error, self.job.version, self.job.file, outcome=ROLLED_BACK)
            raise self._failed(kept, failure.server_message, failure) from error

    def _failed(self, kept: Kept, why: str, cause: StatementFailed | None = None) -> StatementFailed:
        message = f"{kept} of schema {kept.place} cannot be given back: {why}"
        hint = "change what stands in its way, or the rollback script; it stays kept until then"
        return StatementFailed(
            self.job.version,
            self.job.file,
            message,
            outcome=ROLLED_BACK,
            server_hint=hint,
            sqlstate=cause.sqlstate if cause else None,
            said=cause.said if cause else None,
            retryable=cause.retryable if cause else False,
        )

    # Tables

    def _tables_first(self) -> None:
        made = made_names(self.analysis)
        for kept in reversed(self.job.kept):
            if kept.what == "table" and kept.table not in made and self._is_free(kept):
                with self._speaking(kept):
                    self._move(kept)

    def _is_free(self, kept: Kept) -> bool:
        schema = self._conn.execute("SELECT pg_catalog.to_regnamespace(pg_catalog.quote_ident(%s))", [kept.schema])
        return schema.fetchone() != (None,) and keepable(self._conn, (kept.schema, kept.table)) is None

    def _move(self, kept: Kept) -> None:
        move_table(self._conn, kept.table, kept.place, kept.schema)
        self._execute("DROP SCHEMA {}", sql.Identifier(kept.place))
        self._moved.append(kept)
        self._gave(kept)

    def _add_keys(self, kept: Kept) -> None:
        """Those that the script has not made itself."""
        table = sql.Identifier(kept.schema, kept.table)
        there = "SELECT conname::text FROM pg_catalog.pg_constraint WHERE conrelid = %s::text::pg_catalog.regclass"
        made = {name for (name,) in self._conn.execute(there, [table.as_string(None)])}
        for name, definition in (key for key in kept.foreign_keys if key[0] not in made):
            self._execute("ALTER TABLE {} ADD CONSTRAINT {} {}", table, sql.Identifier(name), sql.SQL(definition))

    def _gave(self, kept: Kept) -> None:
        self.kept.append(kept)
        self.execution.tell(Noticed(self.job.version, "NOTICE", f"gives back {kept}"))

    # Behind the script

    def _rest(self) -> None:
        for kept in reversed(self.job.kept):
            if kept in self.kept:
                continue
            with self._speaking(kept):
                if kept.what == "table" and keepable(self._conn, (kept.schema, kept.table)) is None:
                    self._move(kept)
                else:
                    self._fill(kept)
        for kept in self._moved:  # whose rows may name rows that have just come back
            with self._speaking(kept):
                self._add_keys(kept)

    def _fill(self, kept: Kept) -> None:
        """Put rows or values into a table that is there."""
        columns = kept.columns
        there = keepable(self._conn, (kept.schema, kept.table))
        if there is None or there.kind not in ("r", "p"):
            raise self._failed(kept, "there is no such table")
        if kept.what == "table":
            place = keepable(self._conn, (kept.place, kept.table))
            columns = tuple(place.stored) if place else ()
        lacking = [column for column in columns if column not in there.stored]
        if lacking:
            raise self._failed(kept, f"the rollback script makes no column {', '.join(lacking)} of {there.told}")
        with self._no_triggers(there):
            if kept.what == "column":
                self._values(kept)
            else:
                self._rows(kept, columns, there)
        self._execute("DROP TABLE {}", sql.Identifier(kept.place, kept.table))
        self._execute("DROP SCHEMA {}", sql.Identifier(kept.place))
        self._gave(kept)

    def _values(self, kept: Kept) -> None:
        names = [sql.Identifier(name) for name in kept.columns]
        values = sql.SQL(", ").join(sql.SQL("{0} = kept.{0}").format(name) for name in names)
        place = sql.Identifier(kept.place, kept.table).as_string(None)
        equal = dict(self._conn.execute(_EQUAL, [place]).fetchall())
        same = sql.SQL(" AND ").join(
            sql.SQL("held.{0} OPERATOR({1}.=) kept.{0}").format(sql.Identifier(name), sql.Identifier(equal[name]))
            for name in kept.key
        )
        given = self._execute(
            "UPDATE {} AS held SET {} FROM {} AS kept WHERE {}",
            sql.Identifier(kept.schema, kept.table), values, sql.Identifier(kept.place, kept.table), same,
        )  # fmt: skip
        if kept.rows is not None and given < kept.rows:
            said = f"{kept.rows - given:,} of {kept} have no row any more: it was deleted, or has another key now"
            self.execution.tell(Noticed(self.job.version, "WARNING", said))

    def _rows(self, kept: Kept, columns: tuple[str, ...], there: Keepable) -> None:
        place, table = sql.Identifier(kept.place, kept.table), there.identifier
        names = columns_of(columns)
        into = sql.SQL("({}) OVERRIDING SYSTEM VALUE").format(names) if columns else sql.SQL("")
        given = self._execute("INSERT INTO {} {} SELECT {} FROM {}", table, into, names, place)
        row = self._conn.execute(sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(place)).fetchone()
        if row != (given,):
            raise self._failed(kept, f"a rule or a trigger of {there.told} let only {given:,} rows in")
        if kept.what == "table":
            self._conn.execute(_SEQUENCES, {"kept": place.as_string(None), "table": table.as_string(None)})

    @contextmanager
    def _no_triggers(self, table: Keepable) -> Iterator[None]:
        """The rows come back as they were: no trigger changes them, or tells others of what is no news."""
        enabled = self._conn.execute(_TRIGGERS, [table.oid]).fetchall()
        for name, _ in enabled:
            self._execute("ALTER TABLE {} DISABLE TRIGGER {}", table.identifier, sql.Identifier(name))
        yield
        if enabled:  # the server alters no table on which a deferred constraint waits
            self._conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for name, how in enabled:
            again = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}.get(how, "ENABLE")
            self._execute(f"ALTER TABLE {{}} {again} TRIGGER {{}}", table.identifier, sql.Identifier(name))


_TRIGGERS = """
SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger
 WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname
"""
_EQUAL = """
SELECT a.attname::text, coalesce((
         SELECT n.nspname::text
           FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
          WHERE o.oprname = '=' AND o.oprleft = kind.oid AND o.oprright = kind.oid LIMIT 1), 'pg_catalog')
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
       CROSS JOIN LATERAL (SELECT coalesce(nullif(t.typbasetype, 0), t.oid)) AS kind (oid)
 WHERE a.attrelid = %s::text::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
"""In which schema the operator is by which two values of a column are equal: a type of an extension has its own."""
_SEQUENCES = """
SELECT pg_catalog.setval(pair.now::pg_catalog.regclass, last.value)
  FROM (SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute k
                                  WHERE k.attrelid = %(kept)s::text::pg_catalog.regclass AND k.attname = a.attname)
                    THEN pg_catalog.pg_get_serial_sequence(%(kept)s::text, a.attname::text) END AS was,
               pg_catalog.pg_get_serial_sequence(%(table)s::text, a.attname::text) AS now
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = %(table)s::text::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped) AS pair,
       pg_catalog.pg_sequence_last_value(pair.was::pg_catalog.regclass) AS last (value)
 WHERE pair.was IS NOT NULL AND pair.now IS NOT NULL AND last.value IS NOT NULL
"""
"""A table that a rollback script makes anew counts on from where the kept one was."""
