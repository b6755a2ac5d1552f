"""The lock set of a script, before it runs: every relation that it will lock and the strongest mode that it needs. Pure
over its statements and what the catalogs say of what it names.

Left out are relations that the script makes itself, that are temporary, or of which the catalogs know nothing: another
migration may make them before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import Relation, RelationFacts
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed, LockSet, LongWork, Unforeseen
from airflow_provider_wmigrate.engine.sql.named import target_of
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .lock_events import fires
from .lock_names import after
from .lock_rows import inserted
from .lock_rules import RULES
from .lock_scope import SYSTEM, Hidden, Lasting, Lock, Scope, Taken


def locks_needed(
    analysis: Analysis, facts: RelationFacts, scope: Scope | None = None, part: range | None = None
) -> LockSet:
    """:param facts: of a moment before the script, from `relations_query` of the same script.
    :param scope: what names mean behind the scripts that run before it, if the facts are of a moment before these.
    :param part: numbers of the statements that commit together; None: all of them do.
    :return: reads and row locks of SELECT ... FOR UPDATE are there only beside a lock that keeps writers out: alone
        they stand in nobody's way.
    """
    scope, found = scope or Scope(facts), _Found(facts)
    if analysis.unparsed is not None:
        why = "PostgreSQL's grammar of this version does not read the script"
        return LockSet(unforeseen=(Unforeseen(0, 1, why),), long=(0,))
    for number, statement, all_taken in taken_in_order(analysis, scope, part):
        for taken in all_taken:
            found.add(number, statement, taken)
    return found.lock_set()


def taken_in_order(
    analysis: Analysis, scope: Scope, part: range | None = None
) -> Iterator[tuple[int, Statement, list[Taken]]]:
    """Each statement by its number, with what it takes. While it is looked at, the scope is that of the moment before.

    :param part: the numbers of the statements; None: all.
    """
    for number in range(len(analysis.statements)) if part is None else part:
        statement = analysis.statements[number]
        found = (*_taken(analysis, statement, scope), *fires(analysis, statement, scope.facts))
        all_taken = [taken for taken in found if not isinstance(taken, Lock) or taken.relation >= 0]
        yield number, statement, all_taken
        if statement.node is not None:
            after(statement.kind, statement.node, scope)
        if any(isinstance(taken, Hidden) or taken.work in ("rows", "call") for taken in all_taken):
            scope.rows_came()


def _taken(analysis: Analysis, statement: Statement, scope: Scope) -> Iterator[Taken]:
    if statement.node is None:
        return _unkept(analysis, statement, scope)
    if statement.kind == "create_schema_stmt":
        return _in_schema(statement.node, scope)
    rule = RULES.get(statement.kind)
    return rule(statement.node, scope) if rule else iter(())


def _unkept(analysis: Analysis, statement: Statement, scope: Scope) -> Iterator[Taken]:
    """INSERT, COPY and SELECT of a large script, whose trees are not kept."""
    text = analysis.script.text[statement.start : statement.start + 1000]
    target = target_of(text)
    oid = scope.find(*target) if target else None
    if oid is not None:
        names = {column.name for column in scope.facts.columns.get(oid, ())}
        yield from inserted(scope, oid, names, "rows")
    if statement.kind == "select_stmt":
        yield from _select_again(analysis.text_of(statement), scope)
    else:
        yield Lasting("rows")


def _select_again(text: str, scope: Scope) -> Iterator[Taken]:
    from postgast import parse

    node = parse(text).stmts[0].stmt.select_stmt
    yield from RULES["select_stmt"](node, scope)
    after("select_stmt", node, scope)


def _in_schema(node: Any, scope: Scope) -> Iterator[Taken]:
    scope.enter(node.schemaname or node.authrole.rolename)
    for item in node.schema_elts:
        kind = item.WhichOneof("node")
        inner = getattr(item, kind)
        if kind in RULES:
            yield from RULES[kind](inner, scope)
        after(kind, inner, scope)
    scope.leave()


class _Found:
    """What the statements took, one after the other."""

    def __init__(self, facts: RelationFacts) -> None:
        self._facts = facts
        self._needs: dict[int, LockNeed] = {}
        self._unforeseen: list[Unforeseen] = []
        self._long: set[int] = set()
        self._worked: dict[int, dict[int, None]] = {}
        self._lasting: set[int] = set()

    def add(self, number: int, statement: Statement, taken: Taken) -> None:
        if isinstance(taken, Hidden):
            hidden = Unforeseen(number, statement.line, taken.why)
            if hidden not in self._unforeseen[-3:]:
                self._unforeseen.append(hidden)
        elif isinstance(taken, Lasting):
            self._long.add(number)
            self._lasting.add(number)
        else:
            self._lock(number, taken)

    def _lock(self, number: int, lock: Lock) -> None:
        if lock.work is not None:
            self._long.add(number)
            self._worked.setdefault(lock.relation, {})[number] = None
        relation = self._facts.relations.get(lock.relation)
        if relation is None or relation.schema in SYSTEM or relation.kind == "t":
            return
        known = self._needs.get(lock.relation)
        first = known.statement if known else number
        if known is None or lock.mode > known.mode:
            self._needs[lock.relation] = _need(relation, lock, first, number, known)
        elif known.work is None and lock.work is not None:
            self._needs[lock.relation] = _need(relation, known, first, known.strongest, None, lock.work)

    def lock_set(self) -> LockSet:
        needs = [replace(need, worked=self._known_work(oid)) for oid, need in self._needs.items()]
        if all(need.mode < LockMode.SHARE for need in needs):
            needs = [need for need in needs if need.mode > LockMode.ROW_SHARE]
        ordered = sorted(needs, key=lambda need: (-need.mode, need.relation))
        return LockSet(tuple(ordered), tuple(self._unforeseen), tuple(sorted(self._long)))

    def _known_work(self, oid: int) -> tuple[int, ...]:
        return tuple(number for number in self._worked.get(oid, ()) if number not in self._lasting)


def _need(
    relation: Relation, lock: Lock | LockNeed, first: int, strongest: int, known: LockNeed | None,
    work: LongWork | None = None,
) -> LockNeed:  # fmt: skip
    return LockNeed(
        relation.quoted,
        relation.oid,
        lock.mode,
        first,
        strongest,
        lockable=_lockable(relation, lock.mode),
        work=work or lock.work or (known.work if known else None),
        size_bytes=relation.size_bytes,
        kind=relation.kind,
    )


def _lockable(relation: Relation, mode: LockMode) -> bool:
    """Whether LOCK TABLE may be said. Before PostgreSQL 16 the right to INSERT is not enough for ROW SHARE."""
    only_inserts = relation.right == LockMode.ROW_EXCLUSIVE
    return relation.right >= mode and not (only_inserts and mode == LockMode.ROW_SHARE)
