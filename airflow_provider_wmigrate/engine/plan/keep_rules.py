"""What a migration with `keep: true` must not say, since what it destroys then could not be given back. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in
from airflow_provider_wmigrate.engine.sql.destroying import Destroying, destroying
from airflow_provider_wmigrate.engine.sql.named import walk
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .journal import runs_by_statement

Reason = tuple[str, str]
"""Why something cannot be kept, and the way forward."""
WITHOUT = "take it out, or put it into a migration without keep"


def not_kept(migration: Migration, line: int | None, reason: Reason, *, file: str | None = None) -> Finding:
    message, nxt = reason
    return finding_in("not_kept", migration, f"keep: true, but {message}", nxt, file=file, line=line)


def keep_findings(migration: Migration, analysis: Analysis) -> Iterator[Finding]:
    """What the script alone shows."""
    if analysis.unparsed is not None:
        unread = f"PostgreSQL's grammar does not read it: {analysis.unparsed}"
        yield not_kept(migration, None, (unread, "write it so that it does"))
        return
    if runs_by_statement(analysis, migration.transactional):
        first = next(iter(analysis.outside), None)
        by_statement = "it does not run in one transaction, so that nothing of it can be kept", WITHOUT
        yield not_kept(migration, first.line if first else None, by_statement)
        return
    found = {one.number: one for one in destroying(analysis)}
    for index, statement in enumerate(analysis.statements):
        reason = _why_not(statement, found.get(index))
        if reason is not None:
            yield not_kept(migration, statement.line, reason)


def keep_findings_of_rollback(migration: Migration, analysis: Analysis) -> Iterator[Finding]:
    """What is given back is given back in the transaction of the rollback script."""
    if runs_by_statement(analysis, migration.rollback_transactional):
        reason = ("its rollback script does not run in one transaction, so that it could give nothing back",
                  "write a rollback script that does")  # fmt: skip
        yield not_kept(migration, None, reason, file=analysis.script.file)


def _why_not(statement: Statement, one: Destroying | None) -> Reason | None:
    node, kind = statement.node, statement.kind
    if kind in HIDING:
        return f"nobody sees what {HIDING[kind]} destroys", "write what it does as statements, or take keep out"
    if (one is not None and one.cascade) or (kind == "drop_stmt" and one is None and _cascades(node)):
        return "CASCADE takes away what nobody keeps", "drop or empty what depends on it by statements of their own"
    if kind == "drop_owned_stmt":
        return "DROP OWNED is not kept", WITHOUT
    if kind == "truncate_stmt" and node.restart_seqs:
        return "RESTART IDENTITY is not undone", "leave it out, and set the sequence in a migration without keep"
    if kind == "delete_stmt" and node.HasField("returning_clause"):
        return "nobody reads what RETURNING gives", "leave it out"
    inner = "" if node is None else _inside(node, kind)
    return (f"{inner} inside another statement is not kept", "write it as a DELETE of its own") if inner else None


HIDING = {"do_stmt": "a DO block", "call_stmt": "a procedure", "execute_stmt": "a prepared statement"}


def _inside(node: Any, kind: str) -> str:
    """What deletes rows from inside a statement."""
    from postgast.pg_query_pb2 import CmdType

    for message in walk(node):
        name = message.DESCRIPTOR.name
        if name == "DeleteStmt" and not (kind == "delete_stmt" and message is node) and kind != "rule_stmt":
            return "DELETE"
        if name == "MergeWhenClause" and message.command_type == CmdType.CMD_DELETE:
            return "MERGE ... DELETE"
    return ""


def _cascades(node: Any) -> bool:
    from postgast.pg_query_pb2 import DropBehavior

    return bool(node.behavior == DropBehavior.DROP_CASCADE)
