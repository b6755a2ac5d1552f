"""What a script uses of TimescaleDB although nothing says that the migration needs it. Pure.

On a server without the extension such a script fails in its middle, where a plan could have said so, or left it out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.extensions import TIMESCALEDB
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.words import Words

from .timescale_rules import FRAGMENTS

_FUNCTIONS = frozenset({
    "create_hypertable", "create_distributed_hypertable", "add_dimension", "set_chunk_time_interval",
    "set_integer_now_func", "set_partitioning_interval", "enable_chunk_skipping",
    "add_retention_policy", "add_compression_policy", "add_columnstore_policy", "add_continuous_aggregate_policy",
    "add_reorder_policy", "add_process_hypertable_invalidations_policy", "remove_retention_policy",
    "remove_compression_policy", "remove_columnstore_policy", "remove_continuous_aggregate_policy",
    "remove_reorder_policy", "refresh_continuous_aggregate", "drop_chunks", "show_chunks", "reorder_chunk",
    "move_chunk", "merge_chunks", "split_chunk", "compress_chunk", "decompress_chunk", "recompress_chunk",
    "convert_to_columnstore", "convert_to_rowstore", "hypertable_size", "hypertable_detailed_size",
    "hypertable_index_size", "hypertable_approximate_size", "chunks_detailed_size", "hypertable_compression_stats",
    "hypertable_columnstore_stats", "chunk_compression_stats", "chunk_columnstore_stats", "time_bucket",
    "time_bucket_gapfill", "cagg_migrate",
})  # fmt: skip
"""Names that only TimescaleDB has; `first`, `add_job` and the like may be anybody's."""
_NAMESPACES = frozenset({"timescaledb", "tsdb"})
"""Before the names of its options, as in WITH (tsdb.hypertable)."""

_WORDS = Words(
    rf"\b(?:{'|'.join(sorted(_FUNCTIONS))})\b|\b(?:{'|'.join(sorted(_NAMESPACES))})\s*\.",
    *(*FRAGMENTS, "time_bucket", *sorted(_NAMESPACES)),
)
_CREATES = re.compile(r"\bcreate\s+extension\b[^;]*\btimescaledb\b", re.IGNORECASE)
_DEFINES = re.compile(r"\bcreate\s+(?:or\s+replace\s+)?(?:function|procedure)\s+(?:\"?\w+\"?\s*\.\s*)?\"?(\w+)", re.I)


class KnownExtension:
    """What each of a folder's migrations, with those it depends on, says of TimescaleDB. Each text is read once.

    :param migrations: by version.
    """

    def __init__(self, migrations: Mapping[str, Migration]) -> None:
        self._migrations = migrations
        self._said: dict[str, _Said] = {}

    def of(self, migration: Migration) -> _Said:
        """With what is said by those it depends on, directly or through others."""
        todo, path = [migration], set()
        while todo:
            each = todo[-1]
            path.add(each.version)
            parents = [p for p in each.dependencies if p in self._migrations]
            if each.version in self._said:
                todo.pop()
            elif ahead := [p for p in parents if p not in self._said and p not in path]:
                todo += [self._migrations[p] for p in ahead]
            else:  # in a circle, which is told elsewhere, one of them is not known yet
                self._said[each.version] = _said(each, [self._said[p] for p in parents if p in self._said])
        return self._said[migration.version]


class _Said(Struct, frozen=True):
    has_it: bool
    """The extension is declared or created."""
    defines: frozenset[str]
    """Functions, in lower case."""


def _said(migration: Migration, above: Sequence[_Said]) -> _Said:
    text = migration.script.text
    declared = any(needed.name == TIMESCALEDB for needed in migration.requires_extensions)
    has_it = declared or any(said.has_it for said in above) or _CREATES.search(text) is not None
    own = frozenset(name.lower() for name in _DEFINES.findall(text))
    return _Said(has_it, own.union(*(said.defines for said in above)))


def undeclared(migration: Migration, analysis: Analysis, known: KnownExtension) -> Iterator[Finding]:
    """A finding for the first use, unless the migration, or one it depends on, declares or creates the extension.

    What stands in the body of a function or of DO is no use: it may look first whether the extension is there.
    """
    if not _WORDS.within(analysis.script.text):
        return
    said = known.of(migration)
    for statement in () if said.has_it else analysis.statements:
        text = analysis.text_of(statement)
        what = next(_used(text, said.defines), None) if _WORDS.within(text) else None
        if what:
            message = f"{what} is TimescaleDB's, and neither this nor what it depends on declares that it is needed"
            nxt, line = "add requires_extensions: [timescaledb] to its block in the config", statement.line
            yield finding_in(
                "extension_undeclared", migration, message, nxt, "warning", file=analysis.script.file, line=line
            )
            return


def _used(statement: str, own: Collection[str]) -> Iterator[str]:
    """Functions and options of TimescaleDB in a statement. Other kinds of nodes are not gone through."""
    from postgast import PgQueryError, find_nodes, parse
    from postgast.pg_query_pb2 import DefElem, FuncCall

    try:
        tree: Any = parse(statement)
    except PgQueryError:
        return
    for option in find_nodes(tree, DefElem):
        if option.defnamespace in _NAMESPACES:
            yield f"the option {option.defnamespace}.{option.defname}"
    for call in find_nodes(tree, FuncCall):
        *schema, name = (part.string.sval for part in call.funcname)
        if name in _FUNCTIONS and name not in own and schema in ([], ["public"]):
            yield name
