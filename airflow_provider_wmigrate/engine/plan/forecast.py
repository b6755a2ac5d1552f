"""What a migration will lock, in words that an approver understands: who would wait, for what, how long. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.foreseen import Forecast, LockForecast
from airflow_provider_wmigrate.engine.lock_modes import (
    KnownBy,
    KnownLock,
    Learnt,
    LockMode,
    LockNeed,
    LockSet,
    LongWork,
)
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan, Script, Transactional
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.sql.destroying import destroying
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.wording import told_size

from .giving_back import locks_of_kept
from .journal import runs_by_statement, segments
from .lock_order import LockOrder, better_split, lock_order, locks_first, some_of, with_known
from .lock_scope import Scope
from .locks_needed import locks_needed

_BLOCKS = {
    LockMode.ROW_EXCLUSIVE: "changes rows of {what}, and blocks only who changes the same rows",
    LockMode.SHARE_UPDATE_EXCLUSIVE: "blocks VACUUM and changes of the schema of {what}, but no reads and writes",
    LockMode.SHARE: "blocks writes of {what}",
    LockMode.SHARE_ROW_EXCLUSIVE: "blocks writes of {what}",
    LockMode.EXCLUSIVE: "blocks writes and SELECT ... FOR UPDATE of {what}",
    LockMode.ACCESS_EXCLUSIVE: "blocks reads and writes of {what}",
}
"""By PostgreSQL's table of conflicts (its manual, section 13.3)."""
_DOING: dict[LongWork, str] = {
    "rewrite": "it writes the table anew",
    "scan": "it reads the whole table",
    "build": "it builds an index",
    "rows": "it reads or changes rows",
    "call": "nobody can see into what it calls",
}
_KNOWN_BY: dict[KnownBy, str] = {
    "script": "",
    "declared": ", as the migration declares",
    "dry run": ", as the last dry run of the same script has shown",
    "kept": ", to give back what was kept",
}
_SHOWN = ("r", "p", "m", "v", "f")
"""Kinds of relations, as pg_class.relkind has them."""


class Ahead(Struct, frozen=True):
    """A script that a plan will run."""

    version: str
    analysis: Analysis
    parts: tuple[range, ...]
    """Numbers of the statements that commit together. What one has locked the next one does not hold."""
    declared: tuple[tuple[str, LockMode], ...] = ()
    """What the migration says that it locks."""
    learnt: Learnt | None = None
    """From the last dry run of the same script; None: there was none."""
    kept: tuple[Kept, ...] = ()
    """Of a rollback: what it gives back."""
    first: bool = True
    """Its transactions take their locks before their first statement, as far as that is good."""
    keeps: bool = False
    """It puts aside what it destroys."""


Foreseen = tuple[tuple[Forecast, ...], tuple[Finding, ...]]
"""What the scripts of a plan will lock, and which of them should be split."""


def ahead(
    plan: Plan,
    migrations: Mapping[str, Migration],
    analysed: Callable[[Script], Analysis],
    settings: Execution,
    learnt: Mapping[str, Learnt],
    kept: Mapping[str, tuple[Kept, ...]] = MappingProxyType({}),
) -> Iterator[Ahead]:
    """The scripts of a plan's steps, as far as the folder has them and they can be read.

    :param learnt: from dry runs, by version.
    :param kept: what a rollback gives back, by version.
    """
    for step in plan.steps:
        migration = migrations.get(step.version)
        if migration is None:
            continue
        script: Script | None = migration.script
        transactional = migration.transactional
        if step.action == "rollback":
            script, transactional = migration.rollback, migration.rollback_transactional
        if script is not None:
            with suppress(WMigrateError):
                analysis = analysed(script)
                first = locks_first(migration, analysis, settings)
                parts = parts_of(analysis, transactional)
                known = learnt.get(step.version), kept.get(step.version, ())
                yield Ahead(
                    step.version,
                    analysis,
                    parts,
                    migration.locks,
                    *known,
                    first,
                    step.action == "apply" and migration.keep,
                )


