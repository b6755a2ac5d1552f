"""Runs a script with `keep: true`: what its statements would destroy is put aside first, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg import sql

from airflow_provider_wmigrate.engine.catalog.keepable import Keepable, keepable
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, HistoryError
from airflow_provider_wmigrate.engine.events import Noticed
from airflow_provider_wmigrate.engine.ledger.kept import kept_places, place_of
from airflow_provider_wmigrate.engine.plan.keep_rules import WITHOUT, Reason, not_kept
from airflow_provider_wmigrate.engine.plan.keep_tables import why_not_of_table
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.session.sending import Sent, Tail
from airflow_provider_wmigrate.engine.sql.destroying import Destroying, destroying
from airflow_provider_wmigrate.engine.sql.script import Analysis

from .script_work import ScriptWork

_SAVEPOINT, _BACK, _RELEASE = (f"{word} SAVEPOINT wmigrate_keep".lstrip() for word in ("", "ROLLBACK TO", "RELEASE"))


@contextmanager
def all_rows_seen(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Policies hide no row from what is copied: the server refuses instead."""
    row = conn.execute("SELECT pg_catalog.current_setting('row_security')").fetchone()
    setting = "SELECT pg_catalog.set_config('row_security', %s, true)"
    conn.execute(setting, ["off"])
    yield
    conn.execute(setting, row)


