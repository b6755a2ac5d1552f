"""What scripts, one after another, make of TimescaleDB's and do not take away again: hypertables, aggregates, policies,
jobs. Pure. What cannot be followed, such as the body of DO that names a table, is taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Script

from .analysis import analyse
from .arguments import constants
from .no_transaction import timescale_option
from .pieces import has_word
from .script import Analysis
from .statements import Statement

HYPERTABLE, AGGREGATE, JOB = "hypertable", "continuous aggregate", "job"


class Made(Struct, frozen=True):
    """:param what: HYPERTABLE, AGGREGATE, JOB, or the policy as its functions are called: `retention_policy`.
    :param schema: "" where the script gives none.
    :param name: of the relation; of a job its procedure.
    """

    what: str
    schema: str
    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def made(scripts: Iterable[Script]) -> list[Made]:
    """What is expected to be there.

    :param scripts: those that were applied, in order. One that cannot matter is not parsed.
    """
    there: list[Made] = []
    for script in scripts:
        if not (_MAKES.search(script.text) or (there and _TAKES.search(script.text))):
            continue
        try:
            analysis = analyse(script)
        except WMigrateError:
            continue
        for statement in analysis.statements:
            there = _after(analysis, statement, there)
    return there


_MAKES = re.compile(r"\b(?:create_hypertable|add_\w+_policy|add_job|(?:timescaledb|tsdb)\s*\.\s*\w+)\b", re.IGNORECASE)
_TAKES = re.compile(r"\b(?:drop|rename|remove_\w+|delete_job|schema|execute)\b", re.IGNORECASE)
_ADDS = re.compile(r"add_(\w+_policy)")
_REMOVES = re.compile(r"remove_(\w+_policy)")
_ALL = frozenset({"remove_policies", "remove_all_policies"})
_SCHEMA, _EXTENSION = 37, 16  # ObjectType of the grammar, without paying for its import


def _after(analysis: Analysis, statement: Statement, there: list[Made]) -> list[Made]:
    """What is there behind a statement."""
    node, kind = statement.node, statement.kind
    place = analysis.script.file, statement.line
    if kind == "do_stmt":
        return _without(there, analysis.text_of(statement))
    if node is None:
        return there
    if kind in ("select_stmt", "call_stmt"):
        return _called(node, kind, there, place)
    if kind == "create_table_as_stmt" and timescale_option(node.into.options, "continuous"):
        return [*there, Made(AGGREGATE, node.into.rel.schemaname, node.into.rel.relname, *place)]
    if kind == "create_stmt" and timescale_option(node.options, "hypertable"):
        return [*there, Made(HYPERTABLE, node.relation.schemaname, node.relation.relname, *place)]
    if kind == "drop_stmt" and (node.remove_type in (_SCHEMA, _EXTENSION) or node.behavior == _CASCADE):
        return []
    if kind == "drop_owned_stmt":
        return []
    if kind == "rename_stmt" and node.subname:  # a column's, a constraint's
        return there
    if kind in ("drop_stmt", "rename_stmt", "alter_object_schema_stmt"):
        return _without(there, analysis.text_of(statement))
    return there


_CASCADE = 2


def _without(there: list[Made], text: str) -> list[Made]:
    """Without what a statement names that may take it away, and without jobs if it may delete those."""
    jobs = re.search(r"\b(?:delete_job|remove_\w+)\b", text, re.IGNORECASE) is not None
    return [m for m in there if not (has_word(text, m.name) or (jobs and m.what not in (HYPERTABLE, AGGREGATE)))]


def _called(node: Any, kind: str, there: list[Made], place: tuple[str, int]) -> list[Made]:
    for call in _calls(node, kind):
        name, names = call.funcname[-1].string.sval, constants(call.args[:1])
        if name == "delete_job":
            there = [m for m in there if m.what in (HYPERTABLE, AGGREGATE)]
        elif (removed := _REMOVES.fullmatch(name)) or name in _ALL:
            policies = {_same(removed[1])} if removed else None
            there = [m for m in there if not _is_policy_of(m, policies, names)]
        elif names and not _conditional(node, kind):
            what = _what(name)
            there = [*there, Made(what, *_parts(names[0]), *place)] if what else there
    return there


def _is_policy_of(one: Made, policies: set[str] | None, names: list[str]) -> bool:
    """:param policies: None: whatever policy.
    :param names: of the relation; empty: it is not known which.
    """
    if one.what in (HYPERTABLE, AGGREGATE, JOB) or (policies is not None and one.what not in policies):
        return False
    return not names or _parts(names[0])[1] == one.name


def _what(name: str) -> str | None:
    if name == "create_hypertable":
        return HYPERTABLE
    if name == "add_job":
        return JOB
    added = _ADDS.fullmatch(name)
    return _same(added[1]) if added else None


def _same(policy: str) -> str:
    """The columnstore's policy had another name before 2.18."""
    return "columnstore_policy" if policy == "compression_policy" else policy


def _calls(node: Any, kind: str) -> Iterator[Any]:
    from postgast import find_nodes
    from postgast.pg_query_pb2 import FuncCall

    return iter([node.funccall]) if kind == "call_stmt" else find_nodes(node, FuncCall)


def _conditional(node: Any, kind: str) -> bool:
    """Whether a SELECT may call it for no row."""
    return kind == "select_stmt" and (bool(node.from_clause) or node.HasField("where_clause"))


def _parts(name: str) -> tuple[str, str]:
    """Schema and name, of a name as a string has it: 'a."B"'."""
    parts = [quoted.replace('""', '"') or plain.lower() for quoted, plain in _PART.findall(name)]
    return ("", parts[0]) if len(parts) == 1 else (parts[-2], parts[-1]) if parts else ("", name)


_PART = re.compile(r'"((?:[^"]|"")+)"|([^".\s]+)')