def parts_of(analysis: Analysis, transactional: Transactional) -> tuple[range, ...]:
    """As `Ahead.parts`."""
    whole = (range(len(analysis.statements)),)
    if not runs_by_statement(analysis, transactional):
        return whole
    return tuple(range(part.first, part.end) for part in segments(analysis, transactional)) or whole


def forecasts(scripts: Iterable[Ahead], facts: RelationFacts) -> Foreseen:
    """Of scripts that run one after the other. What an earlier one makes is new to a later one, and locks nobody.

    :param facts: of a moment before the first one, of what all of them name.
    """
    scope = Scope(facts)
    made, findings = list[Forecast](), list[Finding]()
    for script in scripts:
        scope.begin_script()
        found = _needed(script, facts, scope)
        made.append(_forecast(script, found, facts))
        for part in found:
            findings += better_split(script.version, script.analysis, _order(script, part))
    return tuple(made), tuple(findings)


def _order(script: Ahead, found: LockSet) -> LockOrder:
    return lock_order(script.analysis, found) if script.first else LockOrder()


def _needed(script: Ahead, facts: RelationFacts, scope: Scope | None = None) -> list[LockSet]:
    """Of each part."""
    scope = scope or Scope(facts)
    found = [locks_needed(script.analysis, facts, scope, part) for part in script.parts]
    hides = next((number for number, each in enumerate(found) if each.unforeseen), 0)
    learnt = script.learnt.locks if script.learnt and found[hides].unforeseen else ()
    known = (*(KnownLock(*each) for each in script.declared), *learnt, *locks_of_kept(script.kept))
    found[hides] = with_known(found[hides], facts, known)
    return found


def _forecast(script: Ahead, found: Sequence[LockSet], facts: RelationFacts) -> Forecast:
    lines = [statement.line for statement in script.analysis.statements]
    whose = "the migration" if len(found) == 1 else "its transaction"
    told = dict.fromkeys(lock for part in found for lock in _of_part(part, facts, lines, whose))
    locks = sorted(told, key=lambda lock: -LockMode.of(lock.mode))
    unforeseen = (words for part in found for words in _unforeseen(script, part))
    late = tuple(words for part in found for words in _order(script, part).late_words(script.analysis))
    gives_back = tuple(f"gives back {each}" for each in script.kept)
    if script.keeps and destroying(script.analysis):
        gives_back = ("puts aside what it destroys, and its rollback gives it back (keep: true)",)
    return Forecast(script.version, tuple(locks), tuple(unforeseen), late, gives_back=gives_back)


def _of_part(found: LockSet, facts: RelationFacts, lines: Sequence[int], whose: str) -> Iterator[LockForecast]:
    """:param whose: commit lets the locks go."""
    for group in _gathered(found, facts):
        what, need, size = group.what(facts), group.longest, sum(each.size_bytes for each in group.needs)
        who = _BLOCKS[need.mode].format(what=f"{what} ({told_size(size)})" if size else what)
        if need.mode > LockMode.ROW_EXCLUSIVE:
            who = f"{who} {_lasts(need, found.long, lines, whose)}"
        who += _KNOWN_BY[need.known_by]
        yield LockForecast(what, need.mode.shown, who, need.work, size, need.known_by)


def _unforeseen(script: Ahead, found: LockSet) -> Iterator[str]:
    """What neither the migration declares nor a dry run has shown."""
    unseen = script.learnt.unseen if script.learnt else ()
    if script.declared or (script.learnt and not unseen):
        return
    more = f"; its dry run did not show whether it locks {some_of(unseen)}, locked before it" if unseen else ""
    for each in found.unforeseen:
        yield f"line {each.line} may lock more than can be foreseen: {each.why}{more}"


