"""The finding for a statement of which nobody but a person can tell whether it ran, with the query that helps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.model import Entry, Finding
from airflow_provider_wmigrate.engine.sql.arguments import whole_number
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement


def judge(analysis: Analysis, entry: Entry, index: int) -> Finding:
    """Of the statement `index`, which was in flight."""
    statement = analysis.statements[index]
    which = f"statement {index + 1} of migration {entry.version}"
    look, query = "look at the database", question(statement)
    if query:
        look += f" (`{query}` shows {'which chunks there are' if query == _CHUNKS else 'what it does'})"
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
