"""What happens to a script that cannot run in one transaction: its segments, and where it goes on. Pure.

The journal is part of the ledger's entry: the hashes of the statements begun, in order, and how many of them are done.
One more hash than done means that a statement is in flight: its runner died, or it failed after it had committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Entry, Finding, Transactional, checksum
from airflow_provider_wmigrate.engine.sql.arguments import whole_number
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement


class Segment(Struct, frozen=True):
    """Neighbouring statements, from `first` to before `end`, that share a transaction; or one that cannot have any."""

    first: int
    end: int
    transactional: bool


class Resume(Struct, frozen=True):
    """Where to go on: the index of the first statement that is not known to have run."""

    done: int = 0
    in_flight: bool = False
    """Whether that statement was begun, and it must be found out whether it ran."""


class Effect(Enum):
    """What a statement that failed has left behind."""

    NOTHING = auto()
    """Its only transaction was rolled back."""
    REPEATABLE = auto()
    """Perhaps something, and running it again is right."""
    RAN = auto()
    """Everything: the catalogs show that it has run."""
    OPEN = auto()
    """Not known: it had committed before it failed."""
    UNFILLED = auto()
    """A continuous aggregate without its data, which could not be dropped now."""
    LOST = auto()
    """Not known: the server does not answer."""


def runs_by_statement(analysis: Analysis, transactional: Transactional) -> bool:
    """Whether a script runs statement by statement instead of in one transaction."""
    return transactional is False or (transactional == "auto" and bool(analysis.outside or analysis.blocks))


def hashes(analysis: Analysis, count: int) -> tuple[str, ...]:
    """A hash for each of the first statements, over its text alone: comments and blank lines around may be edited."""
    return tuple(checksum(analysis.text_of(statement)) for statement in analysis.statements[:count])


_NO_BLOCK = frozenset({"call_stmt", "do_stmt", "select_stmt", "execute_stmt", "cluster_stmt", "reindex_stmt"})
"""What may call code that ends transactions, or may refuse to run in one; declared `transactional: false`, these get
none around them. The others get one to share with their journal alone, and none where the server refuses that."""
_IN_ONE_TRANSACTION = frozenset({
    "convert_to_columnstore", "convert_to_rowstore", "merge_chunks", "split_chunk", "attach_chunk", "detach_chunk",
    "add_columnstore_policy", "remove_columnstore_policy", "add_process_hypertable_invalidations_policy",
})  # fmt: skip
"""TimescaleDB's procedures that neither commit nor refuse a transaction, so that it is known for sure what ran."""
NOT_IN_A_TRANSACTION = frozenset({"25001", "2D000"})
"""What the server answers then: active SQL transaction, invalid transaction termination."""


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
        without = statements[first].outside or (transactional is False and _may_refuse(statements[first]))
        yield Segment(first, end, not without)
        first = end


def _may_refuse(statement: Statement) -> bool:
    called = statement.kind == "call_stmt" and statement.node.funccall.funcname[-1].string.sval in _IN_ONE_TRANSACTION
    return statement.kind in _NO_BLOCK and not called


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


_PERSON = "look at the database, then say with repair that it ran, or that it is to run again"


def kept(done: int) -> str:
    """What of a script is kept, in words: its first `done` statements."""
    if done < 2:
        return "statement 1 was kept" if done else "nothing ran before it"
    return f"statements 1 to {done} were kept"


def outcome(index: int, effect: Effect) -> str:
    """What became of a script whose statement `index` failed."""
    number = index + 1
    if effect is Effect.OPEN:
        return f"{kept(index)}, and what statement {number} committed before it failed is kept; {_PERSON}"
    if effect is Effect.LOST:
        return f"{kept(index)}; whether statement {number} ran is not known, the next run looks"
    if effect is Effect.UNFILLED:
        there = f"the aggregate of statement {number} is there without its data"
        return f"{kept(index)}, and {there}; the next run drops it and goes on at statement {number}"
    if effect is Effect.RAN:
        return f"{kept(number)}; the next run goes on behind it"
    if effect is Effect.NOTHING and not index:
        return "nothing ran before it, and nothing of it was kept"
    return f"{kept(index)}; the next run goes on at statement {number}"


def unnamed_indexes(analysis: Analysis) -> tuple[Statement, ...]:
    """CREATE INDEX CONCURRENTLY or per chunk, without a name: what a failed build left could not be found again."""
    return tuple(s for s in analysis.outside if s.kind == "index_stmt" and not s.node.idxname)


# The finding for a statement of which nobody but a person can tell whether it ran, with the query that helps


def judge(analysis: Analysis, entry: Entry, index: int) -> Finding:
    """Of the statement `index`, which was in flight."""
    statement = analysis.statements[index]
    which = f"statement {index + 1} of migration {entry.version}"
    look, query = "look at the database", question(statement)
    if query:
        shown = "which chunks there are" if query == _CHUNKS else "what it does; nothing shows how far it came"
        look += f" (`{query}` shows {shown})"
    return Finding(
        "in_flight",
        f"{which} was started, but it is not known whether it ran to its end",
        f"{look}, then say that it ran: `wmigrate repair {entry.version} --ran`, or that it is to run:"
        f" `wmigrate repair {entry.version} --again`",
        version=entry.version,
        file=analysis.script.file,
        line=statement.line,
    )


def question(statement: Statement) -> str | None:
    """The query whose answer a person compares with the statement; None: there is none for statements of its kind."""
    call = next(_calls(statement), None)
    if call is None:
        return None
    *schema, name = (part.string.sval for part in call.funcname)
    job = whole_number(call.args[0]) if call.args else None
    if name == "run_job" and job is not None:
        joined = f"(nspname, proname, job_id) = (proc_schema, proc_name, {job})"
        return f"{_BODY}, timescaledb_information.jobs WHERE {joined}"
    if name in _ON_CHUNKS:
        return _CHUNKS
    of = f" AND nspname = {_literal(schema[0])}" if schema else ""
    return f"{_BODY} WHERE proname = {_literal(name)}{of}"


_CHUNKS = (
    "SELECT hypertable_name, chunk_name, range_start, range_end, is_compressed FROM timescaledb_information.chunks"
    " ORDER BY 1, 3"
)
_BODY = "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
_ON_CHUNKS = frozenset({
    "merge_chunks", "merge_chunks_concurrently", "split_chunk", "attach_chunk", "detach_chunk", "recompress_chunk",
    "compress_chunk", "decompress_chunk", "convert_to_columnstore", "convert_to_rowstore", "drop_chunks",
})  # fmt: skip


def _calls(statement: Statement) -> Iterator[Any]:
    """The function or procedure that a statement calls, or those that a SELECT returns the results of."""
    if statement.node is None:
        return
    if statement.kind == "call_stmt":
        yield statement.node.funccall
    elif statement.kind == "select_stmt":
        for target in statement.node.target_list:
            if target.res_target.val.WhichOneof("node") == "func_call":
                yield target.res_target.val.func_call


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
