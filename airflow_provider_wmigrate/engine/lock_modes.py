"""PostgreSQL's table lock modes, and what a script needs of them: the words in which the plan forecasts locks and the
run takes them.

Source: PostgreSQL's manual, section 13.3.1 "Table-Level Locks".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

LongWork = Literal["rewrite", "scan", "build", "rows", "call"]
"""What a statement does with a table for longer than a moment: writes it anew, reads all of it, builds an index,
changes or reads rows, calls a function that nobody can see into."""

KnownBy = Literal["script", "declared", "dry run", "kept"]
"""How it is known that a script takes a lock: the script shows it, its migration declares it, the last dry run of the
same script has shown it; what was kept is given back."""


class LockMode(IntEnum):
    """From weak to strong, by the numbers that the server itself gives them."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def keyword(self) -> str:
        """As LOCK TABLE takes it: `ACCESS EXCLUSIVE`."""
        return self.name.replace("_", " ")

    @property
    def shown(self) -> str:
        """As pg_locks shows it: `AccessExclusiveLock`."""
        return self.name.replace("_", " ").title().replace(" ", "") + "Lock"

    @classmethod
    def of(cls, shown: str) -> LockMode:
        """The mode that pg_locks shows by this name.

        :raises KeyError: there is none.
        """
        return _BY_SHOWN[shown]

    @classmethod
    def named(cls, keyword: str) -> LockMode:
        """The mode that LOCK TABLE takes by this name, in upper case.

        :raises KeyError: there is none.
        """
        return cls[keyword.replace(" ", "_")]

    def conflicts(self, other: LockMode) -> bool:
        """Whether two transactions cannot hold these on the same table."""
        return other in _CONFLICTS[self]


_BY_SHOWN = {mode.shown: mode for mode in LockMode}

_STRONG = frozenset({LockMode.SHARE_ROW_EXCLUSIVE, LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE})
_CONFLICTS: dict[LockMode, frozenset[LockMode]] = {
    LockMode.ACCESS_SHARE: frozenset({LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_SHARE: frozenset({LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_EXCLUSIVE: _STRONG | {LockMode.SHARE},
    LockMode.SHARE_UPDATE_EXCLUSIVE: _STRONG | {LockMode.SHARE, LockMode.SHARE_UPDATE_EXCLUSIVE},
    LockMode.SHARE: _STRONG | {LockMode.ROW_EXCLUSIVE, LockMode.SHARE_UPDATE_EXCLUSIVE},
    LockMode.SHARE_ROW_EXCLUSIVE: frozenset(LockMode) - {LockMode.ACCESS_SHARE, LockMode.ROW_SHARE},
    LockMode.EXCLUSIVE: frozenset(LockMode) - {LockMode.ACCESS_SHARE},
    LockMode.ACCESS_EXCLUSIVE: frozenset(LockMode),
}


class LockNeed(Struct, frozen=True):
    """A relation that exists before a script runs, and the strongest lock that the script takes on it."""

    relation: str
    """Schema and name, quoted as the server does (`%I.%I`)."""
    oid: int
    mode: LockMode
    statement: int
    """Number from 0 of the first statement that takes a lock on it."""
    strongest: int
    """Number from 0 of the first statement that takes this mode."""
    lockable: bool = True
    """LOCK TABLE can take it: a table, with the rights for it. Not a view, a sequence, an index."""
    work: LongWork | None = None
    """What is done with it for longer than a moment, under this lock; None: nothing."""
    size_bytes: int = 0
    """Of the table with its indexes, as the last VACUUM or ANALYZE saw them."""
    kind: str = "r"
    """pg_class.relkind: r table, p partitioned, v view, m materialized view, S sequence, f foreign table, i I index."""
    worked: tuple[int, ...] = ()
    """Numbers from 0 of the statements that do such work with it, and none of which the size is not known."""
    known_by: KnownBy = "script"

    def stronger(self, other: LockNeed) -> LockNeed:
        """With the mode of another need of the same relation; what is done with it stays."""
        first = min(self.statement, other.statement)
        return replace(self, mode=other.mode, statement=first, strongest=other.strongest, known_by=other.known_by)


class KnownLock(NamedTuple):
    """A lock of which the script says nothing.

    :param table: schema and name, as in SQL.
    :param whole: of the table itself.
    :param parts: of its children, chunks and partitions.
    """

    table: str
    mode: LockMode
    known_by: KnownBy = "declared"
    whole: bool = True
    parts: bool = True


class Learnt(Struct, frozen=True):
    """What the last dry run of a script has locked.

    :param locks: that the script itself took.
    :param unseen: tables that migrations before it had locked, in the same transaction: whether the script takes them
        too nobody saw.
    """

    locks: tuple[KnownLock, ...] = ()
    unseen: tuple[str, ...] = ()


class Unforeseen(Struct, frozen=True):
    """A statement whose locks only its run can tell."""

    statement: int
    """Number from 0."""
    line: int
    why: str


class LockSet(Struct, frozen=True):
    """All that a script will lock of what exists before it."""

    needs: tuple[LockNeed, ...] = ()
    """Strongest first, then by relation."""
    unforeseen: tuple[Unforeseen, ...] = ()
    long: tuple[int, ...] = ()
    """Numbers from 0 of the statements that take longer than a moment, whatever they touch."""

    @property
    def hidden_at(self) -> int:
        """Number of the first statement of which only its run can tell."""
        return min((hidden.statement for hidden in self.unforeseen), default=0)

    def with_more(self, more: Iterable[LockNeed]) -> LockSet:
        """Also these, where they are stronger than what is known of the same relation."""
        needs = {need.relation: need for need in self.needs}
        for need in more:
            known = needs.get(need.relation)
            if known is None or known.mode < need.mode:
                needs[need.relation] = known.stronger(need) if known else need
        ordered = sorted(needs.values(), key=lambda need: (-need.mode, need.relation))
        return replace(self, needs=tuple(ordered))
