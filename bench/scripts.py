"""The migrations that every tool applies: small, three statements each, and a rollback."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """One migration, in plain SQL."""

    number: int

    @property
    def version(self) -> str:
        """As wide as the largest folder needs it, so that names sort as numbers."""
        return f"{self.number:05d}"

    @property
    def name(self) -> str:
        return f"table_{self.number}"

    @property
    def up(self) -> str:
        table = f"t{self.version}"
        return (
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text NOT NULL);\n"
            f"CREATE INDEX {table}_name ON {table} (name);\n"
            f"INSERT INTO {table} VALUES (1, 'one'), (2, 'two');\n"
        )

    @property
    def down(self) -> str:
        return f"DROP TABLE t{self.version};\n"


def scripts(count: int) -> list[Script]:
    return [Script(number) for number in range(1, count + 1)]
