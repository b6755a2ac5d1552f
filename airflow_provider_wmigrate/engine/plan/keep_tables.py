"""What the tables show of what a migration with `keep: true` destroys: whether it could be given back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from airflow_provider_wmigrate.engine.catalog.keepable import Keepable
from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in
from airflow_provider_wmigrate.engine.sql.destroying import Destroying, destroying
from airflow_provider_wmigrate.engine.sql.named import names_of
from airflow_provider_wmigrate.engine.sql.pieces import has_word
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .forecast import Ahead
from .keep_rules import HIDING, WITHOUT, Reason, not_kept
from .losses import lost


def keep_findings_of_tables(
    scripts: Iterable[tuple[Migration, Analysis]], look: Callable[[tuple[str, str], Sequence[str]], Keepable | None]
) -> Iterator[Finding]:
    """What the tables show as they are before the first script. What a script changes before is left to the run, which
    looks again.

    :param scripts: in the order in which they will run.
    :param look: at a table and columns of it.
    """
    changed = set[str]()
    for migration, analysis in scripts:
        if analysis.unparsed is not None:
            return
        found = {one.number: one for one in destroying(analysis)} if migration.keep else {}
        for number, statement in enumerate(analysis.statements):
            if statement.kind in HIDING:
                return
            one = found.get(number)
            if one is not None:
                yield from _of_tables(migration, statement, one, look, changed)
            if statement.kind not in _ONLY_ROWS:
                changed |= names_of(analysis, statement)


def hidden_losses(migrations: Sequence[Migration], scripts: Iterable[Ahead], facts: RelationFacts) -> Iterator[Finding]:
    """Warnings: functions may destroy what nobody sees, so that it is not kept.

    :param scripts: all that run, one after the other.
    """
    found = lost(scripts, facts)
    for migration in migrations:
        for one in found.get(migration.version, ()):
            if one.why:
                message = f"keep: true, but it may destroy more than it keeps: {one.why}"
                yield finding_in("not_kept", migration, message, "look what that does", "warning", line=one.line)


_ONLY_ROWS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt", "copy_stmt", "truncate_stmt"}


def _of_tables(
    migration: Migration,
    statement: Statement,
    one: Destroying,
    look: Callable[[tuple[str, str], Sequence[str]], Keepable | None],
    changed: Collection[str],
) -> Iterator[Finding]:
    tables = (look(name, one.columns) for name in one.tables if name[1] not in changed)
    for table in tables:
        if table is None or table.temporary:
            continue
        reason = why_not_of_table(one, table)
        if reason and not any(has_word(key, name) for key in table.spreading for name in changed):
            yield not_kept(migration, statement.line, reason)


def why_not_of_table(one: Destroying, table: Keepable) -> Reason | None:
    """Why what a statement destroys of a table cannot be kept."""
    if one.what == "table":
        return _of_dropped(table)
    if table.inherited and table.kind != "p" and not table.partition:
        return f"other tables inherit from {table.told} or it from them, as the chunks of a hypertable", WITHOUT
    if one.what == "column":
        return _of_columns(one, table)
    return _of_rows(one, table)


def _of_dropped(table: Keepable) -> Reason | None:
    if table.partition:
        return f"{table.told} is a partition", "DETACH PARTITION first, then drop it"
    if table.kind == "p":
        return f"{table.told} is partitioned, and its partitions would not come along", WITHOUT
    if table.inherited:
        return f"other tables inherit from {table.told} or it from them, as the chunks of a hypertable", WITHOUT
    if table.published:
        name = table.published[0]
        leave = f"ALTER PUBLICATION {name} DROP TABLE before it, and the rollback script adds it again"
        return f"publication {name} names {table.told}, and would go on with what is kept", leave
    return None


def _of_columns(one: Destroying, table: Keepable) -> Reason | None:
    if not {*one.columns} & {*table.stored}:
        return None
    if table.numbered:
        column = table.numbered[0]
        return f"{table.told}.{column} has a sequence of its own, which would not be kept", WITHOUT
    if not table.key:
        without = "add a primary key, or a unique index on columns that are NOT NULL"
        return f"{table.told} has no key that stays and tells its rows apart", without
    return None


def _of_rows(one: Destroying, table: Keepable) -> Reason | None:
    if table.kind not in ("r", "p"):
        return f"{table.told} is no table, and its rows are elsewhere", "name the table itself"
    if table.rules:
        return f"{table.told} has rules, and nobody sees what they destroy", WITHOUT
    triggers = table.delete_triggers if one.what == "rows" else table.truncate_triggers
    if triggers:
        disabled = f"disable it around the statement (ALTER TABLE ... DISABLE TRIGGER {triggers[0]})"
        return f"trigger {triggers[0]} of {table.told} runs, and nobody sees what it destroys", disabled
    if one.what == "rows" and table.spreading:
        first = "delete or change those rows before, by a statement of its own, and then drop the CASCADE of the key"
        return f"foreign key {table.spreading[0]} takes rows or values of another table along", first
    return None
