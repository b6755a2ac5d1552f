"""The blast radius of a migration: what it takes away under its name, and who uses that. Values alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec.structs import replace

from .plain import Plain

Grade = Literal["certain", "likely", "perhaps"]
"""How sure it is that something uses it: the server or the text says so; the text says so as far as it can be read; the
words stand there."""
GRADES: tuple[Grade, ...] = ("certain", "likely", "perhaps")
_DOES = {"drop": "drops", "rename": "renames", "retype": "changes the type of"}
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


class Gone(Plain, frozen=True):
    """Something that a migration drops, renames or gives another type."""

    version: str
    line: int
    action: Literal["drop", "rename", "retype"]
    kind: str
    """column, table, view, materialized view, sequence, function ..."""
    schema: str
    name: str
    column: str = ""
    to: str = ""
    """The new name or type."""
    through: str = ""
    """What takes it along; empty: the statement names it."""
    again: bool = False
    """The same script makes something of this name again."""

    @property
    def what(self) -> str:
        """`column warehouse.items.note`, quoted where SQL has to."""
        return f"{self.kind} {self.place}"

    @property
    def place(self) -> str:
        return ".".join(quoted(part) for part in (self.schema, self.name, self.column) if part)

    def __str__(self) -> str:
        to = f" to {self.to}" if self.to else ""
        more = f", through {self.through}" if self.through else ", and makes it again" if self.again else ""
        return f"{_DOES[self.action]} {self.what}{to} (line {self.line}){more}"


def quoted(name: str) -> str:
    """A name as SQL needs it; keywords are left as they are."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


class User(Plain, frozen=True):
    """Who uses something that goes."""

    gone: str
    """As `Gone.what` names it."""
    kind: str
    """view, function, policy ..., task, DAG file, SQL file, statements."""
    name: str
    grade: Grade
    why: str

    def __str__(self) -> str:
        return f"{self.grade}: {self.kind} {self.name} ({self.why})"


class Through(Plain, frozen=True):
    """What uses something that goes, and is used by others in its turn: a function, or a table with its trigger."""

    user: Gone
    """By its name, as if it went too. `rows` for a table whose trigger fires: who changes its rows."""
    of: str
    """What goes, as `Gone.what` names it."""
    grade: Grade


class BlastRadius(Plain, frozen=True):
    """What a migration takes away under its name, who uses it, and where nobody could look."""

    gone: tuple[Gone, ...] = ()
    users: tuple[User, ...] = ()
    unseen: tuple[str, ...] = ()
    through: tuple[Through, ...] = ()
    path: tuple[str, ...] = ()
    """In which schemas the database looks for a name that has none."""

    def with_more(self, users: Iterable[User], unseen: Iterable[str]) -> BlastRadius:
        """Also what somebody else has found; of one user and one thing the best grade counts."""
        told = tuple(dict.fromkeys((*self.unseen, *unseen)))
        return replace(self, users=best([*self.users, *users]), unseen=told)

    def lines(self) -> Iterator[str]:
        """As a person reads it. It never says that nobody uses something: not everywhere can be looked."""
        for gone in self.gone:
            yield str(gone)
            mine = [user for user in self.users if user.gone == gone.what]
            yield from (f"used by, {user}" for user in mine)
            if not mine:
                yield f"no user of {gone.what} was found where it was looked"
        if self.gone and self.unseen:
            yield f"not looked at: {'; '.join(self.unseen)}"


def best(users: Iterable[User]) -> tuple[User, ...]:
    """Each user of each thing once, the surest first."""
    ordered = sorted(users, key=lambda user: GRADES.index(user.grade))
    found: dict[tuple[str, str, str], User] = {}
    for user in ordered:
        found.setdefault((user.gone, user.kind, user.name), user)
    return tuple(found.values())
