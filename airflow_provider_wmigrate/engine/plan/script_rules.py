"""What the SQL of the files must not say: the rules of the config's `validation`, as findings with file and line.

Found with PostgreSQL's own grammar. A script newer than that grammar passes, unless a rule forbids something: then
nobody knows whether it keeps to the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.folder.config.root import Config, SqlRules
from airflow_provider_wmigrate.engine.model import Finding, Migration, Script, Severity, Transactional, finding_in
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement
from airflow_provider_wmigrate.engine.sql.unread import placeholders

from .journal import unnamed_indexes
from .timescale_rules import Aggregates, broken_rules, calls, speaks
from .undeclared import KnownExtension, undeclared

_DML = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt", "truncate_stmt"}
_DROPS = {
    "drop_stmt",
    "drop_owned_stmt",
    "drop_role_stmt",
    "drop_table_space_stmt",
    "dropdb_stmt",
    "drop_subscription_stmt",
}
_NEITHER = {
    "select_stmt", "do_stmt", "call_stmt", "variable_set_stmt", "variable_show_stmt", "transaction_stmt", "vacuum_stmt",
    "lock_stmt", "notify_stmt", "listen_stmt", "unlisten_stmt", "explain_stmt", "check_point_stmt", "discard_stmt",
    "refresh_mat_view_stmt", "constraints_set_stmt", "prepare_stmt", "execute_stmt", "deallocate_stmt",
}  # fmt: skip


def script_findings(
    migrations: Sequence[Migration],
    config: Config,
    others: Sequence[Migration] = (),
    *,
    analysed: Callable[[Script], Analysis] = analyse,
) -> tuple[Finding, ...]:
    """Findings in the SQL of the given migrations and their rollbacks: usually those about to run.

    :param others: the folder's, since what one needs may be declared by those it depends on.
    :param analysed: analyses the scripts of those that are to be applied.
    """
    by_version = {migration.version: migration for migration in (*others, *migrations)}
    known, aggregates = KnownExtension(by_version), Aggregates(list(by_version.values()))
    found: list[Finding] = []
    for migration in migrations:
        found += _in_script(migration, migration.script, config, known, aggregates, analysed)
        if migration.rollback:
            found += _in_script(migration, migration.rollback, config, known, aggregates, analyse)
    return tuple(found)


def _in_script(
    migration: Migration,
    script: Script,
    config: Config,
    known: KnownExtension,
    aggregates: Aggregates,
    analysed: Callable[[Script], Analysis],
) -> Iterator[Finding]:
    """A rollback script has no rules: it may always do what undoing needs."""
    rules = None if script is migration.rollback else config.validation.sql
    try:
        analysis = analysed(script)
    except ScriptError as error:
        nxt = error.hint
        yield finding_in("script_refused", migration, error.reason, nxt, file=error.file, line=error.line)
        return
    yield from _empty(migration, analysis, allowed=config.validation.files.allow_empty)
    yield from _not_sql(migration, analysis)
    declared = migration.transactional if rules is not None else migration.rollback_transactional
    yield from _outside_transaction(migration, analysis, declared, rules)
    yield from _lost_rows(migration, analysis)
    if migration.keep:
        from .keep_rules import keep_findings, keep_findings_of_rollback  # few keep anything

        yield from keep_findings(migration, analysis) if rules else keep_findings_of_rollback(migration, analysis)
    for statement in analysis.statements if speaks(analysis) else ():
        yield from aggregates.findings(migration, analysis, statement)
    if rules is not None:
        yield from undeclared(migration, analysis, known)
        yield from _not_checked(migration, analysis, rules)
        if not (rules.allow_ddl and rules.allow_dml and rules.allow_drop):
            for statement in analysis.statements:
                yield from _forbidden(migration, statement, rules)
                yield from _forbidden_calls(migration, analysis, statement, rules, known)


def _not_checked(migration: Migration, analysis: Analysis, rules: SqlRules) -> Iterator[Finding]:
    """What the grammar cannot read may hold anything, also what a rule forbids."""
    if not analysis.unparsed:
        return
    for key in ("allow_ddl", "allow_dml", "allow_drop"):
        if not getattr(rules, key):
            message = f"cannot be held against validation.sql.{key}: {analysis.unparsed}"
            yield finding_in(f"{key}_violated", migration, message, "write it so that PostgreSQL's parser reads it")


def _not_sql(migration: Migration, analysis: Analysis) -> Iterator[Finding]:
    """What the grammar cannot read: a warning, since the server may be newer; and variables, which nobody replaces."""
    file = analysis.script.file
    for place in (*analysis.unread, *placeholders(analysis.script)):
        if place.variable:
            message = f"{place.variable} is a variable of another tool, and nothing is templated here"
            found = finding_in("variable", migration, message, "write what it stands for", file=file, line=place.line)
        else:
            nxt = "fix it; a server newer than this grammar may know it"
            found = finding_in("syntax_error", migration, place.reason, nxt, file=file, line=place.line)
        yield replace(found, severity="warning", column=place.column)


def _outside_transaction(
    migration: Migration, analysis: Analysis, declared: Transactional, rules: SqlRules | None
) -> Iterator[Finding]:
    """What keeps a script that does not fit into one transaction from being run safely."""
    file = analysis.script.file
    if declared is False and analysis.unparsed:
        message = f"is declared transactional: false, but cannot be split into statements ({analysis.unparsed})"
        yield finding_in("unsplittable", migration, message, "write it so that PostgreSQL's parser reads it", file=file)
    reason = "transactional is true" if declared is True else None
    if rules is not None and rules.require_transaction:
        reason = "validation.sql.require_transaction is true"
    if reason and analysis.blocks:
        yield _in_blocks(migration, analysis, reason)
    for statement in analysis.outside:
        if reason:
            message = f"{statement.outside} cannot run inside a transaction, and {reason}"
            nxt = "take it out, or allow it"
            yield finding_in("outside_transaction", migration, message, nxt, file=file, line=statement.line)
    for statement in unnamed_indexes(analysis):
        message = f"{statement.outside} without a name: a failed build could not be found again"
        yield finding_in("unnamed_index", migration, message, "name the index", file=file, line=statement.line)


def _in_blocks(migration: Migration, analysis: Analysis, reason: str) -> Finding:
    """Of a script that has to be one transaction and is several: the first statement out of its first block."""
    block = analysis.blocks[0]
    other = analysis.statements[block.end if block.end < len(analysis.statements) else 0]
    where = f"outside of the script's BEGIN ... COMMIT of line {block.line}"
    message = f"{_words(other.kind)} stands {where}, and {reason}"
    nxt = "write one BEGIN ... COMMIT around everything or none, or allow several"
    file = analysis.script.file
    return finding_in("outside_transaction", migration, message, nxt, file=file, line=other.line)


def _lost_rows(migration: Migration, analysis: Analysis) -> Iterator[Finding]:
    """What deletes rows although it says nothing of rows; in a rollback script too."""
    for number, node in analysis.statements.nodes("drop_stmt"):
        if _drops_timescaledb(node):
            line = analysis.statements[number].line
            message = "DROP EXTENSION timescaledb CASCADE deletes the rows of every hypertable in the database"
            nxt = "drop the tables that are to go by name, and the extension, if at all, without CASCADE"
            file = analysis.script.file
            yield finding_in("drops_all_hypertables", migration, message, nxt, file=file, line=line)


def _drops_timescaledb(node: Any) -> bool:
    from postgast.pg_query_pb2 import DropBehavior, ObjectType

    names = {item.string.sval for item in node.objects}
    extension = node.remove_type == ObjectType.OBJECT_EXTENSION and "timescaledb" in names
    return bool(extension and node.behavior == DropBehavior.DROP_CASCADE)


def _words(kind: str) -> str:
    return kind.removesuffix("_stmt").replace("_", " ").upper()


def _forbidden(migration: Migration, statement: Statement, rules: SqlRules) -> Iterator[Finding]:
    kind = statement.kind
    what = _words(kind)
    if kind in _DROPS or (kind == "alter_table_stmt" and _drops_part(statement.node)):
        broken, key = not rules.allow_drop, "allow_drop"
    elif kind in _DML or (kind == "select_stmt" and _writes(statement.node)):
        broken, key = not rules.allow_dml, "allow_dml"
    else:
        broken, key = not rules.allow_ddl and (kind not in _NEITHER or _creates(statement)), "allow_ddl"
    if broken:
        message, nxt = f"{what} is not allowed: validation.sql.{key} is false", "take it out or allow it"
        yield finding_in(f"{key}_violated", migration, message, nxt, line=statement.line)


def _forbidden_calls(
    migration: Migration, analysis: Analysis, statement: Statement, rules: SqlRules, known: KnownExtension
) -> Iterator[Finding]:
    if not speaks(analysis):
        return
    if called := calls(analysis, statement):
        for key, name in broken_rules(called, rules, known.of(migration).defines):
            message, nxt = f"{name} is not allowed: validation.sql.{key} is false", "take it out or allow it"
            yield finding_in(f"{key}_violated", migration, message, nxt, line=statement.line)


def _writes(select: Any) -> bool:
    """WITH ... AS (INSERT ...) SELECT. PostgreSQL allows such parts at the top of a statement only."""
    return select is not None and any(
        cte.common_table_expr.ctequery.WhichOneof("node") in _DML for cte in select.with_clause.ctes
    )


def _creates(statement: Statement) -> bool:
    """SELECT ... INTO a new table."""
    node = statement.node
    return statement.kind == "select_stmt" and node is not None and bool(node.HasField("into_clause"))


def _drops_part(node: object) -> bool:
    from postgast.pg_query_pb2 import AlterTableType

    dropping = {AlterTableType.AT_DropColumn, AlterTableType.AT_DropConstraint}
    return any(command.alter_table_cmd.subtype in dropping for command in node.cmds)  # type: ignore[attr-defined]


# Scripts without a statement. Other tools have them to keep a number, or because there is nothing to undo.


def _empty(migration: Migration, analysis: Analysis, *, allowed: bool) -> Iterator[Finding]:
    """Of a script of the migration: that it does nothing.

    :param allowed: whether that is no more than a warning.
    """
    if analysis.statements or analysis.unparsed:
        return
    what = "rolling it back" if analysis.script == migration.rollback else "applying it"
    message = f"has no statement: {what} does nothing"
    nxt = "that is allowed" if allowed else "write one, delete the file, or allow it (validation.files.allow_empty)"
    severity: Severity = "warning" if allowed else "error"
    yield finding_in("empty_script", migration, message, nxt, severity, file=analysis.script.file)


def empty_rollbacks(migrations: Iterable[Migration]) -> tuple[Finding, ...]:
    """The rollback scripts of the folder that are about to run and undo nothing. Only warnings: undoing goes on."""
    found: list[Finding] = []
    for migration in migrations:
        with suppress(ScriptError):  # that is told where it is run
            if migration.rollback:
                found += _empty(migration, analyse(migration.rollback), allowed=True)
    return tuple(found)
