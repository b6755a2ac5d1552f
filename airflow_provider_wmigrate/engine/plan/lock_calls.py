"""What statements set off whose locks nobody sees: functions that they call, triggers, rules, defaults. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.sql.arguments import constant
from airflow_provider_wmigrate.engine.sql.named import names_in

from .lock_scope import Hidden, Lasting, Lock, Scope, Taken

INSERT, DELETE, UPDATE, TRUNCATE = 4, 8, 16, 32
"""Events, as pg_trigger.tgtype has them."""
INSTEAD = 64
"""In the same: it acts in place of the event."""
RULE_EVENTS = {"2": UPDATE, "3": INSERT, "4": DELETE}


def calling(scope: Scope, oid: int, *where: str) -> Iterator[Hidden]:
    """Functions that run when a view is read or a row changed, and of which nobody knows what they lock."""
    relation = scope.relation(oid)
    for place, name in scope.facts.runs.get(oid, ()):
        if place in where and relation is not None:
            yield Hidden(
                f"{place} {relation.quoted} calls {name}()"
                if place == "view"
                else f"a {place} of {relation.quoted} calls {name}()"
            )


def guarded(scope: Scope, table: int, *, through_view: bool = False) -> Iterator[Hidden]:
    """Functions of row security policies: where they hold for this role, or may do so.

    :param through_view: it is read or changed with the rights of a view's owner.
    """
    if through_view or scope.other_rights or table in scope.facts.secured:
        yield from calling(scope, table, "policy")


def fired(scope: Scope, table: int, event: int) -> Iterator[Hidden]:
    """Triggers, rules and functions that the change of a row sets off."""
    for trigger in scope.facts.triggers.get(table, ()):
        if trigger.kind & event and trigger.fires:
            yield Hidden(f"trigger {trigger.name} of {_named(scope, table)} runs a function")
    for on, same in RULE_EVENTS.items():
        if same == event:
            yield from ruled(scope, table, on)
    if event != TRUNCATE:
        yield from guarded(scope, table)
        for base in scope.facts.bases.get(table, ()):
            yield from guarded(scope, base, through_view=True)
    if event == INSERT and scope.hypertable(table):
        yield Hidden(f"a row of {_named(scope, table)} may need a new chunk")
    if event in (INSERT, UPDATE):
        yield from calling(scope, table, "constraint", *(["default"] if event == INSERT else []))


def ruled(scope: Scope, table: int, event: str) -> Iterator[Hidden]:
    """:param event: as pg_rewrite.ev_type has it."""
    for rule, on, enabled in scope.facts.rules.get(table, ()):
        if on == event and enabled in ("O", "A"):
            yield Hidden(f"rule {rule} of {_named(scope, table)} runs other statements")


def _named(scope: Scope, table: int) -> str:
    relation = scope.relation(table)
    return relation.quoted if relation else "a table"


SEQUENCE_CALLS = ("nextval", "setval", "currval")


def call(node: Any, scope: Scope) -> Iterator[Taken]:
    """A function that is called: a builtin one locks nothing but a sequence, of others only their run tells."""
    parts = [part.string.sval for part in node.funcname]
    name, schema = parts[-1], parts[-2] if len(parts) > 1 else ""
    if name in SEQUENCE_CALLS and node.args:
        oid = _sequence(node.args[0], scope)
        if oid is not None:
            yield Lock(oid, LockMode.ROW_EXCLUSIVE)
    elif not harmless(scope, schema, name):
        if name not in _SLEEPS or schema not in ("", "pg_catalog"):
            yield Hidden(f"{name}() is called")
        yield Lasting("call")


def _sequence(argument: Any, scope: Scope) -> int | None:
    """Named, or as that of a column: `pg_get_serial_sequence('orders', 'id')`."""
    inner = argument.func_call
    if not inner.funcname or inner.funcname[-1].string.sval != SERIAL or len(inner.args) != _TABLE_AND_COLUMN:
        return scope.of_names(names_in(constant(argument) or ""))
    table, column = scope.of_names(names_in(constant(inner.args[0]) or "")), constant(inner.args[1])
    if table is None:
        return None
    numbers = {each.name: each.number for each in scope.facts.columns.get(table, ())}
    own = (s for s in scope.facts.sequences.get(table, ()) if s.how != "default")
    return next((sequence.oid for sequence in own if sequence.column == numbers.get(column or "")), None)


SERIAL = "pg_get_serial_sequence"
_TABLE_AND_COLUMN = 2


def harmless(scope: Scope, schema: str, name: str) -> bool:
    """Whether a function locks no relation, as far as the facts know it."""
    if name in _BUILTIN and schema in ("", "pg_catalog"):
        return True
    places = scope.schemas(schema)
    known = [function for function in scope.facts.functions.get(name, ()) if function.schema in places]
    if not schema and any(function.schema == "pg_catalog" for function in known):
        return name not in _SLOW
    return bool(known) and all(function.harmless for function in known) and name not in _SLOW


_SLEEPS = frozenset({"pg_sleep", "pg_sleep_for", "pg_sleep_until"})
"""Builtin functions that take long, and lock nothing."""
_SLOW = _SLEEPS | {"query_to_xml", "table_to_xml", "schema_to_xml"}
"""And those that read what a string says."""
_BUILTIN = frozenset(
    {"set_config", "current_setting", "now", "clock_timestamp", "timezone", "date_trunc", "random", "gen_random_uuid",
     "generate_series", "count", "sum", "min", "max", "avg", "coalesce", "lower", "upper", "length", "md5", "format",
     "concat", "repeat", "replace", "substring", "btrim", "round", "abs", "floor", "jsonb_build_object", "unnest",
     "row_number", "array_agg", "string_agg", "to_char", "extract", "to_tsvector"}
)  # fmt: skip
"""Some that need no look into the catalogs: a script that touches only what it makes itself does not ask them."""
