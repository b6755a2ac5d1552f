"""The statements of a script, and a way to keep a million of them in little room."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, overload

from msgspec import Struct

from .pieces import Span


class Statement(Struct, frozen=True, eq=False):
    """One statement of a script. `start` and `end` are character offsets, `line` counts from 1."""

    kind: str
    start: int
    end: int
    line: int
    outside: str | None = None
    """Why it cannot run inside a transaction block, in words; None when it can."""
    node: Any = None
    """The grammar's tree of it. Scripts of more than some 100 kB keep none of INSERT, COPY and plain SELECT."""
    data: Span | None = None
    """Of COPY ... FROM stdin: where the data stands that belongs to it."""

    def __eq__(self, other: object) -> bool:
        """Whatever their trees are."""
        return isinstance(other, Statement) and self._told == other._told

    def __hash__(self) -> int:
        return hash(self._told)

    def __repr__(self) -> str:
        return f"Statement{self._told}"

    @property
    def _told(self) -> tuple[Any, ...]:
        return self.kind, self.start, self.end, self.line, self.outside, self.data


_More = tuple[str | None, Any, "Span | None"]
_NO_MORE: _More = (None, None, None)


class Statements(Sequence[Statement]):
    """Statements as columns: some 30 bytes for most of them instead of 300, since a large file has a million."""

    def __init__(self) -> None:
        self.starts, self.ends, self.lines = array("Q"), array("Q"), array("Q")
        self._kinds: list[str] = []
        self._some: set[str] = set()
        self._more: dict[int, _More] = {}
        """By number, in the order of the statements."""

    def append(self, statement: Statement) -> None:
        self.starts.append(statement.start)
        self.ends.append(statement.end)
        self.lines.append(statement.line)
        outside, node, data = statement.outside, statement.node, statement.data
        if node is not None or outside is not None or data is not None:
            self._more[len(self._kinds)] = (outside, node, data)
        self._kinds.append(statement.kind)
        self._some.add(statement.kind)

    def __len__(self) -> int:
        return len(self._kinds)

    def kinds(self) -> AbstractSet[str]:
        """What kinds there are."""
        return self._some

    @overload
    def __getitem__(self, index: int) -> Statement: ...

    @overload
    def __getitem__(self, index: slice) -> Statements: ...

    def __getitem__(self, index: int | slice) -> Statement | Statements:
        if isinstance(index, slice):
            return self._slice(index)
        index = range(len(self._kinds))[index]
        more = self._more.get(index, _NO_MORE)
        return Statement(self._kinds[index], self.starts[index], self.ends[index], self.lines[index], *more)

    def __iter__(self) -> Iterator[Statement]:
        rows = zip(self._kinds, self.starts, self.ends, self.lines, strict=True)
        for index, row in enumerate(rows):
            yield Statement(*row, *self._more.get(index, _NO_MORE))

    def without(self, left_out: Collection[int]) -> Statements:
        """The others, in a list of their own."""
        found = Statements()
        for index in range(len(self)):
            if index not in left_out:
                found.append(self[index])
        return found

    def _slice(self, index: slice) -> Statements:
        kept = range(len(self._kinds))[index]
        found = Statements()
        found.starts, found.ends, found.lines = self.starts[index], self.ends[index], self.lines[index]
        found._kinds = self._kinds[index]
        found._some = set(found._kinds)
        found._more = {kept.index(i): more for i, more in self._more.items() if i in kept}
        return found

    def outside(self) -> tuple[Statement, ...]:
        """Those that cannot run inside a transaction block."""
        return tuple(self[i] for i, more in self._more.items() if more[0])

    def mark_outside(self, index: int, why: str) -> None:
        _, node, data = self._more[index]
        self._more[index] = (why, node, data)

    def nodes(self, kind: str) -> Iterator[tuple[int, Any]]:
        """The statements of a kind whose tree is kept, by their number from 0."""
        for index, more in self._more.items():
            if self._kinds[index] == kind:
                yield index, more[1]