def columns_of(names: Sequence[str]) -> sql.Composed:
    """As a list in SQL."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def move_table(conn: psycopg.Connection[Any], name: str, schema: str, to: str) -> None:
    """With its statistics objects: the server leaves those where they are, and nobody could use their names again."""
    table = sql.Identifier(schema, name)
    statistics = conn.execute(_STATISTICS, [table.as_string(None), schema]).fetchall()
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table, sql.Identifier(to)))
    for (each,) in statistics:
        move = sql.SQL("ALTER STATISTICS {} SET SCHEMA {}")
        conn.execute(move.format(sql.Identifier(schema, each), sql.Identifier(to)))


@dataclass(slots=True)
class Keeping(ScriptWork):
    """The sending of one script, through all its attempts."""

    kept: list[Kept] = field(default_factory=list, init=False)
    _before: frozenset[int] = field(default=frozenset(), init=False)
    """The tables and views that were there before the script: what it makes itself is nobody's loss."""
    _places: set[str] = field(default_factory=set, init=False)

    def send(
        self, version: str, analysis: Analysis, first: int = 0, end: int | None = None, tail: Tail | None = None
    ) -> Sent:
        """As `Sender.send`."""
        if first == 0:
            self._begin()
        sent, at, last = Sent(), first, len(analysis.statements) if end is None else end
        for one in destroying(analysis):
            if at <= one.number < last:
                if at < one.number:
                    sent = sent.and_then(self.session.send(version, analysis, at, one.number))
                with self._speaking(one.number):
                    sent = sent.and_then(self._keep(one))
                at = one.number + 1
        return sent.and_then(self.session.send(version, analysis, at, end, tail)) if at < last else sent

    @property
    def _conn(self) -> psycopg.Connection[Any]:
        return self.session.conn

    def _begin(self) -> None:
        tables = "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'f')"
        self._before = frozenset(oid for (oid,) in self._conn.execute(tables))
        self._places, self.kept = {*kept_places(self._conn)}, []

    @contextmanager
    def _speaking(self, index: int) -> Iterator[None]:
        """:raises StatementFailed: what the server refused around a statement, told with its place."""
        try:
            yield
        except psycopg.Error as error:
            version, file, analysis = self.job.version, self.job.file, self.analysis
            raise self.session.failure(
                error, version, file, outcome=ROLLED_BACK, analysis=analysis, index=index
            ) from error

    def _keep(self, one: Destroying) -> Sent:
        found = (keepable(self._conn, table, one.columns) for table in one.tables)
        tables = [t for t in found if t and t.oid in self._before and not t.temporary]
        for table in tables:
            reason = why_not_of_table(one, table)
            if reason is not None:
                raise self._refused(one, reason)
        tables = self._referenced_last(one, tables)
        if one.what == "table":
            return self._instead_of_drop(one, tables)
        if one.what == "rows":
            return self._delete(one, tables[0]) if tables else self._as_written(one)
        for table in tables:
            names = table.stored if one.what == "all rows" else [c for c in table.stored if c in one.columns]
            if names:
                self._copy(one, table, names)
        return self._as_written(one)

    def _refused(self, one: Destroying, reason: Reason) -> HistoryError:
        return HistoryError([not_kept(self.job.migration, self.analysis.statements[one.number].line, reason)])

    def _referenced_last(self, one: Destroying, tables: Sequence[Keepable]) -> list[Keepable]:
        """The last comes back first: rows that others name have to be there before those."""
        by_oid = {table.oid: table for table in tables}
        sorter = TopologicalSorter[int](dict.fromkeys(by_oid, ()))
        for referencing, referenced in self._conn.execute(_TIES, {"oids": list(by_oid)}):
            sorter.add(referenced, referencing)
        try:
            return [by_oid[oid] for oid in sorter.static_order()]
        except CycleError as error:
            if one.what == "table":  # moved as they are, and tied again when all of them are back
                return list(tables)
            circle = " and ".join(sorted({by_oid[oid].told for oid in error.args[1]}))
            raise self._refused(one, (f"foreign keys tie {circle} in a circle", WITHOUT)) from None

    def _as_written(self, one: Destroying) -> Sent:
        return self.session.send(self.job.version, self.analysis, one.number, one.number + 1)

    def _new_place(self, what: str) -> str:
        begin = place_of(self.job.version)
        number = next(n for n in range(1, len(self._places) + 2) if f"{begin}{n}" not in self._places)
        place = f"{begin}{number}"
        self._places.add(place)
        self._conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place)))
        said = f"wmigrate: what migration {self.job.version} would have destroyed: {what}"
        self._conn.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(place), said))
        return place

    def _add(self, kept: Kept) -> None:
        self.kept.append(kept)
        self.execution.tell(Noticed(self.job.version, "NOTICE", f"keeps {kept} in schema {kept.place}"))

    # DROP TABLE

    def _instead_of_drop(self, one: Destroying, tables: Sequence[Keepable]) -> Sent:
        """The server judges the statement, which is taken back; then the tables are moved away."""
        if not tables:
            return self._as_written(one)
        self._conn.execute(_SAVEPOINT)
        sent = self._as_written(one)
        self._conn.execute(_BACK)
        self._conn.execute("SELECT pg_catalog.set_config('search_path', '', true)")
        keys = {table.oid: self._conn.execute(_FOREIGN_KEYS, [table.oid]).fetchall() for table in tables}
        self._conn.execute(f"{_BACK}; {_RELEASE}")
        for table in tables:
            for name, _ in keys[table.oid]:
                drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
                self._conn.execute(drop.format(table.identifier, sql.Identifier(name)))
        for table in tables:
            place = self._new_place(f"table {table.told}")
            move_table(self._conn, table.name, table.schema, place)
            self._add(Kept("table", place, table.schema, table.name, foreign_keys=tuple(keys[table.oid])))
        for name in one.tables:  # what the script has made itself is dropped
            other = keepable(self._conn, name)
            if other is not None:
                self._conn.execute(sql.SQL("DROP TABLE {}").format(other.identifier))
        return sent

    # Rows and values

    def _copy(self, one: Destroying, table: Keepable, names: Sequence[str]) -> None:
        """Before a statement that destroys all of these columns."""
        self._conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table.identifier))
        columns = [*table.key, *names] if one.what == "column" else names
        place = self._new_place(f"of table {table.told}")
        copy = sql.SQL("CREATE TABLE {} AS SELECT {} FROM {}")
        there = sql.Identifier(place, table.name)
        with all_rows_seen(self._conn):
            rows = self._conn.execute(copy.format(there, columns_of(columns), table.identifier)).rowcount
        self._kept_rows(one, table, place, names, rows)

    def _delete(self, one: Destroying, table: Keepable) -> Sent:
        """The statement itself hands over the rows that it deletes."""
        statement = self.analysis.statements[one.number]
        place = self._new_place(f"rows of table {table.told}")
        there = sql.Identifier(place, table.name)
        empty = sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA")
        self._conn.execute(empty.format(there, columns_of(table.stored), table.identifier))
        target = statement.node.relation
        alias = target.alias.aliasname or target.relname
        gone = sql.SQL(", ").join(sql.Identifier(alias, name) for name in table.stored)
        text = sql.SQL(self.analysis.text_of(statement))
        query = sql.SQL("WITH wmigrate_gone AS ({}\nRETURNING {}) INSERT INTO {} SELECT * FROM wmigrate_gone")
        rows = self._conn.execute(query.format(text, gone, there).as_bytes(self._conn)).rowcount
        self._kept_rows(one, table, place, table.stored, rows)
        return Sent(1, rows)

    def _kept_rows(self, one: Destroying, table: Keepable, place: str, names: Sequence[str], rows: int) -> None:
        if not rows:
            there = sql.Identifier(place, table.name), sql.Identifier(place)
            self._conn.execute(sql.SQL("DROP TABLE {}; DROP SCHEMA {}").format(*there))
            return
        kept = Kept("rows", place, table.schema, table.name, tuple(names), rows=rows)
        of_column = one.what == "column"
        self._add(replace(kept, what="column", key=tuple(table.key)) if of_column else kept)


_STATISTICS = """
SELECT s.stxname::text FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
 WHERE s.stxrelid = %s::text::pg_catalog.regclass AND n.nspname = %s
"""
_TIES = """
SELECT conrelid::pg_catalog.int8, confrelid::pg_catalog.int8 FROM pg_catalog.pg_constraint
 WHERE contype = 'f' AND conrelid <> confrelid AND conrelid = ANY (%(oids)s) AND confrelid = ANY (%(oids)s)
"""
_FOREIGN_KEYS = """
SELECT conname::text, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
 WHERE conrelid = %s AND contype = 'f' AND confrelid <> conrelid ORDER BY conname
"""
"""Of one table to others; with an empty search path, so that every name has its schema."""
