"""TimescaleDB's DDL is function calls: which of them drop something, change rows or define objects, and which refresh
of a continuous aggregate deletes history or never reaches what arrives late. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.config.root import SqlRules
from airflow_provider_wmigrate.engine.model import Finding, Migration
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.arguments import by_name, constant, is_null
from airflow_provider_wmigrate.engine.sql.pieces import without_comments
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement
from airflow_provider_wmigrate.engine.sql.words import Words

_ROWS_GO = frozenset({"drop_chunks", "add_retention_policy", "policy_retention", "run_job"})
"""They delete rows by dropping chunks, now or later; of `run_job` only the catalogs know what it does."""
_DROPS = _ROWS_GO | {
    "remove_retention_policy", "remove_compression_policy", "remove_columnstore_policy", "remove_reorder_policy",
    "remove_continuous_aggregate_policy", "remove_compaction_policy", "remove_policies", "remove_all_policies",
    "remove_process_hypertable_invalidations_policy", "delete_job", "detach_chunk", "detach_tablespace",
    "detach_tablespaces", "detach_data_node", "delete_data_node", "drop_chunk",
}  # fmt: skip
_DEFINES = frozenset({
    "create_hypertable", "create_distributed_hypertable", "add_dimension", "set_chunk_time_interval",
    "set_partitioning_interval", "set_number_partitions", "set_integer_now_func", "add_compression_policy",
    "add_columnstore_policy", "add_continuous_aggregate_policy", "add_reorder_policy", "add_compaction_policy",
    "add_process_hypertable_invalidations_policy", "add_policies", "alter_policies", "add_job", "alter_job",
    "attach_chunk", "attach_tablespace", "enable_chunk_skipping", "disable_chunk_skipping", "move_chunk",
    "merge_chunks", "merge_chunks_concurrently", "split_chunk", "reorder_chunk", "compress_chunk", "decompress_chunk",
    "recompress_chunk", "convert_to_columnstore", "convert_to_rowstore", "cagg_migrate", "add_data_node",
})  # fmt: skip
_ALL = _DROPS | _DEFINES | {"refresh_continuous_aggregate"}
FRAGMENTS = (
    "chunk", "polic", "_job", "hypertable", "continuous_aggregate", "dimension", "_partition", "integer_now",
    "tablespace", "data_node", "columnstore", "rowstore", "cagg_",
)  # fmt: skip
"""Of the names of TimescaleDB's functions each has one of these."""
_WORDS = Words(rf"\b(?:{'|'.join(sorted(_ALL))})\b", *FRAGMENTS)
_IN_A_BODY = Words(rf"\b({'|'.join(sorted(_ALL))})\s*\(", *FRAGMENTS)
_NOT_CALLED = ("create_function_stmt", "view_stmt", "rule_stmt", "comment_stmt")
"""What stands in them is called later, if at all."""


class Call(Struct, frozen=True):
    """:param arguments: nodes by name; by number from 0 where the call gives no name."""

    name: str
    arguments: Mapping[str | int, Any] = field(default_factory=dict)

    def argument(self, name: str, place: int) -> Any:
        return self.arguments.get(name, self.arguments.get(place))


def speaks(analysis: Analysis) -> bool:
    """Whether a script may call any of these functions: a cheap look."""
    return _WORDS.within(analysis.script.text)


def calls(analysis: Analysis, statement: Statement) -> list[Call]:
    """Of TimescaleDB's functions in a statement; in the body of DO by their names alone."""
    text = analysis.text_of(statement)
    if statement.kind in _NOT_CALLED or not _WORDS.within(text):
        return []
    if statement.kind == "do_stmt":
        return [Call(name.lower()) for name in _IN_A_BODY.pattern.findall(without_comments(text))]
    from postgast import PgQueryError, find_nodes, parse
    from postgast.pg_query_pb2 import FuncCall

    try:
        tree: Any = parse(text)
    except PgQueryError:
        return []
    found = [(call.funcname[-1].string.sval.lower(), call.args) for call in find_nodes(tree, FuncCall)]
    return [Call(name, by_name(args)) for name, args in found if name in _ALL]


