"""Which of the server's errors may heal by themselves."""

from __future__ import annotations

RETRYABLE_SQLSTATES = frozenset({"55P03", "40P01", "40001"})
"""Lock not available, deadlock detected, serialization failure: the whole transaction may simply be run again."""

RETRYABLE_SQLSTATE_CLASSES = ("08", "53", "57P")
"""Connection trouble, resources short, an operator's intervention (restart, cancel): later may be better."""

_NEVER_RETRYABLE = frozenset({"57014", "57P04"})
"""Cancelled (a person or a timeout did it; the same statement takes as long again), database dropped."""


def retryable_sqlstate(sqlstate: str | None) -> bool:
    """Whether an error of this SQLSTATE may heal by itself. No SQLSTATE means that the connection died."""
    if sqlstate is None:
        return True
    if sqlstate in _NEVER_RETRYABLE:
        return False
    return sqlstate in RETRYABLE_SQLSTATES or sqlstate.startswith(RETRYABLE_SQLSTATE_CLASSES)
