"""What the commands lock that make, change and drop relations and what hangs on them. Pure; ALTER TABLE's sub-commands
are in `lock_alter`, rows in `lock_rows`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork

from .lock_falling import CASCADE, EXCLUSIVE, RELATIONS, objects, parts_of
from .lock_kinship import attached, referenced, typed
from .lock_rows import rows
from .lock_scope import Lasting, Lock, Scope, Taken, owner_sequences
from .lock_unrun import unrun
from .lock_work import key_of

_READ, _WRITE = LockMode.ACCESS_SHARE, LockMode.ROW_EXCLUSIVE
_SHARED, _KEY = LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.SHARE_ROW_EXCLUSIVE


def _object(number: int) -> str:
    from postgast.pg_query_pb2 import ObjectType

    return str(ObjectType.Name(number)).removeprefix("OBJECT_")


def one(scope: Scope, node: Any, mode: LockMode, work: LongWork | None = None) -> Iterator[Taken]:
    """The relation that a RangeVar names, alone."""
    oid = scope.of(node)
    if oid is not None:
        yield Lock(oid, mode, work)
    elif work is not None and not scope.empty(node):
        yield Lasting(work)


def create_table(node: Any, scope: Scope) -> Iterator[Taken]:
    parents = [scope.of(item.range_var) for item in node.inh_relations]
    for parent in (oid for oid in parents if oid is not None):
        yield Lock(parent, EXCLUSIVE if node.HasField("partbound") else _SHARED)
        if node.HasField("partbound"):
            yield from attached(scope, parent)
    for item in node.table_elts:
        kind = item.WhichOneof("node")
        if kind == "table_like_clause":
            yield from one(scope, item.table_like_clause.relation, _READ)
        constraints = [item.constraint] if kind == "constraint" else []
        constraints += [part.constraint for part in item.column_def.constraints]
        for constraint in constraints:
            if constraint.contype == key_of("FOREIGN"):
                yield from referenced(scope, constraint, empty=True)


def create_as(node: Any, scope: Scope) -> Iterator[Taken]:
    yield from rows(node.query, scope)
    if not node.into.skip_data:
        yield Lasting("rows")


def create_view(node: Any, scope: Scope) -> Iterator[Taken]:
    if node.replace:
        yield from one(scope, node.view, EXCLUSIVE)
    yield from unrun(node.query, scope)


def create_index(node: Any, scope: Scope) -> Iterator[Taken]:
    table = scope.of(node.relation)
    if table is None:
        yield from (Lock(oid, LockMode.SHARE, "build") for oid in scope.behind(node.relation) if node.relation.inh)
        if not scope.empty(node.relation):
            yield Lasting("build")
        return
    for oid in scope.with_partitions(table, whole=node.relation.inh or scope.hypertable(table)):
        yield Lock(oid, _SHARED if node.concurrent else LockMode.SHARE, "build")


def create_trigger(node: Any, scope: Scope) -> Iterator[Taken]:
    table = scope.of(node.relation)
    if table is not None:
        yield from (Lock(oid, _KEY) for oid in scope.with_partitions(table, whole=node.row))
    if node.HasField("constrrel"):
        yield from one(scope, node.constrrel, _READ)


def rule(node: Any, scope: Scope) -> Iterator[Taken]:
    yield from one(scope, node.relation, EXCLUSIVE)
    for action in node.actions:
        yield from unrun(action, scope)


def policy(node: Any, scope: Scope) -> Iterator[Taken]:
    yield from one(scope, node.table, EXCLUSIVE)
    yield from unrun(node, scope)


def sequence(node: Any, scope: Scope) -> Iterator[Taken]:
    """CREATE and ALTER SEQUENCE, which may come to belong to a column."""
    if node.DESCRIPTOR.name == "AlterSeqStmt":
        yield from one(scope, node.sequence, _KEY)
    for option in node.options:
        if option.def_elem.defname == "owned_by":
            names = parts_of(option.def_elem.arg)
            table = scope.of_names(names[:-1])
            if table is not None:
                yield Lock(table, _READ)


def rename(node: Any, scope: Scope) -> Iterator[Taken]:
    kind = _object(node.rename_type)
    if kind == "TYPE":
        yield from _composite(scope, parts_of(node.object))
    table = scope.of(node.relation) if node.HasField("relation") else None
    relation = scope.relation(table) if table is not None else None
    if table is None or relation is None:
        return
    indexed = relation.kind in "iI"
    yield Lock(table, _SHARED if indexed else EXCLUSIVE)
    if relation.kind == "c":
        yield from typed(scope, table, cascade=node.behavior == CASCADE)
    below = kind == "COLUMN" or (kind == "TABCONSTRAINT" and _is_check(scope, table, node.subname))
    below = below or (kind == "TRIGGER" and scope.facts.version >= 150000 and relation.kind == "p")
    if below and node.relation.inh:
        yield from (Lock(oid, EXCLUSIVE) for oid in scope.facts.descendants(table))
    if kind in ("TABCONSTRAINT", "TRIGGER") or indexed:
        yield from (Lock(oid, EXCLUSIVE) for oid in scope.chunks(table))


def _is_check(scope: Scope, table: int, name: str) -> bool:
    return any(k.name == name and k.kind in "cn" for k in scope.facts.constraints.get(table, ()))


def _composite(scope: Scope, names: list[str]) -> Iterator[Taken]:
    """The relation behind a composite type."""
    oid = scope.of_names(names)
    relation = scope.relation(oid) if oid is not None else None
    if relation is not None and relation.kind == "c":
        yield Lock(relation.oid, EXCLUSIVE)


def set_schema(node: Any, scope: Scope) -> Iterator[Taken]:
    if _object(node.object_type) == "TYPE":
        yield from _composite(scope, parts_of(node.object))
    table = scope.of(node.relation) if node.HasField("relation") else None
    if table is not None:
        yield Lock(table, EXCLUSIVE)
        yield from (Lock(oid, EXCLUSIVE) for oid in owner_sequences(scope, table))


def described(node: Any, scope: Scope) -> Iterator[Taken]:
    """COMMENT and SECURITY LABEL."""
    kind, names = _object(node.objtype), parts_of(node.object)
    mode = _SHARED if kind in RELATIONS or kind == "COLUMN" else _READ
    if kind in RELATIONS:
        oid = scope.of_names(names)
    elif kind in ("COLUMN", "TABCONSTRAINT", "TRIGGER", "RULE", "POLICY"):
        oid = scope.of_names(names[:-1])
    else:
        return
    if oid is not None:
        yield Lock(oid, mode)


def extension_contents(node: Any, scope: Scope) -> Iterator[Taken]:
    if _object(node.objtype) in RELATIONS:
        oid = scope.of_names(parts_of(node.object))
        if oid is not None:
            yield Lock(oid, _SHARED)


def depends(node: Any, scope: Scope) -> Iterator[Taken]:
    """ALTER ... DEPENDS ON EXTENSION."""
    if node.HasField("relation"):
        yield from one(scope, node.relation, _READ if _object(node.object_type) == "TRIGGER" else EXCLUSIVE)


def domain(node: Any, scope: Scope) -> Iterator[Taken]:
    """A new rule for a domain's values is checked in every table that has it."""
    constraint = getattr(node, "def").constraint
    if node.subtype not in ("C", "V", "O") or (node.subtype == "C" and constraint.skip_validation):
        return
    names = [part.string.sval for part in node.type_name]
    for thing in scope.facts.falls(objects(scope, "pg_type", names), cascade=True):
        relation = scope.relation(thing.oid) if thing.catalog == "pg_class" and thing.column else None
        if relation is not None and relation.kind in "rm":
            yield Lock(relation.oid, LockMode.SHARE, "scan")


def statistics(node: Any, scope: Scope) -> Iterator[Taken]:
    for item in node.relations:
        yield from one(scope, item.range_var, _SHARED)


def publication(node: Any, scope: Scope) -> Iterator[Taken]:
    tables = [item.publication_obj_spec.pubtable.relation for item in node.pubobjects]
    for table in tables:
        oid = scope.of(table) if table.relname else None
        if oid is not None:
            relation = scope.relation(oid)
            whole = table.inh and relation is not None and relation.kind != "p"
            yield from (Lock(member, _SHARED) for member in scope.family(oid, whole=whole))
    if node.DESCRIPTOR.name == "AlterPublicationStmt" and node.action == _SET_OBJECTS:
        yield from (Lock(oid, _SHARED) for oid in scope.facts.published.get(node.pubname, ()))


_SET_OBJECTS = 3
"""AlterPublicationAction."""
