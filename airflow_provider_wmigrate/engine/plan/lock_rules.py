"""Which rule says what a kind of statement locks, and the rules of those that work on whole tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Relation
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork
from airflow_provider_wmigrate.engine.sql.no_transaction import is_on

from . import lock_objects as objects
from .lock_alter import alter_table
from .lock_calls import TRUNCATE, calling, fired, guarded
from .lock_falling import CASCADE, EXCLUSIVE, drop
from .lock_rows import inserted, reading, rows, selecting
from .lock_scope import Hidden, Lasting, Lock, Scope, Taken, owner_sequences
from .lock_unrun import function, unrun

_READ, _SHARED = LockMode.ACCESS_SHARE, LockMode.SHARE_UPDATE_EXCLUSIVE


def _truncate(node: Any, scope: Scope) -> Iterator[Taken]:
    todo: list[int] = []
    for item in node.relations:
        table = scope.number(item.range_var)
        if table is not None:
            todo += scope.family(table, whole=item.range_var.inh)
            if scope.hypertable(table):  # whose chunks are dropped, with their keys
                keys = scope.facts.constraints.get(table, ())
                yield from (Lock(key.references, EXCLUSIVE) for key in keys if key.references)
    done: set[int] = set()
    while todo:
        table = todo.pop()
        if table in done:
            continue
        done.add(table)
        yield Lock(table, EXCLUSIVE)
        yield from fired(scope, table, TRUNCATE)
        if node.restart_seqs:
            yield from (Lock(oid, EXCLUSIVE) for oid in owner_sequences(scope, table))
        if node.behavior == CASCADE:
            todo += [key.relation for key in scope.facts.incoming.get(table, ())]


def _lock(node: Any, scope: Scope) -> Iterator[Taken]:
    mode = LockMode(node.mode)
    for item in node.relations:
        oid = scope.of(item.range_var)
        todo = [*scope.behind(item.range_var)] if oid is None else [*scope.family(oid, whole=item.range_var.inh)]
        while todo:
            here = todo.pop()
            yield Lock(here, mode)
            for base in scope.facts.bases.get(here, ()):
                relation = scope.relation(base)
                todo += scope.family(base) if relation is not None and relation.kind in "rpv" else ()


def _refresh(node: Any, scope: Scope) -> Iterator[Taken]:
    oid = scope.of(node.relation)
    if oid is None:
        yield Lasting("rows")
        return
    mode = LockMode.EXCLUSIVE if node.concurrent else EXCLUSIVE
    yield Lock(oid, mode, None if node.skip_data else "rows")
    if not node.skip_data:
        yield from calling(scope, oid, "view")
        for base in scope.facts.bases.get(oid, ()):
            yield from reading(scope, base, _READ)
            yield from guarded(scope, base, through_view=True)


def _copy(node: Any, scope: Scope) -> Iterator[Taken]:
    if node.HasField("query"):
        yield from rows(node.query, scope)
        yield Lasting("rows")
        return
    oid = scope.of(node.relation)
    if oid is None:
        if node.is_from or not scope.empty(node.relation):
            yield Lasting("rows")
    elif node.is_from:
        given = {item.string.sval for item in node.attlist}
        names = {column.name for column in scope.facts.columns.get(oid, ())}
        yield from inserted(scope, oid, given or names, "rows")
    else:
        yield Lock(oid, _READ, "rows")
        yield from guarded(scope, oid)


def _reindex(node: Any, scope: Scope) -> Iterator[Taken]:
    if not node.HasField("relation"):
        yield from _all("REINDEX", "a schema or a database")(node, scope)
        return
    table, index = (_SHARED, _SHARED) if is_on(node.params, "concurrently") else (LockMode.SHARE, EXCLUSIVE)
    oid = scope.of(node.relation)
    found = scope.relation(oid) if oid is not None else None
    if found is None:
        yield Lasting("build")
        return
    for member in _with_parts(found, scope, without="I"):
        yield Lock(member.table or member.oid, table, "build")
        if member.table is not None:
            yield Lock(member.oid, index, "build")


def _cluster(node: Any, scope: Scope) -> Iterator[Taken]:
    if not node.HasField("relation"):
        yield from _all("CLUSTER", "a database that were clustered before")(node, scope)
        return
    table = scope.of(node.relation)
    found = scope.relation(table) if table is not None else None
    if found is not None:
        yield from (Lock(member.oid, EXCLUSIVE, "rewrite") for member in _with_parts(found, scope, without="p"))
    else:
        yield from objects.one(scope, node.relation, EXCLUSIVE, "rewrite")


def _with_parts(relation: Relation, scope: Scope, *, without: str) -> Iterator[Relation]:
    """It and, if it is partitioned, its partitions; of a hypertable, which has no rows itself, the chunks alone.

    :param without: kinds of partitions that are passed over.
    """
    if not (chunked := scope.hypertable(relation.oid)):
        yield relation
    if relation.kind in "pI" or chunked:
        members = map(scope.relation, scope.facts.descendants(relation.oid))
        yield from (member for member in members if member is not None and member.kind not in without)


def _vacuum(node: Any, scope: Scope) -> Iterator[Taken]:
    """VACUUM and ANALYZE."""
    full = node.is_vacuumcmd and is_on(node.options, "full")
    mode = EXCLUSIVE if full else _SHARED
    work: LongWork = "rewrite" if full else "scan"
    if not node.rels:
        yield from _all("VACUUM" if node.is_vacuumcmd else "ANALYZE", "a database")(node, scope)
    for item in node.rels:
        table = scope.of(item.vacuum_relation.relation)
        relation = scope.relation(table) if table is not None else None
        if relation is not None and relation.kind in "rpmf":
            below = scope.parted(relation.oid) or scope.facts.version >= 180000
            whole = below and item.vacuum_relation.relation.inh
            yield from (Lock(oid, mode, work) for oid in scope.family(relation.oid, whole=whole))
    if not node.rels or any(not scope.empty(item.vacuum_relation.relation) for item in node.rels):
        yield Lasting("scan")


def _explain(node: Any, scope: Scope) -> Iterator[Taken]:
    if is_on(node.options, "analyze"):
        yield from rows(node.query, scope)
        yield Lasting("rows")
    else:
        yield from unrun(node.query, scope, rewritten=True, planned=True)


def _execute(node: Any, scope: Scope) -> Iterator[Taken]:
    yield from rows(node, scope)
    if node.name in scope.prepared:
        yield Lasting("rows")


def _hidden(why: str) -> Callable[[Any, Scope], Iterator[Taken]]:
    def rule(node: Any, scope: Scope) -> Iterator[Taken]:
        yield Hidden(why)
        yield Lasting("call")

    return rule


def _all(command: str, where: str) -> Callable[[Any, Scope], Iterator[Taken]]:
    return _hidden(f"{command} works on all tables of {where}")


def _changing(node: Any, scope: Scope) -> Iterator[Taken]:
    yield from rows(node, scope)


RULES: dict[str, Callable[[Any, Scope], Iterator[Taken]]] = {
    "select_stmt": selecting,
    **dict.fromkeys(("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"), _changing),
    "copy_stmt": _copy,
    "explain_stmt": _explain,
    "prepare_stmt": lambda node, scope: unrun(node.query, scope, rewritten=True),
    "declare_cursor_stmt": lambda node, scope: rows(node.query, scope),
    "create_function_stmt": function,
    "execute_stmt": _execute,
    "alter_table_stmt": alter_table,
    "create_stmt": objects.create_table,
    "create_foreign_table_stmt": lambda node, scope: objects.create_table(node.base_stmt, scope),
    "create_table_as_stmt": objects.create_as,
    "view_stmt": objects.create_view,
    "index_stmt": objects.create_index,
    "create_trig_stmt": objects.create_trigger,
    "rule_stmt": objects.rule,
    "create_policy_stmt": objects.policy,
    "alter_policy_stmt": objects.policy,
    "create_seq_stmt": objects.sequence,
    "alter_seq_stmt": objects.sequence,
    "create_stats_stmt": objects.statistics,
    "create_publication_stmt": objects.publication,
    "alter_publication_stmt": objects.publication,
    "drop_stmt": drop,
    "truncate_stmt": _truncate,
    "rename_stmt": objects.rename,
    "alter_object_schema_stmt": objects.set_schema,
    "alter_object_depends_stmt": objects.depends,
    "alter_domain_stmt": objects.domain,
    "alter_extension_contents_stmt": objects.extension_contents,
    "comment_stmt": objects.described,
    "sec_label_stmt": objects.described,
    "lock_stmt": _lock,
    "refresh_mat_view_stmt": _refresh,
    "reindex_stmt": _reindex,
    "cluster_stmt": _cluster,
    "vacuum_stmt": _vacuum,
    "do_stmt": _hidden("a DO block runs"),
    "call_stmt": _hidden("CALL runs a procedure"),
    "drop_owned_stmt": _hidden("DROP OWNED takes what a role has"),
    "reassign_owned_stmt": _hidden("REASSIGN OWNED takes what a role has"),
    "alter_table_move_all_stmt": _hidden("ALTER ... ALL IN TABLESPACE takes what is there"),
    "create_extension_stmt": _hidden("an extension's script runs"),
    "alter_extension_stmt": _hidden("an extension's script runs"),
    "import_foreign_schema_stmt": _hidden("IMPORT FOREIGN SCHEMA asks another server"),
}
"""By kind of statement."""
