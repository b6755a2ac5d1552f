"""Event triggers that a statement sets off: they run any function. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .lock_scope import Hidden

_FIRST = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*(.{0,200})", re.DOTALL)
_DDL = ("alter", "comment", "create", "drop", "grant", "import", "refresh", "reindex", "revoke", "security", "select")
"""First words of statements that may set one off; SELECT ... INTO makes a table."""
_WITHOUT = re.compile(r"\w+\s+(?:database|role|user|tablespace|event\s+trigger|system|subscription)\b", re.IGNORECASE)
"""What all databases share, and event triggers themselves, set none off."""
_BETWEEN = r"\s+(?:(?:or|replace|temp|temporary|unlogged|unique|recursive|constraint|global|local|trusted)\s+)*"


def fires(analysis: Analysis, statement: Statement, facts: RelationFacts) -> Iterator[Hidden]:
    """In doubt it does."""
    if not facts.event_triggers:
        return
    match = _FIRST.match(analysis.text_of(statement))
    text = match[1] if match else ""
    if not text.lower().startswith(_DDL) or _WITHOUT.match(text):
        return
    if statement.kind == "select_stmt" and not _makes(statement):
        return
    for name, event, tags in facts.event_triggers:
        drops = statement.kind in ("drop_stmt", "alter_table_stmt", "drop_owned_stmt")
        rewrites = statement.kind == "alter_table_stmt"
        if {"sql_drop": drops, "table_rewrite": rewrites}.get(event, True) and (not tags or _is_one_of(text, tags)):
            yield Hidden(f"event trigger {name} runs a function")


def _makes(statement: Statement) -> bool:
    return statement.node is not None and bool(statement.node.HasField("into_clause"))


def _is_one_of(text: str, tags: list[str]) -> bool:
    if text.lower().startswith("select"):
        return "SELECT INTO" in tags
    return any(re.match(_BETWEEN.join(tag.split()) + r"\b", text, re.IGNORECASE) for tag in tags)
