"""How long a statement of a script may wait for a lock, where the script itself says so. Pure."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from .script import Analysis


class OwnLimit(Struct, frozen=True):
    """The script's own lock_timeout.

    :param line: of the statement that sets it.
    :param seconds: None: it takes ours away, so that the limit of the role, the database or the server holds.
    """

    line: int
    seconds: float | None


def own_limit(analysis: Analysis, before: int) -> OwnLimit | None:
    """What the script's SET and RESET say when the statement of that number, from 0, begins; None: nothing.

    A limit that a function or a DO block sets is not seen here.
    """
    for statement in reversed(analysis.statements[:before]):
        if statement.kind == "variable_set_stmt" and statement.node is not None:
            node = statement.node
            if node.name == "lock_timeout" or node.kind == _RESET_ALL:
                return OwnLimit(statement.line, _seconds(node) if node.kind == _VALUE else None)
        if statement.kind == "discard_stmt" and statement.node is not None and statement.node.target == _ALL:
            return OwnLimit(statement.line, None)
    return None


# postgast.pg_query_pb2.VariableSetKind and DiscardMode, without paying for that module's import
_VALUE, _RESET_ALL, _ALL = 1, 6, 1
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1e-3}
_NOWAIT = re.compile(r"\bNOWAIT\b", re.IGNORECASE)
_TIME = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(us|ms|s|min|h|d|)\s*")


def _seconds(node: Any) -> float | None:
    """The value as the server reads it: milliseconds, unless a unit is given (its manual, section 20.1.1)."""
    constant = node.args[0].a_const
    which = constant.WhichOneof("val")
    if which == "ival":
        return float(constant.ival.ival) / 1000
    text = constant.sval.sval if which == "sval" else constant.fval.fval if which == "fval" else ""
    found = _TIME.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else None


class LockWait(Struct, frozen=True):
    """A lock that was not free in time. All times in seconds.

    :param given: the limit that wmigrate gave.
    :param lasted: how long the message ran that failed: the wait, and the statements before it.
    :param own: the script's own limit.
    :param nowait: the statement did not want to wait at all.
    """

    given: float
    lasted: float
    own: OwnLimit | None = None
    nowait: bool = False

    @classmethod
    def of(cls, analysis: Analysis, index: int | None, given: float, lasted: float) -> LockWait:
        """:param index: number, from 0, of the statement that failed; None: all had run."""
        before = len(analysis.statements) if index is None else index
        statement = analysis.statements[before] if before < len(analysis.statements) else None
        nowait = statement is not None and _NOWAIT.search(analysis.text_of(statement)) is not None
        return cls(given, lasted, own_limit(analysis, before), nowait)

    def held(self, file: str, seen: float = 0.0) -> tuple[float, str]:
        """The limit that held, or as much of it as was waited, and whose it is where it is not wmigrate's.

        :param seen: for how long another session saw it wait.
        """
        if self.nowait and self.lasted < self.given * 0.9:
            return 0.0, ", as NOWAIT asks"
        if self.own is not None and self.own.seconds is not None:
            return self.own.seconds, f", the limit that {file}:{self.own.line} sets"
        if self.own is not None:
            return (
                self.lasted,
                f", the limit of the role, the database or the server, to which {file}:{self.own.line} resets it",
            )
        if self.lasted < self.given * 0.9:
            return self.lasted, ", by a limit that the script set in a function or a block"
        if seen > self.given * 1.2 + 1.0:
            return seen, ", by a limit that the script set in a function or a block"
        return self.given, ""
