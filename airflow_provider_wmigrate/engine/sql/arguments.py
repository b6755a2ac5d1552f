"""The arguments of a call, as the grammar writes them."""

from __future__ import annotations

from typing import Any


def by_name(arguments: Any) -> dict[str | int, Any]:
    """Arguments by name; by number from 0 where the call gives no name."""
    found: dict[str | int, Any] = {}
    for place, node in enumerate(arguments):
        named = node.named_arg_expr if node.WhichOneof("node") == "named_arg_expr" else None
        found[named.name if named else place] = named.arg if named else node
    return found


def constant(node: Any) -> str | None:
    """The string that an expression is, perhaps with a cast."""
    found = _constant(node)
    return str(found.sval.sval) if found is not None and found.HasField("sval") else None


def whole_number(node: Any) -> int | None:
    """The number that an expression is."""
    found = node.a_const if node is not None else None
    return int(found.ival.ival) if found is not None and found.HasField("ival") else None


def is_null(node: Any) -> bool:
    """Whether an expression is NULL, perhaps with a cast."""
    found = _constant(node)
    return found is not None and bool(found.isnull)


def _constant(node: Any) -> Any:
    """Without its cast; of another expression one that has no value."""
    if node is not None and node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return None if node is None else node.a_const


def constants(arguments: Any) -> list[str]:
    """The strings among arguments and in their arrays, with or without a cast; what is anything else makes them
    none."""
    found: list[str] = []
    for argument in arguments:
        node = argument.type_cast.arg if argument.WhichOneof("node") == "type_cast" else argument
        kind, text = node.WhichOneof("node"), constant(argument)
        if kind == "named_arg_expr":
            continue
        if kind == "a_array_expr":
            inside = constants(node.a_array_expr.elements)
            if len(inside) != len(node.a_array_expr.elements):
                return []
            found += inside
        elif text is not None:
            found.append(text)
        else:
            return []
    return found
