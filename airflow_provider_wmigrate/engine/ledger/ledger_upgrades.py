"""From an older version of the ledger's own tables to the current one: numbered steps.

`ledger.sql` is version 1. Whatever a later version changes is a step here, and a new ledger is made by `ledger.sql` and
every step, so that a new ledger and an upgraded one cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class LedgerUpgrade(NamedTuple):
    """What makes a ledger one version newer. It only adds, and never changes a row of the audit log.

    :param version: the version it makes.
    :param script: SQL in which `{schema}` stands for the ledger's schema, and other braces are doubled.
    :param columns: table -> the columns it adds, which stand behind those that are there.
    """

    version: int
    script: str
    columns: Mapping[str, tuple[str, ...]] = MappingProxyType({})


UPGRADES: tuple[LedgerUpgrade, ...] = (
    LedgerUpgrade(
        2,
        "ALTER TABLE {schema}.schema_migrations ADD COLUMN script_session jsonb;"
        "COMMENT ON COLUMN {schema}.schema_migrations.script_session IS 'Journal of a script run statement by"
        " statement: the settings of its session as the last statement left them, and what of it cannot be had again';",
        {"schema_migrations": ("script_session",)},
    ),
)


def newest(upgrades: Sequence[LedgerUpgrade]) -> int:
    """The version that a ledger has after all steps.

    :raises ValueError: the steps are not numbered 2, 3, 4 and so on.
    """
    numbers = [step.version for step in upgrades]
    if numbers != list(range(2, len(numbers) + 2)):
        raise ValueError(f"the steps make the versions {numbers}; number them 2, 3, 4 and so on")
    return len(numbers) + 1


def after(version: int, upgrades: Sequence[LedgerUpgrade]) -> Iterator[LedgerUpgrade]:
    """The steps that a ledger of some version still needs."""
    return (step for step in upgrades if step.version > version)


def columns_at(
    version: int, first: Mapping[str, Sequence[str]], upgrades: Sequence[LedgerUpgrade]
) -> dict[str, list[str]]:
    """The columns of every table in some version of the ledger.

    :param first: those of version 1.
    """
    found = {table: list(columns) for table, columns in first.items()}
    for step in upgrades:
        if step.version <= version:
            for table, columns in step.columns.items():
                found.setdefault(table, []).extend(columns)
    return found
