"""Which locks a script takes before its first statement, and which just before the statement that needs them. Pure.

A transaction that waits for a lock while it holds another one can be a part of a deadlock. So all locks come first,
the strongest one in front, and only while nothing is held one of them is waited for. A lock that keeps others away and
would be held through something long comes just before its statement; it is never waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, LockMode, LockNeed, LockSet
from airflow_provider_wmigrate.engine.model import Finding, Migration
from airflow_provider_wmigrate.engine.sql.lock_limit import own_limit
from airflow_provider_wmigrate.engine.sql.named import names_in
from airflow_provider_wmigrate.engine.sql.pieces import without_comments
from airflow_provider_wmigrate.engine.sql.script import Analysis

SMALL = 8 * 1024 * 1024
"""Bytes of a table with its indexes: whatever is done with all of it is over in a moment."""
_SHOWN = 6
"""Relations that a sentence names."""


class Late(Struct, frozen=True):
    """A lock that is taken just before its statement."""

    need: LockNeed
    behind: int
    """Number from 0 of a long statement through which it would be held otherwise."""


class LockOrder(Struct, frozen=True):
    """When each lock of a script is taken."""

    first: tuple[LockNeed, ...] = ()
    """Before the first statement, in this order."""
    late: tuple[Late, ...] = ()
    """By statement."""

    @property
    def stops(self) -> tuple[int, ...]:
        """Numbers from 0 of the statements before which the script pauses for a late lock."""
        return tuple(sorted({late.need.strongest for late in self.late}))

    def late_words(self, analysis: Analysis) -> Iterator[str]:
        """Of the locks that are taken behind the first statement."""
        for stop in self.stops:
            group = [late for late in self.late if late.need.strongest == stop]
            why = f"since line {_line(analysis, group[0].behind)} may take long"
            yield f"takes just before line {_line(analysis, stop)}, {why}: {_named([late.need for late in group])}"


def lasting(found: LockSet) -> tuple[int, ...]:
    """Numbers from 0 of the statements that take longer than a moment."""
    return tuple(number for number in found.long if not _is_small(found, number))


def lock_order(
    analysis: Analysis,
    found: LockSet,
    *,
    learnt: Sequence[LockNeed] = (),
    all_first: bool = False,
    rows_met: bool = False,
) -> LockOrder:
    """When the locks of a script are taken.

    :param learnt: what an earlier try has waited for although nobody had foreseen it; it is taken first of all.
    :param all_first: an earlier try did not get a late one.
    :param rows_met: an earlier try has waited for a row. Whoever has changed one is waited for like any holder of a
        lock, and the next one kept away, if this is for a moment only.
    """
    first: list[LockNeed] = []
    late: list[Late] = []
    lasts = lasting(found)
    long = () if all_first else lasts
    for need in map(_without_writers, found.needs) if rows_met and not lasts else found.needs:
        if _does_not_wait(analysis, need.strongest):
            continue
        behind = next((number for number in long if number < need.strongest), None)
        if not need.lockable:
            continue  # its statement takes it
        if behind is None or not _keeps_others_away(need.mode):
            first.append(need)
        else:
            late.append(Late(need, behind))
            if need.statement < need.strongest:  # it is used before, and that must not be waited for either
                first.append(replace(need, mode=LockMode.ROW_EXCLUSIVE, strongest=need.statement))
    late.sort(key=lambda each: each.need.strongest)
    first = _with_learnt(first, learnt)
    return LockOrder(tuple(first), tuple(late))


def names_of(known: Iterable[KnownLock]) -> list[str]:
    """The names of which something has to be known for that, and of their schemas."""
    return [name for lock in known for name in names_in(lock.table)]


def with_known(found: LockSet, facts: RelationFacts, known: Iterable[KnownLock]) -> LockSet:
    """The set with locks of which the script says nothing. A table that is not there needs no lock: the script makes
    it, or fails."""
    at, more = found.hidden_at, list[LockNeed]()
    for table, mode, known_by, whole, parts in known:
        relation = facts.by_name.get(tuple(names_in(table)))  # type: ignore[arg-type]
        itself = [relation.oid] if relation and whole else []
        for oid in (*itself, *(facts.descendants(relation.oid) if relation and parts else ())):
            member = facts.relations.get(oid)
            if member is not None:
                able, size = member.right >= mode, member.size_bytes
                need = LockNeed(member.quoted, oid, mode, at, at, able, None, size, member.kind, known_by=known_by)
                more.append(need)
    return found.with_more(more)


def _with_learnt(first: Sequence[LockNeed], learnt: Sequence[LockNeed]) -> list[LockNeed]:
    """The stronger one of two for the same relation; what was learnt in front."""
    modes = {need.relation: need.mode for need in first}
    more = [need for need in learnt if modes.get(need.relation, 0) < need.mode]
    stronger = {need.relation for need in more}
    front = {need.relation for need in learnt}
    kept = [*more, *(need for need in first if need.relation not in stronger)]
    return sorted(kept, key=lambda need: need.relation not in front)


def locks_first(migration: Migration, analysis: Analysis, settings: Execution) -> bool:
    """Whether a migration's transaction takes its locks before its first statement."""
    chosen = settings.lock_first if migration.lock_first is None else migration.lock_first
    return chosen and not rules_its_waits(analysis)


