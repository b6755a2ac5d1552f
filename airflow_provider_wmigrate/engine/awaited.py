"""What a sensor waits for beside versions: one question each, for a connection of either kind, and what its answer
means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from .errors import WMigrateError
from .session.advisory import MIGRATIONS, ledger_lock
from .session.loads import HOLDERS, Holder
from .sql.named import names_in


class Objects(Struct, frozen=True):
    """Tables, views and their columns.

    :param names: `schema.table` or `schema.table.column`, as in SQL.
    """

    names: Sequence[str]

    def question(self) -> tuple[str, list[Any]]:
        """A statement and its parameters.

        :raises WMigrateError: there is no name, or one is not of this form.
        """
        for name in self.names or [""]:
            if not _NAME.fullmatch(name):
                hint = "write schema.table or schema.table.column, as in SQL"
                raise WMigrateError(f"{name or 'nothing'} names no table", hint=hint)
        parts = [[*names_in(name), None][:3] for name in self.names]
        return _OBJECTS, [list(self.names), *map(list, zip(*parts, strict=True))]

    def waiting(self, answer: Iterable[Sequence[Any]]) -> list[str]:
        """Those that are not there."""
        return [name for name, there in answer if not there]


_PART = r'(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")'
_NAME = re.compile(rf"{_PART}(?:\.{_PART}){{1,2}}")
_OBJECTS = (
    "SELECT name, EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = schema AND c.relname = tab AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
    " AND (col IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = col"
    " AND a.attnum > 0 AND NOT a.attisdropped)))"
    " FROM ROWS FROM (unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]))"
    " AS wanted (name, schema, tab, col)"
)


class NoMigration(Struct, frozen=True):
    """That nobody holds a lock under which migrations are applied, rolled back or tried.

    :param ledger_schema: of the ledger whose migrations count; those that keep clear of loads count in any ledger.
    """

    ledger_schema: str

    def question(self) -> tuple[str, list[Any]]:
        """A statement and its parameters."""
        return HOLDERS, [[MIGRATIONS.number, ledger_lock(self.ledger_schema).number]]

    def waiting(self, answer: Iterable[Sequence[Any]]) -> list[str]:
        """Who is at work."""
        return [str(Holder(*row)) for row in answer]