def _lasts(need: LockNeed, long: Sequence[int], lines: Sequence[int], whose: str) -> str:
    """How long the lock is held: its own statement counts, and what comes behind it in the same transaction."""
    worked = next(iter(need.worked), need.strongest) if need.known_by != "script" else need.strongest
    if need.work and worked in long:
        return f"for as long as the statement of line {lines[worked]} runs: {_DOING[need.work]}"
    hidden = need.strongest if need.known_by != "script" else need.strongest + 1
    behind = [number for number in long if number >= hidden]
    if behind:
        return f"until {whose} commits, and line {lines[behind[0]]} may take long"
    return "for a moment"


@dataclass
class _Group:
    """A table and those of its parts that are locked in the same mode."""

    table: int
    needs: list[LockNeed] = field(default_factory=list)

    @property
    def longest(self) -> LockNeed:
        """One with which something is done, if there is one."""
        return next((need for need in self.needs if need.work), self.needs[0])

    def what(self, facts: RelationFacts) -> str:
        known = facts.relations.get(self.table)
        name = known.quoted if known else self.needs[0].relation
        parts = sum(need.oid != self.table for need in self.needs)
        return LockTaken(name, "", parts=parts, whole=parts < len(self.needs)).what


def _gathered(found: LockSet, facts: RelationFacts) -> list[_Group]:
    groups: dict[tuple[int, LockMode], _Group] = {}
    for need in _told(found):
        table = _root(need.oid, facts)
        groups.setdefault((table, need.mode), _Group(table)).needs.append(need)
    return list(groups.values())


def _told(found: LockSet) -> Iterator[LockNeed]:
    """What of a lock set is told: tables, views and the like that are changed. What is only read, or locked row by row,
    stands in nobody's way; what an index or a sequence is locked for is said of its table."""
    return (need for need in found.needs if need.mode > LockMode.ROW_SHARE and need.kind in _SHOWN)


def _root(oid: int, facts: RelationFacts) -> int:
    """The table of which this one is a part, at the end of all."""
    while parents := facts.parents.get(oid):
        oid = parents[0]
    return oid


# What a dry run saw

Held = Mapping[int, LockMode]
"""By oid, the strongest mode in which a transaction has locked a relation."""


class Seen(Struct, frozen=True):
    """What a dry run saw of one script.

    :param here: the names of what existed before the dry run, by oid.
    :param before: held already when the script began, by those before it in the transaction: whether it takes no more
        than that nobody can see.
    :param after: held at its end.
    :param rewritten: of what has rows, whether it is in another file now.
    """

    here: Mapping[int, str]
    before: Held
    after: Held
    rewritten: Mapping[int, bool]


def compared(script: Ahead, facts: RelationFacts, seen: Seen) -> Forecast:
    """The forecast of one script, and where what it really took is not the same.

    :param facts: of a moment before this script: what those before it have made is there, and locks nobody.
    """
    (found,) = _needed(script, facts)
    found = replace(found, needs=tuple(need for need in found.needs if need.oid in seen.here))
    made = _forecast(script, [found], facts)
    return replace(made, differences=tuple(_differences(found, seen)))


def _differences(found: LockSet, seen: Seen) -> Iterator[str]:
    foreseen = {need.oid: need for need in _told(found)}
    for oid in sorted({*foreseen, *seen.after}, key=seen.here.__getitem__):
        need = foreseen.get(oid)
        for what in (_of_lock(oid, need, seen), _of_file(oid, need, seen)):
            if what:
                yield f"{seen.here[oid]} {what}"


def _of_lock(oid: int, need: LockNeed | None, seen: Seen) -> str | None:
    had, has = seen.before.get(oid, 0), seen.after.get(oid)
    if need is None:
        new = has is not None and has > max(had, LockMode.ROW_SHARE)
        return f"was locked ({has.shown}), which was not foreseen" if has and new else None
    if max(need.mode, had) == has:
        return None
    return f"was {f'locked ({has.shown})' if has else 'not locked'}, but {need.mode.shown} was foreseen"


def _of_file(oid: int, need: LockNeed | None, seen: Seen) -> str | None:
    was, foreseen = seen.rewritten.get(oid), need is not None and need.work == "rewrite"
    if was is None or was == foreseen:
        return None
    return "was written anew, which was not foreseen" if was else "was not written anew, which was foreseen"
