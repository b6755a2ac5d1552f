"""Whether a rollback gives back what was there: a verdict of what was seen before and after. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct, field

from airflow_provider_wmigrate.engine.catalog.row_sums import Sums, TableSums
from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import Difference, diff
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
from airflow_provider_wmigrate.engine.folder.verdict_file import Grade
from airflow_provider_wmigrate.engine.model import Migration
from airflow_provider_wmigrate.engine.plain import Plain


class Verdict(Plain, frozen=True):
    """:param differences: sentences about the schema. :param rows: sentences about rows and sequences.
    :param rewritten: tables that were there before, and that apply or rollback has rewritten or emptied.
    :param unproven: tables of whose rows nothing is proven, with the reason.
    :param reason: of a failure, or why it was not tried.
    """

    version: str
    name: str
    grade: Grade
    differences: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    unproven: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    def lines(self) -> list[str]:
        """What is to be said of it; nothing of one that is simply exact."""
        said = [*([self.reason] if self.reason else []), *self.differences, *self.rows]
        if self.rewritten:
            said.append(f"rewritten or emptied: {', '.join(self.rewritten)}")
        return said + [f"unproven: {table} {why}" for table, why in self.unproven.items()]


class Seen(Struct, frozen=True):
    """A database at one moment."""

    schema: Snapshot
    sums: Sums


class SeenApplied(Struct, frozen=True):
    """A database when the migration has run: its rows are not compared with anything.

    :param files: by table, see `TableSums.file`.
    """

    schema: Snapshot
    files: Mapping[str, int]


def judge(
    migration: Migration, before: Seen, applied: SeenApplied, back: Seen, again: Snapshot, unproven: Mapping[str, str]
) -> Verdict:
    """The verdict on a rollback that has run: before, applied, rolled back, and applied again.

    An extension that the config says it requires belongs to the database: that it stays is no difference. Rows after
    the second apply are not compared: a migration may write the time, or a random value.
    """
    theirs = {extension.name for extension in migration.requires_extensions}
    kept = [d for d in diff(before.schema, back.schema) if not _stays(d, theirs)]
    differences = [d.sentence for d in kept]
    differences += [f"applied again, it is not the same: {d.sentence}" for d in diff(applied.schema, again)]
    rows = [*_rows_lost(before.sums, back.sums), *_set_back(before.sums, back.sums)]
    grade = Grade.ROWS_LOST if rows else Grade.DEFINITION_LOST if differences else Grade.EXACT
    rewritten = tuple(sorted(_rewritten(before.sums, applied.files, back.sums)))
    unread = {**before.sums.unread, **back.sums.unread}
    return Verdict(
        migration.version, migration.name, grade, tuple(differences), tuple(rows), rewritten, {**unproven, **unread}
    )


def _stays(difference: Difference, extensions: Collection[str]) -> bool:
    return difference.kind == "extension" and difference.change == "added" and difference.identity in extensions


def _rows_lost(before: Sums, back: Sums) -> Iterator[str]:
    for table, had in before.tables.items():
        has = back.tables.get(table)
        if has is None:
            if had.rows and table not in back.unread:
                yield f"table {table}: {had.rows} rows are gone with it"
        elif had.rows != has.rows:
            yield f"table {table}: {had.rows} rows -> {has.rows}"
        elif had.whole != has.whole or had.columns != has.columns:
            yield from _changed(table, had, has)
    if before.large_objects != back.large_objects:
        yield f"large objects: {before.large_objects} -> {back.large_objects}"


def _changed(table: str, had: TableSums, has: TableSums) -> Iterator[str]:
    """With as many rows. What is new in a column that was not there before is told by the schema."""
    names = [name for name, value in had.columns.items() if has.columns.get(name) != value]
    if names:
        yield f"table {table}: other values in {', '.join(names)}"
    elif had.columns.keys() == has.columns.keys():
        yield f"table {table}: the same values stand in other rows"


def _set_back(before: Sums, back: Sums) -> Iterator[str]:
    """Sequences that would give numbers twice. One that is ahead leaves some out, as each INSERT that fails does."""
    for sequence, was in before.sequences.items():
        now = back.sequences.get(sequence)
        if now and (now.coming - was.coming) * was.increment < 0:
            yield f"sequence {sequence}: next {was.coming} -> {now.coming}, so it gives numbers twice"


def _rewritten(before: Sums, applied: Mapping[str, int], back: Sums) -> Iterator[str]:
    for table, had in before.tables.items():
        between = applied.get(table)
        has = back.tables.get(table)
        if between is not None and (between != had.file or (has is not None and has.file != between)):
            yield table
