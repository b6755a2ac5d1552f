"""What statements lock that are read and not run: in EXPLAIN, PREPARE, views, rules, policies, functions. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.sql.named import body_of, walk

from .lock_calls import RULE_EVENTS, ruled
from .lock_rows import executed, for_update, reading, updatable
from .lock_scope import Lock, Scope, Taken

_EVENTS = {"InsertStmt": "3", "UpdateStmt": "2", "DeleteStmt": "4", "MergeStmt": ""}
"""As pg_rewrite.ev_type has them."""


def unrun(node: Any, scope: Scope, *, rewritten: bool = False, planned: bool = False) -> Iterator[Taken]:
    """No row is changed, and no function called.

    :param rewritten: views are taken for their tables, and rules for what they do.
    :param planned: children and partitions are locked too.
    """
    read: list[tuple[str, str]] = []
    inner: set[str] = set()
    for message in walk(node):
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar" and message.relname:
            read.append((message.schemaname, message.relname))
        elif kind == "CommonTableExpr":
            inner.add(message.ctename)
        elif kind == "SelectStmt" and message.locking_clause:
            yield from for_update(message, scope)
        elif kind == "ExecuteStmt":
            yield from executed(message, scope, partial(unrun, rewritten=rewritten, planned=planned))
        elif kind in _EVENTS:
            target = scope.of(message.relation)
            whole = planned and message.relation.inh
            for changed in scope.family(target, whole=whole) if target is not None else ():
                yield from _changing(scope, changed, _EVENTS[kind], rewritten=rewritten)
    for schema, name in read:
        oid = scope.find(schema, name) if schema or name not in inner else None
        if oid is not None:
            yield from (taken for taken in reading(scope, oid, LockMode.ACCESS_SHARE) if isinstance(taken, Lock))


def _changing(scope: Scope, oid: int, event: str, *, rewritten: bool) -> Iterator[Taken]:
    yield Lock(oid, LockMode.ROW_EXCLUSIVE)
    if rewritten:
        yield from ruled(scope, oid, event)
        for base in updatable(scope, oid, RULE_EVENTS.get(event, 0)):
            yield from _changing(scope, base, event, rewritten=True)


def function(node: Any, scope: Scope) -> Iterator[Taken]:
    """CREATE FUNCTION: the server looks at a body in SQL."""
    body = body_of(node)
    if body is not None:
        yield from unrun(body, scope, rewritten=True)
    yield from unrun(node.sql_body, scope)
