"""What happens to a script that cannot run in one transaction: its segments, and where it goes on. Pure.

The journal is part of the ledger's entry: the hashes of the statements begun, in order, and how many of them are done.
One more hash than done means that a statement was in flight when its runner died.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.model import Entry, Finding, Transactional, checksum
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring statements, from `first` to before `end`, that share a transaction; or one that cannot have any."""

    first: int
    end: int
    transactional: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on: the index of the first statement that is not known to have run."""

    done: int = 0
    in_flight: bool = False
    """Whether that statement was begun by a runner that died: it must be found out whether it ran."""


def stepwise(analysis: Analysis, transactional: Transactional) -> bool:
    """Whether a script runs statement by statement instead of in one transaction."""
    return transactional is False or (transactional == "auto" and bool(analysis.outside or analysis.blocks))


def hashes(analysis: Analysis, count: int) -> tuple[str, ...]:
    """A hash for each of the first statements, over its text alone: comments and blank lines around may be edited."""
    return tuple(checksum(analysis.text_of(statement)) for statement in analysis.statements[:count])


_MAY_COMMIT = frozenset({"call_stmt", "do_stmt", "select_stmt", "execute_stmt"})
"""What may call code that ends transactions; declared `transactional: false`, these get none around them."""


def segments(analysis: Analysis, transactional: Transactional, first: int = 0) -> Iterator[Segment]:
    """The script from statement `first` on. Whatever can share a transaction with its journal does: then what was in
    flight needs no finding out. Declared `transactional: false`, every statement stands alone. A BEGIN ... COMMIT of
    the script's own is a segment in any case."""
    statements = analysis.statements
    while first < len(statements):
        if block := analysis.block_of(first):
            yield Segment(first, block.end, True)
            first = block.end
            continue
        end = first + 1
        alone = bool(statements[first].outside) or transactional is False
        while not alone and end < len(statements) and not (statements[end].outside or analysis.block_of(end)):
            end += 1
        without = statements[first].outside or (transactional is False and statements[first].kind in _MAY_COMMIT)
        yield Segment(first, end, not without)
        first = end


def settings_before(analysis: Analysis, index: int) -> tuple[Statement, ...]:
    """SET statements before a statement, which a new session has to repeat; SET LOCAL ends with its transaction."""
    found: list[Statement] = []
    for statement in analysis.statements[:index]:
        if statement.kind == "discard_stmt" and statement.outside:  # DISCARD ALL
            found.clear()
        elif _sets(analysis, statement):
            found.append(statement)
    return tuple(found)


_SET_CONFIG = re.compile(r"\s*SELECT\s+(pg_catalog\s*\.\s*)?set_config\s*\([^()]*,\s*false\s*\)\s*", re.IGNORECASE)
"""How pg_dump sets the search path: a SELECT that is a SET."""


def _sets(analysis: Analysis, statement: Statement) -> bool:
    if statement.kind == "select_stmt":
        return _SET_CONFIG.fullmatch(analysis.text_of(statement)) is not None
    return statement.kind == "variable_set_stmt" and not getattr(statement.node, "is_local", False)


def resume(analysis: Analysis, entry: Entry) -> Resume | Finding:
    """Where an interrupted script goes on, or why it must not: a statement that has run was edited since."""
    now = hashes(analysis, len(entry.statement_hashes))
    for i, (was, statement) in enumerate(zip(entry.statement_hashes, [*analysis.statements, None], strict=False)):
        if statement is None or now[i] != was:
            return _edited(analysis, entry, i, statement)
    return Resume(entry.statements_done, in_flight=len(entry.statement_hashes) > entry.statements_done)


def _edited(analysis: Analysis, entry: Entry, index: int, statement: Statement | None) -> Finding:
    what = "was begun" if index == entry.statements_done else "has run"
    how = "is gone" if statement is None else "was edited since"
    return Finding(
        "executed_statement_edited",
        f"statement {index + 1} of migration {entry.version} {what} and {how}",
        "restore it; what comes after the last statement that has run may be edited",
        version=entry.version,
        file=analysis.script.file,
        line=statement.line if statement else None,
    )


def judge(analysis: Analysis, entry: Entry, index: int) -> Finding:
    """The finding for a statement in flight of which nobody but a person can tell whether it ran."""
    statement: Sequence[Statement] = analysis.statements[index : index + 1]
    which = f"statement {index + 1} of migration {entry.version}"
    return Finding(
        "in_flight",
        f"{which} was running when its runner died, and whether it ran cannot be told",
        "look at the database, then say with repair that it ran, or that it is to run again",
        version=entry.version,
        file=analysis.script.file,
        line=statement[0].line if statement else None,
    )


def unnamed_indexes(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """CREATE INDEX CONCURRENTLY or per chunk, without a name: what a failed build left could not be found again."""
    return tuple(s for s in statements if s.kind == "index_stmt" and s.outside and not s.node.idxname)
