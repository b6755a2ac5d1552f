"""The kinds of facts: each with its one query."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from . import outside, relations, rights, routines, timescale, types
from .scope import Scope


class Kind(Struct, frozen=True):
    """:param tells: the kinds of its facts.
    :param query: gives rows as `scope.fact_rows` says.
    """

    tells: tuple[str, ...]
    query: Callable[[Scope], str]
    timescaledb: bool = False
    """Asked only where TimescaleDB is."""


KINDS = (
    Kind(("schema",), relations.schemas),
    Kind(("table", "view", "materialized view", "foreign table"), relations.relations),
    Kind(("column", "attribute"), relations.columns),
    Kind(("sequence",), relations.sequences),
    Kind(("constraint",), relations.constraints),
    Kind(("index",), relations.indexes),
    Kind(("trigger",), relations.triggers),
    Kind(("rule",), relations.rules),
    Kind(("policy",), relations.policies),
    Kind(("statistics",), relations.statistics),
    Kind(("enum", "domain", "composite type", "range", "type"), types.types),
    Kind(("domain constraint",), types.domain_constraints),
    Kind(("collation",), types.collations),
    Kind(("text search configuration",), types.text_search_configurations),
    Kind(("text search dictionary",), types.text_search_dictionaries),
    Kind(("text search template",), types.text_search_templates),
    Kind(("text search parser",), types.text_search_parsers),
    Kind(("function", "procedure", "aggregate"), routines.routines),
    Kind(("aggregation",), routines.aggregates),
    Kind(("operator",), routines.operators),
    Kind(("operator family",), routines.operator_families),
    Kind(("operator class",), routines.operator_classes),
    Kind(("cast",), routines.casts),
    Kind(("transform",), routines.transforms),
    Kind(("language",), routines.languages),
    Kind(("access method",), routines.access_methods),
    Kind(("conversion",), routines.conversions),
    Kind(("event trigger",), routines.event_triggers),
    Kind(("extension",), outside.extensions),
    Kind(("publication",), outside.publications),
    Kind(("subscription",), outside.subscriptions),
    Kind(("foreign data wrapper",), outside.foreign_data_wrappers),
    Kind(("foreign server",), outside.foreign_servers),
    Kind(("user mapping",), outside.user_mappings),
    Kind(("settings",), outside.settings),
    Kind(("grant",), rights.grants),
    Kind(("default privileges",), rights.default_privileges),
    Kind(("comment",), rights.comments),
    Kind(("security label",), rights.security_labels),
    Kind(("hypertable",), timescale.hypertables, timescaledb=True),
    Kind(("continuous aggregate",), timescale.continuous_aggregates, timescaledb=True),
    Kind(("index of continuous aggregate",), timescale.aggregate_indexes, timescaledb=True),
    Kind(("TimescaleDB policy", "TimescaleDB job"), timescale.jobs, timescaledb=True),
)
