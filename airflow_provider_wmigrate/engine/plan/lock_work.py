"""Whether a change of a column or a constraint writes a table anew or reads all of it. Pure.

In doubt it does: what is thought to be long is only locked later.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Column
from airflow_provider_wmigrate.engine.lock_modes import LongWork
from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_scope import Scope


@cache
def key_of(name: str) -> int:
    """The grammar's number of a kind of constraint."""
    from postgast.pg_query_pb2 import ConstrType

    return int(ConstrType.Value(f"CONSTR_{name}"))


def is_check(constraint: Any) -> bool:
    """CHECK, or NOT NULL as a constraint of the table."""
    return constraint.contype in (key_of("CHECK"), key_of("NOTNULL"))


_SERIAL = re.compile(r"(?:small|big)?serial[248]?", re.IGNORECASE)


def adding_column(column: Any, scope: Scope) -> LongWork | None:
    """A default that is one value for all rows is kept once; others are written into every row."""
    if _SERIAL.fullmatch(column.type_name.names[-1].string.sval):
        return "rewrite"
    if _constrained_domain(column.type_name, scope):
        return "rewrite"
    kinds = {item.constraint.contype: item.constraint for item in column.constraints}
    if key_of("IDENTITY") in kinds or _stored(kinds.get(key_of("GENERATED"))):
        return "rewrite"
    default = kinds.get(key_of("DEFAULT"))
    if default is not None and volatile(default.raw_expr, scope):
        return "rewrite"
    if key_of("UNIQUE") in kinds or key_of("PRIMARY") in kinds:
        return "build"
    return "scan" if key_of("CHECK") in kinds or key_of("NOTNULL") in kinds else None


def _stored(generated: Any) -> bool:
    """Not VIRTUAL, which PostgreSQL 18 has."""
    return generated is not None and generated.generated_kind != "v"


def _constrained_domain(type_name: Any, scope: Scope) -> bool:
    """A type that the script names and that is no builtin one: a domain may have to be checked for every row."""
    names = [part.string.sval for part in type_name.names]
    return names[0] != "pg_catalog" and names[-1] in scope.facts.domains


def volatile(expression: Any, scope: Scope) -> bool:
    """Whether it may be another value for each row."""
    for message in walk(expression):
        if message.DESCRIPTOR.name == "FuncCall":
            name = message.funcname[-1].string.sval
            known = scope.facts.functions.get(name, ())
            if not known or any(function.volatile for function in known):
                return True
    return False


_TYPE = re.compile(r"(?P<name>[^(\[]+?)(?:\((?P<size>[\d,-]+)\))?(?P<rest> with(?:out)? time zone)?(?P<array>\[\])?")
_WORDS = {"int4": "integer", "int8": "bigint", "int2": "smallint", "varchar": "character varying",
          "bpchar": "character", "bool": "boolean", "float8": "double precision", "float4": "real",
          "varbit": "bit varying"}  # fmt: skip
_LOOSE = {("character varying", "text"), ("text", "character varying"), ("cidr", "inet")}
"""From and to: types of the same bytes, if the new one sets no length."""


def changing_type(column: Column | None, name: str, definition: Any) -> LongWork | None:
    """ALTER COLUMN ... TYPE keeps the rows as they are where the new type has the same bytes and takes all values."""
    if column is None or (definition.HasField("raw_default") and not _only(definition.raw_default, name)):
        return "rewrite"
    match = _TYPE.fullmatch(column.type)
    if match is None or match["array"] or definition.type_name.array_bounds:
        return "rewrite"
    new = definition.type_name.names[-1].string.sval
    old, new = match["name"], _WORDS.get(new, new)
    had = [int(size) for size in (match["size"] or "").split(",") if size]
    gets = [part.a_const.ival.ival for part in definition.type_name.typmods]
    if old != new:
        return None if (old, new) in _LOOSE and not gets else "rewrite"
    if old == "character" and had != gets:
        return "rewrite"
    return None if not gets or _wider(had, gets) else "rewrite"


def _wider(had: list[int], gets: list[int]) -> bool:
    """At least as many characters or digits, and as many digits behind the point."""
    return bool(had) and gets[0] >= had[0] and gets[1:] == had[1:]


def _only(expression: Any, name: str) -> bool:
    """The column itself, perhaps with a cast."""
    while expression.WhichOneof("node") == "type_cast":
        expression = expression.type_cast.arg
    fields = expression.column_ref.fields
    return len(fields) == 1 and fields[0].string.sval == name
