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
    if not thing.column:
        yield from beside(scope, thing.oid)
    relation = scope.relation(thing.oid)
    if relation is not None:
        yield Lock(relation.oid, EXCLUSIVE)
        if relation.table is not None:
            yield Lock(relation.table, EXCLUSIVE)


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
            yield from _named(scope, names, kind, node)
        elif kind in HANGING:
            yield from _of_table(scope, names, kind, missing_ok=node.missing_ok)
        elif kind in _CATALOGS:
            own = scope.made_in(names[-1]) if kind == "SCHEMA" else ()
            roots = [*objects(scope, _CATALOGS[kind], names), *(Thing("pg_class", made) for made in own)]
            yield from fallen(scope, roots, cascade=cascade)
        elif cascade and kind not in _ALONE:
            yield Hidden(f"DROP {kind.replace('_', ' ')} ... CASCADE takes along what depends on it")


def _named(scope: Scope, names: list[str], kind: str, node: Any) -> Iterator[Taken]:
    """A relation, of before or of the script itself."""
    oid, made = scope.of_names(names), scope.number_of_names(names)
    relation = scope.relation(oid) if oid is not None else None
    table = relation.table if relation is not None else None
    if table is not None and node.concurrent:
        yield Lock(table, LockMode.SHARE_UPDATE_EXCLUSIVE)
    elif kind == "INDEX" and oid is None:
        new = scope.table_of_new_index(names)
        yield from (Lock(part, EXCLUSIVE) for part in (scope.with_partitions(new) if new is not None else ()))
        if made is not None:
            yield from fallen(scope, [Thing("pg_class", made)], cascade=node.behavior == CASCADE)
    elif made is not None:
        yield from fallen(scope, [Thing("pg_class", made)], cascade=node.behavior == CASCADE)
        yield from (Lock(part, EXCLUSIVE) for part in (scope.with_partitions(table) if table is not None else ()))


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
