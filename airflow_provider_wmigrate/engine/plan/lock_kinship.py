"""What a change of one table does to its kin: both sides of foreign keys, partitions, the tables of a type. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork

from .lock_falling import EXCLUSIVE
from .lock_scope import Lock, Scope

KEY = LockMode.SHARE_ROW_EXCLUSIVE


def typed(scope: Scope, composite: int | None, *, cascade: bool) -> Iterator[Lock]:
    """The tables OF a composite type, which change with it."""
    kind = scope.relation(composite) if composite is not None else None
    if kind is not None and cascade:
        for relation in scope.facts.relations.values():
            if relation.of_type == kind.row_type:
                yield from (Lock(oid, EXCLUSIVE) for oid in scope.family(relation.oid))


def referenced(scope: Scope, constraint: Any, *, empty: bool) -> Iterator[Lock]:
    """The table that a new foreign key points at, with its partitions.

    :param empty: the table that gets the key has no rows to be checked.
    """
    target = scope.of(constraint.pktable)
    if target is not None:
        work: LongWork | None = None if constraint.skip_validation or empty else "scan"
        yield from (Lock(oid, KEY, work) for oid in scope.family(target))


def attached(scope: Scope, parent: int) -> Iterator[Lock]:
    """What a new partition concerns: the default one, which must have none of its rows, and both sides of keys."""
    facts = scope.facts
    if parent in facts.defaults:
        yield from (Lock(oid, EXCLUSIVE, "scan") for oid in scope.family(facts.defaults[parent]))
    yield from (Lock(key.references, KEY) for key in facts.constraints.get(parent, ()) if key.kind == "f")
    if facts.version >= 150000:
        yield from (Lock(key.relation, KEY) for key in facts.incoming.get(parent, ()))
