"""What a script has changed of the schema, statement by statement, by its text. Values alone."""

from __future__ import annotations

from typing import Any, Literal

from .plain import Plain

Does = Literal["create", "alter", "drop", "rename", "retype", "rows", "truncate"]


class Change(Plain, frozen=True, gc=False):
    """:param does: `retype` gives a column another type; `rows` puts rows in, changes them or takes them away.
    :param kind: table, view, materialized view, sequence, column, function.
    :param schema: empty: the script does not say it, and no lock of it does.
    :param name: of the relation, or of the function.
    :param column: of a column that is added, dropped, renamed or changed.
    :param to: the new name, with its schema where it moves.
    """

    does: Does
    kind: str
    schema: str = ""
    name: str = ""
    column: str = ""
    to: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what is empty."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}


class Changes(Plain, frozen=True, gc=False):
    """Of one script.

    :param unread: it has statements of which nobody can see what they change: DO, CALL, SELECT, or none that
        PostgreSQL's grammar reads.
    """

    each: tuple[Change, ...] = ()
    unread: bool = False
