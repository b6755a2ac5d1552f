"""What is locked by dropping something: it, what falls with it, and what these were parts of. Pure.

Source: PostgreSQL's dependency.c (doDeletion) and the Remove...ById functions that it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Thing
from airflow_provider_wmigrate.engine.lock_modes import LockMode

from .lock_scope import Hidden, Lock, Scope, Taken

EXCLUSIVE = LockMode.ACCESS_EXCLUSIVE
CASCADE = 2
"""DropBehavior."""


def fallen(scope: Scope, roots: Iterable[Thing], *, cascade: bool) -> Iterator[Lock]:
    """The locks for dropping these."""
    for thing in scope.facts.falls(roots, cascade=cascade):
        if thing.catalog == "pg_class":
            yield from _relation(scope, thing)
        elif (table := scope.facts.parts.get((thing.catalog, thing.oid))) is not None:
            statistics = thing.catalog == "pg_statistic_ext"
            yield Lock(table, LockMode.SHARE_UPDATE_EXCLUSIVE if statistics else EXCLUSIVE)


def _relation(scope: Scope, thing: Thing) -> Iterator[Lock]:
    relation = scope.relation(thing.oid)
    if relation is None:
        return
    yield Lock(relation.oid, EXCLUSIVE)
    if relation.table is not None:
        yield Lock(relation.table, EXCLUSIVE)
    if not thing.column:
        yield from beside(scope, relation.oid)


def beside(scope: Scope, partition: int) -> Iterator[Lock]:
    """A partition that goes changes what its parent has and what the default partition may hold."""
    for parent in scope.facts.parents.get(partition, ()):
        known = scope.relation(parent)
        if known is not None and known.kind == "p":
            yield Lock(parent, EXCLUSIVE)
            if parent in scope.facts.defaults:
                yield Lock(scope.facts.defaults[parent], EXCLUSIVE)


def drop(node: Any, scope: Scope) -> Iterator[Taken]:
    """DROP of anything."""
    from postgast.pg_query_pb2 import ObjectType

    kind = ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    cascade = node.behavior == CASCADE
    for item in node.objects:
        names = parts_of(item)
        if kind in RELATIONS:
            oid = scope.of_names(names)
            index = scope.relation(oid) if oid is not None and node.concurrent else None
            if index is not None and index.table is not None:
                yield Lock(index.table, LockMode.SHARE_UPDATE_EXCLUSIVE)
            elif oid is not None:
                yield from fallen(scope, [Thing("pg_class", oid)], cascade=cascade)
                relation = scope.relation(oid)
                if relation is not None and relation.table is not None:
                    yield from (Lock(part, EXCLUSIVE) for part in scope.with_partitions(relation.table))
            elif kind == "INDEX" and (table := scope.table_of_new_index(names)) is not None:
                yield from (Lock(oid, EXCLUSIVE) for oid in scope.with_partitions(table))
        elif kind in HANGING:
            yield from _of_table(scope, names, kind, missing_ok=node.missing_ok)
        elif kind in _CATALOGS:
            yield from fallen(scope, objects(scope, _CATALOGS[kind], names), cascade=cascade)
        elif cascade and kind not in _ALONE:
            yield Hidden(f"DROP {kind.replace('_', ' ')} ... CASCADE takes along what depends on it")


def roots_of(item: Any, kind: str, scope: Scope) -> list[Thing]:
    """What one name of a DROP means.

    :param kind: of the object, as the grammar calls it.
    """
    names = parts_of(item)
    if kind in RELATIONS:
        oid = scope.of_names(names)
        return [] if oid is None else [Thing("pg_class", oid)]
    return objects(scope, _CATALOGS[kind], names) if kind in _CATALOGS else []


def _hangs(scope: Scope, table: int, name: str) -> bool:
    """Whether a table has a trigger, rule or policy of this name."""
    facts = scope.facts
    known = {*facts.policies.get(table, ()), *(rule[0] for rule in facts.rules.get(table, ()))}
    return (table, name) in scope.hung or name in {*known, *(t.name for t in facts.triggers.get(table, ()))}


def _of_table(scope: Scope, names: list[str], kind: str, *, missing_ok: bool) -> Iterator[Taken]:
    table = scope.of_names(names[:-1])
    if table is not None and (not missing_ok or _hangs(scope, table, names[-1])):
        for oid in scope.family(table, whole=kind == "TRIGGER" and row_trigger(scope, table, names[-1])):
            yield Lock(oid, EXCLUSIVE)


def row_trigger(scope: Scope, table: int, name: str) -> bool:
    """Whether it is one for each row of a table with partitions or chunks, which each of them has too."""
    return scope.parted(table) and any(
        trigger.name == name and trigger.for_each_row for trigger in scope.facts.triggers.get(table, ())
    )


def objects(scope: Scope, catalog: str, names: list[str]) -> list[Thing]:
    """What a name means that is no relation; of a function's, all of that name."""
    places = scope.schemas(names[-2] if len(names) > 1 else "")
    known = scope.facts.objects.get((catalog, names[-1]), ())
    return [Thing(catalog, oid) for oid, schema in known if schema is None or schema in places]


def parts_of(item: Any) -> list[str]:
    """A name as the grammar writes it for the kinds of objects."""
    kind = item.WhichOneof("node")
    if kind == "string":
        return [item.string.sval]
    found = {
        "list": lambda: item.list.items,
        "type_name": lambda: item.type_name.names,
        "object_with_args": lambda: item.object_with_args.objname,
    }.get(kind, list)()
    return [part.string.sval for part in found if part.HasField("string")]


HANGING = ("TRIGGER", "RULE", "POLICY")
RELATIONS = frozenset({"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE", "INDEX"})
_CATALOGS = {
    "TYPE": "pg_type",
    "DOMAIN": "pg_type",
    "SCHEMA": "pg_namespace",
    "FUNCTION": "pg_proc",
    "PROCEDURE": "pg_proc",
    "ROUTINE": "pg_proc",
    "AGGREGATE": "pg_proc",
    "EXTENSION": "pg_extension",
    "FOREIGN_SERVER": "pg_foreign_server",
    "FDW": "pg_foreign_data_wrapper",
    "STATISTIC_EXT": "pg_statistic_ext",
    "COLLATION": "pg_collation",
}
_ALONE = frozenset({"PUBLICATION", "EVENT_TRIGGER", "CAST", "TRANSFORM"})
"""No relation depends on these."""