def rules_its_waits(analysis: Analysis) -> bool:
    """Whether the script limits its waits for locks so that nobody can see it from outside: then it keeps its way."""
    if analysis.unparsed:
        return True
    if not _LIMIT.search(analysis.script.text) and _RESETS.isdisjoint(analysis.statements.kinds()):
        return False
    end = len(analysis.statements)
    limit = own_limit(analysis, end)
    if limit is not None and limit.seconds is None:
        return True
    seen = sum(1 for _, node in analysis.statements.nodes("variable_set_stmt") if node.name == "lock_timeout")
    return len(_LIMIT.findall(without_comments(analysis.body))) > seen


def own_patience(analysis: Analysis, need: LockNeed, given: float) -> float:
    """Seconds for which a lock may be tried: as the script says before its statement, else as given."""
    own = own_limit(analysis, need.strongest)
    return own.seconds if own is not None and own.seconds else given


def better_split(version: str, analysis: Analysis, order: LockOrder) -> Iterator[Finding]:
    """A finding for each statement whose lock has to come late: in a file of its own it would come first."""
    for stop in order.stops:
        group = [late for late in order.late if late.need.strongest == stop]
        what, behind = _named([late.need for late in group]), _line(analysis, group[0].behind)
        message = f"locks {what} behind line {behind}, which may take long, so that what was locked before waits for it"
        nxt = "put it into a migration of its own"
        file, line = analysis.script.file, _line(analysis, stop)
        yield Finding("late_lock", message, nxt, "warning", version=version, file=file, line=line)


def _without_writers(need: LockNeed) -> LockNeed:
    """A lock that nobody gets while another one has an uncommitted row."""
    changes_rows = need.mode in (LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE)
    return replace(need, mode=LockMode.EXCLUSIVE) if changes_rows else need


def _keeps_others_away(mode: LockMode) -> bool:
    """Readers or writers of rows."""
    return mode.conflicts(LockMode.ROW_EXCLUSIVE)


def _is_small(found: LockSet, number: int) -> bool:
    """Whether a statement works on small tables alone, so that it does not take long."""
    worked_on = [need for need in found.needs if number in need.worked]
    return bool(worked_on) and all(need.size_bytes < SMALL and need.work != "call" for need in worked_on)


def _does_not_wait(analysis: Analysis, number: int) -> bool:
    """LOCK TABLE ... NOWAIT never queues."""
    statement = analysis.statements[number] if number < len(analysis.statements) else None
    return statement is not None and statement.kind == "lock_stmt" and bool(statement.node and statement.node.nowait)


def _named(needs: Sequence[LockNeed]) -> str:
    return some_of([f"{need.relation} ({need.mode.keyword})" for need in needs])


def some_of(names: Sequence[str]) -> str:
    """As many as a sentence can bear."""
    more = len(names) - _SHOWN
    return ", ".join(names if more <= 1 else [*names[:_SHOWN], f"and {more} others"])


def _line(analysis: Analysis, number: int) -> int:
    return analysis.statements[number].line


_RESETS = {"variable_set_stmt", "discard_stmt"}
_LIMIT = re.compile(r"\block_timeout\b", re.IGNORECASE)
