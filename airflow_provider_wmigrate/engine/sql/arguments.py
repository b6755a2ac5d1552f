"""What stands among the arguments of a call."""

from __future__ import annotations

from typing import Any


def constants(arguments: Any) -> list[str]:
    """The strings among arguments and in their arrays, with or without a cast; what is anything else makes them
    none."""
    found: list[str] = []
    for argument in arguments:
        node = argument.type_cast.arg if argument.WhichOneof("node") == "type_cast" else argument
        kind = node.WhichOneof("node")
        if kind == "named_arg_expr":
            continue
        if kind == "a_array_expr":
            inside = constants(node.a_array_expr.elements)
            if len(inside) != len(node.a_array_expr.elements):
                return []
            found += inside
        elif kind == "a_const" and node.a_const.WhichOneof("val") == "sval":
            found.append(node.a_const.sval.sval)
        else:
            return []
    return found
