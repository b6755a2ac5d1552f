"""What in a script is likely to hurt: rules of `lint`. Some need no database, some know how large a table is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Relation, RelationFacts
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in
from airflow_provider_wmigrate.engine.sql.named import walk
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement
from airflow_provider_wmigrate.engine.wording import told_size

from .forecast import Ahead
from .lock_order import SMALL
from .lock_scope import Lock, Scope
from .locks_needed import taken_in_order
from .losses import SOME_ROWS, of_statement

NEED_ROWS = ("rewrites_rows", "scans_under_lock", "builds_under_lock", "loses_rows")
"""The rules that know more of a table than its name."""


def with_rows(scripts: Iterable[Ahead], facts: RelationFacts) -> Iterator[Finding]:
    """What the scripts do to tables that are there before them, by the size that the server knows.

    :param scripts: in the order in which they will run.
    """
    scope = Scope(facts)
    for script in scripts:
        scope.begin_script()
        if script.analysis.unparsed is None:
            yield from _one_with_rows(script, facts, scope)


def _one_with_rows(script: Ahead, facts: RelationFacts, scope: Scope) -> Iterator[Finding]:
    for _, statement, all_taken in taken_in_order(script.analysis, scope):
        place = script.version, script.analysis.script.file, statement.line
        locks = [taken for taken in all_taken if isinstance(taken, Lock) and taken.mode >= LockMode.SHARE]
        for oid, lock in {lock.relation: lock for lock in reversed(locks) if lock.work}.items():
            relation = facts.relations.get(oid)
            if relation and relation.size_bytes > SMALL:
                who = "reads and writes" if lock.mode is LockMode.ACCESS_EXCLUSIVE else "writes"
                yield from _while_others_wait(lock.work, _told(relation), f"while {who} of it wait", place)
        for oid in () if script.keeps else _emptied(statement, scope):
            relation = facts.relations.get(oid)
            if relation and relation.size_bytes:
                message = f"takes rows or values of {_told(relation)} away, and no rollback script has them"
                nxt = "declare keep: true, make a backup, or rename now and drop in a later migration"
                yield Finding("loses_rows", message, nxt, "warning", *place)


def _while_others_wait(work: LongWork | None, what: str, wait: str, place: tuple[str, str, int]) -> Iterator[Finding]:
    if work == "rewrite":
        nxt = "add a new column, fill it in parts, and switch over in a later migration"
        yield Finding("rewrites_rows", f"writes {what} anew {wait}", nxt, "warning", *place)
    elif work == "scan":
        nxt = "add the constraint NOT VALID, and VALIDATE it in the next migration; for SET NOT NULL by way of a CHECK"
        yield Finding("scans_under_lock", f"reads all of {what} {wait}", nxt, "warning", *place)
    elif work == "build":
        nxt = "CREATE INDEX CONCURRENTLY in a migration of its own"
        yield Finding("builds_under_lock", f"builds an index of {what} {wait}", nxt, "warning", *place)


def _told(relation: Relation) -> str:
    return f"{relation.quoted} ({told_size(relation.size_bytes)})"


def _emptied(statement: Statement, scope: Scope) -> dict[int, None]:
    """Tables that were there before the script, and lose values or all of their rows by this statement."""
    lost = [one for one in of_statement(statement, scope) if one.relation and one.kind != SOME_ROWS]
    return {oid: None for one in lost for oid in scope.family(one.relation)}


def _type(number: int) -> str:
    from postgast.pg_query_pb2 import ObjectType

    return ObjectType.Name(number).removeprefix("OBJECT_")  # type: ignore[no-any-return]


# Without a database


def in_files(migration: Migration, script: Analysis, rollback: Analysis | None, schema: str) -> Iterator[Finding]:
    """What the files alone show.

    :param rollback: the rollback script; None: there is none, or it cannot be read.
    :param schema: of the ledger.
    """
    for analysis in filter(None, (script, rollback)):
        for statement in analysis.statements:
            if statement.node is not None and any(_in_schema(message, schema) for message in walk(statement.node)):
                message = f"names the schema {schema}, in which the ledger is"
                nxt = "leave the ledger alone: `wmigrate repair` corrects it"
                file, line = analysis.script.file, statement.line
                yield finding_in("touches_ledger", migration, message, nxt, file=file, line=line)
    if rollback is not None and rollback.unparsed is None:
        yield from _forgotten(migration, script, rollback)


def _in_schema(message: Any, schema: str) -> bool:
    return bool(message.DESCRIPTOR.name == "RangeVar" and message.schemaname == schema)


def _forgotten(migration: Migration, script: Analysis, rollback: Analysis) -> Iterator[Finding]:
    """What the script makes by name and its rollback does not name. What goes with a table is left out: indexes,
    triggers, columns."""
    if any(statement.kind in ("do_stmt", "call_stmt", "select_stmt") for statement in rollback.statements):
        return  # that may drop anything
    named = {name for statement in rollback.statements for name in _words(statement)}
    for statement in script.statements:
        for what, name in _made(statement):
            if name not in named:
                message = f"makes {what} {name}, which the rollback script does not name"
                nxt = f"drop it in {rollback.script.file}"
                yield finding_in("rollback_forgets", migration, message, nxt, "warning", line=statement.line)


def _words(statement: Statement) -> Iterator[str]:
    from airflow_provider_wmigrate.engine.sql.named import names_in

    for message in walk(statement.node) if statement.node is not None else ():
        if message.DESCRIPTOR.name == "RangeVar":
            yield message.relname
        elif message.DESCRIPTOR.name == "String":
            yield from names_in(message.sval)


def _made(statement: Statement) -> Iterator[tuple[str, str]]:
    """What a statement makes that does not go away with something else."""
    node = statement.node
    if node is None or getattr(node, "if_not_exists", False) or getattr(node, "replace", False):
        return
    if statement.kind == "create_stmt" and node.HasField("partbound"):
        return  # it goes with its parent
    made = _MAKES.get(statement.kind)
    what, name = made(node) if made else ("", "")
    if name:
        yield what, name


def _relation(what: str, relation: Any) -> tuple[str, str]:
    return what, "" if relation.relpersistence == "t" else relation.relname


def _copied(node: Any) -> tuple[str, str]:
    return _relation("materialized view" if _type(node.objtype) == "MATVIEW" else "table", node.into.rel)


_MAKES: dict[str, Callable[[Any], tuple[str, str]]] = {
    "create_stmt": lambda node: _relation("table", node.relation),
    "create_table_as_stmt": _copied,
    "view_stmt": lambda node: _relation("view", node.view),
    "create_seq_stmt": lambda node: _relation("sequence", node.sequence),
    "create_function_stmt": lambda node: ("function", node.funcname[-1].string.sval),
    "create_enum_stmt": lambda node: ("type", node.type_name[-1].string.sval),
    "create_range_stmt": lambda node: ("type", node.type_name[-1].string.sval),
    "composite_type_stmt": lambda node: ("type", node.typevar.relname),
    "create_domain_stmt": lambda node: ("domain", node.domainname[-1].string.sval),
    "create_schema_stmt": lambda node: ("schema", node.schemaname),
    "create_extension_stmt": lambda node: ("extension", node.extname),
}
"""Kind and name of what a statement makes; no name: it is temporary, or has none."""