def broken_rules(called: Sequence[Call], rules: SqlRules, own: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The keys of `validation.sql` that forbid what a statement calls, each with the function.

    :param own: functions that the migrations themselves define.
    """
    for key, names in (("allow_drop", _DROPS), ("allow_dml", _ROWS_GO), ("allow_ddl", _DEFINES)):
        broken = next((call.name for call in called if call.name in names - own), None)
        if broken and not getattr(rules, key):
            yield key, broken


class Aggregates:
    """What a folder's migrations say of continuous aggregates and of how long raw rows live.

    :param migrations: all of the folder; those that speak of neither are not parsed.
    """

    def __init__(self, migrations: Sequence[Migration]) -> None:
        self._migrations = migrations
        self._known: tuple[dict[str, str], dict[str, float]] | None = None

    def findings(self, migration: Migration, analysis: Analysis, statement: Statement) -> Iterator[Finding]:
        """Refreshes that empty history, and policies that never see what arrives late."""
        for call in calls(analysis, statement):
            version, file, line = migration.version, analysis.script.file, statement.line
            if told := self._empties(call):
                yield Finding("refresh_unbounded", *told, "warning", version, file, line)
            elif told := self._never_reaches(call):
                yield Finding("policy_window", *told, "warning", version, file, line)

    def _empties(self, call: Call) -> tuple[str, str] | None:
        if call.name == "refresh_continuous_aggregate":
            return self._refresh(call)
        return self._policy_reaches_too_far(call) if call.name == _POLICY else None

    def _refresh(self, call: Call) -> tuple[str, str] | None:
        view, lower = _name(call.argument("continuous_aggregate", 0)), call.argument("window_start", 1)
        made, kept = self._read()
        if not view or not is_null(lower) or (view in made and made[view] not in kept):
            return None
        why = f"rows of {made[view]} are dropped after a time" if view in made else "nothing here says that they stay"
        message = f"refresh of {view} without a lower bound deletes the buckets whose rows were dropped, and {why}"
        return message, "give it a lower bound that is younger than the oldest row that is kept"

    def _policy_reaches_too_far(self, call: Call) -> tuple[str, str] | None:
        view, table, start, life = self._of_policy(call)
        if life is None or start is None or not (is_null(start) or (seconds(start) or 0) >= life):
            return None
        message = f"the policy of {view} reaches back to where rows of {table} are dropped: it empties those buckets"
        return message, "make start_offset shorter than drop_after, by a chunk and a bucket"

    def _never_reaches(self, call: Call) -> tuple[str, str] | None:
        view, table, start, life = self._of_policy(call)
        reach = seconds(start)
        if not table or reach is None or (life is not None and reach >= life / 2):
            return None
        message = f"the policy of {view} looks back {_words(reach)}: rows of {table} that come later never count"
        nxt = "make start_offset nearly as long as rows are kept, or NULL if they stay: it computes only what changed"
        return message, nxt

    def _of_policy(self, call: Call) -> tuple[str, str, Any, float | None]:
        """Its aggregate, the table under it (empty: not known), start_offset, and how long rows live."""
        made, kept = self._read()
        view = _name(call.argument("continuous_aggregate", 0)) if call.name == _POLICY else ""
        table = made.get(view, "")
        return view, table, call.argument("start_offset", 1), kept.get(table)

    def _read(self) -> tuple[dict[str, str], dict[str, float]]:
        """The table under each aggregate, and after how many seconds a table's rows are dropped."""
        if self._known is None:
            made: dict[str, str] = {}
            kept: dict[str, float] = {}
            for migration in self._migrations:
                if not _SAYS.search(migration.script.text):
                    continue
                try:
                    analysis = analyse(migration.script)
                except WMigrateError:
                    continue
                for statement in analysis.statements:
                    _learn(analysis, statement, made, kept)
            self._known = made, kept
        return self._known


_POLICY = "add_continuous_aggregate_policy"
_SAYS = re.compile(r"\b(?:continuous|add_retention_policy|drop_chunks|drop_after)\b", re.IGNORECASE)


def _learn(analysis: Analysis, statement: Statement, made: dict[str, str], kept: dict[str, float]) -> None:
    if statement.kind == "create_table_as_stmt" and statement.node is not None:
        for item in statement.node.query.select_stmt.from_clause:
            if item.WhichOneof("node") == "range_var":
                table = item.range_var.relname
                made.setdefault(statement.node.into.rel.relname, made.get(table, table))
                return
    for call in calls(analysis, statement):
        if call.name in ("add_retention_policy", "drop_chunks"):
            table = _name(call.argument("relation", 0))
            life = seconds(call.argument("drop_after", 1)) if call.name == "add_retention_policy" else None
            kept[table] = life if life is not None else kept.get(table, 0.0)


def _name(node: Any) -> str:
    """The last part of a relation's name in a string, with or without a cast; empty: it is no string."""
    return (constant(node) or "").rpartition(".")[2].strip('"')


_UNITS = {"s": 1, "mi": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 2592000, "y": 31557600}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|mi|h|d|w|mo|y)[a-z]*", re.IGNORECASE)


def seconds(node: Any) -> float | None:
    """How long an interval that is written as a string lasts, a month as 30 days; None: it cannot be told."""
    parts = _PART.findall(constant(node) or "")
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in parts) or None


def _words(duration: float) -> str:
    days = round(duration / 86400)
    return f"{days} day{'' if days == 1 else 's'}" if days else f"{round(duration / 3600)} h"
